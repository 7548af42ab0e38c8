"""Removes what has outlived its use, in chunks: idempotency keys, expired sign-ins, revocations, done outbox rows,
old ticks and who was there."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from db import analytics, idempotency, outbox, revocations, ticks, users
from feed.analytics import COUNTABLE
from feed.idempotency import KEPT_HOURS
from feed.stores import Stores

EVERY = 600.0  # seconds
CHUNK = 500  # rows of one transaction
REVOCATIONS_KEPT = timedelta(days=1)  # edges read the last hour when they start
TICKS_KEPT = timedelta(days=62)  # twice what the schedule catches up (`workers.schedule.DAYS`)
DONE_KEPT = timedelta(days=7)  # how long what was done can still be looked at


async def run(stores: Stores) -> None:
    """Cleans up, for ever."""
    while True:
        await clean_up(stores)
        await asyncio.sleep(EVERY)


async def clean_up(stores: Stores) -> None:
    """Cleans up once, until nothing is left that is too old."""
    now = stores.clock()
    while await stores.sql.write(lambda c: idempotency.drop_older(c, now - timedelta(hours=KEPT_HOURS), limit=CHUNK)):
        pass
    while await stores.sql.write(lambda c: users.drop_expired_sessions(c, now, limit=CHUNK)):
        pass
    while await stores.sql.write(lambda c: revocations.drop_older(c, now - REVOCATIONS_KEPT, limit=CHUNK)):
        pass
    while await stores.sql.write(lambda c: outbox.drop_done(c, now - DONE_KEPT, limit=CHUNK)):
        pass
    while await stores.sql.write(lambda c: ticks.drop_older(c, now - TICKS_KEPT, limit=CHUNK)):
        pass
    while await stores.sql.write(lambda c: analytics.drop_active_days(c, now.date() - COUNTABLE, limit=CHUNK)):
        pass
