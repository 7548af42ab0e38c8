"""Subscriptions of Redis channels: a connection and a reader task per server, merged into one bounded queue.

redis-py's own cluster subscription is not used: it polls the primaries in turn (a message waits 200 ms), and it
subscribes again by itself after a loss, which hides that messages are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis as Client
from redis.asyncio.client import PubSub
from redis.exceptions import RedisClusterException, RedisError

from db.errors import StoreUnavailable

log = structlog.get_logger(__name__)

# How redis-py says that a server did not answer, refused, or that nobody holds a key.
UNREACHABLE = (TimeoutError, RedisError, RedisClusterException, OSError)
CONFIRM_WITHIN = 2.0  # seconds for a server to confirm a batch of subscriptions; a slower one is down for a live path
BATCH = 64  # subscriptions asked for before their confirmations are read, so that neither side's buffer fills
WAITING = 1000  # messages; behind that the readers pause, and the server cuts off a connection that stays behind


class Subscription:
    """Messages of channels, of all the servers that hold them.

    A connection that is lost and a channel that moves to another server raise, they are never papered over: what was
    published meanwhile is gone, and only the reader knows how to repair that.
    """

    def __init__(self) -> None:
        self._connections: list[tuple[Client, PubSub]] = []
        self._readers: list[asyncio.Task[None]] = []
        self._queue: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(WAITING)
        self._fault: str | None = None

    async def add(self, client: Client, channels: Sequence[str], shards: Sequence[str]) -> None:
        """Subscribes to plain and shard channels of `client`'s server, which confirms them before this returns.

        The client belongs to the subscription from now on. Raises one of UNREACHABLE.
        """
        pubsub = client.pubsub()
        self._connections.append((client, pubsub))
        wanted = [(pubsub.subscribe, name) for name in channels] + [(pubsub.ssubscribe, name) for name in shards]
        for start in range(0, len(wanted), BATCH):
            part = wanted[start : start + BATCH]
            async with asyncio.timeout(CONFIRM_WITHIN):
                # One command per channel: channels of several slots do not fit into one.
                for subscribe, name in part:
                    await subscribe(name)
                confirmed = 0
                while confirmed < len(part):
                    confirmed += await self._take(pubsub)
        reader = asyncio.create_task(self._read(pubsub), name="redis_subscription")
        reader.add_done_callback(self._ended)
        self._readers.append(reader)

    async def next(self, wait: float) -> tuple[str, bytes] | None:
        """(channel, message), or None when nothing came within `wait` seconds. Raises StoreUnavailable."""
        message = None
        if self._fault is None:
            try:
                async with asyncio.timeout(wait):
                    message = await self._queue.get()
            except TimeoutError:
                return None
        if self._fault is not None:
            raise StoreUnavailable("redis", self._fault)
        return message

    async def close(self) -> None:
        """Ends the readers and closes the connections."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for client, pubsub in self._connections:
            await quietly(pubsub.aclose())  # type: ignore[no-untyped-call]
            await quietly(client.aclose())

    async def _read(self, pubsub: PubSub) -> None:
        while True:
            await self._take(pubsub)

    async def _take(self, pubsub: PubSub) -> bool:
        """Reads one reply; queues it when it is a message; tells whether it confirms a subscription."""
        reply = await pubsub.get_message(timeout=None)
        kind = reply["type"] if reply else None
        if kind in ("message", "smessage"):
            await self._queue.put((reply["channel"].decode(), reply["data"]))
        elif kind in ("unsubscribe", "sunsubscribe"):
            # Nobody here asked for it: the server gave the channel's slot away.
            raise ConnectionError(f"{reply['channel'].decode()} has moved to another server")
        return kind in ("subscribe", "ssubscribe")

    def _ended(self, reader: asyncio.Task[None]) -> None:
        """A reader ends by an error or by `close`; whoever waits in `next` learns of it at once."""
        if reader.cancelled():
            return
        error = reader.exception()
        if not isinstance(error, UNREACHABLE):
            log.error("subscription_failed", exc_info=error)
        self._fault = f"{type(error).__name__}: {error}"
        if not self._queue.full():
            self._queue.put_nowait(None)


async def quietly(awaitable: Awaitable[Any]) -> None:
    """For closing: a server that is gone cannot be told good-bye."""
    try:
        await awaitable
    except UNREACHABLE as error:
        log.debug("close_failed", cause=str(error))
