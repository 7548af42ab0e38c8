"""The Redis keys on one page, the clients, and the only place where a Redis command or script is run.

`{b}` is the hash tag of a bucket, crc32(name) mod buckets: 1 on a single Redis, 512 on a cluster, so that one script
call, which stays within one slot, serves many recipients. `Keys` builds the names. Every key expires; Redis may be
emptied at any time, MySQL stays the truth.

    meta:{b}:<stream>   hash    epoch, top, run_id; head = id of the oldest item of the log; n:<node> = listens until
                                (ms), w:<node> = wants counts until (ms)
                                lives: resume window · written: append, join, touch, leave · read: the same, whisper
    log:{b}:<stream>    stream  entry id = offset-ms of its append, i = event id, r = reference (kind actor object
                                version) · lives: resume window · written: append · read: read
    seen:{b}:<stream>   hash    event id -> offset, of what the log keeps
                                lives: resume window · written and read: append
    timeline:{b}:<user> zset    post ids of a feed, score = -id; newest first, a few more than 800
                                lives: 30 days after a read · written: append, built · read: timeline
    floor:{b}:<user>    hash    run_id; relations = version that it was built for, floor = the timeline is complete down
                                to this id; while it is being built builder, until instead of relations
                                lives: as the timeline · written: append, build, built · read: timeline
    friends:<user>      string  relation version, ids of friends: what fan-out reads instead of 5,000 rows
                                lives: a day · written and read: feed.audience
    ranking:<user>:<n>  string  name, and ids of a feed by rank, frozen while it is being paged; a few for each user
                                lives: 10 min · written and read: feed.feed_page
    event:<event id>    string  payload without viewer fields
                                lives: resume window · written: feed.streams · read: replay
    inbox:{b}:<node>    pubsub  items and whispers for the streams of one node; a shard channel on a cluster
                                from: append, whisper · to: live.inbox
    trending:{trending}:<kind>:<hour>
                        zset    post id or tag -> people who liked, shared ... or used it; <hour> = its start in seconds
                                lives: the window of trending · written and read: feed.trending
    trending:{trending}:<kind>:<hour>:<run>
                        zset    the same while it is written; renamed into place · written: feed.trending
    trending:{trending}:whole:<hour>
                        string  the hour's sets are there and will not change
                                lives: the window of trending · written and read: feed.trending
    trending:{trending}:top:<run>
                        zset    weighted sums, within one script call · written and read: top
    trending:{trending}:list
                        string  the list, as JSON, replaced by one SET
                                lives: the window of trending · written and read: feed.trending
    nudge               pubsub  "the outbox has work" · from: feed.stores after a commit · to: workers.dispatch
    control             pubsub  revocations, for every edge · from: feed.stores after a commit · to: live.inbox
    presence            pubsub  who came and went, in batches, for every edge · from and to: live.presence
    LIMITS:...          string  counters of the `limits` package, for the length of a limit's window

A timeline is searched from its head, where -id puts the newest: an insert costs a third of what it would with the ids
as scores, as long as the server keeps it as a listpack (`zset-max-listpack-entries` 1024: 21 bytes an entry, not 120).

<stream> is `me:<user id>`, `post:<post id>`, `trending`, or `node:<node>:<n>` (probes of a node's subscription).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import ConnectionPool, RedisCluster
from redis.asyncio import Redis as Client
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import NoScriptError

from db.errors import StoreUnavailable
from db.packing import pack_in_c
from db.settings import Settings
from db.subscription import UNREACHABLE, Subscription, quietly

T = TypeVar("T")

COMMAND_TIMEOUT = 2.0  # seconds; a Redis that is slower than this is down for a live path
CONNECT_TIMEOUT = 1.0  # seconds
POOL_WAIT = 1.0  # seconds for a free connection before the caller is told
CLUSTER_BUCKETS = 512  # slices of a cluster; a power of two, so that they divide the slots evenly
SCAN_STEP = 1000  # keys that one SCAN looks at: under a millisecond of the server
SCAN_STEPS = 100  # SCANs per server and sample
FILLED_PER_CALL = 1000  # members of one call: Lua's stack bounds the words of a command, others wait under 1 ms
MEMORY = "memory://"  # fakeredis in this process: first look without any engine, and unit tests

SCRIPTS = (
    "append",
    "build",
    "built",
    "fill",
    "join",
    "leave",
    "listening",
    "read",
    "timeline",
    "top",
    "touch",
    "whisper",
)

NUDGE = "nudge"
CONTROL = "control"
PRESENCE = "presence"


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys and channels. `tags[b]` is the hash tag of bucket b."""

    tags: tuple[str, ...] = ("0",)

    @classmethod
    def spread(cls, buckets: int) -> Keys:
        """`buckets` tags, a divisor of the number of slots, spread evenly over the slots.

        Decimal numbers hash unevenly. The tag of bucket b is the smallest number whose slot lies in the b-th of
        `buckets` equal slices of the slots: a primary with a range of n slots has n / slice buckets, give or take one.
        """
        size = REDIS_CLUSTER_HASH_SLOTS // buckets
        tags: dict[int, str] = {}
        numbers = itertools.count()
        while len(tags) < buckets:
            number = str(next(numbers))
            tags.setdefault(key_slot(number.encode()) // size, number)
        return cls(tuple(tags[b] for b in range(buckets)))

    def bucket(self, name: str) -> int:
        """The bucket of a stream."""
        if len(self.tags) == 1:
            return 0  # asked several times for every recipient of every post
        return zlib.crc32(name.encode()) % len(self.tags)

    def slot(self, bucket: int) -> int:
        """The slot of a cluster that a bucket's keys are in."""
        return key_slot(self.tags[bucket].encode())

    def meta(self, stream: str) -> str:
        """meta:{b}:<stream>."""
        return f"meta:{self._tag(stream)}:{stream}"

    def log(self, stream: str) -> str:
        """log:{b}:<stream>."""
        return f"log:{self._tag(stream)}:{stream}"

    def seen(self, stream: str) -> str:
        """seen:{b}:<stream>."""
        return f"seen:{self._tag(stream)}:{stream}"

    def timeline(self, stream: str) -> str:
        """timeline:{b}:<user>, beside the user's stream."""
        return f"timeline:{self._tag(stream)}:{stream.removeprefix('me:')}"

    def floor(self, stream: str) -> str:
        """floor:{b}:<user>, beside the user's stream."""
        return f"floor:{self._tag(stream)}:{stream.removeprefix('me:')}"

    def of_recipients(self, bucket: int, streams: Iterable[str], *, timelines: bool) -> list[str]:
        """Of each stream, all of this bucket: meta, log, seen, and with `timelines` floor, timeline. One look at the
        tag for all of them: this is a fifth of what a fan-out costs its worker."""
        tag = f"{{{self.tags[bucket]}}}"
        if not timelines:
            return [f"{kind}:{tag}:{stream}" for stream in streams for kind in ("meta", "log", "seen")]
        keys: list[str] = []
        for stream in streams:
            user = stream.removeprefix("me:")
            keys += (
                f"meta:{tag}:{stream}",
                f"log:{tag}:{stream}",
                f"seen:{tag}:{stream}",
                f"floor:{tag}:{user}",
                f"timeline:{tag}:{user}",
            )
        return keys

    def friends(self, user_id: int) -> str:
        """friends:<user>."""
        return f"friends:{user_id}"

    def ranking(self, user_id: int, name: str) -> str:
        """ranking:<user>:<n>."""
        return f"ranking:{user_id}:{name}"

    def event(self, event_id: str) -> str:
        """event:<event id>."""
        return f"event:{event_id}"

    def inbox(self, bucket: int, node: str) -> str:
        """inbox:{b}:<node>; of node '' the prefix of every inbox of the bucket."""
        return f"inbox:{{{self.tags[bucket]}}}:{node}"

    def trending(self, *parts: str) -> str:
        """trending:{trending}:<part>:<part>: in one slot, because they are added up."""
        return ":".join(("trending:{trending}", *parts))

    def _tag(self, stream: str) -> str:
        return f"{{{self.tags[self.bucket(stream)]}}}"


class Redis:
    """One process's connection to Redis, Valkey, or a cluster of them. Every method raises StoreUnavailable and
    nothing else of redis-py.

    No command is retried by the client: a repeated INCR, XADD or PUBLISH is a duplicate (redis-py 8 repeats ten times
    by default). A cluster's redirections (MOVED, ASK) are followed, because such a command has not run. Callers that
    may repeat a call safely do so themselves.
    """

    def __init__(
        self, client: Client | RedisCluster, subscriber: Callable[[ClusterNode | None], Client], *, connections: int
    ) -> None:
        self._client: Any = client  # redis-py types its commands for the synchronous clients too
        self._cluster = client if isinstance(client, RedisCluster) else None
        self._subscriber = subscriber
        # An ASK that names a server which holds no slot yet is an AttributeError in redis-py's cluster client.
        self._refusals = (*UNREACHABLE, AttributeError) if self._cluster else UNREACHABLE
        # Its pools refuse instead of letting wait (a cluster's has no other way).
        self._room = asyncio.Semaphore(connections)
        self._scripts = {name: _Script.load(name) for name in SCRIPTS}
        self.keys = Keys.spread(CLUSTER_BUCKETS) if self._cluster else Keys()
        self.publish_command = "SPUBLISH" if self._cluster else "PUBLISH"  # of an inbox message

    @classmethod
    def open(cls, settings: Settings) -> Redis:
        """Builds the clients; nothing connects before the first command."""
        url = settings.redis_url.get_secret_value()
        if url == MEMORY:
            from fakeredis import FakeAsyncRedis, FakeServer

            server = FakeServer()
            return cls(
                FakeAsyncRedis(server=server),
                lambda _: FakeAsyncRedis(server=server),
                connections=settings.redis_pool,
            )
        address = url.replace("+cluster://", "://", 1)
        opener = RedisCluster if address != url else Client
        client = opener.from_url(
            address,
            max_connections=settings.redis_pool,
            socket_timeout=COMMAND_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
            retry=no_retry(),
        )

        pack_in_c(client if isinstance(client, RedisCluster) else client.connection_pool)

        def subscriber(node: ClusterNode | None) -> Client:
            pool = ConnectionPool.from_url(
                address,
                socket_timeout=None,  # a timeout while nothing is published would be taken for a dead server
                socket_connect_timeout=CONNECT_TIMEOUT,
                retry=no_retry(),
            )
            if node is not None:
                pool.connection_kwargs.update(host=node.host, port=node.port)
            return Client.from_pool(pool)

        return cls(client, subscriber, connections=settings.redis_pool)

    @property
    def buckets(self) -> int:
        """How many buckets streams are spread over."""
        return len(self.keys.tags)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Runs one of SCRIPTS on `keys` (all in one bucket) and returns its reply."""
        text, digest = self._scripts[script]

        async def call() -> Any:
            try:
                return await self._client.evalsha(digest, len(keys), *keys, *args)
            except NoScriptError:  # nothing has run; EVAL teaches it to the one server that lacks it
                return await self._client.eval(text, len(keys), *keys, *args)

        return await self._ask(call)

    async def set_many(self, values: Iterable[tuple[str, bytes]], *, seconds: float) -> None:
        """Sets keys with an expiry, pipelined."""
        await self._pipeline([("SET", key, value, "PX", int(seconds * 1000)) for key, value in values])

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values in the order of `keys`, pipelined (MGET cannot cross slots)."""
        return await self._pipeline([("GET", key) for key in keys])

    async def fill(self, beside: str, place: str, scores: Mapping[str, float], *, seconds: float) -> None:
        """Replaces a sorted set by {member: score}: written at `beside`, then renamed; empty = none there."""
        members = list(scores.items())
        for start in range(0, max(1, len(members)), FILLED_PER_CALL):
            part = members[start : start + FILLED_PER_CALL]
            words = [word for member, score in part for word in (score, member)]
            last = int(start + FILLED_PER_CALL >= len(members))
            await self.run("fill", [beside, place], [int(seconds * 1000), last, *words])

    async def top(self, work: str, weights: Mapping[str, float], *, most: int) -> list[str]:
        """The members with the highest sums over the sorted sets `weights` {key: weight}, highest first."""
        weighted = [repr(weight) for weight in weights.values()]
        return [member.decode() for member in await self.run("top", [work, *weights], [most, *weighted])]

    async def scores(self, keys: Sequence[str], members: Sequence[str]) -> list[list[float | None]]:
        """For each sorted set the scores of `members`, None where it has none."""
        if not members:
            return [[] for _ in keys]
        return await self._pipeline([("ZMSCORE", key, *members) for key in keys])

    async def delete(self, *keys: str) -> None:
        """Deletes keys, one command each (a cluster has no cross-slot DEL)."""
        await self._pipeline([("DEL", key) for key in keys])

    async def publish(self, channel: str, message: bytes) -> None:
        """Publishes to whoever listens now to a plain channel, on any server."""
        await self._ask(lambda: self._client.publish(channel, message))

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the server, or every primary of a cluster, answers."""
        where = {"target_nodes": RedisCluster.PRIMARIES} if self._cluster else {}
        await self._ask(lambda: self._client.ping(**where))

    async def holders(self) -> list[str]:
        """For each bucket the primary that holds it, as `host:port`; '' is the single Redis."""
        if self._cluster is None:
            return [""]
        return [node.name for node in await self._ask(partial(self._holders, self._cluster))]

    async def about(self) -> dict[str, str]:
        """{server, version, primaries, memory, policy} of a real server or cluster."""
        infos = await self._ask(lambda: self._on_each("INFO"))
        first = infos[0]
        return {
            "server": "valkey" if "valkey_version" in first else "redis",
            "version": str(first.get("valkey_version", first["redis_version"])),
            "primaries": str(len(infos)),
            "memory": f"{sum(info['used_memory'] for info in infos) / 2**20:.1f} MiB",
            "policy": ", ".join(sorted({str(info["maxmemory_policy"]) for info in infos})),
        }

    async def sample(self, pattern: str, most: int) -> list[str]:
        """Up to about `most` keys like `pattern` (of each primary its share), among the first that SCAN shows."""
        servers = await self._ask(self._servers)
        share = -(-most // len(servers))
        return [key for server in servers for key in await self._ask(partial(_scan, server, pattern, share))]

    async def memory(self, keys: Sequence[str]) -> list[int | None]:
        """Bytes of the server that each key takes, overhead included; None = there is no such key."""
        return await self._pipeline([("MEMORY USAGE", key, "SAMPLES", 0) for key in keys])

    @asynccontextmanager
    async def subscription(self, *channels: str, inbox: str = "") -> AsyncIterator[Subscription]:
        """A subscription to plain channels and to the inbox of the node that `inbox` names ('' = of none).

        Every server has confirmed it before the body runs.
        """
        subscription = Subscription()
        try:
            await self._ask(lambda: self._subscribe(subscription, channels, inbox))
            yield subscription
        finally:
            await subscription.close()

    async def close(self) -> None:
        """Closes every connection."""
        await quietly(self._client.aclose())
        if self._cluster:  # redis-py leaves the connections of a cluster that it wants to look at again
            for nodes in ("nodes_cache", "startup_nodes"):
                await quietly(self._cluster.nodes_manager.aclose(nodes))

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(POOL_WAIT):
                await self._room.acquire()
            try:
                return await command()
            finally:
                self._room.release()
        except self._refusals as error:
            raise StoreUnavailable("redis", f"{type(error).__name__}: {error}") from error

    async def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        async def execute() -> list[Any]:
            async with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return list(await pipe.execute())

        async def execute_or_look() -> list[Any]:
            try:
                return await execute()
            except UNREACHABLE:
                if self._cluster:  # redis-py looks for a dead server's successor after single commands only
                    await quietly(self._cluster.nodes_manager.initialize())
                raise

        return await self._ask(execute_or_look) if commands else []

    async def _subscribe(self, subscription: Subscription, channels: Sequence[str], inbox: str) -> None:
        if self._cluster is None:
            own = [self.keys.inbox(0, inbox)] if inbox else []
            await subscription.add(self._subscriber(None), [*channels, *own], [])
            return
        await self._cluster.nodes_manager.initialize()  # after a loss the servers may have changed
        holders = await self._holders(self._cluster)
        shards: dict[ClusterNode, list[str]] = {node: [] for node in holders}
        for bucket, node in enumerate(holders if inbox else []):
            shards[node].append(self.keys.inbox(bucket, inbox))
        # A plain message reaches every server: any one of them will do.
        anywhere = random.choice(holders)  # noqa: S311  (spreads load, guards nothing)
        for node, names in shards.items():
            plain = channels if node == anywhere else []
            if plain or names:
                await subscription.add(self._subscriber(node), plain, names)

    async def _holders(self, cluster: RedisCluster) -> list[ClusterNode]:
        await cluster.initialize()
        return [cluster.nodes_manager.get_node_from_slot(self.keys.slot(bucket)) for bucket in range(self.buckets)]

    async def _servers(self) -> list[Client | ClusterNode]:
        if self._cluster is None:
            return [self._client]
        await self._cluster.initialize()
        return list(self._cluster.get_primaries())

    async def _on_each(self, command: str) -> list[Any]:
        return [await server.execute_command(command) for server in await self._servers()]


def no_retry() -> Retry:
    """For a client that sends each command once."""
    return Retry(NoBackoff(), 0)


class _Script(NamedTuple):
    text: str
    digest: str

    @classmethod
    def load(cls, name: str) -> _Script:
        text = (Path(__file__).parent / "lua" / f"{name}.lua").read_text("utf-8")
        return cls(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324  (how EVALSHA names a script)


async def _scan(server: Client | ClusterNode, pattern: str, most: int) -> list[str]:
    """Up to `most` keys of one server, each once, within SCAN_STEPS."""
    found: set[str] = set()
    cursor = 0
    for _ in range(SCAN_STEPS):
        cursor, keys = await server.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_STEP)
        found.update(key.decode() for key in keys)
        if cursor == 0 or len(found) >= most:
            break
    return sorted(found)[:most]
