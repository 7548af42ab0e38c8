"""`social outbox`: what waits, what was parked and why, and what to do about it."""

from __future__ import annotations

from db import outbox
from db.engine import Database
from db.settings import Settings
from feed.clock import utc_now
from feed.errors import NotFound
from feed.objects import timestamp
from social.process import require_stores

SHOWN = 100  # rows of one listing


async def listing(settings: Settings, *, state: str) -> list[str]:
    """One line per row in `state` ('pending' or 'parked'), oldest first."""
    database = _open(settings)
    try:
        async with database.read() as connection:
            rows = await outbox.waiting(connection, state=state, limit=SHOWN)
    finally:
        await database.close()
    return [
        f"{row.id:>8} {row.aggregate:<24} {row.job:<16} attempts {row.attempts:>2} made {timestamp(row.created_at)}"
        + (f"  {row.fault}" if row.fault else "")
        for row in rows
    ]


async def change(settings: Settings, task_id: int, *, drop: bool) -> None:
    """Makes a waiting or parked row due now, or drops it. Raises NotFound."""
    database = _open(settings)
    act = outbox.drop if drop else outbox.retry
    try:
        found = await database.write(lambda connection: act(connection, task_id, utc_now()))
    finally:
        await database.close()
    if not found:
        raise NotFound("waiting or parked task")


def _open(settings: Settings) -> Database:
    require_stores(settings, "database_url")
    return Database.open(settings)
