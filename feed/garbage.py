"""When the garbage collector stops the process: seldom, and not in the middle of a storm.

A look at the oldest generation stops every socket, for some 0.2 s when there are five thousand, and a storm of new
connections makes one follow the other: of 5,000 clients that came back within 10 s one in a hundred waited 1.1 s for
its replay, and 33 ms without (`social bench resume`). Only such a look can free the cycles of closed connections.
"""

from __future__ import annotations

import asyncio
import gc

EVERY = 600.0  # seconds between two looks at everything
# Net new objects until a look at the youngest generation; its looks until one at the middle; of those at the oldest.
THRESHOLDS = (50_000, 20, 1_000)


def tame() -> None:
    """Sets the thresholds of this process; `keep_collecting` has to run in it."""
    gc.set_threshold(*THRESHOLDS)


async def keep_collecting() -> None:
    """Looks at everything now and then, for ever."""
    while True:
        await asyncio.sleep(EVERY)
        gc.collect()
