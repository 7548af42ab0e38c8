"""An event loop whose time passes only when nobody has anything to do: sleeping costs nothing and is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")


class Fault(Exception):
    """Something that a loop tells of without an exception."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Where another loop would wait for its next timer, this one is there already. Nothing real may be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 1000.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            events = select(0)
            if not events:
                assert timeout is not None, "everything waits for something that never comes"
                self._passed += max(0.0, timeout)
            return events

        self._selector.select = jump  # type: ignore[attr-defined]
        self._faults: list[BaseException] = []
        self.set_exception_handler(lambda _loop, context: self._faults.append(context.get("exception", Fault(context))))

    def time(self) -> float:
        """Virtual monotonic seconds."""
        return self._passed

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine, and then whatever can run without time passing."""
        result = self.run_until_complete(work)
        self.pass_time(0.001)
        return result

    def pass_time(self, seconds: float) -> None:
        """So much time passes, and everything that it brings happens. Raises what a callback raised."""
        self.run_until_complete(asyncio.sleep(seconds))
        if self._faults:
            raise self._faults.pop()

    def finish(self) -> None:
        """Cancels every task and closes."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.wait(tasks))
        self.close()


@contextmanager
def clock_of(loop: asyncio.AbstractEventLoop, *modules: ModuleType) -> Iterator[None]:
    """In these modules `time` is the loop's."""
    clock = SimpleNamespace(monotonic=loop.time, monotonic_ns=lambda: int(loop.time() * 1e9), time=loop.time)
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(mock.patch.object(module, "time", clock))
        yield
