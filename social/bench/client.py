"""Scripted readers: a raw asyncio protocol that keeps positions, answers pings and comes back. Quick before complete.

A `Reader` is a device with its positions; a `Conversation` is one connection of it. The times of a conversation are
`time.perf_counter()`, the clock of the commits.
"""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from social.bench.frames import CLOSE, PING, PONG, TEXT, Incoming, Unexpected, masked

BACKOFF = 0.5, 30.0  # seconds: the contract's pause before the n-th return, times 2^n, and its cap; full jitter
ASKED_AGAIN = 1.0  # seconds of jitter on top of a Retry-After, so that those refused together do not return together
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: a cut cable, and no port left in TIME_WAIT
CONNECTING = 50  # readers that connect at once before anything is measured
CONNECTED_WITHIN = 300.0  # seconds for all of them
PONG_FRAME = masked(b'{"type":"pong"}')


class Refused(Exception):
    """503: the node takes nobody now. `after` is its Retry-After in seconds."""

    def __init__(self, after: float) -> None:
        super().__init__(f"503, back in {after:g} s")
        self.after = after


class Lost(Exception):
    """The connection ended: close code, 1006 without one."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


@dataclass(slots=True)
class Position:
    """Where a reader stands in a stream."""

    epoch: str
    offset: int


@dataclass(slots=True)
class Reader:
    """A device: its token, the streams it follows besides `me`, its positions and what befell it."""

    token: str
    posts: tuple[str, ...] = ()
    heard: Callable[[dict[str, Any], float], None] | None = None  # every event, with the moment it was read
    receive_buffer: int = 0  # bytes of SO_RCVBUF; 0 = the system's
    positions: dict[str, Position] = field(default_factory=dict)
    conversation: Conversation | None = None
    items: int = 0
    skipped: int = 0
    gaps: int = 0
    resyncs: int = 0
    unrecovered: int = 0

    @property
    def streams(self) -> tuple[str, ...]:
        """Everything it follows."""
        return ("me", *self.posts)

    async def connect(self, port: int) -> float:
        """Connects, with its positions if it has any; returns when the last missed item is there, as a moment.

        Raises Refused, Lost, OSError.
        """
        loop = asyncio.get_running_loop()
        conversation = Conversation(self, loop, port)
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            if self.receive_buffer:  # before connecting: the window is agreed on there
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            await loop.sock_connect(raw, ("127.0.0.1", port))
            await loop.create_connection(lambda: conversation, sock=raw)
        except BaseException:
            raw.close()
            raise
        self.conversation = conversation
        return await conversation.complete

    def cut(self) -> None:
        """Ends the connection as a dead network would."""
        if self.conversation is not None:
            self.conversation.cut()
            self.conversation = None


@dataclass(slots=True)
class Return:
    """How one reader came back."""

    began: float = 0.0  # the first attempt's connect
    last: float = 0.0  # the connect of the attempt that succeeded
    done: float = 0.0  # the last missed item; 0 = never
    refused: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # close codes, or what the system said


async def come_back(reader: Reader, port: int, story: Return) -> None:
    """Connects until it is back, following Retry-After and the contract's pauses. Cancel it to give up."""
    story.began = time.perf_counter()
    while not story.done:
        story.last = time.perf_counter()
        try:
            story.done = await reader.connect(port)
        except Refused as refusal:
            story.refused += 1
            await asyncio.sleep(refusal.after + random.uniform(0, ASKED_AGAIN))  # noqa: S311 - jitter
        except (Lost, OSError) as error:
            most = min(BACKOFF[1], BACKOFF[0] * 2 ** story.lost.total())
            story.lost[str(error)] += 1
            await asyncio.sleep(random.uniform(0, most))  # noqa: S311 - jitter


class Conversation(asyncio.Protocol):
    """One connection. `complete` is set once every stream is joined and everything missed is there."""

    def __init__(self, reader: Reader, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.complete: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()  # the close code
        self._reader = reader
        self._host = f"127.0.0.1:{port}"
        self._incoming = Incoming()
        self._head: bytes | None = b""  # of the HTTP answer, until it is complete
        self._missing = set(reader.streams)
        self._targets: dict[str, int] = {}
        self._code = 1006
        self._transport: asyncio.Transport  # from `connection_made` on

    def cut(self) -> None:
        """Resets the connection."""
        raw = self._transport.get_extra_info("socket")
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self._transport.abort()

    def stall(self) -> None:
        """Reads no more; the socket stays open."""
        self._transport.pause_reading()

    def wake(self) -> None:
        """Reads on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the upgrade."""
        # uvloop's transports are none of asyncio's classes
        self._transport = out = cast(asyncio.Transport, transport)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        out.write(
            f"GET /api/v1/live HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: social.live.v1\r\n"
            f"Authorization: Bearer {self._reader.token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Frames, behind the HTTP answer."""
        now = time.perf_counter()
        if self._head is not None:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return
            self._head = None
            if not self._upgraded(head):
                return
        try:
            for opcode, payload in self._incoming.feed(data):
                self._frame(opcode, payload, now)
        except Unexpected:
            self._code = 1002
            self.cut()

    def connection_lost(self, _error: Exception | None) -> None:
        """The end, whoever wanted it."""
        if not self.complete.done():
            self.complete.set_exception(Lost(self._code))
            self.complete.exception()  # seen: nobody may be waiting any more
        if not self.ended.done():
            self.ended.set_result(self._code)

    def _upgraded(self, head: bytes) -> bool:
        status, headers = read_head(head)
        if status == 101:
            positions = self._reader.positions
            resume = {label: {"epoch": at.epoch, "offset": at.offset} for label, at in positions.items()}
            self._say({"type": "hello", "resume": resume})
            return True
        if not self.complete.done():
            after = float(headers.get("retry-after", BACKOFF[0]))
            self.complete.set_exception(Refused(after) if status == 503 else Lost(status))
        self.cut()
        return False

    def _say(self, message: dict[str, Any]) -> None:
        self._transport.write(masked(orjson.dumps(message)))

    def _frame(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == TEXT:
            self._message(orjson.loads(payload), now)
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2], "big") if payload else 1005
            self._transport.write(masked(payload[:2], opcode=CLOSE))
            self._transport.close()
        elif opcode == PING:
            self._transport.write(masked(payload, opcode=PONG))

    def _message(self, message: dict[str, Any], now: float) -> None:
        match message["type"]:
            case "event":
                self._moved(message["stream"], message["offset"], message["offset"], now)
                self._reader.items += 1
                if self._reader.heard is not None:
                    self._reader.heard(message, now)
            case "skip":
                self._reader.skipped += message["to"] - message["offset"] + 1
                self._moved(message["stream"], message["offset"], message["to"], now)
            case "ping":
                self._transport.write(PONG_FRAME)
            case "welcome":
                self._welcomed(message["streams"], now)
            case "subscribed":
                self._joined(message["stream"], message, resumed=False)
                self._check(now)
            case "resync":
                self._reader.resyncs += 1
                self._reader.positions[message["stream"]] = Position(message["epoch"], message["offset"])
                self._targets.pop(message["stream"], None)
                self._check(now)

    def _welcomed(self, streams: dict[str, dict[str, Any]], now: float) -> None:
        for label, joined in streams.items():
            self._joined(label, joined, resumed=label in self._reader.positions)
        for number, label in enumerate(self._reader.posts):
            if label not in streams:
                self._say({"type": "subscribe", "id": number, "stream": label})
        self._check(now)

    def _joined(self, label: str, joined: dict[str, Any], *, resumed: bool) -> None:
        self._missing.discard(label)
        if resumed and joined["recovered"]:
            if self._reader.positions[label].offset < joined["offset"]:
                self._targets[label] = joined["offset"]
            return
        self._reader.unrecovered += resumed
        self._reader.positions[label] = Position(joined["epoch"], joined["offset"])

    def _moved(self, label: str, first: int, last: int, now: float) -> None:
        position = self._reader.positions[label]
        self._reader.gaps += first != position.offset + 1
        position.offset = last
        target = self._targets.get(label)
        if target is not None and last >= target:
            del self._targets[label]
            self._check(now)

    def _check(self, now: float) -> None:
        if not self._missing and not self._targets and not self.complete.done():
            self.complete.set_result(now)


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, names in lower case, of an HTTP answer's head. Raises ValueError for anything else."""
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in rest)
    return int(first.split(" ", 2)[1]), {name.strip().lower(): value.strip() for name, _, value in fields}


async def connect_all(readers: list[Reader], port: int) -> None:
    """Connects readers for the first time, some at once. Raises TimeoutError."""
    room = asyncio.Semaphore(CONNECTING)

    async def one(reader: Reader) -> None:
        async with room:
            await come_back(reader, port, Return())

    async with asyncio.timeout(CONNECTED_WITHIN):
        await asyncio.gather(*map(one, readers))
