"""Statements on what a day came to, and on what the figures of a day are made from. Days are UTC."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.dialect import translate
from db.engine import Record
from db.errors import DuplicateKey
from db.schema import (
    active_days,
    comments,
    daily_figures,
    delivery_times,
    friendships,
    likes,
    posts,
    shares,
    users,
)

# Rows that a day counts: (table, its moment, what else must hold). What was removed since is not counted any more.
COUNTED: dict[str, tuple[Table, ColumnElement[datetime], ColumnElement[bool] | None]] = {
    "sign_ups": (users, users.c.created_at, None),
    "posts": (posts, posts.c.created_at, None),
    "comments": (comments, comments.c.created_at, None),
    "likes": (likes, likes.c.changed_at, likes.c.active.is_(True)),
    "shares": (shares, shares.c.created_at, None),
    "friendships": (friendships, friendships.c.changed_at, friendships.c.state == "friends"),
}


def bounds(day: date) -> tuple[datetime, datetime]:
    """The moments at which a day begins and ends."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


async def count(connection: AsyncConnection, name: str, day: date) -> int:
    """How many rows of one kind (a key of COUNTED) belong to a day."""
    table, moment, more = COUNTED[name]
    start, end = bounds(day)
    query = select(func.count()).select_from(table).where(moment >= start, moment < end)
    return int((await connection.execute(query if more is None else query.where(more))).scalar_one())


# --- who was there ---------------------------------------------------------------------------------------------------


async def add_active(connection: AsyncConnection, day: date, user_ids: Collection[int]) -> None:
    """Notes that these people were there; those noted already and those who are gone change nothing.

    Raises DuplicateKey when another process notes one of them at the same time: run it again.
    """
    known = select(active_days.c.user_id).where(active_days.c.day == day, active_days.c.user_id == users.c.id)
    new = select(literal(day), users.c.id).where(users.c.id.in_(user_ids), ~known.exists())
    await connection.execute(insert(active_days).from_select(["day", "user_id"], new))


async def active(connection: AsyncConnection, day: date) -> int:
    """How many people were there."""
    query = select(func.count()).select_from(active_days).where(active_days.c.day == day)
    return int((await connection.execute(query)).scalar_one())


async def drop_active_days(connection: AsyncConnection, before: date, *, limit: int) -> int:
    """Deletes up to `limit` notes of days before `before`; returns how many."""
    query = select(active_days.c.day, active_days.c.user_id).where(active_days.c.day < before)
    rows = list(await connection.execute(query.order_by(active_days.c.day, active_days.c.user_id).limit(limit)))
    for day in {row.day for row in rows}:
        ids = [row.user_id for row in rows if row.day == day]
        await connection.execute(delete(active_days).where(active_days.c.day == day, active_days.c.user_id.in_(ids)))
    return len(rows)


# --- how long deliveries took ----------------------------------------------------------------------------------------


async def add_delivery_times(connection: AsyncConnection, day: date, times: Mapping[int, int]) -> None:
    """Adds {upper bound in ms: deliveries} to a day's, in the order of bounds, so that edges do not deadlock."""
    for upto, deliveries in sorted(times.items()):
        where = and_(delivery_times.c.day == day, delivery_times.c.upto_ms == upto)
        add = update(delivery_times).where(where).values(deliveries=delivery_times.c.deliveries + deliveries)
        if (await connection.execute(select(delivery_times.c.day).where(where).with_for_update())).first() is None:
            try:
                await connection.execute(insert(delivery_times).values(day=day, upto_ms=upto, deliveries=deliveries))
                continue
            except IntegrityError as error:
                if not isinstance(translate(error), DuplicateKey):
                    raise  # else another edge was first
        await connection.execute(add)


async def delivery_times_of(connection: AsyncConnection, day: date) -> dict[int, int]:
    """{upper bound in ms: deliveries}, ascending."""
    query = select(delivery_times).where(delivery_times.c.day == day).order_by(delivery_times.c.upto_ms)
    return {row.upto_ms: row.deliveries for row in await connection.execute(query)}


# --- figures ---------------------------------------------------------------------------------------------------------


async def replace(connection: AsyncConnection, day: date, figures: Mapping[str, float]) -> None:
    """Sets a day's figures by name; others of the day stay."""
    await connection.execute(
        delete(daily_figures).where(daily_figures.c.day == day, daily_figures.c.name.in_(list(figures)))
    )
    rows = [{"day": day, "name": name, "value": value} for name, value in sorted(figures.items())]
    await connection.execute(insert(daily_figures), rows)


async def figures(connection: AsyncConnection, first: date, last: date) -> list[Record]:
    """(day, name, value) of the days from `first` up to and including `last`, ascending."""
    query = select(daily_figures).where(daily_figures.c.day >= first, daily_figures.c.day <= last)
    return list(await connection.execute(query.order_by(daily_figures.c.day, daily_figures.c.name)))
