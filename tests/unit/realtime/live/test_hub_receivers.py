"""What the hub gives to whom: blocks, verdicts, slow readers, counts and typing."""

from __future__ import annotations

import pytest

from feed.streams import Top
from realtime.live.hub import TYPISTS
from realtime.live.protocol import PostCounts
from tests.unit.realtime.live.fakes import Socket, items
from tests.unit.realtime.live.hubs import EPOCH, EVER, NAME, Node


@pytest.fixture
def node() -> Node:
    return Node()


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


@pytest.mark.parametrize("kind", ["comment.created", "comment.edited"])
def test_a_comment_that_has_been_deleted_is_a_skip_for_everybody(node: Node, kind: str) -> None:
    socket, _ = node.join(0)
    node.known.hidden[5] = 3
    node.receive(1, kind=kind, version=2)
    node.receive(2, kind=kind, version=3)
    assert socket.heard == [("skip", 1, 1), 2]


@pytest.mark.parametrize("kind", ["post.created", "post.edited"])
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
