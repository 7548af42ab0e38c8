"""Statements on revocations: what ended somebody's right to see something, in the order of ids.

Ids are not given out in commit order: a reader asks again for those of the last transactions' lifetime (`after` stays
behind), and remembers which ids it has seen.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record, new_id
from db.schema import revocations


async def add(connection: AsyncConnection, kind: str, subject: int, other: int, now: datetime) -> int:
    """Inserts one row; returns its id."""
    values = {"kind": kind, "subject": subject, "other": other, "created_at": now}
    return new_id(await connection.execute(insert(revocations).values(**values)))


async def newer(connection: AsyncConnection, after: int, *, limit: int) -> list[Record]:
    """Rows with an id above `after`, ascending."""
    query = select(revocations).where(revocations.c.id > after).order_by(revocations.c.id).limit(limit)
    return list(await connection.execute(query))


async def floor(connection: AsyncConnection, since: datetime) -> int:
    """An id below every row that was made after `since`, and as high as can be."""
    older = select(func.max(revocations.c.id)).where(revocations.c.created_at < since)
    return int((await connection.execute(older)).scalar() or 0)


async def drop_older(connection: AsyncConnection, than: datetime, *, limit: int) -> int:
    """Deletes up to `limit` rows made before `than`; returns how many."""
    query = select(revocations.c.id).where(revocations.c.created_at < than).limit(limit)
    ids = [row.id for row in await connection.execute(query)]
    if ids:
        await connection.execute(delete(revocations).where(revocations.c.id.in_(ids)))
    return len(ids)
