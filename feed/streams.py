"""Streams: ordered logs of references in Redis, one per user (`me:<id>`) and per post on screen (`post:<id>`).

    offset   grows by exactly one per item; a hole is visible to whoever counts
    epoch    names one life of the log; offsets of different epochs do not compare
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

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TypeVar

import msgspec

from db import redis as keys
from db.redis import Redis

T = TypeVar("T")

RECIPIENTS_PER_CALL = 200  # one Lua call of this size takes about 1.4 ms of the Redis core: others wait no longer
RUN_ID = secrets.token_hex(20)  # stands in where the engine has none (fakeredis): its life is this process's life
LISTEN = 60.0  # seconds that a node's registration lasts without a touch: how long a dead node counts as listening
LISTEN_MS = int(LISTEN * 1000)


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


def me(user_id: int) -> str:
    """The stream of a user."""
    return f"me:{user_id}"


def post(post_id: int) -> str:
    """The stream of a post that is on somebody's screen."""
    return f"post:{post_id}"


class Streams:
    """The streams of one Redis. `keep` items, `window` seconds."""

    def __init__(self, redis: Redis, *, keep: int, window: float, publish: str = "PUBLISH") -> None:
        self._redis = redis
        self.keep = keep
        self._publish = publish
        self.window = window

    async def append(self, event: Event, streams: Sequence[str]) -> int:
        """Appends an event to those of `streams` that live; returns to how many. Running it again appends nothing.

        The payload is stored first: an item whose payload is missing has been deleted or hidden since.
        """
        if not streams:
            return 0
        await self._redis.set_many([(keys.event_key(event.id), event.body)], seconds=self.window)
        appended = 0
        for bucket, names in _buckets(streams, key=str):
            for start in range(0, len(names), RECIPIENTS_PER_CALL):
                part = names[start : start + RECIPIENTS_PER_CALL]
                appended += await self._redis.run(
                    "append",
                    [key for name in part for key in (keys.meta_key(name), keys.log_key(name), keys.seen_key(name))],
                    [
                        event.id,
                        event.reference,
                        event.body,
                        secrets.token_hex(4),
                        self.keep,
                        self._window_ms,
                        RUN_ID,
                        self._publish,
                        f"inbox:{{{bucket}}}:",
                        *part,
                    ],
                )
        return appended

    async def join(self, stream: str, node: str = "") -> Top:
        """Registers `node` as a listener ('' = nobody, only keep it alive) and returns where the stream stands."""
        epoch, top = await self._join(stream, f"n:{node}" if node else "")
        return Top(epoch.decode(), int(top))

    async def want_counts(self, stream: str, node: str) -> None:
        """Registers `node` for what is whispered about a stream, without making its log live."""
        await self._join(stream, f"w:{node}")

    async def leave(self, fields: Iterable[tuple[str, str]]) -> None:
        """Takes registrations back: (stream, 'n:<node>' or 'w:<node>')."""
        for _, pairs in _buckets(list(fields), key=itemgetter(0)):
            await self._redis.run(
                "leave", [keys.meta_key(stream) for stream, _ in pairs], [field for _, field in pairs]
            )

    async def touch(self, fields: Sequence[tuple[str, str]]) -> dict[str, Top | None]:
        """Renews registrations (stream, field) and tells where each stream stands; None = it is gone."""
        tops: dict[str, Top | None] = {}
        for _, pairs in _buckets(fields, key=itemgetter(0)):
            replies = await self._redis.run(
                "touch",
                [keys.meta_key(stream) for stream, _ in pairs],
                [LISTEN_MS, self._window_ms, RUN_ID, *(field for _, field in pairs)],
            )
            for (stream, _), (epoch, top) in zip(pairs, replies, strict=True):
                tops[stream] = Top(epoch.decode(), int(top)) if epoch else None
        return tops

    async def read(self, stream: str, epoch: str, offset: int, upto: int = 0) -> Reading:
        """Every item after `offset` up to `upto` (0 = the top), all or none of them."""
        found, top, flat = await self._redis.run(
            "read", [keys.meta_key(stream), keys.log_key(stream)], [epoch, offset, RUN_ID, upto]
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
        return await self._redis.get_many([keys.event_key(event_id) for event_id in event_ids])

    async def probe_names(self, node: str) -> list[str]:
        return [f"node:{node}:0"]

    async def whisper(self, streams: Sequence[str], whom: str, message: bytes) -> None:
        """Tells nodes that follow items ('n:'), want counts ('w:') or either ('') something that is not logged."""
        for bucket, names in _buckets(streams, key=str):
            metas = [keys.meta_key(name) for name in names]
            await self._redis.run("whisper", metas, [self._publish, f"inbox:{{{bucket}}}:", whom, message])

    async def listening(self, streams: Sequence[str]) -> set[str]:
        """Those of `streams` that a node listens to now."""
        live: set[str] = set()
        for _, names in _buckets(streams, key=str):
            for start in range(0, len(names), RECIPIENTS_PER_CALL):
                part = names[start : start + RECIPIENTS_PER_CALL]
                flags = await self._redis.run("listening", [keys.meta_key(name) for name in part], [])
                live.update(name for name, flag in zip(part, flags, strict=True) if flag)
        return live

    @property
    def _window_ms(self) -> int:
        return int(self.window * 1000)

    async def _join(self, stream: str, field: str) -> tuple[bytes, int]:
        reply = await self._redis.run(
            "join",
            [keys.meta_key(stream), keys.log_key(stream), keys.seen_key(stream)],
            [field, LISTEN_MS, secrets.token_hex(4), self._window_ms, RUN_ID],
        )
        return reply[0], reply[1]


def _item(offset: int, event_id: bytes, reference: bytes) -> Item:
    kind, actor, obj, version = reference.decode().split(" ")
    return Item(int(offset), event_id.decode(), kind, int(actor), int(obj), int(version))


def _buckets(things: Sequence[T], key: Callable[[T], str]) -> Iterable[tuple[int, list[T]]]:
    """(bucket, things) for things whose stream name is `key(thing)`: a script call stays within one bucket."""
    grouped: dict[int, list[T]] = defaultdict(list)
    for thing in things:
        grouped[keys.bucket(key(thing))].append(thing)
    return grouped.items()
