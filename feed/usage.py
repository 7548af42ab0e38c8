"""What an edge saw for the daily figures: who was there, and how long deliveries took.

Noted in memory, written once a minute beside the requests, best effort: a crash loses a minute, a store that does not
answer is tried again. A minute around midnight may count for the other day.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from datetime import date

import structlog

from db import analytics
from db.errors import DuplicateKey, MissingParent, OutcomeUnknown, StoreUnavailable
from feed import metrics
from feed.analytics import OVER_MS, UPPER_MS
from feed.metrics import DELIVERY_BUCKETS
from feed.stores import Stores

log = structlog.get_logger(__name__)

EVERY = 60.0  # seconds between writes
AT_ONCE = 500  # people of one statement
MOST_WAITING = 50_000  # people not written yet; more are noted at their next request
MOST_KNOWN = (
    200_000  # people known to be written, about 20 MB; with more, some are written again, which changes nothing
)
UPPER = (*UPPER_MS, OVER_MS)


class Usage:
    """What one edge saw since it last wrote."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._day = stores.clock().date()
        self._known: set[int] = set()
        self._waiting: set[int] = set()
        self._times: Counter[int] = Counter()

    def seen(self, user_id: int) -> None:
        """Somebody's sign-in was proved."""
        if user_id in self._known:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.add(user_id)
        else:
            metrics.USAGE_LOST.inc()

    def delivered(self, seconds: float, deliveries: int) -> None:
        """An item that happened `seconds` ago was handed to so many connections."""
        self._times[UPPER[bisect_left(DELIVERY_BUCKETS, seconds)]] += deliveries

    async def run(self) -> None:
        """Writes for ever; to be owned by the process's background."""
        while True:
            await asyncio.sleep(EVERY)
            await self.write()

    async def write(self) -> None:
        """Writes what was seen; what a store does not take waits for the next time."""
        today = self._stores.clock().date()
        if today != self._day:
            self._day = today
            self._known.clear()
        try:
            await self._write_people(today)
            await self._write_times(today)
        except (StoreUnavailable, DuplicateKey, MissingParent) as error:
            log.info("usage_not_written", cause=str(error))

    async def _write_people(self, today: date) -> None:
        while batch := sorted(self._waiting)[:AT_ONCE]:
            await self._stores.sql.write(lambda c, batch=batch: analytics.add_active(c, today, batch))  # type: ignore[misc]
            self._waiting.difference_update(batch)
            if len(self._known) + len(batch) > MOST_KNOWN:
                self._known.clear()
            self._known.update(batch)

    async def _write_times(self, today: date) -> None:
        times, self._times = self._times, Counter()
        if times:
            try:
                await self._stores.sql.write(lambda c: analytics.add_delivery_times(c, today, times))
            except OutcomeUnknown:
                metrics.USAGE_LOST.inc(times.total())  # perhaps written; written twice would be worse
                raise
            except StoreUnavailable:
                self._times.update(times)
                raise
