"""Some readers stop reading: what the others notice of it, and what becomes of those that stopped.

Quiet and stalled phases alternate in one run, because a shared machine is never the same twice. The latencies are
those of readers that never stall, in both kinds of phase the same ones.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from feed import comments, posts
from social.bench import people
from social.bench.client import Reader, Return, come_back, connect_all
from social.bench.figures import Line, Load, machine, megabytes, milliseconds, quantile, spread, table
from social.bench.site import Site, site

SETTLE = 3.0  # seconds before each phase that count for nothing: what the last one left behind is done by then
STRAGGLERS = 2.0  # seconds after each phase for its last frames
AWAKE_WITHIN = 30.0  # seconds for those that stalled to have caught up
LOOK_EVERY = 1.0  # seconds between two looks at the node's metrics
LARGEST_QUEUE = "social_live_largest_queue_bytes"
SMALL = 4096  # bytes of SO_RCVBUF of those that stall, so that the node's side fills and not the kernel's
FILLER = "\U0001fad6"  # a character of four bytes: the limit of a text counts characters


@dataclass(slots=True)
class Phase:
    """One stretch of the run; `first` and `last` number its items."""

    stalled: bool
    first: int = 0
    last: int = 0
    took: list[float] = field(default_factory=list)  # commit -> frame
    behind_first: list[float] = field(default_factory=list)  # first frame of the item -> frame: the node's part alone
    late: list[float] = field(default_factory=list)  # of the writer against its own clock


@dataclass(slots=True)
class Woken:
    """What befell those that stalled, over all phases."""

    kept: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    unrecovered: int = 0
    resyncs: int = 0
    lost: int = 0


class Journal:
    """When each item was committed, and when each healthy reader had it."""

    def __init__(self) -> None:
        self.committed: dict[int, float] = {}
        self.heard: list[tuple[int, float]] = []

    def hear(self, message: dict[str, Any], now: float) -> None:
        """An item reached a healthy reader."""
        number, _, _ = message["data"].get("text", "").partition(" ")
        if number.isdigit():
            self.heard.append((int(number), now))

    def sort(self, phases: list[Phase]) -> None:
        """Gives each phase what took place in it."""
        first: dict[int, float] = {}
        for number, now in self.heard:
            first[number] = min(now, first.get(number, now))
        for phase in phases:
            heard = [(number, now) for number, now in self.heard if phase.first <= number < phase.last]
            phase.took = [now - self.committed[number] for number, now in heard]
            phase.behind_first = [now - first[number] for number, now in heard]


async def run(
    *, readers: int, share: float, rate: float, size: int, seconds: float, pairs: int, streams: str, engines: str
) -> str:
    """Measures and returns the table. `rate` is items per second, `size` their text in bytes."""
    async with site(engines, sockets=readers + 100) as measured:
        journal = Journal()
        crowd, write = await _prepare(measured, readers, streams, size)
        sleepers = set(random.sample(range(readers), round(readers * share)))
        for index, reader in enumerate(crowd):
            if index in sleepers:
                reader.receive_buffer = SMALL
            else:
                reader.heard = journal.hear
        await connect_all(crowd, measured.port)
        gc.collect()
        gc.freeze()
        rss = measured.web.memory()
        measured.web.forget_peak()
        load = Load()
        load.start()
        watch = Watch(measured)
        sleeping = [crowd[index] for index in sorted(sleepers)]
        phases, woken = await _phases(measured, journal, write, sleeping, watch, rate, seconds, pairs)
        said = await load.stop()
        journal.sort(phases)
        title = (
            f"stalled · {readers:,} readers, {len(sleeping):,} of them stall · {streams} stream · {rate:g} items/s of "
            f"{size:,} bytes · {pairs} x {seconds:g} s quiet and stalled · {engines} · {machine()}"
        )
        lines = _lines(phases, woken, readers - len(sleeping), len(sleeping) * pairs)
        lines += [
            Line(
                "largest queue",
                f"{watch.largest / 1024:.0f} KiB" if watch.largest is not None else "the node does not tell",
            ),
            Line("node memory", f"{megabytes(rss)} at first, peak {megabytes(measured.web.memory('VmHWM'))}"),
            Line("node CPU", f"{watch.cpu('quiet')} of a core when quiet, {watch.cpu('stalled')} when stalled"),
            Line(
                "node complained", ", ".join(f"{e} {n}" for e, n in measured.web.complaints().items()) or "of nothing"
            ),
            Line("this client", said),
        ]
        return table(title, lines)


class Watch:
    """Looks at the node while phases run: CPU by kind of phase, the largest queue if it tells."""

    def __init__(self, measured: Site) -> None:
        self.largest: int | None = None
        self._measured = measured
        self._spent: Counter[str] = Counter()
        self._lasted: Counter[str] = Counter()

    async def run(self, kind: str) -> None:
        """Looks until it is cancelled."""
        url = f"http://127.0.0.1:{self._measured.port}/metrics"
        cpu, began = self._measured.web.cpu() or 0.0, time.perf_counter()
        try:
            async with aiohttp.ClientSession() as http:
                while True:
                    await asyncio.sleep(LOOK_EVERY)
                    async with http.get(url) as answer:
                        self._note(await answer.text() if answer.status == 200 else "")
        finally:
            self._spent[kind] += round(1000 * ((self._measured.web.cpu() or 0.0) - cpu))
            self._lasted[kind] += round(1000 * (time.perf_counter() - began))

    def cpu(self, kind: str) -> str:
        """The share of a core over all phases of a kind."""
        lasted = self._lasted[kind]
        return f"{self._spent[kind] / lasted:.0%}" if lasted else "–"

    def _note(self, metrics: str) -> None:
        for line in metrics.splitlines():
            if line.startswith(LARGEST_QUEUE):
                self.largest = max(self.largest or 0, int(float(line.rpartition(" ")[2])))


async def _prepare(
    measured: Site, readers: int, streams: str, size: int
) -> tuple[list[Reader], Callable[[int], Awaitable[None]]]:
    """The readers, and what commits one item to the stream of each."""
    stores = measured.stores
    crowd = await people.make(stores, "reader", readers)
    [writer] = await people.make(stores, "writer", 1)
    filler = FILLER * (size // len(FILLER.encode()))
    if streams == "shared":
        post = await posts.create(
            stores, writer.id, words="Everybody watches this post.", visibility="public", media=[], key=None
        )

        async def comment(number: int) -> None:
            await comments.create(stores, writer.id, int(post.id), words=f"{number} {filler}", key=None)

        return [Reader(person.token, (f"post:{post.id}",)) for person in crowd], comment
    await people.befriend(stores, writer, crowd)

    async def publish(number: int) -> None:
        await posts.create(stores, writer.id, words=f"{number} {filler}", visibility="friends", media=[], key=None)

    return [Reader(person.token) for person in crowd], publish


async def _phases(
    measured: Site,
    journal: Journal,
    write: Callable[[int], Awaitable[None]],
    sleeping: list[Reader],
    watch: Watch,
    rate: float,
    seconds: float,
    pairs: int,
) -> tuple[list[Phase], Woken]:
    """Quiet, stalled, quiet, stalled ... with the writer going on all the time."""
    phases: list[Phase] = []
    woken = Woken()
    number = 0

    async def stretch(phase: Phase, lasts: float) -> None:
        nonlocal number
        phase.first = number
        began = time.perf_counter()
        for step in range(round(lasts * rate)):
            due = began + step / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            phase.late.append(time.perf_counter() - due)
            await write(number)
            journal.committed[number] = measured.committed.at
            number += 1
        phase.last = number

    for stalled in [False, True] * pairs:
        await stretch(Phase(stalled), SETTLE)
        phase = Phase(stalled)
        phases.append(phase)
        if stalled:
            for reader in sleeping:
                if reader.conversation is not None:
                    reader.conversation.stall()
        look = asyncio.create_task(watch.run("stalled" if stalled else "quiet"))
        await stretch(phase, seconds)
        look.cancel()
        await asyncio.wait([look])
        await asyncio.sleep(STRAGGLERS)
        if stalled:
            await _wake(measured, sleeping, woken)
    return phases, woken


async def _wake(measured: Site, sleeping: list[Reader], woken: Woken) -> None:
    """Everybody reads on: on the old socket, or after coming back with the position."""
    before = sum(r.unrecovered for r in sleeping), sum(r.resyncs for r in sleeping)
    tasks = [asyncio.create_task(_wake_one(measured, reader, woken)) for reader in sleeping]
    if not tasks:
        return
    done, late = await asyncio.wait(tasks, timeout=AWAKE_WITHIN)
    woken.lost += len(late)
    for task in late:
        task.cancel()
    for task in done:
        task.result()
    woken.unrecovered += sum(r.unrecovered for r in sleeping) - before[0]
    woken.resyncs += sum(r.resyncs for r in sleeping) - before[1]


async def _wake_one(measured: Site, reader: Reader, woken: Woken) -> None:
    conversation = reader.conversation
    if conversation is None:
        return
    conversation.wake()
    # A socket that the node has given up shows it as soon as what the kernel holds has been read.
    done, _ = await asyncio.wait([conversation.ended], timeout=STRAGGLERS)
    if not done:
        woken.kept += 1
        return
    woken.closed[str(conversation.ended.result())] += 1
    missed = reader.unrecovered
    await come_back(reader, measured.port, Return())
    woken.resumed += reader.unrecovered == missed


def _lines(phases: list[Phase], woken: Woken, healthy: int, stalls: int) -> list[Line]:
    frames = sum(len(phase.took) for phase in phases)
    expected = sum(phase.last - phase.first for phase in phases) * healthy
    return [
        *_compared("commit -> frame", phases, lambda phase: phase.took),
        *_compared("first frame -> frame", phases, lambda phase: phase.behind_first),
        Line("frames of the others", f"{frames:,} of {expected:,}", f"{expected:,}"),
        Line("stalls", f"{stalls:,}"),
        Line("  kept the socket", f"{woken.kept:,}"),
        *(Line(f"  closed with {code}", f"{times:,}") for code, times in woken.closed.most_common()),
        Line("  came back with every item", f"{woken.resumed:,}"),
        Line("  came back, not recovered", f"{woken.unrecovered:,}"),
        Line("  told to resync", f"{woken.resyncs:,}"),
        Line("  not back in time", f"{woken.lost:,}", "0"),
        Line("writer late by", f"{milliseconds(max((late for p in phases for late in p.late), default=0.0))} at most"),
    ]


def _compared(name: str, phases: list[Phase], times: Callable[[Phase], list[float]]) -> list[Line]:
    """A row per phase, and how much a stalled phase's p99 differs from that of the quiet one before it."""
    pairs = zip(phases[::2], phases[1::2], strict=True)
    changes = sorted(_p99(times(stalled)) / _p99(times(quiet)) - 1 for quiet, stalled in pairs)
    return [
        Line(f"{name} of the others", ""),
        *(
            Line(f"  {'stalled' if phase.stalled else 'quiet  '} {index // 2 + 1}", spread(times(phase)))
            for index, phase in enumerate(phases)
        ),
        Line("  quiet, all", spread(took for phase in phases if not phase.stalled for took in times(phase))),
        Line("  stalled, all", spread(took for phase in phases if phase.stalled for took in times(phase))),
        Line(
            "  p99 changed by",
            f"{statistics.median(changes):+.0%}, median of pairs from {changes[0]:+.0%} to {changes[-1]:+.0%}",
            "less than 10 %",
        ),
    ]


def _p99(values: list[float]) -> float:
    return quantile(sorted(values), 0.99)
