"""One bounded queue per socket, counted in bytes. All that is queued in a tick leaves in one write.

Frames come prebuilt; nothing here awaits a peer, and nobody waits for a slow one. The ladder, by the bytes that wait
in this process (queue and transport together):

    above CONGESTED   `congested`: counts and presence are held back, only their latest values will leave
    above LAGGING     `lagging`: queued items are dropped, none are taken; once the socket has drained to CAUGHT_UP the
                      owner is told (`caught_up`) and sends `resync`
    above LIMIT, or lagging for LAG_WITHIN   `overflowed`: the owner closes the socket (4000)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from feed.streams import Item

CONGESTED = 64 * 1024  # bytes; also what the transport is given at most before it has drained
LAGGING = 160 * 1024  # bytes; the largest frame (30 KB) and the answers to a client still fit below LIMIT
CAUGHT_UP = 16 * 1024  # bytes
LIMIT = 256 * 1024  # bytes
LAG_WITHIN = 20.0  # seconds; shorter than the wait for a pong, long enough for a train in a tunnel
LOOK = (0.02, 0.5)  # seconds between looks at a full transport: first, and longest while nothing leaves


class Sender:
    """The outgoing side of one socket. `overflowed` is called once when the reader is too slow."""

    __slots__ = (
        "_caught_up",
        "_look",
        "_loop",
        "_overflowed",
        "_queue",
        "_scheduled",
        "_size",
        "_transport",
        "_waiting",
        "closed",
        "drops",
        "lagging_since",
        "written",
    )

    def __init__(
        self, transport: asyncio.Transport, *, caught_up: Callable[[], None], overflowed: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._caught_up = caught_up
        self._overflowed = overflowed
        self._queue: list[tuple[bytes, Item | None]] = []  # frame, and the item that it tells
        self._size = 0
        self._scheduled: asyncio.Handle | None = None
        self._look = LOOK[0]
        self._waiting = 0  # bytes in the transport at the last look
        self.lagging_since: float | None = None
        self.drops = True  # False: nothing queued may be dropped, the ladder has no second step
        self.written = 0  # bytes handed to the transport so far
        self.closed = False

    @property
    def queued(self) -> int:
        """Bytes that wait in this process: the queue and the transport's buffer."""
        return self._size + self._transport.get_write_buffer_size()

    @property
    def congested(self) -> bool:
        """True when what can wait has to."""
        return self._size > 0 and self.queued > CONGESTED

    def enqueue(self, frame: bytes, item: Item | None = None) -> None:
        """Queues one frame; it leaves at the end of this tick. That of an item may be dropped for a resync."""
        if self.closed or (item is not None and self.drops and self.lagging_since is not None):
            return
        self._queue.append((frame, item))
        self._size += len(frame)
        if self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._flush)
        elif self._size + self._waiting > LAGGING:
            self._climb()

    def holds(self, concerns: Callable[[Item], bool]) -> bool:
        """True when an item waits in the queue that this concerns."""
        return any(item is not None and concerns(item) for _, item in self._queue)

    def drop_items(self) -> bool:
        """Takes back every item that has not left yet; True when there was one. The owner resyncs at once."""
        kept = [entry for entry in self._queue if entry[1] is None]
        dropped = len(kept) < len(self._queue)
        self._queue = kept
        self._size = sum(len(frame) for frame, _ in kept)
        return dropped

    def drain(self) -> None:
        """Hands over whatever is queued, now, and takes nothing more: before a close frame."""
        if not self.closed and self._queue and not self._transport.is_closing():
            self._transport.write(b"".join(frame for frame, _ in self._queue))
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
        if self.closed:
            return
        if self._transport.is_closing():
            self.close()
            return
        buffered = self._transport.get_write_buffer_size()
        if self._size and buffered <= CONGESTED:
            self.written += self._size
            queue, self._queue, self._size = self._queue, [], 0
            self._transport.write(queue[0][0] if len(queue) == 1 else b"".join(frame for frame, _ in queue))
            self._look, self._waiting = LOOK[0], 0
            buffered = self._transport.get_write_buffer_size()
        if self.lagging_since is not None and buffered + self._size <= CAUGHT_UP:
            self.lagging_since = None
            self._caught_up()
        if self._size or self.lagging_since is not None:
            self._look_later(buffered)
            self._climb()
        self._waiting = buffered

    def _look_later(self, buffered: int) -> None:
        """The next look comes soon while bytes leave, later and later while none do."""
        self._look = LOOK[0] if buffered < self._waiting else min(self._look * 2, LOOK[1])
        if self._scheduled is None:
            self._scheduled = self._loop.call_later(self._look, self._flush)

    def _climb(self) -> None:
        if self.closed:
            return
        now = self._loop.time()
        if self.queued > LAGGING and self.lagging_since is None:
            self.lagging_since = now
            if self.drops:
                self.drop_items()
        late = self.lagging_since is not None and now - self.lagging_since > LAG_WITHIN
        if late or self.queued > LIMIT:
            self.close()
            self._overflowed()
