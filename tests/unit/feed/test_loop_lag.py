"""A loop that blocks is noticed: in the histogram, and beyond the bound in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from feed import loop_lag, metrics


@pytest_asyncio.fixture
async def measuring(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(loop_lag, "SLEEP", 0.01)
    task = asyncio.create_task(loop_lag.keep_measuring())
    await asyncio.sleep(0)  # its first sleep has begun
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def measured() -> tuple[float, float]:
    """(measurements, seconds of lag in all)."""
    value = metrics.REGISTRY.get_sample_value
    return (
        value("social_event_loop_lag_seconds_count") or 0.0,
        value("social_event_loop_lag_seconds_sum") or 0.0,
    )


async def until_measured(count: float) -> None:
    async with asyncio.timeout(10):
        while measured()[0] <= count:  # noqa: ASYNC110 - a histogram has no event
            await asyncio.sleep(0.005)


async def test_a_blocked_loop_is_measured_and_told(measuring: None) -> None:
    count, seconds = measured()
    with capture_logs() as logs:
        time.sleep(loop_lag.TOO_LATE + 0.1)  # noqa: ASYNC251 - it is what is to be noticed
        await until_measured(count)
    assert measured()[1] - seconds >= loop_lag.TOO_LATE
    told = [entry["seconds"] for entry in logs if entry["event"] == "loop_blocked"]
    assert told
    assert told[0] >= loop_lag.TOO_LATE


async def test_it_measures_again_and_again(measuring: None) -> None:
    for _ in range(3):
        await until_measured(measured()[0])
