"""The inbox between a store that the test plays and a real hub: messages in, repairs out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest_asyncio
from structlog.testing import capture_logs

from db.errors import StoreUnavailable
from feed.background import Background
from feed.streams import Item, Reading, Top
from realtime.live import inbox as module
from realtime.live.hub import Hub
from realtime.live.inbox import Inbox
from realtime.live.protocol import PostCounts

NAME = "me:1"


def body(epoch: str, offset: int) -> bytes:
    return b'{"event":"post.created","id":"%b-%d"}' % (epoch.encode(), offset)


class Log:
    """One stream of a store; `meanwhile` happens while a repair waits for its payloads."""

    window = 3600.0

    def __init__(self) -> None:
        self.epoch, self.items = "a", 0
        self.hidden: set[int] = set()
        self.failures = 0
        self.left: list[str] = []
        self.counted: list[str] = []
        self.reads = 0
        self.meanwhile: Callable[[], Any] | None = None

    async def join(self, _stream: str, _node: str = "") -> Top:
        return Top(self.epoch, self.items)

    async def read(self, _stream: str, epoch: str, offset: int, _upto: int = 0) -> Reading:
        self.reads += 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("redis", "gone")
        if epoch != self.epoch:
            return Reading(Top(self.epoch, self.items), None)
        found = [Item(n, f"{epoch}-{n}", "post.created", 1, 1, 1) for n in range(offset + 1, self.items + 1)]
        return Reading(Top(self.epoch, self.items), found)

    async def payloads(self, event_ids: Sequence[str]) -> list[bytes | None]:
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        found: list[bytes | None] = []
        for event_id in event_ids:
            epoch, _, offset = event_id.partition("-")
            found.append(None if int(offset) in self.hidden else body(epoch, int(offset)))
        return found

    async def touch(self, fields: Sequence[tuple[str, str]]) -> dict[str, Top | None]:
        return {name: Top(self.epoch, self.items) for name, _ in fields}

    async def leave(self, fields: Sequence[tuple[str, str]]) -> None:
        self.left.extend(name for name, _ in fields)

    async def want_counts(self, stream: str, _node: str) -> None:
        self.counted.append(stream)


class Socket:
    def __init__(self) -> None:
        self.user_id = 1
        self.denied: set[int] = set()
        self.raw: list[bytes] = []
        self.changed: list[int] = []

    def send(self, frame: bytes) -> None:
        self.raw.append(frame)

    def counts_changed(self, post_id: int) -> None:
        self.changed.append(post_id)

    @property
    def heard(self) -> list[Any]:
        frames = [json.loads(frame[frame.index(b"{") :]) for frame in self.raw]
        return [
            frame["id"] if frame["type"] == "event" else (frame["type"], frame["epoch"], frame["offset"])
            for frame in frames
        ]


class Node:
    """A hub with its inbox and the sockets on one stream."""

    def __init__(self, background: Background) -> None:
        self.log = Log()
        self.hub = Hub()
        self.inbox = Inbox(None, self.log, self.hub, background, check=1.0)  # type: ignore[arg-type]

    async def join(self) -> Socket:
        socket = Socket()
        subscription = self.hub.subscribe(socket, NAME, "me")
        subscription.open(await self.inbox.join(subscription.stream))
        return socket

    def hear(self, *offsets: int, epoch: str = "a") -> None:
        for offset in offsets:
            head = f"item\n{epoch}-{offset}\npost.created 1 1 1\n{NAME} {epoch} {offset}\n\n"
            self.inbox._take(head.encode() + body(epoch, offset))


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    background = Background()
    with capture_logs():
        yield Node(background)
        await background.stop()


async def settle() -> None:
    """Lets every task run until it waits for time."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_message_reaches_every_stream_that_it_names(node: Node) -> None:
    here, there = Socket(), Socket()
    for socket, name in ((here, "me:1"), (there, "post:5")):
        subscription = node.hub.subscribe(socket, name, name)
        subscription.open(await node.inbox.join(subscription.stream))
    text = b'{"event":"x","id":"o1","data":"a line\\n\\nand another"}'
    node.inbox._take(b"item\no1\nx 1 1 1\nme:1 a 1\npost:5 a 1\nme:9 a 4\n\n" + text)
    assert here.heard == there.heard == ["o1"]


async def test_a_hole_is_read_from_the_log(node: Node) -> None:
    socket = await node.join()
    node.log.items = 4
    node.hear(3, 4)
    await settle()
    assert socket.heard == ["a-1", "a-2", "a-3", "a-4"]
    assert node.log.reads == 1


async def test_a_hole_that_the_log_cannot_fill_is_one_resync_and_no_loop(node: Node) -> None:
    socket = await node.join()
    node.log.epoch, node.log.items = "b", 7
    node.hear(3)
    await settle()
    assert socket.heard == [("resync", "b", 7)]
    assert node.log.reads == 1


async def test_an_item_without_its_payload_is_a_resync_for_everyone(node: Node) -> None:
    socket = await node.join()
    node.log.items, node.log.hidden = 3, {2}
    node.hear(3)
    await settle()
    assert socket.heard == [("resync", "a", 3)]


async def test_a_repair_waits_for_a_store_that_does_not_answer(node: Node, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "REPAIR_PAUSE", 0.0)
    socket = await node.join()
    node.log.items, node.log.failures = 2, 2
    node.hear(2)
    await settle()
    assert socket.heard == ["a-1", "a-2"]
    assert node.log.reads == 3


async def test_what_a_deaf_inbox_missed_is_found_by_the_check(node: Node) -> None:
    socket = await node.join()
    node.log.items = 2
    await node.inbox.check()
    await settle()
    assert socket.heard == ["a-1", "a-2"]


async def test_a_repair_of_the_epoch_that_ended_meanwhile_tells_none_of_its_items(node: Node) -> None:
    """Items of the old epoch must not pass for those of the new one that stand at the same offsets."""
    socket = await node.join()
    node.log.items = 2

    async def the_store_goes_back_in_time() -> None:
        node.log.epoch, node.log.items = "b", 0
        await node.join()

    node.log.meanwhile = the_store_goes_back_in_time
    node.hear(2)
    await settle()
    assert socket.heard == [("resync", "b", 0)]


async def test_a_stream_that_is_taken_up_again_is_not_left(node: Node, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LEAVE_AFTER", 0.0)
    first = node.hub.subscribe(Socket(), NAME, "me")
    await node.inbox.join(first.stream)
    node.hub.unsubscribe(first)
    await node.join()
    await settle()
    assert node.log.left == []


async def test_a_stream_that_nobody_takes_up_again_is_left(node: Node, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LEAVE_AFTER", 0.0)
    only = node.hub.subscribe(Socket(), NAME, "me")
    await node.inbox.join(only.stream)
    node.hub.unsubscribe(only)
    await settle()
    assert node.log.left == [NAME]


async def test_counts_reach_the_watchers_and_are_asked_for_once(node: Node) -> None:
    socket = Socket()
    await node.inbox.watch({5, 6})
    node.hub.watch(socket, {5, 6}, set())
    await node.inbox.watch({5})
    node.inbox._take(b'counts\n{"5":{"version":2,"likes":3,"comments":0,"shares":0}}')
    assert sorted(node.log.counted) == ["post:5", "post:6"]
    assert (socket.changed, node.hub.counts) == ([5], {5: PostCounts(2, 3, 0, 0)})


async def test_what_only_tells_to_forget_passes_a_block_and_nothing_else_does(node: Node) -> None:
    socket = await node.join()
    node.hub.deny(socket, {66})
    stream = node.hub.streams[NAME]
    for offset, kind in ((1, "post.created"), (2, "author.hidden"), (3, "comment.created"), (4, "post.deleted")):
        assert stream.offset == offset - 1
        text = f"item\na-{offset}\n{kind} 66 1 1\n{NAME} a {offset}\n\n"
        node.inbox._take(text.encode() + body("a", offset))
    kinds = [json.loads(frame[frame.index(b"{") :])["type"] for frame in socket.raw]
    assert kinds == ["skip", "event", "skip", "event"]


async def test_partings_and_narrowed_posts_reach_their_owners(node: Node) -> None:
    told: list[Any] = []
    node.inbox.on_parted = told.append
    node.inbox.on_narrowed = told.append
    node.inbox._control(b'{"v":1,"parted":[3,4]}')
    node.inbox._control(b'{"v":1,"narrowed":9}')
    assert told == [{3, 4}, 9]


async def test_a_sign_out_reaches_its_owner_and_other_orders_are_for_later_releases(node: Node) -> None:
    told: list[tuple[int, set[int]]] = []
    node.inbox.on_signed_out = lambda user, sessions: told.append((user, sessions))
    node.inbox._control(b'{"v":1,"signed_out":{"user":7,"sessions":[1,2]}}')
    node.inbox._control(b'{"v":2,"dance":true}')
    node.inbox._take(b"dance\n1")
    assert told == [(7, {1, 2})]
