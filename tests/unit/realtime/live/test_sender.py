"""One bounded queue per socket and its ladder, on a transport, a loop and a clock that the test plays."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.streams import Item
from realtime.live import sender as module
from realtime.live.sender import CAUGHT_UP, CONGESTED, LAG_WITHIN, LAGGING, LIMIT, LOOK, Sender

LARGEST = 30 * 1024  # bytes of the largest frame
KIB = b"x" * 1024


class Loop:
    """What the sender needs of an event loop; time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks: list[float] = []  # when something that was called later ran
        self._calls: list[tuple[float, int, SimpleNamespace, Callable[[], None]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], None]) -> SimpleNamespace:
        return self.call_later(0.0, call)

    def call_later(self, delay: float, call: Callable[[], None]) -> SimpleNamespace:
        handle = SimpleNamespace(cancelled=False)
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        heapq.heappush(self._calls, (self.now + delay, next(self._order), handle, call))
        return handle

    def tick(self) -> None:
        """The end of this tick: everything that is due runs."""
        self.advance(0.0)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        until = self.now + seconds
        while self._calls and self._calls[0][0] <= until:
            self.now, _, handle, call = heapq.heappop(self._calls)
            if not handle.cancelled:
                self.looks.append(self.now)
                call()
        self.now = until


class Transport:
    """Keeps every write; `buffered` is what the peer has not taken yet, `stalled` that it takes nothing."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.buffered = 0
        self.stalled = False
        self.closing = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        if self.stalled:
            self.buffered += len(data)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.closing


ANY = Item(1, "o1", "post.created", 7, 8, 1)


class Peer:
    """A sender with its transport, its loop, and the number of times that its owner was told something."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.transport = Transport()
        self.overflows = 0
        self.caught_up = 0
        with mock.patch.object(module, "asyncio", SimpleNamespace(get_running_loop=lambda: self.loop)):
            self.sender = Sender(
                self.transport,  # type: ignore[arg-type]
                caught_up=lambda: setattr(self, "caught_up", self.caught_up + 1),
                overflowed=lambda: setattr(self, "overflows", self.overflows + 1),
            )

    def stall(self, buffered: int) -> None:
        """The peer takes nothing; so much waits in the transport."""
        self.transport.buffered, self.transport.stalled = buffered, True

    def drain(self, left: int = 0) -> None:
        """The peer has read, `left` bytes still wait, and the sender has had time to look."""
        self.transport.buffered, self.transport.stalled = left, False
        self.loop.advance(LOOK[1])


@pytest.fixture
def peer() -> Peer:
    return Peer()


# --- one write for a tick --------------------------------------------------------------------------------------------


def test_all_frames_of_a_tick_leave_in_one_write_in_their_order(peer: Peer) -> None:
    for frame, item in ((b"a", True), (b"b", False), (b"c", True)):
        peer.sender.enqueue(frame, ANY if item else None)
    assert peer.transport.writes == []
    peer.loop.tick()
    assert peer.transport.writes == [b"abc"]


def test_every_tick_has_its_own_write(peer: Peer) -> None:
    for frame in (b"a", b"b"):
        peer.sender.enqueue(frame)
        peer.loop.tick()
    assert peer.transport.writes == [b"a", b"b"]


def test_a_single_frame_is_handed_on_without_a_copy(peer: Peer) -> None:
    peer.sender.enqueue(KIB)
    peer.loop.tick()
    assert peer.transport.writes[0] is KIB


def test_nobody_looks_at_a_socket_that_has_nothing_to_wait_for(peer: Peer) -> None:
    peer.sender.enqueue(KIB)
    peer.loop.advance(60.0)
    assert peer.loop.looks == [0.0]


def test_what_waits_is_counted_in_the_queue_and_in_the_transport(peer: Peer) -> None:
    peer.transport.buffered = 7
    peer.sender.enqueue(b"abc")
    assert peer.sender.queued == 10
    peer.loop.tick()
    assert peer.sender.queued == 7


# --- congested -------------------------------------------------------------------------------------------------------


def test_frames_wait_here_while_the_transport_is_full_and_follow_in_order(peer: Peer) -> None:
    peer.stall(CONGESTED + 1)
    peer.sender.enqueue(b"a")
    peer.loop.tick()
    assert peer.sender.congested
    peer.sender.enqueue(b"b")
    peer.loop.advance(1.0)
    assert peer.transport.writes == []
    peer.sender.enqueue(b"c")
    peer.drain(CONGESTED)
    assert peer.transport.writes == [b"abc"]
    assert not peer.sender.congested


def test_a_transport_that_is_just_not_full_still_takes_frames(peer: Peer) -> None:
    peer.stall(CONGESTED)
    peer.sender.enqueue(b"a")
    peer.loop.tick()
    assert peer.transport.writes == [b"a"]


def test_a_full_transport_without_a_queue_is_not_congested_yet(peer: Peer) -> None:
    peer.stall(CONGESTED + 1)
    assert not peer.sender.congested


def test_looks_come_later_and_later_while_nothing_leaves_and_soon_when_something_did(peer: Peer) -> None:
    peer.stall(CONGESTED + 10)
    peer.sender.enqueue(b"a")
    peer.loop.tick()
    peer.loop.advance(6.0)
    pauses = [later - earlier for earlier, later in itertools.pairwise(peer.loop.looks)]
    assert pauses[:4] == pytest.approx([pauses[0] * 2**doubling for doubling in range(4)])
    assert pauses[0] <= 4 * LOOK[0]
    assert pauses[5:] == pytest.approx([LOOK[1]] * len(pauses[5:]))
    assert len(pauses) > 10
    noticed = len(peer.loop.looks)
    peer.transport.buffered -= 5  # still too full, but something has left
    peer.loop.advance(2 * LOOK[1])
    assert peer.loop.looks[noticed + 1] - peer.loop.looks[noticed] == pytest.approx(LOOK[0])


# --- lagging ---------------------------------------------------------------------------------------------------------


def lag(peer: Peer) -> None:
    """A stalled transport and a queue that has just passed the mark."""
    peer.stall(CONGESTED + 1)
    for _ in range((LAGGING - CONGESTED) // len(KIB)):
        peer.sender.enqueue(KIB, ANY)
        peer.loop.tick()
    peer.loop.advance(LOOK[1])


def test_a_reader_that_lags_loses_its_items_and_gets_no_new_ones(peer: Peer) -> None:
    lag(peer)
    assert peer.sender.lagging_since is not None
    assert peer.sender.queued == CONGESTED + 1
    peer.sender.enqueue(b"item", ANY)
    assert peer.sender.queued == CONGESTED + 1
    assert (peer.overflows, peer.caught_up) == (0, 0)


def test_dropping_items_keeps_what_answers_the_client(peer: Peer) -> None:
    peer.stall(CONGESTED + 1)
    for frame, item in ((b"reply", False), (b"item", True), (b"another", False)):
        peer.sender.enqueue(frame, ANY if item else None)
    assert peer.sender.drop_items()
    assert not peer.sender.drop_items()
    assert peer.sender.queued == CONGESTED + 1 + len(b"replyanother")
    peer.drain()
    assert peer.transport.writes == [b"replyanother"]
    assert peer.caught_up == 0  # nobody lagged: whoever dropped them says so


def test_a_reader_has_caught_up_once_and_only_when_little_is_left(peer: Peer) -> None:
    lag(peer)
    peer.drain(CAUGHT_UP + 1)
    assert peer.caught_up == 0
    assert peer.sender.lagging_since is not None
    peer.drain(CAUGHT_UP)
    assert peer.caught_up == 1
    assert peer.sender.lagging_since is None
    peer.sender.enqueue(b"item", ANY)
    peer.loop.advance(5.0)
    assert peer.transport.writes[-1] == b"item"
    assert peer.caught_up == 1


def test_what_is_said_when_a_reader_has_caught_up_follows_the_earlier_replies(peer: Peer) -> None:
    lag(peer)
    peer.sender.enqueue(b"reply")
    peer.sender._caught_up = lambda: peer.sender.enqueue(b"resync")
    peer.drain()
    assert b"".join(peer.transport.writes) == b"replyresync"


def test_a_reader_that_lags_too_long_is_given_up(peer: Peer) -> None:
    lag(peer)
    since = peer.sender.lagging_since
    assert since is not None
    peer.loop.advance(since + LAG_WITHIN - peer.loop.now)
    assert peer.overflows == 0
    peer.loop.advance(2 * LOOK[1])
    assert peer.overflows == 1
    assert peer.sender.closed


def test_a_reader_that_comes_back_in_time_is_not_given_up_later(peer: Peer) -> None:
    lag(peer)
    peer.loop.advance(LAG_WITHIN / 2)
    peer.drain()
    peer.loop.advance(10 * LAG_WITHIN)
    assert (peer.overflows, peer.sender.closed) == (0, False)


# --- overflowed ------------------------------------------------------------------------------------------------------


def test_a_queue_over_the_limit_gives_up_once_and_writes_nothing(peer: Peer) -> None:
    for _ in range(LIMIT // len(KIB) + 10):
        peer.sender.enqueue(KIB)
    assert peer.overflows == 1
    assert peer.sender.closed
    assert peer.sender.queued == 0
    peer.loop.advance(60.0)
    assert peer.transport.writes == []
    assert peer.overflows == 1


def test_a_queue_of_answers_that_just_fits_leaves_whole(peer: Peer) -> None:
    for _ in range(LIMIT // len(KIB)):
        peer.sender.enqueue(KIB)
    peer.loop.tick()
    assert [len(data) for data in peer.transport.writes] == [LIMIT]
    assert peer.overflows == 0


def test_a_burst_of_items_is_dropped_where_as_many_answers_would_stay(peer: Peer) -> None:
    for _ in range(LIMIT // len(KIB)):
        peer.sender.enqueue(KIB, ANY)
    assert peer.overflows == 0
    peer.loop.tick()
    assert peer.transport.writes == []
    assert peer.caught_up == 1


def test_queue_and_transport_together_count_against_the_limit(peer: Peer) -> None:
    peer.stall(LIMIT - 10)
    peer.sender.enqueue(b"x" * 11)
    peer.loop.tick()
    assert peer.overflows == 1
    assert peer.transport.writes == []


def test_answers_to_a_stalled_reader_overflow_however_slowly_they_come(peer: Peer) -> None:
    peer.stall(CONGESTED + 1)
    for _ in range(LIMIT // len(KIB) + 1):
        peer.sender.enqueue(KIB)
        peer.loop.tick()
    peer.loop.advance(LOOK[1])
    assert peer.overflows == 1


def test_nothing_is_taken_after_giving_up(peer: Peer) -> None:
    test_queue_and_transport_together_count_against_the_limit(peer)
    peer.sender.enqueue(b"late")
    peer.loop.tick()
    assert peer.transport.writes == []
    assert peer.sender.queued == peer.transport.buffered


def test_answers_that_follow_a_great_write_count_with_it_at_once(peer: Peer) -> None:
    """The transport took a whole queue and stalled; the next look is half a second away."""
    peer.stall(CONGESTED)
    for _ in range(LAGGING // len(KIB)):
        peer.sender.enqueue(KIB)
    peer.loop.tick()
    assert peer.sender.queued == CONGESTED + LAGGING
    for _ in range(LAGGING // len(KIB)):
        peer.sender.enqueue(KIB)
        peer.loop.tick()
        assert peer.sender.queued <= LIMIT
    assert peer.overflows == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("item"), st.integers(1, LARGEST)),
        st.tuples(st.just("reply"), st.integers(1, LARGEST)),
        st.tuples(st.just("read"), st.integers(0, LIMIT)),
        st.tuples(st.just("time"), st.floats(0.0, 1.0)),
    ),
    max_size=120,
)


@given(STEPS)
def test_no_pattern_of_frames_and_reads_makes_this_process_hold_more_than_the_limit(
    steps: list[tuple[str, float]],
) -> None:
    """Also nothing is reordered or lost but items, and after dropping them the owner is told or the socket closed."""
    peer = Peer()
    peer.transport.stalled = True
    replies: list[bytes] = []
    for number, (kind, amount) in enumerate(steps):
        if kind in ("item", "reply"):
            head = b"%c%06d" % (kind[0].encode(), number)
            frame = head + b"." * int(amount)
            if kind == "reply" and not peer.sender.closed:
                replies.append(head)
            peer.sender.enqueue(frame, ANY if kind == "item" else None)
        elif kind == "read":
            peer.transport.buffered = max(0, peer.transport.buffered - int(amount))
        else:
            peer.loop.advance(amount)
        assert peer.sender.queued <= LIMIT
    peer.drain()
    for _ in range(3):
        peer.drain()
    written = b"".join(peer.transport.writes).replace(b".", b"")
    heads = [written[at : at + 7] for at in range(0, len(written), 7)]
    assert heads == sorted(heads, key=lambda head: head[1:])
    if not peer.sender.closed:
        assert [head for head in heads if head[:1] == b"r"] == replies
        assert peer.sender.lagging_since is None
    assert peer.overflows == peer.sender.closed


# --- the end ---------------------------------------------------------------------------------------------------------


def test_draining_writes_at_once_and_only_once(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.sender.enqueue(b"b")
    peer.sender.drain()
    assert peer.transport.writes == [b"ab"]
    peer.sender.enqueue(b"late")
    peer.sender.drain()
    peer.loop.tick()
    assert peer.transport.writes == [b"ab"]
    assert peer.sender.closed


def test_draining_an_empty_queue_writes_nothing(peer: Peer) -> None:
    peer.sender.drain()
    assert peer.transport.writes == []


def test_a_transport_that_closes_gets_nothing_more(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.transport.closing = True
    peer.loop.tick()
    assert peer.sender.closed
    assert peer.transport.writes == []
    assert peer.overflows == 0


def test_draining_into_a_transport_that_closes_writes_nothing(peer: Peer) -> None:
    peer.sender.enqueue(b"a")
    peer.transport.closing = True
    peer.sender.drain()
    assert peer.transport.writes == []


def test_closing_forgets_what_was_queued(peer: Peer) -> None:
    lag(peer)
    peer.sender.enqueue(b"a")
    peer.sender.close()
    peer.drain()
    peer.loop.advance(2 * LAG_WITHIN)
    assert peer.transport.writes == []
    assert peer.sender.queued == 0
    assert (peer.overflows, peer.caught_up) == (0, 0)
