"""Statements on ticks: the runs of scheduled jobs, each claimed by its primary key."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.dialect import translate
from db.engine import Record
from db.errors import DuplicateKey
from db.schema import ticks


async def of_job(connection: AsyncConnection, job: str) -> dict[datetime, Record]:
    """tick -> row (tick, owner, expires_at, done_at) of every known tick of a job."""
    return {row.tick: row for row in await connection.execute(select(ticks).where(ticks.c.job == job))}


async def claim(
    connection: AsyncConnection,
    job: str,
    tick: datetime,
    owner: str,
    *,
    now: datetime,
    until: datetime,
    redo: datetime | None = None,
) -> bool:
    """Takes a tick until `until`; False when somebody else has it or it is done.

    `redo` = the `done_at` of a run whose result is lost: the tick may be taken again if no later run ended meanwhile.
    """
    where = and_(ticks.c.job == job, ticks.c.tick == tick)
    row = (await connection.execute(select(ticks).where(where).with_for_update())).one_or_none()
    if row is None:
        values = {"job": job, "tick": tick, "owner": owner, "expires_at": until, "done_at": None}
        try:
            await connection.execute(insert(ticks).values(**values))
        except IntegrityError as error:
            if not isinstance(translate(error), DuplicateKey):
                raise
            return False  # another worker was first
        return True
    if row.done_at != redo or (row.done_at is None and row.expires_at > now):
        return False
    await connection.execute(update(ticks).where(where).values(owner=owner, expires_at=until, done_at=None))
    return True


async def finish(connection: AsyncConnection, job: str, tick: datetime, owner: str, now: datetime) -> None:
    """Marks a tick done, if `owner` still has it."""
    mine = and_(ticks.c.job == job, ticks.c.tick == tick, ticks.c.owner == owner, ticks.c.done_at.is_(None))
    await connection.execute(update(ticks).where(mine).values(done_at=now))


async def drop_older(connection: AsyncConnection, than: datetime, *, limit: int) -> int:
    """Deletes up to `limit` ticks before `than`, but the newest of each job; returns how many."""
    newest = select(ticks.c.job, func.max(ticks.c.tick).label("tick")).group_by(ticks.c.job)
    kept = {(row.job, row.tick) for row in await connection.execute(newest)}
    query = select(ticks.c.job, ticks.c.tick).where(ticks.c.tick < than).limit(limit + len(kept))
    old = [(row.job, row.tick) for row in await connection.execute(query) if (row.job, row.tick) not in kept]
    for job, tick in old[:limit]:
        await connection.execute(delete(ticks).where(ticks.c.job == job, ticks.c.tick == tick))
    return len(old[:limit])
