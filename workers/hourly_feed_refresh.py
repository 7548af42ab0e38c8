"""Works out anew what trends, once per hour over all workers, and tells whoever follows it."""

from __future__ import annotations

from datetime import datetime

from feed import trending
from feed.stores import Stores


async def run(stores: Stores, tick: datetime) -> None:
    """Refreshes for a tick. It reads back over the whole window: of missed ticks only the newest one needs to run."""
    refreshed_at = await trending.refresh(stores)
    await trending.announce(stores, f"trending:{int(tick.timestamp())}", refreshed_at)


async def is_lost(stores: Stores) -> bool:
    """True when Redis was emptied since the last run."""
    return await trending.stored(stores) is None
