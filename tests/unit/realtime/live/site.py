"""A site in small: what is true, nodes with the real live side, a real store of streams, clients that check.

Truth      who is whose friend, who blocks whom, which posts there are: answers what a database would
Node       hub, inbox, revocations, grants, rights and conversations of one edge; its messages wait in `network`
Client     a socket of one user; reads by the rules of the contract, and refuses what its user may not see
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec

from db import redis as keys
from db.relations import ordered
from feed.accounts import Session as SignIn
from feed.background import Background
from feed.grants import Grants
from feed.revocations import Revocation, Revocations
from feed.streams import Event, Item, Streams
from realtime.live import protocol
from realtime.live.connection import Connection, Ending
from realtime.live.conversation import Conversations
from realtime.live.hub import Hub
from realtime.live.inbox import IDLE, Inbox
from realtime.live.protocol import At
from realtime.live.rights import Rights
from realtime.live.session import Join
from tests.unit.realtime.live.fakes import Wire
from tests.unit.realtime.live.virtual_time import VirtualLoop

START = datetime(2026, 11, 21, 3, tzinfo=UTC)
WIDTH = {"only_me": 0, "friends": 1, "public": 2}


class Post(msgspec.Struct):
    """A post as it is now."""

    author: int
    visibility: str
    version: int = 1
    deleted: bool = False


class Truth:
    """The database. Every change that ends a right is a row of `revoked`."""

    def __init__(self, people: range) -> None:
        self.people = people
        self.friends: set[tuple[int, int]] = set()
        self.blocks: set[tuple[int, int]] = set()
        self.posts: dict[int, Post] = {}
        self.revoked: list[Revocation] = []
        self.ended: dict[tuple[int, int], int] = {}  # (viewer, post) -> the row that ended the right to see it
        self.separated: dict[tuple[int, int], int] = {}  # (viewer, person) -> the row of the block
        self._ids = itertools.count(1)

    def sees_person(self, viewer: int, person: int) -> bool:
        return ordered(viewer, person) not in self.blocks

    def sees(self, viewer: int, post_id: int) -> bool:
        post = self.posts[post_id]
        if post.deleted or not self.sees_person(viewer, post.author):
            return False
        if post.author == viewer or post.visibility == "public":
            return True
        return post.visibility == "friends" and ordered(viewer, post.author) in self.friends

    def recipients(self, post: Post) -> list[int]:
        friends = [person for person in self.people if ordered(person, post.author) in self.friends]
        return [post.author, *(friends if post.visibility != "only_me" else ())]

    def revoke(self, kind: Any, subject: int, other: int, change: Callable[[], Any]) -> Revocation:
        """Makes a change and writes its row; notes what it ended."""
        row = Revocation(next(self._ids), kind, subject, other)
        pairs = list(itertools.product(self.people, self.posts))
        before = {(viewer, post_id) for viewer, post_id in pairs if self.sees(viewer, post_id)}
        met = {pair for pair in itertools.product(self.people, repeat=2) if self.sees_person(*pair)}
        change()
        self.ended.update({pair: row.id for pair in before if not self.sees(*pair)})
        self.separated.update({pair: row.id for pair in met if not self.sees_person(*pair)})
        self.revoked.append(row)
        return row

    # what `feed.revocations` reads

    @asynccontextmanager
    async def read(self, *, reserved: bool = False) -> AsyncIterator[Truth]:
        yield self

    async def floor(self, _connection: Truth, _since: datetime) -> int:
        return 0

    async def newer(self, _connection: Truth, after: int, *, limit: int) -> list[Revocation]:
        return [row for row in self.revoked if row.id > after][:limit]


class TrueGrants(Grants):
    """The real grants, with `Truth` where they would read the database."""

    def __init__(self, truth: Truth, known: Revocations) -> None:
        super().__init__(SimpleNamespace(clock=lambda: START), known)  # type: ignore[arg-type]
        self._truth = truth

    async def sign_in(self, token: str) -> SignIn:
        return SignIn(int(token), int(token), START + timedelta(days=9000))

    async def sees_posts(self, viewer_id: int, post_ids: Collection[int]) -> set[int]:
        return {post_id for post_id in post_ids if self._truth.sees(viewer_id, post_id)}

    async def _read_separated(self, user_ids: list[int]) -> dict[int, set[int]]:
        people = self._truth.people
        return {one: {other for other in people if not self._truth.sees_person(one, other)} for one in user_ids}

    async def _read_posts(self, asked: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        posts = self._truth.posts
        return {(v, p): posts[p].author for v, p in asked if p in posts and self._truth.sees(v, p)}

    async def _read_items(
        self, asked: list[tuple[int, tuple[Item, ...]]]
    ) -> dict[tuple[int, tuple[Item, ...]], set[int]]:
        return {(viewer, items): {i.offset for i in items if self._sees(viewer, i)} for viewer, items in asked}

    def _sees(self, viewer: int, item: Item) -> bool:
        if item.kind.startswith("post."):
            return self._truth.sees(viewer, item.object)
        return self._truth.sees_person(viewer, item.actor)


class Presences:
    """Nobody asks for presence here."""

    def came(self, _user: int) -> None:
        return None

    left = came


class Node:
    """One edge. What it would hear waits in `network` until the test lets it come."""

    def __init__(self, truth: Truth, redis: Any, streams: Streams, loop: VirtualLoop) -> None:
        self.truth = truth
        self.network: list[tuple[str, bytes]] = []
        self.learned: set[int] = set()
        self.background = Background()
        self._streams = streams
        self._redis = redis
        self._loop = loop
        self._channels = AsyncExitStack()
        self.known = Revocations(truth, lambda: START, window=streams.window, monotonic=loop.time)  # type: ignore[arg-type]
        self.grants = TrueGrants(truth, self.known)
        self.hub = Hub(self.known)
        self.inbox = Inbox(redis, streams, self.hub, self.background, check=25.0)
        self.rights = Rights(self.grants, self.hub, self.background)
        self.conversations = Conversations(
            SimpleNamespace(streams=streams),  # type: ignore[arg-type]
            self.grants,
            self.known,
            self.hub,
            self.inbox,
            self.rights,
            Presences(),  # type: ignore[arg-type]
            ping_seconds=25,
            max_per_user=99,
        )
        self.known.on_learned = self._learn
        self.inbox.on_orders = self.known.learn

    def _learn(self, news: list[Revocation]) -> None:
        self.learned.update(one.id for one in news)
        self.rights.learned(news)

    async def open(self) -> None:
        """Subscribes to its channels and reads what was revoked."""
        heard = self._redis.subscription(keys.CONTROL, inbox=self.inbox.node)
        self._subscription = await self._channels.enter_async_context(heard)
        await self.known.look()

    async def close(self) -> None:
        await self._channels.aclose()

    async def pull(self) -> list[bytes]:
        """Takes what was published into `network`; returns what was for this node's streams."""
        new = []
        while (message := await self._subscription.next(0)) is not None:
            self.network.append(message)
            if message[0] != keys.CONTROL:
                new.append(message[1])
        return new

    def hear(self, message: tuple[str, bytes]) -> None:
        self.inbox._take(*message)

    async def leave_idle(self) -> None:
        """What `Inbox._keep_leaving` does."""
        names = self.hub.drop_idle(self._loop.time() - IDLE)
        await self.inbox.leave_all([(name, f"n:{self.inbox.node}") for name in names])


class Client:
    """One socket of a user. `positions` is where it stands, by the rules of the contract."""

    def __init__(self, node: Node, user: int, positions: dict[str, At], sequences: Sequences) -> None:
        self.node = node
        self.user = user
        self.positions = dict(positions)
        self.sequences = sequences
        self.wire = Wire(self._told)
        self.open = False
        self.resyncs = 0
        self._resumed = dict(positions)  # what hello said
        self._asked: dict[str, deque[At | None]] = defaultdict(deque)  # what each subscribe said, still unanswered

    async def live(self) -> None:
        """Says hello, and stays until it is closed from either side."""
        task = asyncio.current_task()
        assert task is not None
        self.connection = Connection(self.wire, task, ping_seconds=25)  # type: ignore[arg-type]
        try:
            await self.node.conversations.greet(self.connection, str(self.user), None, self._resumed)
            self.open = True
            await asyncio.Event().wait()
        except (Ending, asyncio.CancelledError):
            self.open = False
        finally:
            self.node.conversations.leave(self.connection)
            self.connection.sender.close()
            self.wire.aborted = True

    async def subscribe(self, label: str) -> None:
        start = self.positions.get(label)
        self._asked[label].append(start)
        await self.node.conversations.carry_out(self.connection, Join(label, start, label), None)

    def _told(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "welcome", "streams": streams}:
                self.positions = {label: self._joined(self._resumed.get(label), at) for label, at in streams.items()}
            case {"type": "subscribed", "stream": label}:
                self.positions[label] = self._joined(self._asked[label].popleft(), message)
            case {"type": "event", "stream": label, "offset": offset}:
                at = self.positions[label]
                assert offset == at.offset + 1, (label, at, message)
                self.positions[label] = At(at.epoch, offset)
                self.sequences.compare(self._name(label), at.epoch, offset, message["id"])
                self._judge(message)
            case {"type": "skip", "stream": label, "offset": offset, "to": to}:
                at = self.positions[label]
                assert at.offset + 1 == offset <= to, (label, at, message)
                self.positions[label] = At(at.epoch, to)
            case {"type": "resync", "stream": label}:
                at = self.positions[label]
                assert (message["epoch"], message["offset"]) >= (at.epoch, at.offset) or message["epoch"] != at.epoch
                self.positions[label] = At(message["epoch"], message["offset"])
                self.resyncs += 1
            case {"type": "error", "code": "forbidden_or_missing"}:
                if "id" in message:
                    self._asked[message["id"]].popleft()
                self.positions = {
                    label: at for label, at in self.positions.items() if label in self.connection.subscriptions
                }
            case {"type": "bye"}:
                return
            case _:
                raise AssertionError(message)

    def _joined(self, start: At | None, joined: dict[str, Any]) -> At:
        if joined["recovered"]:
            assert start is not None
            return start
        return At(joined["epoch"], joined["offset"])

    def _name(self, label: str) -> str:
        return f"me:{self.user}" if label == "me" else label

    def _judge(self, message: dict[str, Any]) -> None:
        """What this node has learned to be over must not be told."""
        if message["event"].endswith((".deleted", ".hidden")):
            return
        truth, learned = self.node.truth, self.node.learned
        post_id, actor = message["data"]["post"], message["data"]["actor"]
        if not truth.sees(self.user, post_id):
            assert truth.ended.get((self.user, post_id)) not in {None, *learned}, (self.user, message)
        if not truth.sees_person(self.user, actor):
            assert truth.separated[self.user, actor] not in learned, (self.user, message)


class Sequences:
    """What was appended where: stream and epoch -> offset -> event id."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)

    def note(self, messages: Iterable[bytes]) -> None:
        """Reads the messages that tell of appends."""
        for message in messages:
            kind, event_id, _reference, *lines = message.partition(b"\n\n")[0].decode().split("\n")
            assert kind == "item"
            for line in lines:
                name, epoch, offset = line.split(" ")
                self.compare(name, epoch, int(offset), event_id)

    def compare(self, name: str, epoch: str, offset: int, event_id: str) -> None:
        """Every place of a sequence holds one event, and every event one place."""
        known = self._known[name, epoch]
        if offset not in known:
            assert event_id not in known.values(), (name, epoch, offset, event_id)
            known[offset] = event_id
        assert known[offset] == event_id, (name, epoch, offset, event_id, known[offset])


def event(number: int, kind: str, actor: int, post_id: int, *, about: int, version: int) -> Event:
    """An event as workers make it, big enough to slow a reader down."""
    data = {"post": post_id, "actor": actor, "text": "x" * 100}
    body = {"event": kind, "id": f"o{number}", "at": "2026-11-21T03:00:00.000Z", "data": data}
    return Event(f"o{number}", kind, actor, about, version, protocol.encode(body))
