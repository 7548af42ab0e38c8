"""What the domain works with: the stores, the clock, and the nudge that follows a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from db import redis as keys
from db.engine import Database
from db.errors import StoreUnavailable
from db.redis import Redis
from db.settings import Settings
from feed.clock import Clock, utc_now
from feed.post_cache import PostCache
from feed.revocations import Kind, Revocation, revoke
from feed.streams import Streams
from feed.timelines import Timelines

log = structlog.get_logger(__name__)
T = TypeVar("T")

MOST_ORDERS = 1000  # revocations that wait to be told; older ones are read from the table


class Orders:
    """Tells every edge at once what commits have ended. Best effort: they read the table besides, and no request waits
    for a Redis that does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: deque[Revocation] = deque(maxlen=MOST_ORDERS)
        self._wanted = asyncio.Event()

    def __call__(self, revocations: Iterable[Revocation]) -> None:
        """Wants these told; returns at once."""
        self._waiting.extend(revocations)
        if self._waiting:
            self._wanted.set()

    async def run(self) -> None:
        """Publishes while it lives; owned by the process's root."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.send()

    async def send(self) -> None:
        """Publishes what waits, once."""
        if self._waiting:
            rows = [msgspec.structs.asdict(one) for one in self._waiting]
            self._waiting.clear()
            try:
                await self._redis.publish(keys.CONTROL, orjson.dumps({"v": 1, "revoked": rows}))
            except StoreUnavailable as error:
                log.warning("orders_lost", cause=str(error))


class Nudge:
    """Tells the dispatchers that the outbox has work. Many commits in one round trip make one message.

    A lost nudge costs one poll interval of the dispatcher, never a post.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._wanted = asyncio.Event()

    def __call__(self) -> None:
        """Wants a nudge; returns at once."""
        self._wanted.set()

    async def run(self) -> None:
        """Publishes while it lives; owned by the process's root."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._redis.publish(keys.NUDGE, b"1")
            except StoreUnavailable as error:
                log.debug("nudge_lost", cause=str(error))


@dataclass(frozen=True, slots=True)
class Stores:
    """Handed to every function of the domain that does I/O."""

    sql: Database
    redis: Redis
    streams: Streams
    timelines: Timelines
    nudge: Nudge
    orders: Orders
    clock: Clock = field(default=utc_now)
    post_cache: PostCache = field(default_factory=PostCache)

    @classmethod
    def open(cls, settings: Settings) -> Stores:
        """The stores that the settings name; nothing connects before the first use."""
        redis = Redis.open(settings)
        streams = Streams(redis, keep=settings.stream_items, window=settings.resume_window)
        return cls(Database.open(settings), redis, streams, Timelines(redis), Nudge(redis), Orders(redis))

    async def close(self) -> None:
        """Closes every connection."""
        await self.sql.close()
        await self.redis.close()

    async def commit(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs a transaction that wrote outbox rows, and nudges the dispatchers after COMMIT."""
        result = await self.sql.write(work)
        self.nudge()
        return result

    async def revoke(self, connection: AsyncConnection, kind: Kind, subject: int, other: int = 0) -> Revocation:
        """Writes a revocation in the transaction that ends a right; give it to `tell_edges` after COMMIT."""
        return await revoke(connection, kind, subject, other, clock=self.clock)

    def tell_edges(self, *revocations: Revocation) -> None:
        """Wants every edge told of what a commit has ended; returns at once."""
        self.orders(revocations)
