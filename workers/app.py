"""The composition root of a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from feed import garbage
from feed.background import Background
from feed.stores import Stores
from workers import audit, clean_up
from workers.dispatch import Dispatcher
from workers.schedule import Schedule


async def work(stores: Stores, *, ready: Callable[[], None], until: asyncio.Event) -> None:
    """Runs a worker on stores that the caller opened, until `until` is set."""
    background = Background()
    dispatcher = Dispatcher(stores)
    dispatcher.start(background)
    background.keep("nudge", stores.nudge.run)
    background.keep("garbage", garbage.keep_collecting)
    background.keep("schedule", Schedule(stores).run)
    background.keep("clean_up", lambda: clean_up.run(stores))
    background.keep("audit", lambda: audit.run(stores, lambda: dispatcher.part))
    ready()
    await until.wait()
    await background.stop()
    await dispatcher.stop()
