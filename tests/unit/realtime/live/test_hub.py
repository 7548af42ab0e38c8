"""The hub against a model of the store: each item once, in order, or a resync; nothing for those who have left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from feed.streams import Item, Top
from realtime.live import hub as module
from realtime.live.hub import HELD_LIMIT, RECENT, Live
from tests.unit.realtime.live.fakes import Socket, item, items
from tests.unit.realtime.live.hubs import EPOCH, EVER, NAME, Node


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


@pytest.mark.parametrize("top", [Top(EPOCH, 3), Top("old", 9)])
def test_a_join_that_ends_where_the_stream_is_not_any_more_is_a_resync(node: Node, top: Top) -> None:
    """What lies between was delivered before this one subscribed, or belongs to a life that is over."""
    node.join(5)
    late = Socket()
    subscription = node.hub.subscribe(late, NAME, "me")
    subscription.open(top)
    node.receive(6)
    assert late.heard == [("resync", EPOCH, 5), 6]


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
        def send(self, frame: bytes, item: Item) -> None:
            super().send(frame, item)
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
