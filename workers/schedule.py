"""Jobs that run once per period, over any number of workers.

    tick       a moment of the job's cron expression (UTC); the newest ones that were missed are due as well, `catch_up`
               of them at most; nothing was missed before its first one
    claim      a tick belongs to whoever inserts its row, for LEASE seconds; a worker that dies or fails leaves it to
               the next one when the lease has ended
    done       `done_at` makes it once; a tick whose result the store has lost (`is_lost`) is due again

A run that outlives its lease may overlap with the next one: jobs are idempotent, as every job of this package.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog
from cronsim import CronSim

from db import ticks
from db.errors import StoreUnavailable
from feed import metrics
from feed.stores import Stores
from workers import daily_analytics, hourly_feed_refresh

log = structlog.get_logger(__name__)

LOOK = 5.0  # seconds between looks, jittered: how late a tick begins, and how long a lost list stays lost
LEASE = 120.0  # seconds that a tick belongs to whoever claimed it; also the pause after a failed run
RUN_WITHIN = 100.0  # seconds of one run, so that it ends before its lease does
DAYS = 31  # missed days that are made up for: a month is the longest that anybody compares


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job: `cron` in UTC, how many missed ticks to catch up, and when a done one has to run again."""

    name: str
    cron: str
    run: Callable[[Stores, datetime], Awaitable[None]]
    catch_up: int
    is_lost: Callable[[Stores], Awaitable[bool]] | None = None


def table() -> tuple[Scheduled, ...]:
    """Every scheduled job."""
    return (
        Scheduled(
            "hourly-feed-refresh", "0 * * * *", hourly_feed_refresh.run, catch_up=1, is_lost=hourly_feed_refresh.is_lost
        ),
        Scheduled("daily-analytics", "0 2 * * *", daily_analytics.run, catch_up=DAYS),
    )


def newest(cron: str, now: datetime) -> Iterator[datetime]:
    """The ticks of an expression up to and including `now`, newest first."""
    second = now.replace(microsecond=0) + timedelta(seconds=1)
    return iter(CronSim(cron, second, reverse=True))


class Schedule:
    """One worker on the schedule."""

    def __init__(self, stores: Stores, jobs: tuple[Scheduled, ...] | None = None) -> None:
        self.owner = secrets.token_hex(8)
        self._stores = stores
        self._jobs = table() if jobs is None else jobs

    async def run(self) -> None:
        """Looks for ever. Raises StoreUnavailable; its owner starts it again."""
        while True:
            await self.step()
            await asyncio.sleep(LOOK * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def step(self) -> int:
        """One look at every job; returns how many runs were attempted."""
        return sum([await self._look(job) for job in self._jobs])

    async def _look(self, job: Scheduled) -> int:
        now = self._stores.clock()
        async with self._stores.sql.read() as connection:
            known = await ticks.of_job(connection, job.name)
        due = list(islice(newest(job.cron, now), job.catch_up if known else 1))
        first = min(known, default=due[-1])
        attempted = 0
        for tick in sorted(tick for tick in due if tick >= first):
            row = known.get(tick)
            done_at = None if row is None else row.done_at
            if done_at is not None and not (tick == due[0] and await self._is_lost(job)):
                continue
            if row is not None and done_at is None and row.expires_at > now:
                continue  # somebody is at it
            attempted += await self._attempt(job, tick, redo=done_at)
        return attempted

    async def _is_lost(self, job: Scheduled) -> bool:
        return job.is_lost is not None and await job.is_lost(self._stores)

    async def _attempt(self, job: Scheduled, tick: datetime, *, redo: datetime | None) -> bool:
        """Claims a tick and runs it; False when another worker was first. A failure is logged and left to the lease."""
        now = self._stores.clock()
        until = now + timedelta(seconds=LEASE)
        claimed = await self._stores.sql.write(
            lambda c: ticks.claim(c, job.name, tick, self.owner, now=now, until=until, redo=redo)
        )
        if not claimed:
            return False
        started = time.monotonic()
        try:
            async with asyncio.timeout(RUN_WITHIN):
                await job.run(self._stores, tick)
            await self._stores.sql.write(lambda c: ticks.finish(c, job.name, tick, self.owner, self._stores.clock()))
        except (StoreUnavailable, TimeoutError) as error:
            metrics.scheduled(job.name, "put_off", time.monotonic() - started)
            log.warning("scheduled_job_put_off", job=job.name, tick=str(tick), cause=str(error))
        except Exception:
            # One job's fault must not keep the others from their hour; its tick is free again after the lease.
            metrics.scheduled(job.name, "failed", time.monotonic() - started)
            log.exception("scheduled_job_failed", job=job.name, tick=str(tick))
        else:
            metrics.scheduled(job.name, "done", time.monotonic() - started)
            log.info("scheduled_job_done", job=job.name, tick=str(tick), seconds=round(time.monotonic() - started, 3))
        return True
