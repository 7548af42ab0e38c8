"""The inbox between a store that the test plays and a real hub: messages in, repairs out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from db import redis as keys
from db.errors import StoreUnavailable
from feed.background import Background
from feed.revocations import Revocation
from feed.streams import Event, Item, Reading, Top
from realtime.live import inbox as module
from realtime.live.hub import Hub, Subscription
from realtime.live.inbox import Bodies, Inbox
from realtime.live.protocol import At, PostCounts
from tests.unit.realtime.live.fakes import Known, Socket, body

NAME = "me:1"


class Log:
    """One stream of a store; `meanwhile` happens while a repair waits for its payloads."""

    window = 3600.0

    def __init__(self) -> None:
        self.epoch, self.items = "a", 0
        self.hidden: set[int] = set()
        self.failures = 0
        self.left: list[str] = []
        self.counted: list[str] = []
        self.joins = 0
        self.reads = 0
        self.asked: list[str] = []
        self.sent: list[Event] = []
        self.meanwhile: Callable[[], Any] | None = None
        self.leaving: asyncio.Event | None = None

    async def join(self, _stream: str, _node: str = "") -> Top:
        self.joins += 1
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
        self.asked.extend(event_ids)
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return [None if int(event_id.partition("-")[2]) in self.hidden else body(event_id) for event_id in event_ids]

    async def touch(self, fields: Sequence[tuple[str, str]]) -> dict[str, Top | None]:
        return {name: Top(self.epoch, self.items) for name, _ in fields}

    async def leave(self, fields: Sequence[tuple[str, str]]) -> None:
        if self.leaving is not None:
            await self.leaving.wait()
        self.left.extend(name for name, _ in fields)

    async def want_counts(self, stream: str, _node: str) -> None:
        self.counted.append(stream)

    async def probe_names(self, node: str) -> list[str]:
        return [f"node:{node}"]

    async def append(self, event: Event, _streams: Sequence[str]) -> int:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("redis", "gone")
        self.sent.append(event)
        return 1


class Node:
    """A hub with its inbox and the sockets on one stream."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.log = Log()
        self.hub = Hub(Known())
        self.inbox = Inbox(None, self.log, self.hub, background, check=1.0)  # type: ignore[arg-type]

    async def follow(self) -> tuple[Socket, Subscription]:
        socket = Socket()
        subscription = self.hub.subscribe(socket, NAME, "me")
        subscription.open(await self.inbox.join(subscription.stream))
        return socket, subscription

    async def join(self) -> Socket:
        return (await self.follow())[0]

    def take(self, message: bytes) -> None:
        """A message on this node's own channel."""
        self.inbox._take(keys.Keys().inbox(0, self.inbox.node), message)

    def hear(self, *offsets: int, epoch: str = "a") -> None:
        for offset in offsets:
            head = f"item\n{epoch}-{offset}\npost.created 1 1 1\n{NAME} {epoch} {offset}\n\n"
            self.take(head.encode() + body(f"{epoch}-{offset}"))


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
    node.take(b"item\no1\nx 1 1 1\nme:1 a 1\npost:5 a 1\nme:9 a 4\n\n" + text)
    assert here.heard == there.heard == [1]
    assert here.frames[0]["data"] == "a line\n\nand another"


async def test_a_hole_is_read_from_the_log(node: Node) -> None:
    socket = await node.join()
    node.log.items = 4
    node.hear(3, 4)
    await settle()
    assert socket.heard == [1, 2, 3, 4]
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
    assert socket.heard == [1, 2]
    assert node.log.reads == 3


async def test_what_a_deaf_inbox_missed_is_found_by_the_check(node: Node) -> None:
    socket = await node.join()
    node.log.items = 2
    await node.inbox.check()
    await settle()
    assert socket.heard == [1, 2]


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


# --- what answers without the store ----------------------------------------------------------------------------------


async def test_a_view_that_is_open_answers_the_next_join_by_itself(node: Node) -> None:
    await node.join()
    node.log.items = 5  # appended, and not heard of yet
    subscription = node.hub.subscribe(Socket(), NAME, "me")
    assert await node.inbox.join(subscription.stream, At("a", 0)) == Top("a", 0)
    assert node.log.joins == 1


@pytest.mark.parametrize("start", [At("a", 1), At("b", 0)])
async def test_a_client_that_has_been_further_than_this_node_has_the_store_asked(node: Node, start: At) -> None:
    await node.join()
    node.log.items = 1
    subscription = node.hub.subscribe(Socket(), NAME, "me")
    assert await node.inbox.join(subscription.stream, start) == Top("a", 1)
    assert node.log.joins == 2


async def test_a_view_under_repair_does_not_answer(node: Node) -> None:
    await node.join()
    node.hub.streams[NAME].repairing = True
    await node.join()
    assert node.log.joins == 2


async def test_a_join_that_finds_another_epoch_restarts_the_view(node: Node) -> None:
    socket = await node.join()
    node.log.epoch, node.log.items = "b", 3
    subscription = node.hub.subscribe(Socket(), NAME, "me")
    assert await node.inbox.join(subscription.stream, At("b", 1)) == Top("b", 3)
    assert socket.heard == [("resync", "b", 3)]


async def test_bodies_that_were_heard_are_not_read_again(node: Node) -> None:
    await node.join()
    node.hear(1, 2)
    node.log.hidden = {4}
    found = await node.inbox.bodies(["a-1", "a-3", "a-4", "a-2"])
    assert found == [body("a-1"), body("a-3"), None, body("a-2")]
    assert node.log.asked == ["a-3", "a-4"]
    await node.inbox.bodies(["a-3"])
    assert node.log.asked == ["a-3", "a-4"]


def test_the_bodies_that_are_kept_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODIES", 100)
    bodies = Bodies()
    for number in range(5):
        bodies.put(str(number), b"x" * 30)
        bodies.put(str(number), b"x" * 30)
    assert [bodies.get(str(number)) is not None for number in range(5)] == [False, False, True, True, True]


# --- leaving ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle streams are left at once, probes are due at once."""
    for name in ("IDLE", "IDLE_EVERY", "PROBE"):
        monkeypatch.setattr(module, name, 0.0)


async def idle(node: Node) -> None:
    """A stream that has been followed, and is not any more."""
    _, subscription = await node.follow()
    node.hub.unsubscribe(subscription)


async def test_a_stream_that_is_taken_up_again_is_not_left(node: Node, quick: None) -> None:
    await idle(node)
    await node.join()
    node.background.spawn("leaving", node.inbox._keep_leaving)
    await settle()
    assert node.log.left == []


async def test_a_stream_that_nobody_takes_up_again_is_left(node: Node, quick: None) -> None:
    await idle(node)
    node.background.spawn("leaving", node.inbox._keep_leaving)
    await settle()
    assert node.log.left == [NAME]
    assert node.hub.streams == {}


async def test_a_join_waits_until_an_earlier_registration_has_been_taken_back(node: Node, quick: None) -> None:
    """Otherwise the leave, on another connection, could reach the store last and make this node deaf."""
    await idle(node)
    node.log.leaving = asyncio.Event()
    node.background.spawn("leaving", node.inbox._keep_leaving)
    await settle()
    joining = asyncio.create_task(node.join())
    await settle()
    assert (node.log.joins, joining.done()) == (1, False)
    node.log.leaving.set()
    await joining
    assert (node.log.joins, node.log.left) == (2, [NAME])


async def test_every_registration_can_be_taken_back_at_once(node: Node) -> None:
    await node.join()
    await node.inbox.watch({5})
    fields = node.inbox.registered()
    assert fields == [(NAME, f"n:{node.inbox.node}"), ("post:5", f"w:{node.inbox.node}")]
    await node.inbox.leave_all(fields)
    assert node.log.left == [NAME, "post:5"]


# --- probes ----------------------------------------------------------------------------------------------------------


async def test_a_probe_that_comes_back_leaves_no_trace(node: Node, quick: None) -> None:
    socket = await node.join()

    async def append(event: Event, streams: Sequence[str]) -> int:
        node.log.sent.append(event)
        [name] = streams
        node.take(f"item\n{event.id}\n{event.reference}\n{name} a 1\n\n".encode() + event.body)
        return 1

    node.log.append = append  # type: ignore[method-assign]
    node.background.spawn("probes", node.inbox._keep_probing)
    await settle()
    assert len(node.log.sent) > 1
    assert not node.inbox._deaf
    assert socket.heard == []


async def test_a_probe_that_does_not_come_back_is_a_deaf_inbox(node: Node, quick: None) -> None:
    node.background.spawn("probes", node.inbox._keep_probing)
    await settle()
    assert node.inbox._deaf


async def test_a_subscription_that_began_after_the_probe_is_not_judged_by_it(node: Node, quick: None) -> None:
    node.inbox._since = float("inf")
    node.background.spawn("probes", node.inbox._keep_probing)
    await settle()
    assert not node.inbox._deaf


async def test_a_store_that_was_away_is_followed_by_a_check(node: Node, quick: None) -> None:
    socket = await node.join()
    node.log.items, node.log.failures = 2, 1
    node.background.spawn("probes", node.inbox._keep_probing)
    await settle()
    assert socket.heard == [1, 2]


async def test_a_deaf_inbox_subscribes_anew(node: Node) -> None:
    class Silence:
        async def next(self, _wait: float) -> None:
            node.inbox._deaf = True

    class Channels:
        def __init__(self) -> None:
            self.subscribed: list[str] = []

        def subscription(self, *channels: str, inbox: str) -> Channels:
            self.subscribed.extend([inbox, *channels])
            return self

        async def __aenter__(self) -> Silence:
            return Silence()

        async def __aexit__(self, *_error: object) -> None:
            return None

    node.inbox._redis = redis = Channels()  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        await node.inbox.listen()
    assert redis.subscribed == [node.inbox.node, keys.CONTROL, keys.PRESENCE]


# --- counts, typing, orders, presence --------------------------------------------------------------------------------


async def test_counts_reach_the_watchers_and_are_asked_for_once(node: Node) -> None:
    socket = Socket()
    await node.inbox.watch({5, 6})
    node.hub.watch(socket, {5, 6}, set())
    await node.inbox.watch({5})
    node.take(b'counts\n{"5":{"version":2,"likes":3,"comments":0,"shares":0}}')
    assert sorted(node.log.counted) == ["post:5", "post:6"]
    assert (socket.changed, node.hub.counts) == ([5], {5: PostCounts(2, 3, 0, 0)})


async def test_typing_reaches_those_who_follow_the_post(node: Node) -> None:
    socket = Socket(2)
    subscription = node.hub.subscribe(socket, "post:5", "post:5")
    subscription.open(await node.inbox.join(subscription.stream))
    node.take(b"typing\n5 7")
    node.hub.tell_typing()
    assert socket.writers == ["7"]


async def test_what_only_tells_to_forget_passes_a_block_and_nothing_else_does(node: Node) -> None:
    socket = await node.join()
    node.hub.deny(socket, {66})
    stream = node.hub.streams[NAME]
    for offset, kind in ((1, "post.created"), (2, "author.hidden"), (3, "comment.created"), (4, "post.deleted")):
        assert stream.offset == offset - 1
        text = f"item\na-{offset}\n{kind} 66 1 1\n{NAME} a {offset}\n\n"
        node.take(text.encode() + body(f"a-{offset}", kind))
    assert socket.heard == [("skip", 1, 1), 2, ("skip", 3, 3), 4]


async def test_revocations_and_presence_reach_their_owners(node: Node) -> None:
    told: list[Any] = []
    node.inbox.on_orders = told.append
    node.inbox.on_presence = told.append
    node.inbox._take(keys.CONTROL, b'{"v":1,"revoked":[{"id":4,"kind":"parted","subject":3,"other":9}]}')
    node.inbox._take(keys.PRESENCE, b"[]")
    assert told == [[Revocation(4, "parted", 3, 9)], b"[]"]


async def test_what_is_for_later_releases_disturbs_nobody(node: Node) -> None:
    told: list[Any] = []
    node.inbox.on_orders = told.append
    node.inbox._take(keys.CONTROL, b'{"v":2,"dance":true}')
    node.take(b"dance\n1")
    assert told == [[]]


@pytest.mark.parametrize("message", [b"item\no1\nx 1 1\n\n{}", b"counts\n[", b"typing\n5"])
async def test_what_cannot_be_read_is_refused_by_an_error_that_the_reader_expects(node: Node, message: bytes) -> None:
    with pytest.raises((ValueError, KeyError, msgspec.DecodeError)):
        node.take(message)
