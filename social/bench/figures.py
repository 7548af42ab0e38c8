"""Quantiles, tables, and the load of the process that measures: a client that is late itself measures nothing."""

from __future__ import annotations

import asyncio
import math
import os
import platform
import resource
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LAG_EVERY = 0.01  # seconds between two looks at the loop's punctuality
LAG_KEPT = 1_000_000  # looks: nearly three hours


class Line(NamedTuple):
    """A row of a table: what, how much, and what is wanted ('' = nothing in particular)."""

    name: str
    figure: str
    target: str = ""


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of ascending values; NaN of none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Iterable[float]) -> str:
    """p50, p99 and the largest of seconds, in milliseconds."""
    ordered = sorted(values)
    parts = ((quantile(ordered, 0.5), "p50"), (quantile(ordered, 0.99), "p99"), (quantile(ordered, 1.0), "max"))
    return " · ".join(f"{name} {milliseconds(value)}" for value, name in parts)


def milliseconds(seconds: float) -> str:
    """Seconds as text; three digits are all that a shared machine can tell."""
    value = seconds * 1000
    return "–" if math.isnan(value) else f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def megabytes(size: int | None) -> str:
    """Bytes as text."""
    return "–" if size is None else f"{size / 2**20:,.0f} MiB"


def table(title: str, lines: Iterable[Line]) -> str:
    """The title and one aligned row per line."""
    rows = list(lines)
    names = max(len(row.name) for row in rows)
    figures = max(len(row.figure) for row in rows if row.target)
    text = [title]
    for row in rows:
        target = f"   target: {row.target}" if row.target else ""
        text.append(f"  {row.name:<{names}}  {row.figure:<{figures if target else 0}}{target}")
    return "\n".join(text)


def machine() -> str:
    """What the figures belong to."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"


def raise_descriptor_limit() -> int:
    """Lifts the soft limit of open files to the hard one and returns it: a socket is a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Load:
    """This process's CPU share and how late its loop is, from `start` to `stop`."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._task: asyncio.Task[None] | None = None
        self._cpu = self._wall = 0.0

    def start(self) -> None:
        """Begins to look; call on the loop."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> str:
        """Ends, and says what was seen."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        return f"CPU {cpu:.1f} s of {wall:.1f} s ({cpu / wall:.0%}), loop late by {spread(self._late)}"

    async def _watch(self) -> None:
        while len(self._late) < LAG_KEPT:
            due = time.perf_counter() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self._late.append(max(0.0, time.perf_counter() - due))
