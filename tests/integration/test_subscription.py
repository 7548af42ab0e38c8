"""Subscriptions that lose a server, a connection or a slot: always an error, never silence."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from db.errors import StoreUnavailable
from db.redis import CONTROL, MEMORY, Keys, Redis
from db.settings import Settings
from db.subscription import Subscription
from feed.streams import Event, Streams
from tests.cluster import PRIMARIES, Cluster

PATIENCE = 10.0  # seconds until a loss is noticed; seen 0.1


@pytest_asyncio.fixture(scope="module", params=["valkey", "redis", "cluster"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    redis = Redis.open(Settings(redis_url=request.getfixturevalue(f"{request.param}_url")))
    yield redis
    await redis.close()


@pytest_asyncio.fixture
async def reshaped(start_cluster: Callable[[], Cluster]) -> AsyncIterator[tuple[Cluster, Redis]]:
    """A cluster of the test's own."""
    cluster = start_cluster()
    redis = Redis.open(Settings(redis_url=cluster.url))
    yield cluster, redis
    await redis.close()


async def heard(subscription: Subscription) -> list[str]:
    """Every channel that something came from, until it is quiet."""
    channels = []
    while (message := await subscription.next(0.3 if channels else 3.0)) is not None:
        channels.append(message[0])
    return channels


async def test_plain_channels_and_the_inbox_come_together(redis: Redis) -> None:
    here = secrets.token_hex(4)
    streams = Streams(redis, keep=16, window=600)
    names = [f"me:{number}{secrets.randbelow(10**6)}" for number in range(60)]
    for name in names:
        await streams.join(name, here)
    async with redis.subscription(CONTROL, inbox=here) as subscription:
        await redis.publish(CONTROL, b"{}")
        await streams.append(Event(secrets.token_hex(4), "post.created", 7, 8, 1, b"{}"), names)
        channels = await heard(subscription)
    buckets = {redis.keys.bucket(name) for name in names}
    assert sorted(channels) == sorted([CONTROL, *(redis.keys.inbox(bucket, here) for bucket in buckets)])


async def test_a_subscription_without_an_inbox_hears_its_channel_alone(redis: Redis) -> None:
    async with redis.subscription("only") as subscription:
        await redis.publish("other", b"1")
        await redis.publish("only", b"2")
        assert await subscription.next(3.0) == ("only", b"2")
        assert await subscription.next(0.05) is None


async def test_a_connection_that_the_server_cuts_is_an_error_and_nothing_is_subscribed_again(redis: Redis) -> None:
    async with redis.subscription(CONTROL, inbox="cut") as subscription:
        [server, *_] = await redis._servers()
        assert await server.execute_command("CLIENT", "KILL", "TYPE", "pubsub") > 0
        with pytest.raises(StoreUnavailable):
            await subscription.next(PATIENCE)
        with pytest.raises(StoreUnavailable):  # for good
            await subscription.next(PATIENCE)
    async with redis.subscription(CONTROL, inbox="cut") as subscription:
        await redis.publish(CONTROL, b"again")
        assert await subscription.next(3.0) == (CONTROL, b"again")


async def test_more_than_the_queue_holds_is_kept_by_the_server_and_comes_in_order(redis: Redis) -> None:
    async with redis.subscription("many") as subscription:
        for number in range(1500):
            await redis.publish("many", str(number).encode())
        found = [await subscription.next(3.0) for _ in range(1500)]
    assert found == [("many", str(number).encode()) for number in range(1500)]


async def test_fakeredis_has_an_inbox_too() -> None:
    redis = Redis.open(Settings(redis_url=MEMORY))
    try:
        async with redis.subscription(CONTROL, inbox="n") as subscription:
            await redis.publish(CONTROL, b"1")
            await redis.publish(redis.keys.inbox(0, "n"), b"2")
            assert [await subscription.next(1.0) for _ in range(2)] == [(CONTROL, b"1"), (Keys().inbox(0, "n"), b"2")]
    finally:
        await redis.close()


async def test_nobody_to_subscribe_to_is_told() -> None:
    redis = Redis.open(Settings(redis_url="redis+cluster://127.0.0.1:1"))
    try:
        with pytest.raises(StoreUnavailable):
            async with redis.subscription(CONTROL, inbox="n"):
                raise AssertionError("subscribed to nobody")
    finally:
        await redis.close()


@pytest.mark.parametrize("number", range(PRIMARIES))
async def test_a_primary_that_dies_is_an_error_not_silence(reshaped: tuple[Cluster, Redis], number: int) -> None:
    cluster, redis = reshaped
    async with redis.subscription(CONTROL, inbox="n") as subscription:
        cluster.kill(number)
        with pytest.raises(StoreUnavailable):
            await subscription.next(PATIENCE)
    # The others may take a moment to notice, and then refuse too: nothing but StoreUnavailable ever comes out.
    streams = Streams(redis, keep=16, window=600)
    with pytest.raises(StoreUnavailable):
        await streams.touch([(f"me:{user}", "n:n") for user in range(300)])
    with pytest.raises(StoreUnavailable):
        await streams.payloads([f"o{event}" for event in range(50)])
    with pytest.raises(StoreUnavailable):
        async with redis.subscription(CONTROL, inbox="n"):
            raise AssertionError("subscribed to a dead primary")
    with pytest.raises(StoreUnavailable):
        await redis.ping()


async def test_a_slot_that_moves_is_an_error_and_the_next_subscription_follows_it(
    reshaped: tuple[Cluster, Redis],
) -> None:
    cluster, redis = reshaped
    bucket = 5  # of the first node's
    async with redis.subscription(CONTROL, inbox="n") as subscription:
        cluster.move([redis.keys.slot(bucket)], 0, 2)
        with pytest.raises(StoreUnavailable) as caught:
            await subscription.next(PATIENCE)
    assert "moved" in str(caught.value)
    streams = Streams(redis, keep=16, window=600)
    name = next(name for name in (f"me:{n}" for n in range(10**6)) if redis.keys.bucket(name) == bucket)
    await streams.join(name, "n")  # its redirection is followed
    async with redis.subscription(CONTROL, inbox="n") as subscription:
        assert (await redis.holders())[bucket].endswith(str(cluster.ports[2]))
        assert await streams.append(Event("e", "post.created", 7, 8, 1, b"{}"), [name]) == 1
        message = await subscription.next(3.0)
    assert message is not None
    assert message[0] == redis.keys.inbox(bucket, "n")


async def test_who_takes_over_from_a_dead_server_is_found(reshaped: tuple[Cluster, Redis]) -> None:
    cluster, redis = reshaped
    streams = Streams(redis, keep=16, window=600)
    events = [f"o{event}" for event in range(50)]
    assert await streams.payloads(events) == [None] * 50
    cluster.move(cluster.slots(0), 0, 2)
    cluster.kill(0)
    with pytest.raises(StoreUnavailable):  # what it asked the dead one for is not asked again by itself
        await streams.payloads(events)
    assert await streams.payloads(events) == [None] * 50
    async with redis.subscription(CONTROL, inbox="n"):
        assert {holder[-5:] for holder in await redis.holders()} == {str(port) for port in cluster.ports[1:]}


async def test_a_slot_on_its_way_is_followed_or_out_of_reach(reshaped: tuple[Cluster, Redis]) -> None:
    cluster, redis = reshaped
    streams = Streams(redis, keep=16, window=600)
    bucket = 5
    name = next(name for name in (f"me:{n}" for n in range(10**6)) if redis.keys.bucket(name) == bucket)
    cluster.move(cluster.slots(2), 2, 1)
    await redis.holders()  # knows those that hold slots, and the third holds none
    cluster.begin_move(redis.keys.slot(bucket), 0, 2)
    with pytest.raises(StoreUnavailable):
        await streams.join(name, "n")
    cluster.move([redis.keys.slot(bucket)], 0, 2)
    assert (await streams.join(name, "n")).offset == 0
