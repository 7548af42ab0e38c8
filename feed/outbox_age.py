"""Looks at how much work waits, for the metrics. Best effort: nothing depends on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from db import outbox
from db.errors import StoreUnavailable
from feed import metrics
from feed.stores import Stores

log = structlog.get_logger(__name__)

EVERY = 15.0  # seconds: the usual interval between two scrapes
WITHIN = 5.0  # seconds that a look may take: beyond it the store has more important things to do


async def keep_looking(stores: Stores) -> None:
    """Looks for ever; to be owned by the process's background."""
    while True:
        await look(stores)
        await asyncio.sleep(EVERY)


async def look(stores: Stores) -> None:
    """Sets the metrics of the outbox; to NaN when the store does not answer."""
    try:
        async with asyncio.timeout(WITHIN), stores.sql.read() as sql:
            backlog = await outbox.backlog(sql)
    except (StoreUnavailable, TimeoutError) as error:
        log.debug("outbox_not_seen", cause=str(error))
        metrics.outbox_unknown()
        return
    age = stores.clock() - backlog.oldest if backlog.oldest else timedelta()
    metrics.outbox_seen(oldest=max(0.0, age.total_seconds()), pending=backlog.pending, parked=backlog.parked)
