"""Background tasks have an owner that notices their death: it logs, waits, and starts them again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from db.errors import SocialError

log = structlog.get_logger(__name__)

RESTART = (0.1, 2.0)  # seconds: first and longest pause before a dead task is started again, doubling, full jitter
STEADY = 30.0  # seconds that a task must live for its pause to begin again at the shortest
STOP = 5.0  # seconds that a cancelled task has to clean up


class Background:
    """Owns the tasks of a process. `alive` tells which of them run right now."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._passing: set[asyncio.Task[None]] = set()
        self._faults: dict[str, str] = {}

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` for ever; when it returns or raises, runs it again after a pause."""
        self._tasks[name] = asyncio.create_task(self._keep(name, work), name=name)

    def spawn(self, name: str, work: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        """Runs `work(*arguments)` once; a failure is logged, never lost. The task may be cancelled."""
        task = asyncio.create_task(self._once(name, work, arguments), name=name)
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        return task

    @property
    def faults(self) -> dict[str, str]:
        """name -> last fault of each kept task that is pausing after one."""
        return dict(self._faults)

    async def stop(self) -> None:
        """Cancels everything and waits for the cleaning up, STOP seconds at most."""
        tasks = [*self._tasks.values(), *self._passing]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = RESTART[0]
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await work()
                self._faults[name] = "ended"
                log.error("task_ended", task=name)
            except SocialError as error:
                self._faults[name] = str(error)
                log.warning("task_failed", task=name, cause=str(error))
            except asyncio.CancelledError as error:
                if self._tasks[name].cancelling():
                    raise
                # Not this task was cancelled, but something that it waited for.
                self._faults[name] = repr(error)
                log.warning("task_failed", task=name, cause=repr(error))
            except Exception as error:
                self._faults[name] = repr(error)
                log.exception("task_died", task=name)
            if loop.time() - started > STEADY:
                pause = RESTART[0]
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter
            pause = min(pause * 2, RESTART[1])
            self._faults.pop(name, None)

    async def _once(self, name: str, work: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        try:
            await work(*arguments)
        except SocialError as error:
            log.warning("task_failed", task=name, cause=str(error))
        except Exception:
            # Nobody awaits this task: what is not logged here would be seen by no one.
            log.exception("task_died", task=name)
