"""The Redis keys on one page, the clients, and the only place where a Redis command or script is run.

`{b}` is a bucket, b = crc32(name) mod buckets: 1 on a single Redis, 512 on a cluster, so that one script call serves
many recipients of one bucket. Every key expires; Redis may be emptied at any time, MySQL stays the truth.

    meta:{b}:<stream>   hash    epoch, top, run_id; n:<node> = listens until (ms), w:<node> = wants counts until
                                lives: resume window · written: append, join, touch, leave · read: the same, whisper
    log:{b}:<stream>    stream  entry id = offset-0, i = event id, r = reference (kind actor object version)
                                lives: resume window · written: append · read: read
    seen:{b}:<stream>   hash    event id -> offset, of what the log keeps
                                lives: resume window · written and read: append
    event:<event id>    string  payload without viewer fields
                                lives: resume window · written: feed.streams · read: replay
    inbox:{b}:<node>    pubsub  items and whispers for the streams of one node · from: append, whisper · to: live.inbox
    nudge               pubsub  "the outbox has work" · from: feed.stores after a commit · to: workers.dispatch
    control             pubsub  revocations, for every edge · from: feed.stores after a commit · to: live.inbox
    presence            pubsub  who came and went, in batches, for every edge · from and to: live.presence
    LIMITS:...          string  counters of the `limits` package, for the length of a limit's window

<stream> is `me:<user id>` or `post:<post id>`.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as Client
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from db.errors import StoreUnavailable
from db.settings import Settings

log = structlog.get_logger(__name__)

COMMAND_TIMEOUT = 2.0  # seconds; a Redis that is slower than this is down for a live path
CONNECT_TIMEOUT = 1.0  # seconds
POOL_WAIT = 1.0  # seconds for a free connection before the caller is told
BUCKETS = 1  # a single Redis; a cluster takes 512
MEMORY = "memory://"  # fakeredis in this process: first look without any engine, and unit tests

SCRIPTS = ("append", "join", "leave", "listening", "read", "touch", "whisper")

NUDGE = "nudge"
CONTROL = "control"
PRESENCE = "presence"


def bucket(name: str) -> int:
    """The bucket of a stream or node name."""
    return zlib.crc32(name.encode()) % BUCKETS


def meta_key(stream: str) -> str:
    """meta:{b}:<stream>."""
    return f"meta:{{{bucket(stream)}}}:{stream}"


def log_key(stream: str) -> str:
    """log:{b}:<stream>."""
    return f"log:{{{bucket(stream)}}}:{stream}"


def seen_key(stream: str) -> str:
    """seen:{b}:<stream>."""
    return f"seen:{{{bucket(stream)}}}:{stream}"


def event_key(event_id: str) -> str:
    """event:<event id>."""
    return f"event:{event_id}"


def inbox_channels(node: str) -> list[str]:
    """The channels that a node subscribes to once, for its life."""
    return [f"inbox:{{{b}}}:{node}" for b in range(BUCKETS)]


class Redis:
    """One process's connection to Redis or Valkey. Every method raises StoreUnavailable and nothing else of redis-py.

    No command is retried by the client: a repeated INCR, XADD or PUBLISH is a duplicate (redis-py 8 repeats ten times
    by default). Callers that may repeat a call safely do so themselves.
    """

    def __init__(self, client: Client, subscriber: Client) -> None:
        self._client = client
        self._subscriber = subscriber
        folder = Path(__file__).parent / "lua"
        self._scripts = {name: client.register_script((folder / f"{name}.lua").read_text("utf-8")) for name in SCRIPTS}

    @classmethod
    def open(cls, settings: Settings) -> Redis:
        """Builds the clients; nothing connects before the first command."""
        url = settings.redis_url.get_secret_value()
        if url == MEMORY:
            from fakeredis import FakeAsyncRedis, FakeServer

            server = FakeServer()
            return cls(FakeAsyncRedis(server=server), FakeAsyncRedis(server=server))
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=settings.redis_pool,
            timeout=POOL_WAIT,
            socket_timeout=COMMAND_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        # Blocking reads have a client of their own: a socket timeout there would be taken for a dead server.
        subscriber = Client.from_url(
            url, socket_timeout=None, socket_connect_timeout=CONNECT_TIMEOUT, health_check_interval=0
        )
        return cls(Client(connection_pool=pool), subscriber)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Runs one of SCRIPTS on `keys` (all in one bucket) and returns its reply."""
        return await _guard(self._scripts[script](keys=keys, args=args))

    async def set_many(self, values: Iterable[tuple[str, bytes]], *, seconds: float) -> None:
        """Sets keys with an expiry, pipelined."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key, value in values:
                pipe.set(key, value, px=int(seconds * 1000))
            await _guard(pipe.execute())

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values in the order of `keys`, pipelined (MGET cannot cross slots)."""
        if not keys:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            return list(await _guard(pipe.execute()))

    async def delete(self, *keys: str) -> None:
        """Deletes keys, one command each (a cluster has no cross-slot DEL)."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.delete(key)
            await _guard(pipe.execute())

    async def publish(self, channel: str, message: bytes) -> None:
        """Publishes to whoever listens now."""
        await _guard(self._client.publish(channel, message))

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the server answers."""
        await _guard(self._client.ping())

    async def about(self) -> dict[str, str]:
        """{server, version, memory, policy} of a real server."""
        info = await _guard(self._client.info())
        return {
            "server": "valkey" if "valkey_version" in info else "redis",
            "version": str(info.get("valkey_version", info["redis_version"])),
            "memory": str(info["used_memory_human"]),
            "policy": str(info["maxmemory_policy"]),
        }

    @asynccontextmanager
    async def subscription(self, *channels: str) -> AsyncIterator[Subscription]:
        """A subscription to channels, confirmed by the server before the body runs."""
        pubsub = self._subscriber.pubsub()
        try:
            await _guard(pubsub.subscribe(*channels))
            for _ in channels:
                await _guard(_first(pubsub))
            yield Subscription(pubsub)
        finally:
            await _quietly(pubsub.aclose())  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Closes every connection."""
        await _quietly(self._client.aclose())
        await _quietly(self._client.connection_pool.disconnect())
        await _quietly(self._subscriber.aclose())
        await _quietly(self._subscriber.connection_pool.disconnect())


class Subscription:
    """Messages of a subscription. A lost connection raises, it is never papered over: what was published meanwhile is
    gone, and only the reader knows how to repair that."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    async def next(self, wait: float) -> tuple[str, bytes] | None:
        """(channel, message), or None when nothing came within `wait` seconds. Raises StoreUnavailable."""
        message = await _guard(self._pubsub.get_message(ignore_subscribe_messages=True, timeout=wait))
        if message is None or message["type"] not in ("message", "smessage"):
            return None
        return message["channel"].decode(), message["data"]


async def _first(pubsub: PubSub) -> None:
    message = await pubsub.get_message(timeout=COMMAND_TIMEOUT)
    if message is None:
        raise TimeoutError("no confirmation of a subscription")


async def _guard(awaitable: Any) -> Any:
    try:
        return await awaitable
    except (TimeoutError, RedisError, OSError) as error:
        if isinstance(error, NoScriptError):
            log.warning("script_missing")
        raise StoreUnavailable("redis", f"{type(error).__name__}: {error}") from error


async def _quietly(awaitable: Any) -> None:
    """For closing: a server that is gone cannot be told good-bye."""
    try:
        await awaitable
    except (TimeoutError, RedisError, OSError) as error:
        log.debug("close_failed", cause=str(error))
