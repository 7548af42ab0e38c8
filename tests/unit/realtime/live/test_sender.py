"""One bounded queue per socket, on a transport that the test plays."""

from __future__ import annotations

import asyncio

import pytest

from realtime.live import sender as module
from realtime.live.sender import HIGH_WATER, LIMIT, Sender


class Transport:
    """Keeps every write; `buffered` is what the peer has not taken yet."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.written = asyncio.Event()
        self.buffered = 0
        self.closing = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.written.set()

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.closing


class Peer:
    """A sender with its transport and the number of times that it gave up."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.overflows = 0
        self.sender = Sender(self.transport, self._overflowed)  # type: ignore[arg-type]

    def _overflowed(self) -> None:
        self.overflows += 1


@pytest.fixture
async def peer() -> Peer:
    return Peer()


async def tick() -> None:
    """Lets everything that was called soon run."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_all_frames_of_a_tick_leave_in_one_write_in_their_order(peer: Peer) -> None:
    for frame in (b"a", b"b", b"c"):
        peer.sender.enqueue(frame)
    assert peer.transport.writes == []
    await tick()
    assert peer.transport.writes == [b"abc"]


async def test_every_tick_has_its_own_write(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    await tick()
    peer.sender.enqueue(b"b")
    await tick()
    assert peer.transport.writes == [b"a", b"b"]


async def test_a_single_frame_is_handed_on_without_a_copy(peer: Peer) -> None:
    frame = b"x" * 1000
    peer.sender.enqueue(frame)
    await tick()
    assert peer.transport.writes[0] is frame


async def test_what_waits_is_counted_in_the_queue_and_in_the_transport(peer: Peer) -> None:
    peer.transport.buffered = 7
    peer.sender.enqueue(b"abc")
    assert peer.sender.queued == 10
    await tick()
    assert peer.sender.queued == 7


async def test_a_queue_over_the_limit_gives_up_once_and_writes_nothing(peer: Peer) -> None:
    frame = b"x" * 1024
    for _ in range(LIMIT // 1024 + 10):
        peer.sender.enqueue(frame)
    assert peer.overflows == 1
    assert peer.sender.closed
    assert peer.sender.queued == 0
    await tick()
    assert peer.transport.writes == []
    assert peer.overflows == 1


async def test_a_queue_that_just_fits_leaves_whole(peer: Peer) -> None:
    for _ in range(LIMIT // 1024):
        peer.sender.enqueue(b"x" * 1024)
    await tick()
    assert [len(data) for data in peer.transport.writes] == [LIMIT]
    assert peer.overflows == 0


async def test_queue_and_transport_together_count_against_the_limit(peer: Peer) -> None:
    peer.transport.buffered = LIMIT - 10
    peer.sender.enqueue(b"x" * 11)
    await tick()
    assert peer.overflows == 1
    assert peer.transport.writes == []


async def test_a_single_frame_over_the_limit_gives_up_too(peer: Peer) -> None:
    peer.sender.enqueue(b"x" * (LIMIT + 1))
    await tick()
    assert peer.overflows == 1


async def test_frames_wait_here_while_the_transport_is_full_and_follow_in_order(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.001)
    peer.transport.buffered = HIGH_WATER + 1
    peer.sender.enqueue(b"a")
    await tick()
    peer.sender.enqueue(b"b")
    await asyncio.sleep(0.01)
    assert peer.transport.writes == []
    peer.transport.buffered = 0
    peer.sender.enqueue(b"c")
    async with asyncio.timeout(5):
        await peer.transport.written.wait()
    assert peer.transport.writes == [b"abc"]


async def test_a_transport_at_the_high_water_mark_still_takes_frames(peer: Peer) -> None:
    peer.transport.buffered = HIGH_WATER
    peer.sender.enqueue(b"a")
    await tick()
    assert peer.transport.writes == [b"a"]


async def test_a_stalled_reader_overflows_however_slowly_frames_come(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 60.0)  # the retry never comes: only the queue's own size can notice
    peer.transport.buffered = HIGH_WATER + 1
    for _ in range(LIMIT // 1024 + 1):
        peer.sender.enqueue(b"x" * 1024)
        await tick()
    assert peer.overflows == 1


async def test_nothing_is_taken_after_giving_up(peer: Peer) -> None:
    peer.sender.enqueue(b"x" * (LIMIT + 1))
    await tick()
    peer.sender.enqueue(b"late")
    await tick()
    assert peer.transport.writes == []
    assert peer.sender.queued == 0


async def test_draining_writes_at_once_and_only_once(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.sender.enqueue(b"b")
    peer.sender.drain()
    assert peer.transport.writes == [b"ab"]
    peer.sender.enqueue(b"late")
    peer.sender.drain()
    await tick()
    assert peer.transport.writes == [b"ab"]
    assert peer.sender.closed


async def test_draining_an_empty_queue_writes_nothing(peer: Peer) -> None:
    peer.sender.drain()
    assert peer.transport.writes == []


async def test_a_transport_that_closes_gets_nothing_more(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.transport.closing = True
    await tick()
    assert peer.sender.closed
    assert peer.transport.writes == []
    assert peer.overflows == 0


async def test_draining_into_a_transport_that_closes_writes_nothing(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.transport.closing = True
    peer.sender.drain()
    assert peer.transport.writes == []


async def test_closing_forgets_what_was_queued(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.sender.close()
    await tick()
    assert peer.transport.writes == []
    assert peer.sender.queued == 0
