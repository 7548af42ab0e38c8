"""Measures how late the event loop is: everything that a process does waits that long."""

from __future__ import annotations

import asyncio

import structlog

from feed import metrics

log = structlog.get_logger(__name__)

SLEEP = 0.25  # seconds between two measurements: often enough to meet a loop that blocks, too seldom to cost anything
TOO_LATE = 0.25  # seconds: the tick of the live side; beyond it pings and counts are late as well


async def keep_measuring() -> None:
    """Measures for ever; to be owned by the process's background."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + SLEEP
        await asyncio.sleep(SLEEP)
        lag = max(0.0, loop.time() - due)
        metrics.LOOP_LAG.observe(lag)
        if lag > TOO_LATE:
            log.warning("loop_blocked", seconds=round(lag, 3))
