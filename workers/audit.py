"""Audits in the background: about one in a hundred of everything in an hour, all workers together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from feed.audit import audit
from feed.stores import Stores

SHARE = 0.01  # of the objects of each kind, in an hour: a fault that touches one in a thousand is seen within a day
EVERY = 30.0  # seconds between two rounds: each one is short, and whatever else needs the store comes between


async def run(stores: Stores, part: Callable[[], float]) -> None:
    """Audits for ever. `part` tells which part (0 to 1) of the work is this worker's now. Raises StoreUnavailable."""
    while True:
        await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))  # noqa: S311 - so that workers do not audit in step
        await audit(stores, SHARE * EVERY / 3600 * part())
