"""Statements on the outbox and its leases.

A row is work that a commit promised: written in the transaction of the change, done by `workers.dispatch`. Order
holds inside an `aggregate`; `partition` only divides the leases between workers.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record
from db.schema import outbox, outbox_leases, outbox_workers

Q = TypeVar("Q", bound=Select[Any])
PARTITIONS = 16
# Ordered by id with a limit, the optimiser walks the primary key instead: over days of done rows to the pending ones
# at its end, seconds for a look that takes milliseconds.
PENDING_INDEX = "FORCE INDEX (ix_outbox_state_id)"
# Left alone, the optimiser intersects it with all that is pending anywhere.
JOB_INDEX = "FORCE INDEX (ix_outbox_job_state)"
AGGREGATE_INDEX = "FORCE INDEX (ix_outbox_aggregate_state)"
NAMED = 500  # ids of one statement: named by the thousand, the optimiser reads the whole table instead
FORMAT = 1  # version of the payloads written here; a worker of the next release still reads this one


def _hinted(query: Q, index: str = PENDING_INDEX) -> Q:
    return query.with_hint(outbox, index, "mysql").with_hint(outbox, index, "mariadb")


def _names(name: str) -> BindParameter[str]:
    return bindparam(name, expanding=True)


def _pending() -> Select[Any]:
    """See `pending`. Made once: to put it together takes a worker as long as to run it."""
    partitions: BindParameter[int] = bindparam("partitions", expanding=True)
    known, commuting = _names("known"), _names("commuting")
    now: BindParameter[datetime] = bindparam("now", type_=outbox.c.due_at.type)
    held = _hinted(
        select(outbox.c.aggregate, func.min(outbox.c.id).label("first"))
        .where(
            outbox.c.state.in_(("pending", "parked")),  # by the index: done rows are kept for days
            outbox.c.partition.in_(partitions),
            outbox.c.job.not_in(commuting),
            or_(outbox.c.state == "parked", outbox.c.due_at > now, outbox.c.job.not_in(known)),
        )
        .group_by(outbox.c.aggregate)
    ).subquery()
    query = (
        select(outbox)
        .outerjoin(held, held.c.aggregate == outbox.c.aggregate)
        .where(
            outbox.c.state == "pending",
            outbox.c.partition.in_(partitions),
            outbox.c.due_at <= now,
            outbox.c.job.not_in(commuting),
            outbox.c.id > bindparam("after"),
            or_(held.c.first.is_(None), outbox.c.id < held.c.first),
        )
    )
    return _hinted(query).order_by(outbox.c.id).limit(bindparam("limit"))


def _together() -> Select[Any]:
    """See `pending_together`."""
    partitions: BindParameter[int] = bindparam("partitions", expanding=True)
    now: BindParameter[datetime] = bindparam("now", type_=outbox.c.due_at.type)
    query = select(outbox).where(
        outbox.c.state == "pending",
        outbox.c.partition.in_(partitions),
        outbox.c.due_at <= now,
        outbox.c.job.in_(_names("commuting")),
        (outbox.c.job + " " + outbox.c.aggregate).not_in(_names("resting")),
    )
    return _hinted(query).order_by(outbox.c.id).limit(bindparam("limit"))


_PENDING = _pending()
_TOGETHER = _together()
# Of one job: what else waits, likes by the thousand perhaps, is not read.
_UNFINISHED = _hinted(
    select(outbox.c.payload)
    .where(
        outbox.c.job == bindparam("job"),
        outbox.c.state.in_(("pending", "parked")),
        func.instr(cast(outbox.c.payload, Text), bindparam("kind")) > 0,
    )
    .limit(bindparam("limit")),
    JOB_INDEX,
)


def partition_of(aggregate: str) -> int:
    """The partition of an aggregate, stable over processes."""
    return zlib.crc32(aggregate.encode()) % PARTITIONS


async def add(
    connection: AsyncConnection, aggregate: str, jobs: Collection[tuple[str, dict[str, Any]]], now: datetime
) -> None:
    """Inserts one row per (job, payload) for an aggregate whose row the caller has locked or just inserted."""
    await connection.execute(
        insert(outbox),
        [
            {
                "partition": partition_of(aggregate),
                "aggregate": aggregate,
                "job": job,
                "payload": orjson.dumps({"v": FORMAT, **payload}),
                "state": "pending",
                "attempts": 0,
                "due_at": now,
                "created_at": now,
            }
            for job, payload in jobs
        ],
    )


async def pending(
    connection: AsyncConnection,
    partitions: Collection[int],
    *,
    known: Collection[str],
    commuting: Collection[str],
    now: datetime,
    limit: int,
    after: int = 0,
) -> list[Record]:
    """The oldest rows of jobs that keep order, ascending ids, but for those that are held back.

    A row that is parked, not yet due, or of a job that is not `known` here (a newer release's) holds back what stands
    behind it in its aggregate, unless its job is one of `commuting`.
    """
    values = {
        "partitions": list(partitions),
        "known": list(known),
        "commuting": list(commuting),
        "now": now,
        "after": after,
        "limit": limit,
    }
    return list(await connection.execute(_PENDING, values))


async def pending_together(
    connection: AsyncConnection,
    partitions: Collection[int],
    *,
    commuting: Collection[str],
    resting: Collection[tuple[str, str]],
    now: datetime,
    limit: int,
) -> list[Record]:
    """The oldest due rows of jobs whose tasks commute, ascending ids, but for the (job, aggregate) that are resting."""
    values = {
        "partitions": list(partitions),
        "commuting": list(commuting),
        "resting": [f"{job} {aggregate}" for job, aggregate in resting],
        "now": now,
        "limit": limit,
    }
    return list(await connection.execute(_TOGETHER, values))


def promised(aggregate: ColumnElement[str], job: str, name: str) -> ScalarSelect[Any]:
    """What the pending rows of a job in an aggregate add up to, by the number that their payloads carry as `name`.

    To be read in one statement with what these rows will change: a statement sees one state of the store.
    """
    number = func.json_extract(cast(outbox.c.payload, Text), f"$.{name}")
    query = select(func.coalesce(func.sum(number), 0)).where(
        outbox.c.aggregate == aggregate, outbox.c.state == "pending", outbox.c.job == job
    )
    return _hinted(query, AGGREGATE_INDEX).scalar_subquery()


async def unfinished(connection: AsyncConnection, job: str, kind: str, *, limit: int) -> list[dict[str, Any]]:
    """Payloads of up to `limit` tasks of a job, of one kind, that are not done, parked ones included."""
    rows = await connection.execute(_UNFINISHED, {"job": job, "kind": f'"kind":"{kind}"', "limit": limit})
    return [orjson.loads(row.payload) for row in rows]


async def still_pending(connection: AsyncConnection, ids: Collection[int]) -> set[int]:
    """Locks rows and tells which of them nobody has done meanwhile."""
    found: set[int] = set()
    for part in _parts(ids):
        query = select(outbox.c.id).where(outbox.c.id.in_(part), outbox.c.state == "pending").with_for_update()
        found.update(row.id for row in await connection.execute(query))
    return found


async def mark_done(connection: AsyncConnection, ids: Collection[int], now: datetime) -> None:
    """Marks rows done, by primary key."""
    for part in _parts(ids):
        await connection.execute(update(outbox).where(outbox.c.id.in_(part)).values(state="done", done_at=now))


async def mark_failed(
    connection: AsyncConnection, ids: Collection[int], *, due_at: datetime, fault: str, counts: bool, park: bool
) -> None:
    """Puts rows off until `due_at`, or parks them, with the fault; `counts` = as an attempt."""
    await connection.execute(
        update(outbox)
        .where(outbox.c.id.in_(ids), outbox.c.state == "pending")
        .values(
            attempts=outbox.c.attempts + int(counts),
            due_at=due_at,
            fault=fault[:500],
            state="parked" if park else "pending",
        )
    )


async def settle_parked(connection: AsyncConnection, aggregate: str, job: str, now: datetime) -> None:
    """Marks parked rows of a job done: what they promised has been brought about otherwise."""
    query = select(outbox.c.id).where(outbox.c.aggregate == aggregate, outbox.c.state == "parked", outbox.c.job == job)
    ids = [row.id for row in await connection.execute(_hinted(query, AGGREGATE_INDEX).with_for_update())]
    await mark_done(connection, ids, now)


async def drop_done(connection: AsyncConnection, before: datetime, *, limit: int) -> int:
    """Deletes up to `limit` rows done before a moment; returns how many."""
    query = select(outbox.c.id).where(outbox.c.state == "done", outbox.c.done_at < before).limit(limit)
    ids = [row.id for row in await connection.execute(query)]
    if ids:
        await connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))
    return len(ids)


def _parts(ids: Collection[int]) -> Iterator[list[int]]:
    """The ids, ascending, as many at a time as one statement names."""
    ordered = sorted(ids)
    return (ordered[start : start + NAMED] for start in range(0, len(ordered), NAMED))


# --- leases ----------------------------------------------------------------------------------------------------------


async def lease(connection: AsyncConnection, owner: str, *, now: datetime, until: datetime) -> dict[int, int]:
    """Renews the owner's leases and evens them out over the living workers: partition -> fence of what it now holds.

    Each worker holds at most its share, rounded up: it gives back what is above, and takes what is free or expired.
    """
    rows = {row.partition: row for row in await connection.execute(select(outbox_leases).with_for_update())}
    share = await _share(connection, owner, now=now, until=until)
    mine = sorted(p for p, row in rows.items() if row.owner == owner and row.expires_at > now)
    free = [p for p, row in sorted(rows.items()) if row.expires_at <= now]
    held = {p: int(rows[p].fence) for p in mine[:share]}
    await _set_expiry(connection, mine[:share], until)
    await _set_expiry(connection, mine[share:], now)
    for partition in free[: max(0, share - len(held))]:
        fence = int(rows[partition].fence) + 1
        await connection.execute(
            update(outbox_leases)
            .where(outbox_leases.c.partition == partition)
            .values(owner=owner, fence=fence, expires_at=until)
        )
        held[partition] = fence
    return held


async def _share(connection: AsyncConnection, owner: str, *, now: datetime, until: datetime) -> int:
    """Notes that the owner lives and returns the partitions that each living worker may hold."""
    rows = list(await connection.execute(select(outbox_workers)))
    if any(row.owner == owner for row in rows):
        await connection.execute(update(outbox_workers).where(outbox_workers.c.owner == owner).values(expires_at=until))
    else:
        await connection.execute(insert(outbox_workers).values(owner=owner, expires_at=until))
    dead = [row.owner for row in rows if row.expires_at <= now and row.owner != owner]
    if dead:
        await connection.execute(delete(outbox_workers).where(outbox_workers.c.owner.in_(dead)))
    living = {row.owner for row in rows if row.expires_at > now} | {owner}
    return -(-PARTITIONS // len(living))


async def _set_expiry(connection: AsyncConnection, partitions: Collection[int], at: datetime) -> None:
    if partitions:
        await connection.execute(
            update(outbox_leases).where(outbox_leases.c.partition.in_(partitions)).values(expires_at=at)
        )


async def held(connection: AsyncConnection, owner: str, fences: dict[int, int]) -> set[int]:
    """Locks the leases and tells which of them the owner still holds with the fence that it was given.

    Called inside the transaction that marks rows done: a worker that slept through its lease writes nothing.
    """
    query = select(outbox_leases).where(outbox_leases.c.partition.in_(fences)).with_for_update()
    rows = {row.partition: row for row in await connection.execute(query)}
    return {p for p, fence in fences.items() if p in rows and rows[p].owner == owner and rows[p].fence == fence}


async def release(connection: AsyncConnection, owner: str, now: datetime) -> None:
    """Gives back every lease of a worker that stops."""
    await connection.execute(update(outbox_leases).where(outbox_leases.c.owner == owner).values(expires_at=now))
    await connection.execute(delete(outbox_workers).where(outbox_workers.c.owner == owner))


# --- for operators ---------------------------------------------------------------------------------------------------


async def waiting(connection: AsyncConnection, *, state: str, limit: int) -> list[Record]:
    """The oldest rows in a state ('pending' or 'parked'), ascending ids."""
    query = select(outbox).where(outbox.c.state == state).order_by(outbox.c.id).limit(limit)
    return list(await connection.execute(query))


async def of_aggregate(connection: AsyncConnection, aggregate: str) -> list[Record]:
    """The rows of an aggregate that are pending or parked, ascending ids."""
    query = select(outbox).where(outbox.c.state.in_(("pending", "parked")), outbox.c.aggregate == aggregate)
    return list(await connection.execute(_hinted(query, AGGREGATE_INDEX).order_by(outbox.c.id)))


def payload(row: Record) -> dict[str, Any]:
    """What a row's job was told."""
    found: dict[str, Any] = orjson.loads(row.payload)
    return found


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: when the first pending row was made, and how many rows are pending and parked."""

    oldest: datetime | None
    pending: int
    parked: int


async def backlog(connection: AsyncConnection) -> Backlog:
    """What waits now; done rows are not read."""
    states = ("pending", "parked")
    counted = await connection.execute(
        select(outbox.c.state, func.count().label("rows")).where(outbox.c.state.in_(states)).group_by(outbox.c.state)
    )
    counts = {row.state: int(row.rows) for row in counted}
    first = select(outbox.c.created_at).where(outbox.c.state == "pending").order_by(outbox.c.id).limit(1)
    oldest = (await connection.execute(_hinted(first))).scalar()
    return Backlog(oldest, counts.get("pending", 0), counts.get("parked", 0))


async def retry(connection: AsyncConnection, task_id: int, now: datetime) -> bool:
    """Makes a parked or waiting row due now, with its attempts forgotten; False when there is none."""
    return await _change_waiting(connection, task_id, state="pending", attempts=0, due_at=now)


async def drop(connection: AsyncConnection, task_id: int, now: datetime) -> bool:
    """Marks a parked or waiting row done without doing it; its aggregate goes on. False when there is none."""
    return await _change_waiting(connection, task_id, state="done", done_at=now)


async def _change_waiting(connection: AsyncConnection, task_id: int, **values: Any) -> bool:
    where = (outbox.c.id == task_id, outbox.c.state.in_(("pending", "parked")))
    row = (await connection.execute(select(outbox.c.id).where(*where).with_for_update())).first()
    if row is not None:
        await connection.execute(update(outbox).where(*where).values(**values))
    return row is not None
