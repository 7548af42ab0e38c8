"""Rate limits, counted in Redis for all processes together; in this process's memory while Redis does not answer."""

from __future__ import annotations

import math
import time
from typing import Any

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisClusterStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from db.redis import MEMORY, no_retry
from db.settings import Settings
from db.subscription import UNREACHABLE
from feed.errors import TooMany

log = structlog.get_logger(__name__)


class Limits:
    """Counts attempts and refuses those above a limit."""

    def __init__(self, settings: Settings) -> None:
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._shared = MovingWindowRateLimiter(_storage(settings.redis_url.get_secret_value()) or self._local.storage)
        self.sign_in_address = parse(settings.sign_in_per_address)
        self.sign_in_account = parse(settings.sign_in_per_account)
        self.sign_up_address = parse(settings.sign_up_per_address)

    async def count(self, limit: RateLimitItem, *names: str) -> None:
        """Counts one attempt under `names`. Raises TooMany with the seconds until the window has room."""
        try:
            await self._count(self._shared, limit, names)
        except (StorageError, *UNREACHABLE) as error:  # the package does not wrap a cluster that nobody answers for
            # Fails towards the local count, never towards no limit at all.
            log.warning("limits_local", cause=str(error))
            await self._count(self._local, limit, names)

    async def close(self) -> None:
        """Lets the shared counters' connections go."""
        storage = self._shared.storage
        if isinstance(storage, RedisStorage):
            await storage.bridge.storage.aclose()  # type: ignore[attr-defined] # the package has no method for it

    async def _count(self, limiter: MovingWindowRateLimiter, limit: RateLimitItem, names: tuple[str, ...]) -> None:
        if not await limiter.hit(limit, *names):
            reset, _ = await limiter.get_window_stats(limit, *names)
            raise TooMany(max(1, math.ceil(reset - time.time())))


def _storage(url: str) -> Storage | None:
    if url == MEMORY:
        return None
    scheme, _, rest = url.partition("://")
    options: dict[str, Any] = {
        "implementation": "redispy",
        "wrap_exceptions": True,
        "socket_timeout": 1,
        "socket_connect_timeout": 1,
        "retry": no_retry(),  # an attempt that is counted twice is a person who is locked out
    }
    if scheme == "rediss+cluster":  # a name that the package does not know
        return RedisClusterStorage(f"async+redis+cluster://{rest}", ssl=True, **options)
    if scheme == "redis+cluster":
        return RedisClusterStorage(f"async+{url}", **options)
    return RedisStorage(f"async+redis+unix://{rest}" if scheme == "unix" else f"async+{url}", **options)
