"""One connection between the hub and its sender: what waits, what is replaced, what is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from feed.streams import Item, Top
from realtime.live import protocol
from realtime.live.connection import MOST_PRESENCE, TAKE_WITHIN, Connection
from realtime.live.hub import Hub, Offer, Subscription
from realtime.live.protocol import PostCounts, websocket_frame
from realtime.live.sender import CAUGHT_UP, CONGESTED, LAGGING, LIMIT, LOOK
from tests.unit.realtime.live.fakes import Known, Wire, item
from tests.unit.realtime.live.virtual_time import VirtualLoop

ITEM = b'{"type":"event","stream":"me","offset":%d}'


class Peer:
    """A connection on virtual time; `said` is what has left, one after the other."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.wire = Wire()
        self.connection: Connection = self.loop.do(self._make())
        self.hub = Hub(Known())

    async def _make(self) -> Connection:
        self.task = asyncio.create_task(asyncio.Event().wait())
        return Connection(self.wire, self.task, ping_seconds=25)  # type: ignore[arg-type]

    def inside(self, deed: Callable[..., None], *args: Any, **more: Any) -> None:
        """Does something on the loop, in another task than the connection's."""

        async def work() -> None:
            deed(*args, **more)

        self.loop.do(work())

    @property
    def said(self) -> list[dict[str, Any]]:
        """What has left since this was last read."""
        self.loop.pass_time(LOOK[1])
        messages, self.wire.messages = self.wire.messages, []
        return messages

    def follow(self, label: str, offset: int, *, opened: bool = True) -> Subscription:
        subscription = self.hub.subscribe(self.connection, label, label)
        subscription.stream.start(Top("a", offset))
        self.connection.subscriptions[label] = subscription
        subscription.epoch, subscription.offset = "a", offset
        if opened:
            subscription.open(Top("a", offset))
        return subscription

    def item(self, number: int, *, size: int = 0) -> None:
        self.connection.send(websocket_frame(ITEM % number + b" " * size), item(number).item)

    def lag(self) -> None:
        """The reader takes nothing until too much waits."""
        self.wire.stall(CONGESTED + 1)
        for number in range((LAGGING - CONGESTED) // 1024 + 1):
            self.item(number, size=1024)
        self.loop.pass_time(LOOK[0])
        assert self.connection.lagging


def every(_item: Item) -> bool:
    return True


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.loop.finish()


# --- what waits ------------------------------------------------------------------------------------------------------


def test_watched_counts_leave_once_and_only_their_latest_values(peer: Peer) -> None:
    peer.connection.watched = {5, 6, 7}
    peer.connection.tell_counts()
    counts = {5: PostCounts(1, 1, 0, 0), 6: PostCounts(1, 2, 0, 0), 9: PostCounts(1, 3, 0, 0)}
    peer.connection.flush_volatile(counts)
    [told] = peer.said
    assert set(told["posts"]) == {"5", "6"}
    peer.connection.flush_volatile(counts)
    assert peer.said == []
    for likes in (4, 5, 6):
        counts[5] = PostCounts(likes, likes, 0, 0)
        peer.connection.counts_changed(5)
    peer.connection.flush_volatile(counts)
    assert peer.said == [{"type": "counts", "posts": {"5": {"version": 6, "likes": 6, "comments": 0, "shares": 0}}}]


def test_a_post_that_is_not_watched_any_more_is_not_told(peer: Peer) -> None:
    peer.connection.watched = {5}
    peer.connection.tell_counts()
    peer.connection.watched = frozenset()
    peer.connection.counts_changed(5)
    peer.connection.flush_volatile({5: PostCounts(1, 1, 0, 0)})
    assert peer.said == []


def test_presence_leaves_as_one_message_of_latest_states(peer: Peer) -> None:
    for user, state in ((7, "online"), (8, "online"), (7, "away"), (7, "offline")):
        peer.connection.presence_changed(user, state)  # type: ignore[arg-type]
    peer.connection.flush_volatile({})
    peer.connection.flush_volatile({})
    assert peer.said == [{"type": "presence", "users": {"7": "offline", "8": "online"}}]


def test_the_presence_that_waits_is_bounded_and_known_friends_are_still_updated(peer: Peer) -> None:
    for user in range(1, MOST_PRESENCE + 10):
        peer.connection.presence_changed(user, "online")
    peer.connection.presence_changed(1, "offline")
    peer.connection.flush_volatile({})
    [told] = peer.said
    assert len(told["users"]) == MOST_PRESENCE
    assert told["users"]["1"] == "offline"


def test_a_slow_reader_gets_counts_and_presence_later_and_only_the_latest(peer: Peer) -> None:
    peer.wire.stall(CONGESTED + 1)
    peer.item(1)
    peer.loop.pass_time(LOOK[0])
    peer.connection.watched = {5}
    peer.connection.tell_counts()
    peer.connection.presence_changed(7, "online")
    peer.connection.send_volatile(websocket_frame(b'{"type":"typing"}'))
    peer.connection.flush_volatile({5: PostCounts(1, 1, 0, 0)})
    assert peer.said == []
    peer.connection.presence_changed(7, "away")
    peer.wire.drain()
    assert [message["type"] for message in peer.said] == ["event"]
    peer.connection.flush_volatile({5: PostCounts(2, 2, 0, 0)})
    counts, presence = peer.said
    assert counts["posts"]["5"]["version"] == 2
    assert presence["users"] == {"7": "away"}


def test_a_reader_who_lags_gets_no_counts_although_its_queue_is_empty(peer: Peer) -> None:
    peer.lag()
    peer.wire.stall(CAUGHT_UP + 1)
    peer.connection.watched = {5}
    peer.connection.tell_counts()
    peer.connection.flush_volatile({5: PostCounts(1, 1, 0, 0)})
    assert peer.said == []


# --- slow readers ----------------------------------------------------------------------------------------------------


def test_a_reader_who_has_caught_up_is_told_where_each_stream_stands_and_the_counts_again(peer: Peer) -> None:
    me = peer.follow("me", 3)
    peer.follow("post:5", 1)
    peer.follow("post:6", 8, opened=False)
    peer.connection.watched = {5}
    peer.connection.tell_counts()
    peer.connection.flush_volatile({5: PostCounts(1, 1, 0, 0)})
    assert len(peer.said) == 1
    peer.lag()
    me.epoch, me.offset = "b", 9  # it went on without this reader
    peer.connection.ping()
    assert peer.said == []
    peer.wire.drain()
    assert peer.said == [
        {"type": "ping", "streams": {}},
        {"type": "resync", "stream": "me", "epoch": "b", "offset": 9},
        {"type": "resync", "stream": "post:5", "epoch": "a", "offset": 1},
    ]
    peer.connection.flush_volatile({5: PostCounts(2, 2, 0, 0)})
    assert [message["type"] for message in peer.said] == ["counts"]


def test_items_that_were_not_sent_yet_are_taken_back_and_a_resync_says_so(peer: Peer) -> None:
    peer.follow("me", 7)
    peer.wire.stall(CONGESTED + 1)
    peer.item(7)
    peer.connection.say(protocol.Unsubscribed(1, "post:9"))
    peer.loop.pass_time(LOOK[0])
    peer.connection.forget_unsent(every)
    peer.wire.drain()
    assert [message["type"] for message in peer.said] == ["unsubscribed", "resync"]


def test_a_reader_who_is_not_behind_keeps_its_items(peer: Peer) -> None:
    peer.follow("me", 7)
    peer.item(7)
    peer.connection.forget_unsent(every)
    assert [message["type"] for message in peer.said] == ["event"]


def test_only_who_waits_for_what_is_concerned_is_told_to_resync(peer: Peer) -> None:
    peer.follow("me", 7)
    peer.wire.stall(CONGESTED + 1)
    peer.item(7)
    peer.loop.pass_time(LOOK[0])
    peer.connection.forget_unsent(lambda item: item.actor == 999)
    peer.wire.drain()
    assert [message["type"] for message in peer.said] == ["event"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_socket_that_does_not_take_what_the_transport_has_is_cut_off(peer: Peer, taken: bool) -> None:
    peer.wire.stall(10)
    peer.connection.sender.written = 10
    peer.inside(peer.connection.forget_unsent, every, cut=True)
    if taken:
        peer.wire.drain()
    peer.loop.pass_time(TAKE_WITHIN * 2)
    assert peer.connection.ending == (None if taken else (protocol.SLOW_READER, None))


def test_the_presence_of_a_person_can_be_taken_back(peer: Peer) -> None:
    peer.connection.presence_changed(5, "online")
    peer.connection.forget_person(5)
    peer.connection.flush_volatile({})
    assert peer.said == []


def test_taking_back_without_items_says_nothing(peer: Peer) -> None:
    peer.follow("me", 7)
    peer.wire.stall(CONGESTED + 1)
    peer.connection.say(protocol.Unsubscribed(1, "post:9"))
    peer.loop.pass_time(LOOK[0])
    peer.connection.forget_unsent(every)
    peer.wire.drain()
    assert [message["type"] for message in peer.said] == ["unsubscribed"]


def test_a_reader_who_is_far_too_slow_is_closed_and_nothing_of_its_queue_stays(peer: Peer) -> None:
    peer.wire.stall(CONGESTED + 1)
    for number in range(LIMIT // 10_000 + 1):
        peer.inside(peer.connection.reply, websocket_frame(ITEM % number + b" " * 10_000))
    peer.loop.pass_time(LOOK[1])
    assert peer.connection.ending == (protocol.SLOW_READER, None)
    assert peer.connection.sender.queued == CONGESTED + 1
    assert peer.task.cancelled()


# --- pings and ends --------------------------------------------------------------------------------------------------


def test_a_ping_tells_the_positions_of_open_streams_behind_their_items(peer: Peer) -> None:
    me = peer.follow("me", 3)
    peer.follow("post:6", 8, opened=False)
    me.offer(Offer("a", 4, websocket_frame(ITEM % 4), item(4).item))
    peer.connection.ping()
    assert peer.said == [msgspec.json.decode(ITEM % 4), {"type": "ping", "streams": {"me": 4}}]


def test_an_end_from_outside_interrupts_the_connections_own_task_once(peer: Peer) -> None:
    peer.inside(peer.connection.end_soon, protocol.TOKEN_EXPIRED)
    peer.inside(peer.connection.end_soon, protocol.DRAINING, reconnect_in_ms=5)
    peer.loop.pass_time(0.01)
    assert peer.task.cancelled()
    assert peer.connection.ending == (protocol.TOKEN_EXPIRED, None)
    assert peer.connection.session.state == "closed"


def test_its_own_task_is_not_interrupted_by_itself(peer: Peer) -> None:
    async def end() -> None:
        task = asyncio.current_task()
        assert task is not None
        peer.connection.task = task
        peer.connection.end_soon(protocol.FAILED)
        await asyncio.sleep(0)

    peer.loop.do(end())
    assert peer.connection.ending == (protocol.FAILED, None)


@pytest.mark.parametrize("wait", [None, 0, 700])
def test_only_who_is_told_when_to_come_back_is_said_bye(peer: Peer, wait: int | None) -> None:
    peer.connection.say_bye()
    peer.inside(peer.connection.end_soon, protocol.DRAINING, reconnect_in_ms=wait)
    peer.connection.say_bye()
    told = [{"type": "bye", "code": 4010, "reconnect_in_ms": wait}] if wait is not None else []
    assert peer.said == told
