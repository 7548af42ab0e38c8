"""aiohttp's websocket with the limits of the live endpoint, strict where RFC 6455 is and aiohttp is not.

aiohttp accepts frames that are not masked (section 5.1 says: fail the connection) and close codes that no peer may
send (section 7.4). The reader's C form does not tell whether a frame was masked, so the bytes are looked at before it
sees them: `Masked` stands between the transport and aiohttp's connection, and what it refuses reaches the reader as a
frame that the reader refuses itself. So there is one way in which a connection fails, whatever was wrong.
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from realtime.live import protocol

CLOSE_WITHIN = 2.0  # seconds that a peer has to answer a close frame
KERNEL_BUFFER = 64 * 1024  # bytes of SO_SNDBUF: what a stalled socket may hold in the kernel
UNSENT_LOW = 16 * 1024  # bytes of TCP_NOTSENT_LOWAT: beyond these the transport's buffer, which we see, fills instead

MASK_BIT = 0x80  # of a frame's second byte; the other seven are its length, 126 and 127 say that it follows
WIDE = {126: 4, 127: 10}  # length byte -> bytes of the header without the mask
MASK = 4  # bytes of a masking key
REFUSED = b"\xf0\x80"  # a masked header with reserved bits: every reader fails the connection with 1002 (section 5.2)
# Reserved, or words of an implementation about itself; "MUST NOT be set as a status code" (section 7.4.1).
UNSENDABLE = {1004, 1005, 1006, 1015}
SENDABLE = range(1000, 5000)  # section 7.4.2; aiohttp itself refuses what is undefined below 3000


class WebSocket(web.WebSocketResponse):
    """One live connection's websocket; `max_message` is the longest message taken, in bytes."""

    def __init__(self, *, max_message: int = protocol.MAX_MESSAGE) -> None:
        super().__init__(
            protocols=(protocol.SUBPROTOCOL,),
            compress=False,  # 95 KB and six times the CPU per socket
            max_msg_size=max_message + 1,  # aiohttp refuses from this size on
            timeout=CLOSE_WITHIN,
            autoclose=False,  # a peer's close is answered below
        )

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Upgrades. Raises HTTPBadRequest for a handshake that is none; the connection then stays as it was."""
        transport = request.transport
        if transport is None or self.prepared:
            return await super().prepare(request)
        plain = request.protocol
        guard = Guard(plain)
        # A client must wait for the 101. What one sends sooner is kept here by aiohttp, and by nobody else.
        plain._message_tail = guard.masked.passed(plain._message_tail)
        transport.set_protocol(guard)
        try:
            writer = await super().prepare(request)
        except web.HTTPException:
            transport.set_protocol(plain)
            raise
        bound_kernel_buffers(transport)
        return writer

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """The next message; a peer's close is answered before it is handed on."""
        message = await super().receive(timeout)
        if message.type is WSMsgType.CLOSE and not self.closed:
            code = message.data or WSCloseCode.OK  # 0: the close frame had none
            good = code in SENDABLE and code not in UNSENDABLE
            await self.close(code=WSCloseCode.OK if good else WSCloseCode.PROTOCOL_ERROR, drain=False)
        return message


class Masked:
    """Follows the frames of an incoming stream, however it is cut, and ends it at the first that is not masked."""

    __slots__ = ("_held", "_left", "_refused")

    def __init__(self) -> None:
        self._held = b""  # an incomplete header, not yet passed on
        self._left = 0  # bytes of the present frame that are still to come
        self._refused = False

    def passed(self, data: bytes) -> bytes:
        """The bytes that the reader is to see next."""
        if self._refused:
            return b""
        data, self._held = self._held + data, b""
        at, end = self._left, len(data)  # `at` is where the next header begins
        while at + 2 <= end:
            second = data[at + 1]
            if not second & MASK_BIT:
                self._refused = True
                return data[:at] + REFUSED
            length = second & ~MASK_BIT
            header = 2
            if length in WIDE:
                header = WIDE[length]
                if at + header > end:
                    break
                length = int.from_bytes(data[at + 2 : at + header], "big")
            at += header + MASK + length
        self._left = max(0, at - end)
        self._held = data[at:]
        return data[:at]


class Guard(asyncio.Protocol):
    """Takes the place of aiohttp's connection at its transport and passes everything on to it."""

    def __init__(self, plain: asyncio.Protocol) -> None:
        self._plain = plain
        self.masked = Masked()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        passed = self.masked.passed(data)
        if passed:
            self._plain.data_received(passed)

    def eof_received(self) -> bool | None:
        """The peer sends nothing more."""
        return self._plain.eof_received()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._plain.pause_writing()

    def resume_writing(self) -> None:
        """The transport takes more again."""
        self._plain.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._plain.connection_lost(error)


def bound_kernel_buffers(transport: asyncio.Transport) -> None:
    """Lets a reader that stalls fill our own buffer, which is counted, and not the kernel's."""
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW)
