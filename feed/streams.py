"""Streams: ordered logs of references in Redis, one per user (`me:<id>`), one per post on screen
(`post:<id>`), and `trending` for everybody.

    offset   grows by exactly one per item; a hole is visible to whoever counts
    epoch    names one life of the log; offsets of different epochs do not compare
    bounded  a log keeps `keep` items, none of them longer than the window
    item     event id + reference (kind, actor, object, version); its payload is stored once at event:{id}
    alive    while a node listens, or did within the resume window; an append to a dead stream is nothing

    append   known event id -> nothing; else next offset, log, trim, and one message per listening node    append.lua
    join     register a node, create when absent, return (epoch, top)                                      join.lua
    read     every item from a position to the top, or nothing: never half a replay                        read.lua
    touch    renew registrations, learn (epoch, top)                                                       touch.lua
    whisper  tell listening nodes something that is not logged                                             whisper.lua

Every script compares the server's run id with the stream's: different means that the store may have gone back in time
(restart, failover), and the stream starts a new epoch. MySQL stays the truth, Redis may be emptied at any time.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import Literal, TypeAlias, TypeVar

import msgspec

from db.redis import Redis

R = TypeVar("R")
T = TypeVar("T")

BUCKETS_AT_ONCE = 8  # calls in flight: a cluster's servers work side by side, and requests need connections too
RECIPIENTS_PER_CALL = 200  # with their timelines such a call holds Redis for about 5 ms: others wait no longer
RUN_ID = secrets.token_hex(20)  # stands in where the engine has none (fakeredis): its life is this process's life
TIMELINE_KEEPS = 800  # ids of a timeline: 40 pages, and at 21 bytes each 17 KB of Redis for an active user
LISTEN = 60.0  # seconds that a node's registration lasts without a touch: how long a dead node counts as listening
LISTEN_MS = int(LISTEN * 1000)


TimelineAct: TypeAlias = Literal["", "put", "take"]


class Event(msgspec.Struct, frozen=True):
    """Something that happened. `body` is the JSON object {event, id, at, data} without viewer fields."""

    id: str
    kind: str
    actor: int
    object: int
    version: int
    body: bytes

    @property
    def reference(self) -> str:
        """What a log keeps of it."""
        return f"{self.kind} {self.actor} {self.object} {self.version}"


class Top(msgspec.Struct, frozen=True):
    """Where a stream stands: the offset of its newest item in this epoch, 0 when it has none."""

    epoch: str
    offset: int


class Item(msgspec.Struct, frozen=True):
    """An entry of a log."""

    offset: int
    event_id: str
    kind: str
    actor: int
    object: int
    version: int


class Reading(msgspec.Struct, frozen=True):
    """The answer to a read: `items` is None where the log cannot bridge from the position to `top`."""

    top: Top | None
    items: list[Item] | None


TRENDING = "trending"  # the stream that tells everybody who is signed in when trending was refreshed


def me(user_id: int) -> str:
    """The stream of a user."""
    return f"me:{user_id}"


def post(post_id: int) -> str:
    """The stream of a post that is on somebody's screen."""
    return f"post:{post_id}"


class Streams:
    """The streams of one Redis or cluster. `keep` items, `window` seconds.

    A script call stays within a bucket and within RECIPIENTS_PER_CALL streams; callers may name any number of any.
    """

    def __init__(self, redis: Redis, *, keep: int, window: float) -> None:
        self._redis = redis
        self._keys = redis.keys
        self.keep = keep
        self.window = window

    async def append(self, event: Event, streams: Sequence[str], act: TimelineAct = "") -> int:
        """Appends an event to those of `streams` that live; returns to how many. Running it again appends nothing.

        With `act` the event's object is put into the timelines of these users, or taken out, in the same call. The
        payload is stored first: an item whose payload is missing has been deleted or hidden since.
        """
        if not streams:
            return 0
        keys = self._keys
        await self._redis.set_many([(keys.event(event.id), event.body)], seconds=self.window)

        async def call(bucket: int, names: list[str]) -> int:
            appended: int = await self._redis.run(
                "append",
                keys.of_recipients(bucket, names, timelines=bool(act)),
                [
                    event.id,
                    event.reference,
                    event.body,
                    secrets.token_hex(4),
                    self.keep,
                    self._window_ms,
                    RUN_ID,
                    self._redis.publish_command,
                    keys.inbox(bucket, ""),
                    act,
                    event.object,
                    TIMELINE_KEEPS,
                ],
            )
            return appended

        return sum(await self._in_buckets(streams, str, call))

    async def join(self, stream: str, node: str = "") -> Top:
        """Registers `node` as a listener ('' = nobody, only keep it alive) and returns where the stream stands."""
        epoch, top = await self._join(stream, f"n:{node}" if node else "")
        return Top(epoch.decode(), int(top))

    async def want_counts(self, stream: str, node: str) -> None:
        """Registers `node` for what is whispered about a stream, without making its log live."""
        await self._join(stream, f"w:{node}")

    async def leave(self, fields: Iterable[tuple[str, str]]) -> None:
        """Takes registrations back: (stream, 'n:<node>' or 'w:<node>')."""

        async def call(_: int, pairs: list[tuple[str, str]]) -> None:
            await self._redis.run("leave", self._metas(name for name, _ in pairs), [field for _, field in pairs])

        await self._in_buckets(list(fields), itemgetter(0), call)

    async def touch(self, fields: Sequence[tuple[str, str]]) -> dict[str, Top | None]:
        """Renews registrations (stream, field) and tells where each stream stands; None = it is gone."""
        tops: dict[str, Top | None] = {}

        async def call(_bucket: int, pairs: list[tuple[str, str]]) -> None:
            replies = await self._redis.run(
                "touch",
                self._metas(name for name, _ in pairs),
                [LISTEN_MS, self._window_ms, RUN_ID, *(field for _, field in pairs)],
            )
            for (stream, _), (epoch, top) in zip(pairs, replies, strict=True):
                tops[stream] = Top(epoch.decode(), int(top)) if epoch else None

        await self._in_buckets(fields, itemgetter(0), call)
        return tops

    async def read(self, stream: str, epoch: str, offset: int, upto: int = 0) -> Reading:
        """Every item after `offset` up to `upto` (0 = the top), all or none of them; none older than the window."""
        found, top, flat = await self._redis.run(
            "read",
            [self._keys.meta(stream), self._keys.log(stream)],
            [epoch, offset, RUN_ID, upto, self._window_ms],
        )
        if not found:
            return Reading(None, None)
        at = Top(found.decode(), int(top))
        items = [_item(*flat[i : i + 3]) for i in range(0, len(flat), 3)]
        wanted = min(upto or at.offset, at.offset) - offset
        bridged = at.epoch == epoch and wanted >= 0 and len(items) == wanted
        return Reading(at, items if bridged else None)

    async def payloads(self, event_ids: Sequence[str]) -> list[bytes | None]:
        """Bodies of events; None = deleted, hidden, or older than the window."""
        return await self._redis.get_many([self._keys.event(event_id) for event_id in event_ids])

    async def whisper(self, streams: Sequence[str], whom: str, message: bytes) -> None:
        """Tells nodes that follow items ('n:'), want counts ('w:') or either ('') something that is not logged.

        A node hears it once per script call that concerns it.
        """

        async def call(bucket: int, names: list[str]) -> None:
            prefix = self._keys.inbox(bucket, "")
            await self._redis.run("whisper", self._metas(names), [self._redis.publish_command, prefix, whom, message])

        await self._in_buckets(streams, str, call)

    async def listening(self, streams: Sequence[str]) -> set[str]:
        """Those of `streams` that a node listens to now."""

        async def call(_: int, names: list[str]) -> set[str]:
            flags = await self._redis.run("listening", self._metas(names), [])
            return {name for name, flag in zip(names, flags, strict=True) if flag}

        return set().union(*await self._in_buckets(streams, str, call))

    async def probe_names(self, node: str) -> list[str]:
        """Streams `node:<node>:<n>`, one in a bucket of each primary (one on a single Redis).

        A node that joins them and gets an event that is appended to them has proof of each connection of its
        inbox. Another call names others once buckets have moved between primaries.
        """
        holders = await self._redis.holders()
        names: dict[str, str] = {}
        candidates = (f"node:{node}:{n}" for n in itertools.count())
        while len(names) < len(set(holders)):
            name = next(candidates)
            names.setdefault(holders[self._keys.bucket(name)], name)
        return list(names.values())

    @property
    def _window_ms(self) -> int:
        return int(self.window * 1000)

    def _metas(self, streams: Iterable[str]) -> list[str]:
        return [self._keys.meta(stream) for stream in streams]

    async def _join(self, stream: str, field: str) -> tuple[bytes, int]:
        reply = await self._redis.run(
            "join",
            [self._keys.meta(stream), self._keys.log(stream), self._keys.seen(stream)],
            [field, LISTEN_MS, secrets.token_hex(4), self._window_ms, RUN_ID],
        )
        return reply[0], reply[1]

    async def _in_buckets(
        self, things: Sequence[T], name: Callable[[T], str], call: Callable[[int, list[T]], Awaitable[R]]
    ) -> list[R]:
        """The replies of `call(bucket, things)` for `things` whose stream's name is `name(thing)`.

        The calls of a bucket follow each other, since one server answers them and others wait for it; a few buckets
        go on side by side. The first fault ends the other calls and is raised.
        """
        grouped: dict[int, list[T]] = defaultdict(list)
        for thing in things:
            grouped[self._keys.bucket(name(thing))].append(thing)
        waiting = iter(grouped.items())
        replies: list[R] = []

        async def work() -> None:
            for bucket, members in waiting:
                for start in range(0, len(members), RECIPIENTS_PER_CALL):
                    reply = await call(bucket, members[start : start + RECIPIENTS_PER_CALL])
                    replies.append(reply)

        if len(grouped) <= 1:
            await work()
            return replies
        workers = [asyncio.create_task(work()) for _ in range(min(BUCKETS_AT_ONCE, len(grouped)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
        return replies


def _item(offset: int, event_id: bytes, reference: bytes) -> Item:
    kind, actor, obj, version = reference.decode().split(" ")
    return Item(int(offset), event_id.decode(), kind, int(actor), int(obj), int(version))
