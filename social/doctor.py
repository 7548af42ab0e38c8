"""`social doctor`: asks every store that the settings name, and says what to do about the ill ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from db import migrate
from db.errors import SocialError
from db.redis import MEMORY, Redis
from db.s3 import Objects
from db.settings import Settings

LIVE_USERS = 200  # streams that are measured; three commands each
TIMELINES = 200  # timelines that are measured


@dataclass(frozen=True, slots=True)
class Finding:
    """One part's state."""

    part: str
    healthy: bool
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Examines every part; never raises for an ill one."""
    return [
        Finding("settings", True, f"site {settings.origin}"),
        await _find("mysql", lambda: _sql(settings)),
        await _find("redis", lambda: _with_redis(settings, _redis)),
        await _find("streams", lambda: _with_redis(settings, _memory)),
        await _find("s3", lambda: _s3(settings)),
    ]


async def _find(part: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(part, True, await look())
    except SocialError as error:
        return Finding(part, False, str(error))


async def _sql(settings: Settings) -> str:
    url = settings.database_url.get_secret_value()
    if not url:
        return "embedded (SOCIAL_DATABASE_URL is not set)"
    current, newest = await migrate.revision(url)
    if current != newest:
        raise SocialError(f"schema is at {current or 'nothing'}, the code wants {newest}: run `social migrate`")
    return f"schema {current}"


async def _with_redis(settings: Settings, look: Callable[[Redis], Awaitable[str]]) -> str:
    url = settings.redis_url.get_secret_value()
    if not url or url == MEMORY:
        return "embedded (SOCIAL_REDIS_URL is not set)"
    redis = Redis.open(settings)
    try:
        return await look(redis)
    finally:
        await redis.close()


async def _redis(redis: Redis) -> str:
    about = await redis.about()
    if about["policy"] != "noeviction":
        raise SocialError(f"maxmemory-policy is {about['policy']}: set `noeviction`, evicted streams are lost streams")
    primaries = f" of {about['primaries']} primaries" if redis.buckets > 1 else ""
    return f"{about['server']} {about['version']}, {about['memory']}{primaries} used"


async def _memory(redis: Redis) -> str:
    """What Redis spends on people: the mean of a sample of those who are or were just connected, and of timelines."""
    metas = await redis.sample("meta:{*}:me:*", LIVE_USERS)
    users = [meta.partition("}:")[2] for meta in metas]
    keys = [key for name in users for key in (redis.keys.meta(name), redis.keys.log(name), redis.keys.seen(name))]
    live = _mean(await redis.memory(keys), len(users), "live user")
    timelines = await redis.sample("timeline:*", TIMELINES)
    return f"{live}; {_mean(await redis.memory(timelines), len(timelines), 'timeline')}"


def _mean(sizes: list[int | None], count: int, what: str) -> str:
    if not count:
        return f"no {what}s"
    return f"{sum(size or 0 for size in sizes) / count:,.0f} bytes per {what} (mean of {count:,})"


async def _s3(settings: Settings) -> str:
    if not settings.s3_endpoint and not settings.database_url.get_secret_value():
        return "embedded (SOCIAL_S3_ENDPOINT is not set)"
    objects = await Objects.open(settings)
    try:
        await objects.check()
    finally:
        await objects.close()
    return f"{settings.uploads_bucket} and {settings.media_bucket} answer"
