"""Brings the counters of posts up to their edges: three hundred likes of one post are one write and one whisper."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts
from feed import counts
from feed.stores import Stores
from workers.jobs import Task

PAUSE = 0.1  # seconds between two updates of one post's counters: ten a second are more than anybody sees (four)


async def write(connection: AsyncConnection, tasks: Sequence[Task]) -> None:
    """Adds up the changes of a batch, one UPDATE per post."""
    deltas: dict[int, Counter[str]] = defaultdict(Counter)
    for task in tasks:
        for name in posts.COUNTED:
            if name in task.payload:
                deltas[task.payload["post_id"]][name] += task.payload[name]
    for post_id in sorted(deltas):
        changed = {name: delta for name, delta in deltas[post_id].items() if delta}
        if changed:
            await posts.add_counts(connection, post_id, changed)


async def announce(stores: Stores, tasks: Sequence[Task]) -> None:
    """Tells the nodes where somebody watches these posts their latest numbers."""
    await counts.tell(stores, {task.payload["post_id"] for task in tasks})
