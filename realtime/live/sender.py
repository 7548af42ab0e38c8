"""One bounded queue per socket, counted in bytes. All that is queued in a tick leaves in one write.

Frames come prebuilt; nothing here awaits a peer. A socket whose queue is full is told to go (4000): it resumes from
its position, and nobody else has waited for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LIMIT = 256 * 1024  # bytes queued here and in the transport together before a reader is too slow
HIGH_WATER = 64 * 1024  # bytes in the transport above which frames wait here
RETRY = 0.05  # seconds until a full transport is looked at again


class Sender:
    """The outgoing side of one socket. `overflowed` is called once when the reader is too slow."""

    __slots__ = ("_loop", "_overflowed", "_queue", "_scheduled", "_size", "_transport", "closed")

    def __init__(self, transport: asyncio.Transport, overflowed: Callable[[], None]) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._overflowed = overflowed
        self._queue: list[bytes] = []
        self._size = 0
        self._scheduled: asyncio.Handle | None = None
        self.closed = False

    @property
    def queued(self) -> int:
        """Bytes that wait in this process: the queue and the transport's buffer."""
        return self._size + self._transport.get_write_buffer_size()

    def enqueue(self, frame: bytes) -> None:
        """Queues one websocket frame; it leaves at the end of this tick."""
        if self.closed:
            return
        self._queue.append(frame)
        self._size += len(frame)
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._flush)
        elif self._size > LIMIT:
            self._give_up()

    def drain(self) -> None:
        """Hands over whatever is queued, now, and takes nothing more: before a close frame."""
        if not self.closed and self._queue and not self._transport.is_closing():
            self._transport.write(b"".join(self._queue))
        self.close()

    def close(self) -> None:
        """Forgets the queue and takes nothing more."""
        self.closed = True
        self._queue.clear()
        self._size = 0
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _flush(self) -> None:
        self._scheduled = None
        if self.closed or not self._queue:
            return
        if self._transport.is_closing():
            self.close()
            return
        buffered = self._transport.get_write_buffer_size()
        if buffered + self._size > LIMIT:
            self._give_up()
        elif buffered > HIGH_WATER:
            self._scheduled = self._loop.call_later(RETRY, self._flush)
        else:
            self._transport.write(self._queue[0] if len(self._queue) == 1 else b"".join(self._queue))
            self._queue.clear()
            self._size = 0

    def _give_up(self) -> None:
        self.close()
        self._overflowed()
