"""The hub against a model of the store: each item once, in order, or a resync; nothing for those who have left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from feed.streams import Top
from realtime.live import hub as module
from realtime.live.hub import HELD_LIMIT, RECENT, TYPISTS, Hub, Live, LiveStream, Subscription
from realtime.live.protocol import PostCounts
from tests.unit.realtime.live.fakes import Known, Socket, item, items

EPOCH = "a"
NAME = "me:1"
EVER = float("inf")


class Node:
    """A hub with one stream and a list of the repairs that it asked for."""

    def __init__(self) -> None:
        self.known = Known()
        self.hub = Hub(self.known)
        self.repairs: list[LiveStream] = []
        self.hub.wants_repair = self.repairs.append

    @property
    def stream(self) -> LiveStream:
        return self.hub.streams[NAME]

    def join(self, top: int, socket: Socket | None = None, *, label: str = "me") -> tuple[Socket, Subscription]:
        """A socket whose join is complete at `top`."""
        socket = socket or Socket()
        subscription = self.hub.subscribe(socket, NAME, label)
        self.stream.start(Top(EPOCH, top))
        subscription.open(Top(EPOCH, top))
        return socket, subscription

    def receive(self, *offsets: int, epoch: str = EPOCH, **about: Any) -> None:
        for offset in offsets:
            self.hub.receive(NAME, item(offset, epoch, **about))


@pytest.fixture
def node() -> Node:
    return Node()


# --- contiguity ------------------------------------------------------------------------------------------------------


def test_items_that_follow_each_other_go_out_as_they_come(node: Node) -> None:
    socket, _ = node.join(4)
    node.receive(5, 6, 7)
    assert socket.heard == [5, 6, 7]
    assert socket.frames[0] == {
        "type": "event",
        "stream": "me",
        "offset": 5,
        "event": "post.created",
        "id": "a-5",
    }
    assert node.repairs == []


def test_everyone_on_a_stream_gets_the_very_same_bytes(node: Node) -> None:
    first, _ = node.join(0)
    second, _ = node.join(0)
    node.receive(1)
    assert first.raw[0] is second.raw[0]


def test_what_comes_twice_goes_out_once(node: Node) -> None:
    socket, _ = node.join(0)
    node.receive(1, 1, 2, 1, 2)
    assert socket.heard == [1, 2]
    assert node.repairs == []


def test_an_item_for_a_stream_that_nobody_follows_is_nothing(node: Node) -> None:
    node.receive(1)
    assert node.hub.streams == {}


def test_a_hole_wants_one_repair_and_lets_nothing_later_out(node: Node) -> None:
    socket, _ = node.join(0)
    node.receive(1, 3, 4, 6)
    assert socket.heard == [1]
    assert node.repairs == [node.stream]


def test_a_gap_is_filled_from_the_log_before_anything_later_goes_out(node: Node) -> None:
    socket, _ = node.join(0)
    node.receive(3, 4)
    node.stream.fill([item(1), item(2), item(3)])
    assert socket.heard == [1, 2, 3, 4]
    assert len(node.repairs) == 1


def test_what_comes_during_a_repair_follows_it_in_order(node: Node) -> None:
    socket, _ = node.join(0)
    node.receive(2)
    node.receive(5, 4, 3)
    node.stream.fill([item(1), item(2)])
    assert socket.heard == [1, 2, 3, 4, 5]


def test_a_second_hole_behind_a_filled_one_wants_another_repair(node: Node) -> None:
    socket, _ = node.join(0)
    node.receive(2, 5)
    node.stream.fill([item(1), item(2)])
    assert socket.heard == [1, 2]
    assert len(node.repairs) == 2
    node.stream.fill([item(3), item(4), item(5)])
    assert socket.heard == [1, 2, 3, 4, 5]


def test_a_repair_that_finds_nothing_missing_changes_nothing(node: Node) -> None:
    socket, _ = node.join(3)
    node.stream.want_repair()
    node.stream.want_repair()
    assert len(node.repairs) == 1
    node.stream.fill([])
    node.receive(4)
    assert socket.heard == [4]
    assert len(node.repairs) == 1


def test_a_fill_skips_what_went_out_meanwhile(node: Node) -> None:
    socket, _ = node.join(3)
    node.stream.want_repair()
    node.stream.fill([item(2), item(3), item(4)])
    assert socket.heard == [4]


# --- restart ---------------------------------------------------------------------------------------------------------


def test_what_the_log_cannot_fill_is_a_resync_for_everyone(node: Node) -> None:
    first, _ = node.join(0)
    second, _ = node.join(0)
    node.receive(9)
    node.stream.restart(Top(EPOCH, 9))
    assert first.heard == second.heard == [("resync", EPOCH, 9)]
    node.receive(10)
    assert first.heard[-1] == second.heard[-1] == 10


def test_an_item_of_another_epoch_wants_a_repair_and_does_not_go_out(node: Node) -> None:
    socket, _ = node.join(3)
    node.receive(4, epoch="b")
    assert socket.heard == []
    assert node.repairs == [node.stream]
    node.stream.restart(Top("b", 4))
    node.receive(5, epoch="b")
    assert socket.heard == [("resync", "b", 4), 5]


def test_items_of_the_epoch_that_ended_are_not_taken_for_those_of_the_new_one(node: Node) -> None:
    socket, _ = node.join(3)
    node.receive(5, 6)
    node.stream.restart(Top("b", 4))
    assert socket.heard == [("resync", "b", 4)]


def test_a_fill_from_the_epoch_that_ended_is_not_taken(node: Node) -> None:
    socket, _ = node.join(3)
    node.receive(6)
    node.stream.restart(Top("b", 3))
    node.stream.fill([item(4), item(5), item(6)])
    assert socket.heard == [("resync", "b", 3)]
    node.receive(4, epoch="b")
    assert socket.heard == [("resync", "b", 3), 4]


def test_an_item_of_the_new_epoch_that_overtakes_the_restart_is_not_lost(node: Node) -> None:
    """The store's answer to the repair and the inbox are two connections: either may be read first."""
    socket, _ = node.join(3)
    node.receive(1, epoch="b")  # shows that the epoch has changed
    node.receive(2, epoch="b")  # was appended after the repair had read the top, and is read before its answer
    node.stream.restart(Top("b", 1))
    assert socket.heard == [("resync", "b", 1), 2]


def test_a_connection_that_still_joins_is_not_told_of_a_restart(node: Node) -> None:
    socket = Socket()
    subscription = node.hub.subscribe(socket, NAME, "me")
    node.stream.start(Top(EPOCH, 3))
    node.stream.restart(Top("b", 1))
    assert socket.heard == []
    subscription.open(Top("b", 1))
    node.receive(2, epoch="b")
    assert socket.heard == [2]


def test_a_join_in_the_new_epoch_forgets_what_it_held_of_the_old_one(node: Node) -> None:
    node.join(3)
    joining = Socket()
    subscription = node.hub.subscribe(joining, NAME, "me")
    node.receive(4)
    node.stream.restart(Top("b", 1))
    subscription.open(Top("b", 1))
    assert joining.heard == []
    node.receive(2, epoch="b")
    assert joining.heard == [2]


# --- joining ---------------------------------------------------------------------------------------------------------


def test_items_that_arrive_during_a_join_follow_its_top(node: Node) -> None:
    socket = Socket()
    subscription = node.hub.subscribe(socket, NAME, "me")
    node.receive(4, 5)
    node.stream.start(Top(EPOCH, 3))
    node.receive(6)
    assert socket.heard == []
    subscription.open(Top(EPOCH, 3))
    node.receive(7)
    assert socket.heard == [4, 5, 6, 7]
    assert node.repairs == []


def test_items_that_the_replay_has_told_do_not_come_again(node: Node) -> None:
    socket = Socket()
    subscription = node.hub.subscribe(socket, NAME, "me")
    node.receive(3, 4, 5)
    node.stream.start(Top(EPOCH, 4))
    subscription.open(Top(EPOCH, 4))
    assert socket.heard == [5]


def test_a_second_join_does_not_move_the_hub_past_what_the_first_one_waits_for(node: Node) -> None:
    first, _ = node.join(3)
    second, _ = node.join(7)
    assert node.stream.offset == 3
    node.receive(4, 5, 6, 7, 8)
    assert first.heard == [4, 5, 6, 7, 8]
    assert second.heard == [8]


def test_a_hole_that_opens_while_a_connection_joins_becomes_its_resync(node: Node) -> None:
    node.join(3)
    late = Socket()
    subscription = node.hub.subscribe(late, NAME, "me")
    node.stream.restart(Top(EPOCH, 9))
    node.receive(10)
    subscription.open(Top(EPOCH, 5))
    node.receive(11)
    assert late.heard == [("resync", EPOCH, 10), 11]


def test_what_a_stream_holds_is_bounded_and_the_newest_stay(node: Node) -> None:
    socket, _ = node.join(0)
    last = HELD_LIMIT + 100
    node.receive(*range(2, last + 1))
    missing = [item(offset) for offset in range(1, last - HELD_LIMIT + 1)]
    node.stream.fill(missing)
    assert socket.heard == list(range(1, last + 1))
    assert len(node.repairs) == 1


def test_a_stream_that_overflowed_asks_again_for_what_it_dropped(node: Node) -> None:
    socket, _ = node.join(0)
    last = HELD_LIMIT + 100
    node.receive(*range(2, last + 1))
    node.stream.fill([item(1)])
    assert socket.heard == [1]
    assert len(node.repairs) == 2


def test_what_a_joining_connection_holds_is_bounded_and_the_rest_is_a_resync(node: Node) -> None:
    node.join(0)
    slow = Socket()
    subscription = node.hub.subscribe(slow, NAME, "me")
    last = HELD_LIMIT + 5
    node.receive(*range(1, last + 1))
    subscription.open(Top(EPOCH, 0))
    assert slow.heard == [("resync", EPOCH, 6), *range(7, last + 1)]


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_who_has_left_gets_nothing_and_the_others_go_on(node: Node) -> None:
    gone, subscription = node.join(0)
    stays, _ = node.join(0)
    node.hub.unsubscribe(subscription)
    node.receive(1)
    assert gone.heard == []
    assert stays.heard == [1]


def test_a_connection_that_leaves_while_items_are_held_gets_none_of_them(node: Node) -> None:
    gone, subscription = node.join(0)
    stays, _ = node.join(0)
    node.receive(2)
    node.hub.unsubscribe(subscription)
    node.stream.fill([item(1)])
    assert gone.heard == []
    assert stays.heard == [1, 2]


def test_a_stream_that_nobody_follows_stays_for_a_while_and_then_goes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(module, "time", now)
    _, first = node.join(0)
    _, second = node.join(0)
    node.hub.unsubscribe(first)
    assert node.stream.idle_since is None
    node.hub.unsubscribe(second)
    now.monotonic = lambda: 200.0
    node.hub.unsubscribe(second)
    assert node.stream.idle_since == 100.0
    assert node.hub.drop_idle(99.9) == []
    assert node.hub.drop_idle(100.0) == [NAME]
    assert node.hub.streams == {}


def test_an_idle_stream_goes_on_and_serves_whoever_comes_back(node: Node) -> None:
    _, only = node.join(0)
    node.hub.unsubscribe(only)
    node.receive(1, 2)
    assert node.stream.offset == 2
    back = node.hub.subscribe(Socket(), NAME, "me")
    assert back.stream is node.stream
    assert node.hub.drop_idle(EVER) == []


def test_leaving_an_earlier_stream_does_not_end_the_one_that_took_its_name(node: Node) -> None:
    _, old = node.join(0)
    node.hub.unsubscribe(old)
    node.hub.drop_idle(EVER)
    fresh, _ = node.join(5)
    node.hub.unsubscribe(old)
    node.receive(6)
    assert fresh.heard == [6]
    assert node.hub.drop_idle(EVER) == []


def test_a_receiver_that_leaves_in_the_middle_of_a_delivery_disturbs_nobody(node: Node) -> None:
    class Leaver(Socket):
        def send(self, frame: bytes) -> None:
            super().send(frame)
            node.hub.unsubscribe(subscription)

    leaver = Leaver()
    _, subscription = node.join(0, leaver)
    stays, _ = node.join(0)
    node.receive(1, 2)
    assert leaver.heard == [1]
    assert stays.heard == [1, 2]


def test_connections_are_known_by_their_user_until_the_last_one_goes(node: Node) -> None:
    first, second = Socket(7), Socket(7)
    node.hub.connect(first)
    node.hub.connect(second)
    assert node.hub.by_user == {7: {first, second}}
    node.hub.disconnect(first)
    assert node.hub.by_user == {7: {second}}
    node.hub.disconnect(second)
    node.hub.disconnect(second)
    assert (node.hub.by_user, node.hub.receivers) == ({}, set())


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_who_must_not_hear_of_an_actor_gets_a_skip_and_keeps_the_position(node: Node) -> None:
    separated, other = Socket(), Socket()
    node.hub.deny(separated, {66})
    node.join(0, separated)
    node.join(0, other)
    for offset, actor in ((1, 66), (2, 7), (3, 0)):
        node.receive(offset, actor=actor)
    assert separated.heard == [("skip", 1, 1), 2, 3]
    assert other.heard == [1, 2, 3]


def test_a_block_that_comes_while_a_stream_is_open_counts_from_its_next_item(node: Node) -> None:
    socket, _ = node.join(0)
    node.receive(1, actor=66)
    node.hub.deny(socket, {66})
    node.receive(2, actor=66)
    node.hub.deny(socket, frozenset())
    node.receive(3, actor=66)
    assert socket.heard == [1, ("skip", 2, 2), 3]


@pytest.mark.parametrize("kind", ["post.deleted", "post.hidden", "author.hidden", "comment.deleted"])
def test_what_only_tells_to_forget_passes_a_block_a_parting_and_an_ended_account(node: Node, kind: str) -> None:
    socket, _ = node.join(0)
    node.hub.deny(socket, {66})
    node.known.part(1, 66)
    node.known.gone = {66}
    node.known.hidden[5] = 9
    node.receive(1, actor=66, kind=kind)
    assert socket.heard == [1]


def test_nobody_hears_the_typing_of_whom_a_block_separates(node: Node) -> None:
    socket, other = Socket(2), Socket(3)
    node.join(0, socket)
    node.join(0, other)
    node.hub.deny(socket, {66})
    node.hub.type(NAME, 66)
    node.hub.tell_typing()
    assert (socket.writers, other.writers) == ([], ["66"])


def test_a_connection_that_goes_leaves_no_memory_of_its_blocks(node: Node) -> None:
    socket = Socket()
    node.hub.connect(socket)
    node.hub.deny(socket, {66, 67})
    node.hub.deny(socket, {67})
    assert node.hub.denied == {67: {socket}}
    node.hub.disconnect(socket)
    assert node.hub.denied == {}


# --- counts and typing -----------------------------------------------------------------------------------------------


def test_only_newer_counts_are_told_and_only_to_who_watches(node: Node) -> None:
    watching, other = Socket(), Socket()
    node.hub.watch(watching, {5}, set())
    node.hub.watch(other, {6}, set())
    node.hub.set_counts(5, PostCounts(2, 10, 0, 0))
    node.hub.set_counts(5, PostCounts(2, 10, 0, 0))
    node.hub.set_counts(5, PostCounts(1, 9, 0, 0))
    node.hub.set_counts(7, PostCounts(1, 1, 0, 0))
    assert watching.changed == [5]
    assert other.changed == []
    assert node.hub.counts == {5: PostCounts(2, 10, 0, 0)}


def test_a_new_watch_replaces_the_earlier_one_and_the_last_watcher_frees_the_memory(node: Node) -> None:
    socket = Socket()
    node.hub.watch(socket, {5, 6}, set())
    node.hub.set_counts(5, PostCounts(1, 1, 0, 0))
    node.hub.watch(socket, {6}, {5, 6})
    node.hub.set_counts(5, PostCounts(2, 2, 0, 0))
    assert socket.changed == [5]
    assert (set(node.hub.watchers), node.hub.counts) == ({6}, {})


def test_typing_is_told_once_to_those_who_follow_but_not_to_the_writer(node: Node) -> None:
    writer, reader = Socket(1), Socket(2)
    for socket in (writer, reader):
        subscription = node.hub.subscribe(socket, "post:5", "post:5")
        subscription.stream.start(Top(EPOCH, 0))
        subscription.open(Top(EPOCH, 0))
    joining = Socket(3)
    node.hub.subscribe(joining, "post:5", "post:5")
    node.hub.type("post:5", 1)
    node.hub.type("post:5", 1)
    node.hub.type("post:6", 1)
    assert reader.volatile == []
    node.hub.tell_typing()
    node.hub.tell_typing()
    assert [socket.writers for socket in (writer, reader, joining)] == [[], ["1"], []]
    assert reader.raw == []


def test_a_crowd_that_types_is_told_as_a_few_in_every_tick(node: Node) -> None:
    reader, _ = node.join(0, Socket(2))
    for tick in (1, 2):
        for user_id in range(100, 110):
            node.hub.type(NAME, user_id)
        node.hub.tell_typing()
        assert len(reader.volatile) == tick * TYPISTS


def test_typing_on_a_post_that_everybody_left_meanwhile_is_told_to_nobody(node: Node) -> None:
    _, only = node.join(0)
    node.hub.type(NAME, 66)
    node.hub.unsubscribe(only)
    node.hub.drop_idle(EVER)
    node.hub.tell_typing()
    fresh, _ = node.join(0)
    node.hub.tell_typing()
    assert fresh.volatile == []


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_a_post_of_somebody_parted_is_a_resync_on_the_own_stream(node: Node) -> None:
    socket, _ = node.join(0, Socket(1))
    other, _ = node.join(0, Socket(2))
    node.known.part(1, 66)
    node.receive(1, 2, actor=66)
    node.receive(3)
    assert socket.heard == [("resync", EPOCH, 1), ("resync", EPOCH, 2), 3]
    assert other.heard == [1, 2, 3]


@pytest.mark.parametrize("kind", ["comment.created", "friend.requested", "friend.accepted", "friend.removed"])
def test_other_items_of_somebody_parted_pass_on_the_own_stream(node: Node, kind: str) -> None:
    socket, _ = node.join(0, Socket(1))
    node.known.part(1, 66)
    node.receive(1, actor=66, kind=kind)
    assert socket.heard == [1]


def test_a_post_of_somebody_parted_passes_on_the_stream_of_the_post(node: Node) -> None:
    """Whoever may not follow it any more is taken from it (`live.rights`); a public post is still for both."""
    socket, _ = node.join(0, Socket(1), label="post:5")
    node.known.part(1, 66)
    node.receive(1, actor=66, kind="post.edited")
    assert socket.heard == [1]


@pytest.mark.parametrize("label", ["me", "post:5"])
def test_an_item_of_an_account_that_ended_is_a_resync_for_everybody(node: Node, label: str) -> None:
    one, _ = node.join(0, Socket(1), label=label)
    other, _ = node.join(0, Socket(2), label=label)
    node.known.gone = {66}
    node.receive(1, actor=66)
    node.receive(2)
    assert one.heard == other.heard == [("resync", EPOCH, 1), 2]


@pytest.mark.parametrize("kind", ["post.created", "post.edited", "comment.created", "comment.edited"])
def test_what_is_told_as_it_was_before_it_was_hidden_is_a_resync(node: Node, kind: str) -> None:
    socket, _ = node.join(0)
    node.known.hidden[5] = 3
    node.receive(1, kind=kind, version=2)
    node.receive(2, kind=kind, version=3)
    assert socket.heard == [("resync", EPOCH, 1), 2]


def test_a_block_is_a_skip_also_for_whom_everybody_else_resyncs(node: Node) -> None:
    """The blocked reader must not be told that there was something."""
    separated, other = Socket(1), Socket(2)
    node.join(0, separated)
    node.join(0, other)
    node.hub.deny(separated, {66})
    node.known.part(1, 66)
    node.known.gone = {66}
    node.receive(1, actor=66)
    assert separated.heard == [("skip", 1, 1)]
    assert other.heard == [("resync", EPOCH, 1)]


def test_a_verdict_that_comes_while_items_are_held_still_counts(node: Node) -> None:
    socket, _ = node.join(0, Socket(1))
    node.receive(2, actor=66)
    node.known.part(1, 66)
    node.stream.fill(items([1]))
    assert socket.heard == [1, ("resync", EPOCH, 2)]


# --- slow readers ----------------------------------------------------------------------------------------------------


def test_a_lagging_receiver_gets_nothing_and_its_position_goes_on(node: Node) -> None:
    socket, subscription = node.join(0)
    node.receive(1)
    socket.lagging = True
    node.receive(2, 3)
    node.known.gone = {66}
    node.receive(4, actor=66)
    assert socket.heard == [1]
    assert (subscription.epoch, subscription.offset) == (EPOCH, 4)
    node.stream.restart(Top("b", 2))
    assert socket.heard == [1]
    assert (subscription.epoch, subscription.offset) == ("b", 2)
    socket.lagging = False
    node.receive(3, epoch="b")
    assert socket.heard == [1, 3]


# --- the newest items ------------------------------------------------------------------------------------------------


def offsets(found: list[Live] | None) -> list[int] | None:
    return None if found is None else [live.offset for live in found]


def test_the_newest_items_are_told_from_any_position_that_they_reach(node: Node) -> None:
    node.join(3)
    node.receive(4, 5, 6)
    assert offsets(node.stream.since(EPOCH, 3)) == [4, 5, 6]
    assert offsets(node.stream.since(EPOCH, 5)) == [6]
    assert node.stream.since(EPOCH, 6) == []
    assert node.stream.since(EPOCH, 2) is None
    assert node.stream.since(EPOCH, 7) is None
    assert node.stream.since("b", 5) is None


def test_a_stream_that_does_not_know_where_it_stands_has_no_newest_items(node: Node) -> None:
    node.hub.subscribe(Socket(), NAME, "me")
    assert node.stream.since("", 0) is None


def test_the_newest_items_are_bounded(node: Node) -> None:
    node.join(0)
    node.receive(*range(1, RECENT + 11))
    assert offsets(node.stream.since(EPOCH, 10)) == list(range(11, RECENT + 11))
    assert node.stream.since(EPOCH, 9) is None


def test_items_of_a_repair_are_among_the_newest_and_those_of_another_epoch_are_not(node: Node) -> None:
    node.join(0)
    node.receive(3)
    node.stream.fill(items([1, 2]))
    assert offsets(node.stream.since(EPOCH, 0)) == [1, 2, 3]
    node.stream.restart(Top("b", 2))
    assert node.stream.since(EPOCH, 0) is None
    assert node.stream.since("b", 1) is None
    assert node.stream.since("b", 2) == []


def test_items_that_were_read_from_the_log_are_remembered_where_they_join_up(node: Node) -> None:
    node.join(10)
    node.receive(11)
    node.stream.remember(items(range(5, 9)))  # a hole at 9 and 10
    assert node.stream.since(EPOCH, 4) is None
    node.stream.remember(items(range(6, 12), "b"))
    assert node.stream.since(EPOCH, 5) is None
    node.stream.remember(items(range(8, 12)))
    assert offsets(node.stream.since(EPOCH, 7)) == [8, 9, 10, 11]
    node.stream.remember(items(range(6, 8)))
    assert offsets(node.stream.since(EPOCH, 5)) == [6, 7, 8, 9, 10, 11]
    node.stream.remember([])
    assert offsets(node.stream.since(EPOCH, 9)) == [10, 11]


def test_a_log_that_was_read_beyond_what_went_out_here_is_not_remembered_out_of_turn(node: Node) -> None:
    """The store may be ahead of the inbox: what is remembered must end where the stream stands."""
    socket, _ = node.join(3)
    node.stream.remember(items([2, 3, 4, 5]))
    assert offsets(node.stream.since(EPOCH, 1)) == [2, 3]
    node.receive(4)
    assert socket.heard == [4]
    assert offsets(node.stream.since(EPOCH, 1)) == [2, 3, 4]


# --- any order -------------------------------------------------------------------------------------------------------


class Follower:
    """A connection and the position that the contract lets it count."""

    def __init__(self, node: Node) -> None:
        self.socket = Socket()
        self.subscription = node.hub.subscribe(self.socket, NAME, "me")
        self.joined: Top | None = None
        self.read = 0
        self.epoch, self.offset = "", 0

    def check(self) -> None:
        """Every event is the next one of its epoch; anything else must be a resync."""
        for frame in self.socket.frames[self.read :]:
            if frame["type"] == "event":
                assert frame["offset"] == self.offset + 1
                assert frame["id"] == f"{self.epoch}-{frame['offset']}"
            else:
                assert frame["type"] == "resync"
                self.epoch = frame["epoch"]
            self.offset = frame["offset"]
        self.read = len(self.socket.raw)


class AnyOrder(RuleBasedStateMachine):
    """A store whose messages are lost, repeated and reordered, whose log is trimmed, and which goes back in time."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()
        self.epoch, self.top, self.trimmed = EPOCH, 0, 0
        self.epochs = 0
        self.on_the_way: list[Live] = []
        self.answers: list[tuple[LiveStream, Top, list[Live] | None]] = []
        self.followers: list[Follower] = []

    # the store

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.top += 1
            if self.node.hub.streams:
                self.on_the_way.append(item(self.top, self.epoch))

    @rule()
    def trim(self) -> None:
        self.trimmed = self.top

    @rule()
    def go_back_in_time(self) -> None:
        self.epochs += 1
        self.epoch, self.top, self.trimmed = f"e{self.epochs}", 0, 0

    # the way

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        index = data.draw(st.integers(0, len(self.on_the_way) - 1))
        self.node.hub.receive(NAME, self.on_the_way[index])
        if not keep:
            del self.on_the_way[index]

    @precondition(lambda self: self.on_the_way)
    @rule()
    def deliver_all_in_order(self) -> None:
        for live in self.on_the_way:
            self.node.hub.receive(NAME, live)
        self.on_the_way.clear()

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.on_the_way[data.draw(st.integers(0, len(self.on_the_way) - 1))]

    # the node, as `live.inbox` and `live.joining` drive it

    @rule()
    def begin_to_join(self) -> None:
        self.followers.append(Follower(self.node))

    @rule(ask=st.booleans())
    def ask_where_the_stream_stands(self, ask: bool = True) -> None:
        """The store is asked, or a view that is open answers by itself."""
        for follower in self.followers:
            if follower.joined is None:
                stream = follower.subscription.stream
                if not ask and stream.top_known and not stream.repairing:
                    follower.joined = Top(stream.epoch, stream.offset)
                    return
                follower.joined = Top(self.epoch, self.top)
                stream.start(follower.joined)
                if stream.epoch != follower.joined.epoch:
                    stream.restart(follower.joined)
                return

    @rule()
    def forget_what_is_idle(self) -> None:
        self.node.hub.drop_idle(EVER)

    @rule()
    def open(self) -> None:
        for follower in self.followers:
            if follower.joined is not None and not follower.subscription.opened:
                follower.epoch, follower.offset = follower.joined.epoch, follower.joined.offset
                follower.subscription.open(follower.joined)
                return

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        follower = self.followers.pop(data.draw(st.integers(0, len(self.followers) - 1)))
        self.node.hub.unsubscribe(follower.subscription)
        follower.check()

    @precondition(lambda self: self.node.repairs)
    @rule()
    def read_the_log(self) -> None:
        """The store answers a repair now; the node hears the answer later."""
        stream = self.node.repairs.pop(0)
        bridged = stream.epoch == self.epoch and self.trimmed <= stream.offset <= self.top
        found = [item(offset, self.epoch) for offset in range(stream.offset + 1, self.top + 1)] if bridged else None
        self.answers.append((stream, Top(self.epoch, self.top), found))

    @precondition(lambda self: self.answers)
    @rule()
    def hear_the_answer(self) -> None:
        stream, top, found = self.answers.pop(0)
        if found is None:
            stream.restart(top)
        else:
            stream.fill(found)

    @rule()
    def compare_with_the_store(self) -> None:
        stream = self.node.hub.streams.get(NAME)
        if stream is not None and stream.top_known and (stream.epoch, stream.offset) != (self.epoch, self.top):
            stream.want_repair()

    @invariant()
    def every_frame_is_the_next_item_or_a_resync(self) -> None:
        for follower in self.followers:
            follower.check()

    @invariant()
    def the_newest_items_end_where_the_stream_stands(self) -> None:
        for stream in self.node.hub.streams.values():
            kept = [(live.epoch, live.offset) for live in stream.recent]
            assert kept == [(stream.epoch, stream.offset - back) for back in reversed(range(len(kept)))]

    def teardown(self) -> None:
        """Once the watchdog has compared and one more item has come, nobody is behind."""
        for _ in self.followers:
            self.ask_where_the_stream_stands()
            self.open()
        self.on_the_way.clear()
        for _ in range(2):
            self.compare_with_the_store()
            while self.node.repairs or self.answers:
                if self.answers:
                    self.hear_the_answer()
                else:
                    self.read_the_log()
            self.append(1)
            self.deliver_all_in_order()
        self.every_frame_is_the_next_item_or_a_resync()
        for follower in self.followers:
            assert (follower.epoch, follower.offset) == (self.epoch, self.top)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, database=None)
