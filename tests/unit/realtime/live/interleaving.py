"""A deterministic scheduler for coroutines: one run is a list of choices, and every list can be tried.

`Scheduler` is an event loop without time and without I/O. Tasks on it run in asyncio's own order until all of them
wait for something outside; then a choice is made among what could happen next: a `point` that is passed (a store acts,
an answer comes), a timer that fires, or an action of the test (an item is appended, a message is lost). With `hops`
something outside may also happen between any two steps of the tasks, as on a real loop.

`every` tries all lists of choices, `some` a number of random ones that a seed names.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any

MOST_STEPS = 2000  # choices of one run: more is a loop that never ends


class Choices:
    """Decides among n things. The first ones are given, the rest falls to `otherwise`; all are written down."""

    def __init__(self, given: list[int], otherwise: Callable[[int], int] = lambda _count: 0) -> None:
        self._given = given
        self._otherwise = otherwise
        self.made: list[tuple[int, int]] = []  # (choice, out of)

    def pick(self, count: int) -> int:
        """A number below `count`."""
        at = len(self.made)
        assert at < MOST_STEPS, "this run does not end"
        choice = self._given[at] if at < len(self._given) else self._otherwise(count)
        self.made.append((choice, count))
        return choice


def every() -> Iterator[Choices]:
    """Choices for one run after the other until all have been tried; the run must have ended before the next one."""
    given: list[int] = []
    while True:
        choices = Choices(given)
        yield choices
        made = choices.made
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return
        given = [choice for choice, _ in made[:-1]] + [made[-1][0] + 1]


def some(runs: int, seed: int) -> Iterator[Choices]:
    """Choices for so many runs."""
    for number in range(runs):
        yield Choices([], random.Random(f"{seed} {number}").randrange)  # noqa: S311 - repeatable


class Scheduler(asyncio.AbstractEventLoop):
    """Runs tasks step by step. `actions()` tells what the test could do next: (name, deed)."""

    def __init__(
        self,
        choices: Choices,
        *,
        actions: Callable[[], list[tuple[str, Callable[[], None]]]] = list,
        hops: bool = False,
    ) -> None:
        self._choices = choices
        self._actions = actions
        self._hops = hops
        self._ready: deque[asyncio.Handle] = deque()
        self._outside: list[tuple[str, Callable[[], None]]] = []
        self._timers: dict[int, tuple[str, Callable[[], None]]] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._started: list[asyncio.Task[Any]] = []
        self.trace: list[str] = []
        self.faults: list[dict[str, Any]] = []

    # --- what the test uses ------------------------------------------------------------------------------------------

    async def point(self, name: str) -> None:
        """Waits until the scheduler chooses to let it go on."""
        passed = self.create_future()
        self._outside.append((name, lambda: passed.done() or passed.set_result(None)))
        await passed

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Makes a task that waits to be run."""
        task = self.create_task(coroutine)
        self._started.append(task)
        return task

    def run(self) -> None:
        """Runs until nothing can happen any more. Raises what a started task raised."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while self._step():
                pass
        finally:
            asyncio._set_running_loop(before)
        assert not self.faults, (self.faults, self.trace)
        for task in self._started:
            if task.done():
                task.result()

    def finish(self) -> None:
        """Ends every task that still waits."""
        self._actions = list
        for task in self._tasks:
            task.cancel()
        self._hops = False
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while self._ready:
                self._ready.popleft()._run()
        finally:
            asyncio._set_running_loop(before)

    def _step(self) -> bool:
        if self._ready and not self._hops:
            self._ready.popleft()._run()
            return True
        could = [*self._outside, *self._actions()]
        inside = bool(self._ready)
        if not could and not inside:
            return False
        count = len(could) + inside
        choice = self._choices.pick(count) if count > 1 else 0
        if choice == len(could):
            self._ready.popleft()._run()
            return True
        name, deed = could[choice]
        self.trace.append(name)
        if choice < len(self._outside):
            del self._outside[choice]
        deed()
        return True

    # --- what asyncio uses -------------------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        entry = ("timer", lambda: self._ready.append(handle))  # a deed of its own: entries are told apart by it
        self._outside.append(entry)
        self._timers[id(handle)] = entry
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        entry = self._timers[id(handle)]
        self._outside = [other for other in self._outside if other is not entry]

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
