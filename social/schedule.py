"""`social trending refresh` and `social analytics`: what the schedule does, done now."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta

from db.settings import Settings
from feed import analytics, trending
from feed.errors import Fault, Invalid
from feed.objects import timestamp
from feed.stores import Stores
from social.process import require_stores


async def refresh_trending(settings: Settings) -> str:
    """Works the list out, tells those who follow it, and says how long it took."""
    started = time.monotonic()
    async with _stores(settings, "database_url", "redis_url") as stores:
        refreshed_at = await trending.refresh(stores)
        await trending.announce(stores, f"trending:now:{timestamp(refreshed_at)}", refreshed_at)
    return f"Trending refreshed at {timestamp(refreshed_at)}, in {time.monotonic() - started:.2f} s."


async def count_days(settings: Settings, first: date | None, last: date | None) -> str:
    """Counts the days from `first` to `last` (default: yesterday). Raises Invalid for a range that is none."""
    async with _stores(settings, "database_url") as stores:
        yesterday = stores.clock().date() - timedelta(days=1)
        first, last = first or yesterday, last or yesterday
        if first > last:
            raise Invalid([Fault("/from", "The first day must not come after the last one.")])
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        for day in days:
            await analytics.refresh(stores, day)
    return f"Counted {first}." if len(days) == 1 else f"Counted {len(days)} days, {first} to {last}."


@asynccontextmanager
async def _stores(settings: Settings, *needed: str) -> AsyncIterator[Stores]:
    require_stores(settings, *needed)
    stores = Stores.open(settings)
    try:
        yield stores
    finally:
        await stores.close()
