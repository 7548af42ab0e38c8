"""Operations side by side, one question to a store at a time: whoever asks a store waits at a gate until it is let on.

Between two gates an operation runs alone, so a sequence of choices is a complete description of what happened. A write
transaction passes one gate and is atomic, as it is on SQLite; every SELECT and every command of Redis has its own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

CURRENT: contextvars.ContextVar[Operation | None] = contextvars.ContextVar("operation", default=None)


class Operation:
    """A request, a look of a worker, or anything else that takes several steps."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs_on = 0  # gates that it passes without stopping
        self.sleeps_until = 0  # the step before which it does not go on
        self.task: asyncio.Task[Any] | None = None
        self.waits: asyncio.Future[None] | None = None
        self.moved = asyncio.Event()
        self.killed = False
        self.at = ""  # the store that it is about to ask
        self.allowed: Callable[[], bool] | None = None  # asked just before its transaction: will it be carried out?
        self.committed: Callable[[Any], None] | None = None  # called with the transaction's result, at its commit
        self.right = False

    @property
    def done(self) -> bool:
        return self.task is not None and self.task.done()


class Stage:
    """Every operation that is under way."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.steps = 0  # questions that were asked

    async def start(self, name: str, work: Callable[[Operation], Coroutine[Any, Any, Any]]) -> Operation:
        """Begins an operation; it stops before its first question."""
        operation = Operation(name)
        context = contextvars.copy_context()
        context.run(CURRENT.set, operation)
        operation.task = asyncio.get_running_loop().create_task(work(operation), context=context)
        operation.task.add_done_callback(lambda _task: operation.moved.set())
        self.operations.append(operation)
        await self._settle(operation)
        return operation

    async def advance(self, operation: Operation) -> None:
        """Lets it ask its question, and go on to the next one. Raises what the operation raised."""
        operation.moved.clear()
        if operation.waits is not None:
            waits, operation.waits = operation.waits, None
            waits.set_result(None)
        await self._settle(operation)

    async def _settle(self, operation: Operation) -> None:
        await operation.moved.wait()
        if operation.done:
            self.operations.remove(operation)
            assert operation.task is not None
            operation.task.result()

    async def kill(self, operation: Operation) -> None:
        """Ends it where it stands, as a signal 9 would: nothing more is asked."""
        operation.killed = True
        self.operations.remove(operation)
        assert operation.task is not None
        operation.task.cancel()
        with suppress(asyncio.CancelledError):
            await operation.task

    async def finish(self) -> None:
        """Lets everything go on to its end."""
        while self.operations:
            await self.advance(self.operations[0])

    async def gate(self, about: str) -> None:
        """Where an operation waits for its turn; whoever is none passes."""
        operation = CURRENT.get()
        if operation is None:
            return
        if operation.killed:
            raise asyncio.CancelledError
        self.steps += 1
        operation.at = about
        if operation.runs_on > 0:
            operation.runs_on -= 1
            return
        operation.waits = asyncio.get_running_loop().create_future()
        operation.moved.set()
        await operation.waits

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, the operation passes every gate."""
        token = CURRENT.set(None)
        try:
            yield
        finally:
            CURRENT.reset(token)
