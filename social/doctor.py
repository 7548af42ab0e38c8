"""`social doctor`: asks every store that the settings name, and says what to do about the ill ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from db import migrate
from db.errors import SocialError
from db.redis import MEMORY, Redis
from db.s3 import Objects
from db.settings import Settings


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
        await _find("redis", lambda: _redis(settings)),
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


async def _redis(settings: Settings) -> str:
    url = settings.redis_url.get_secret_value()
    if not url or url == MEMORY:
        return "embedded (SOCIAL_REDIS_URL is not set)"
    redis = Redis.open(settings)
    try:
        about = await redis.about()
    finally:
        await redis.close()
    if about["policy"] != "noeviction":
        raise SocialError(f"maxmemory-policy is {about['policy']}: set `noeviction`, evicted streams are lost streams")
    return f"{about['server']} {about['version']}, {about['memory']} used"


async def _s3(settings: Settings) -> str:
    if not settings.s3_endpoint and not settings.database_url.get_secret_value():
        return "embedded (SOCIAL_S3_ENDPOINT is not set)"
    objects = await Objects.open(settings)
    try:
        await objects.check()
    finally:
        await objects.close()
    return f"{settings.uploads_bucket} and {settings.media_bucket} answer"
