"""What a day came to: counted from MySQL's rows once the day is over, and again whenever somebody asks for it.

A run replaces the day's figures, so it may run any number of times. Rows that were removed since (an erased account's)
are not counted any more. Without media there are no uploads to count, so there is no such figure.

    daily_active_users              people whose sign-in was proved by a request or a connection
    sign_ups, posts, comments,      made on that day; of likes and friendships those that stand since then
    likes, shares, friendships
    deliveries                      items handed to connections, replays not included
    commit_to_frame_p50_seconds,    from an item's time to the queueing of its frame at the edge, over all deliveries;
    commit_to_frame_p99_seconds     what network and screen add is not known here
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import msgspec

from db import analytics
from feed.errors import Fault, Invalid
from feed.metrics import DELIVERY_BUCKETS
from feed.stores import Stores

MOST_DAYS = 366  # of one answer: a year
# Who was there is remembered so long, then only how many: beyond it that figure is not counted again.
COUNTABLE = timedelta(days=62)
UPPER_MS = tuple(int(bound * 1000) for bound in DELIVERY_BUCKETS)
OVER_MS = 2**31 - 1  # the bucket of what took longer than all bounds
PERCENTILES = {"commit_to_frame_p50_seconds": 0.5, "commit_to_frame_p99_seconds": 0.99}


class Day(msgspec.Struct, frozen=True):
    """A day's figures by name; a day that was not counted has none."""

    day: str
    figures: dict[str, float]


class Analytics(msgspec.Struct, frozen=True):
    """Every day of the range, oldest first."""

    days: list[Day]


def percentile(times: Mapping[int, int], share: float) -> float | None:
    """Seconds within which `share` of the deliveries {upper bound in ms: number} were made; None without any.

    Interpolated inside the bucket, as Prometheus' histogram_quantile does; beyond the last bound it is that bound.
    """
    total = sum(times.values())
    if not total:
        return None
    rank, below, lower = share * total, 0, 0
    for upper in UPPER_MS:
        here = times.get(upper, 0)
        if here and below + here >= rank:
            return (lower + (upper - lower) * (rank - below) / here) / 1000
        below, lower = below + here, upper
    return UPPER_MS[-1] / 1000


async def refresh(stores: Stores, day: date) -> None:
    """Counts a day and replaces its figures."""
    async with stores.sql.read(stale=True) as sql:  # the day has been over for hours; a second run mends a slow replica
        figures: dict[str, float] = {name: await analytics.count(sql, name, day) for name in analytics.COUNTED}
        if stores.clock().date() - day < COUNTABLE:
            figures["daily_active_users"] = await analytics.active(sql, day)
        times = await analytics.delivery_times_of(sql, day)
    figures["deliveries"] = sum(times.values())
    found = {name: percentile(times, share) for name, share in PERCENTILES.items()}
    figures.update({name: seconds for name, seconds in found.items() if seconds is not None})
    await stores.sql.write(lambda c: analytics.replace(c, day, figures))


async def read(stores: Stores, first: date, last: date) -> Analytics:
    """The figures of the days from `first` to `last`, both included. Raises Invalid for no range or one too long."""
    if first > last:
        raise Invalid([Fault("/from", "The first day must not come after the last one.")])
    if (last - first).days >= MOST_DAYS:
        raise Invalid([Fault("/to", f"Ask for at most {MOST_DAYS} days at once.")])
    async with stores.sql.read(stale=True) as sql:
        rows = await analytics.figures(sql, first, last)
    found: dict[date, dict[str, float]] = {first + timedelta(days=n): {} for n in range((last - first).days + 1)}
    for row in rows:
        found[row.day][row.name] = row.value
    return Analytics([Day(day.isoformat(), figures) for day, figures in found.items()])


def day_of(text: str | None, pointer: str) -> date:
    """A day as `YYYY-MM-DD`. Raises Fault."""
    try:
        day = date.fromisoformat(text or "")
        if day.isoformat() != text:  # it takes other spellings too
            raise ValueError
        return day
    except ValueError as error:
        raise Fault(pointer, "A day as YYYY-MM-DD.") from error
