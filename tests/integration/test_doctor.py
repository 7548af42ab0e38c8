"""What `social doctor` says of Redis memory, against what the server says of each key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db.redis import Redis
from db.settings import Settings
from feed.streams import Event, Streams
from social.doctor import examine
from tests.cluster import Cluster


@pytest.fixture(params=["redis", "cluster"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A store that nobody else writes to."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url").removesuffix("/0")) + "/7"
    start: Callable[[], Cluster] = request.getfixturevalue("start_cluster")
    return start().url


async def streams_line(settings: Settings) -> str:
    [line] = [finding.text for finding in await examine(settings) if finding.part == "streams"]
    return line


async def test_doctor_prints_the_mean_of_what_live_users_and_timelines_take(empty_url: str) -> None:
    settings = Settings(redis_url=empty_url)
    redis = Redis.open(settings)
    streams = Streams(redis, keep=16, window=600)
    names = [f"me:{number}" for number in range(1, 11)]
    keys: list[str] = []
    try:
        assert await streams_line(settings) == "no live users; no timelines"
        for name in names:
            await streams.join(name, "somenode")
        for number in range(5):
            await streams.append(Event(f"o{number}", "post.created", 7, 8, 1, b"{}"), names)
        await streams.join("post:1", "somenode")  # nobody's
        keys = [key for name in names for key in (redis.keys.meta(name), redis.keys.log(name), redis.keys.seen(name))]
        mean = sum([await redis._client.memory_usage(key, samples=0) for key in keys]) / len(names)
        assert await streams_line(settings) == f"{mean:,.0f} bytes per live user (mean of 10); no timelines"
        await redis._client.zadd("timeline:{1}:5", {"1": 1, "2": 2})
        size = await redis._client.memory_usage("timeline:{1}:5", samples=0)
        assert (await streams_line(settings)).endswith(f"; {size:,} bytes per timeline (mean of 1)")
    finally:
        await redis.delete("timeline:{1}:5", redis.keys.meta("post:1"), *keys)
        await redis.close()


async def test_doctor_measures_a_sample_of_many(empty_url: str) -> None:
    settings = Settings(redis_url=empty_url)
    redis = Redis.open(settings)
    names = [f"me:{number}" for number in range(1, 701)]
    try:
        for name in names:
            await Streams(redis, keep=16, window=600).join(name)
        counted = int((await streams_line(settings)).partition("mean of ")[2].partition(")")[0])
        assert 180 <= counted <= 201
    finally:
        await redis.delete(*(redis.keys.meta(name) for name in names))
        await redis.close()
