"""Counts what the day before came to, once per day over all workers."""

from __future__ import annotations

from datetime import datetime, timedelta

from feed import analytics
from feed.stores import Stores


async def run(stores: Stores, tick: datetime) -> None:
    """Counts the day before the tick's, and replaces its figures. Two hours later nothing of it is still on its way."""
    await analytics.refresh(stores, tick.date() - timedelta(days=1))
