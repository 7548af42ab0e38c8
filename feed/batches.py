"""Many askers, one question: what is asked for while a query runs is asked together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST = 500  # keys of one question


class Batches(Generic[K, V]):
    """Answers single keys by `ask(keys) -> {key: answer}`; at most one question is on its way.

    A lone asker waits for nobody. A question that fails fails for everybody who asked it.
    """

    def __init__(self, ask: Callable[[list[K]], Awaitable[dict[K, V]]]) -> None:
        self._ask = ask
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """The answer for a key; None when there is none. Raises what `ask` raises."""
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._asking is None or self._asking.done():
            # A task of its own: an asker that goes away must not take the others' answer along.
            self._asking = asyncio.create_task(self._ask_all(), name="batches")
        return await asyncio.shield(answer)

    async def _ask_all(self) -> None:
        """Asks until nobody waits; ends by itself."""
        while self._waiting:
            batch = {key: self._waiting.pop(key) for key in list(self._waiting)[:MOST]}
            try:
                found = await self._ask(list(batch))
            except Exception as error:  # whatever it is, those who asked are the ones to raise it
                for answer in batch.values():
                    answer.set_exception(error)
                    answer.exception()  # it may be that nobody waits any more
            except asyncio.CancelledError:
                for answer in batch.values():
                    answer.cancel()
                raise
            else:
                for key, answer in batch.items():
                    answer.set_result(found.get(key))
