"""The ticks of cron expressions, newest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

from workers.schedule import newest, table

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_tick_is_due_from_its_very_moment_on() -> None:
    for late in (timedelta(), timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=59, seconds=59.9)):
        assert next(newest("0 * * * *", NOON + late)) == NOON
    assert next(newest("0 * * * *", NOON - timedelta(milliseconds=1))) == NOON - timedelta(hours=1)


def test_missed_ticks_follow_each_other_backwards() -> None:
    found = list(islice(newest("0 2 * * *", NOON), 3))
    assert found == [datetime(2026, 11, day, 2, tzinfo=UTC) for day in (21, 20, 19)]


def test_every_job_has_a_name_of_its_own_and_ticks() -> None:
    jobs = table()
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(next(newest(job.cron, NOON)) <= NOON for job in jobs)
