"""Random samples of a table's rows, without reading or counting the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from random import Random
from typing import Literal

from sqlalchemy import func, select

from db.engine import Database
from db.schema import post_counts, relation_meta

KEYS = {"posts": post_counts.c.post_id, "people": relation_meta.c.user_id}
LOOKED_UP = 500  # ids of one query


async def sample(sql: Database, of: Literal["posts", "people"], share: float, random: Random) -> AsyncIterator[int]:
    """Ids, ascending; each one that exists is among them with the probability `share` (above 0; 1 = all).

    Systematic sampling: every (1/share)th of the ids between the first and the last, from a random start.
    """
    key = KEYS[of]
    async with sql.read() as connection:
        low, high = (await connection.execute(select(func.min(key), func.max(key)))).one()
    if low is None:
        return
    step = 1 / share
    start = random.uniform(0, step) if share < 1 else 0.0  # all of them exactly, whatever floats make of it
    wanted: list[int] = []
    for number in count():
        spot = low + int(start + number * step)
        if spot <= high:
            wanted.append(spot)
        if wanted and (spot > high or len(wanted) == LOOKED_UP):
            async with sql.read() as connection:
                found = [row[0] for row in await connection.execute(select(key).where(key.in_(wanted)).order_by(key))]
            for one in found:
                yield one
            wanted.clear()
        if spot > high:
            return
