"""Where a process's CPU goes, by looking at the stack of its main thread every few milliseconds of CPU.

A tracing profiler is no help here: SQLAlchemy runs drivers in greenlets, and a stack that jumps between them gives
cumulative times of hours. A sample knows the greenlet it was taken in and goes on in its parent; the functions are not
slowed down. CPU of other threads (SQLite's) is seen as time in which the main thread stood wherever it stood.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from greenlet import getcurrent  # type: ignore[import-untyped, unused-ignore]

EVERY = 0.001  # seconds of CPU between two looks, where the kernel's clock is that fine (often 4 ms); one costs 20 us
MOST_STACKS = 200_000  # different ones; what comes later is counted under OTHERS
OTHERS = ("others",)
ALWAYS = 0.99  # of all looks: what is in every stack says nothing
OURS = ("realtime/", "feed/", "db/", "workers/", "social/")

Stacks = Counter[tuple[str, ...]]


class Sampler:
    """Samples the main thread between `start` and `stop`."""

    def __init__(self) -> None:
        self._stacks: Stacks = Counter()
        self._names: dict[CodeType, str] = {}

    def start(self) -> None:
        """Begins; call in the main thread."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def stop(self, file: Path) -> None:
        """Ends, and writes one line per stack, outermost first: `a;b;c 17`, as flame graphs are drawn from."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = (f"{';'.join(stack)} {times}\n" for stack, times in self._stacks.most_common())
        beside = file.with_suffix(".part")
        beside.write_text("".join(lines), "utf-8")
        beside.replace(file)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        names: list[str] = []
        here: Any = getcurrent()
        while here is not None:
            while frame is not None:
                names.append(self._name(frame.f_code))
                frame = frame.f_back
            here = here.parent
            frame = here.gr_frame if here is not None else None
        names.reverse()
        stack = tuple(names)
        if stack not in self._stacks and len(self._stacks) >= MOST_STACKS:
            stack = OTHERS
        self._stacks[stack] += 1

    def _name(self, code: CodeType) -> str:
        name = self._names.get(code)
        if name is None:
            name = self._names[code] = f"{short(code.co_filename)}:{code.co_qualname}".replace(";", ",")
        return name


def short(path: str) -> str:
    """A file's name below the folder that packages lie in."""
    for root in ("/site-packages/", *(f"/lib/python3.{minor}/" for minor in range(11, 20))):
        _, found, rest = path.rpartition(root)
        if found:
            return rest
    ours = (position for package in OURS if (position := path.rfind(f"/{package}")) >= 0)
    return path[min(ours, default=-1) + 1 :]


def read(text: str) -> Stacks:
    """What `stop` wrote."""
    stacks: Stacks = Counter()
    for line in text.splitlines():
        stack, _, times = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] += int(times)
    return stacks


def report(stacks: Stacks, rows: int) -> str:
    """Functions by own and by inclusive time, our own functions with the libraries below them, packages."""
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    for stack, times in stacks.items():
        own[stack[-1]] += times
        packages[stack[-1].partition(":")[0].partition("/")[0]] += times
        ours[next((name for name in reversed(stack) if name.startswith(OURS)), "none of ours")] += times
        for name in set(stack):
            inclusive[name] += times
    total = stacks.total()
    telling = [(name, times) for name, times in inclusive.most_common() if times < ALWAYS * total]
    return "\n\n".join(
        (
            f"{total:,} looks at the stack",
            _table("own time", own.most_common(rows), total),
            _table("inclusive time", telling[: rows * 2], total),
            _table("our functions, with the libraries they call", ours.most_common(rows * 2), total),
            _table("own time by package", packages.most_common(rows), total),
        )
    )


def _table(title: str, rows: Iterable[Sequence[Any]], total: int) -> str:
    return "\n".join([title, *(f"  {times / total:6.1%}  {name}" for name, times in rows)])
