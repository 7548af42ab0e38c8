"""Statements on who is to whom: friendships, blocks, and the counters beside them.

Lock order of every writing transaction: the pair's row, then both `relation_meta` rows by ascending id.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record
from db.schema import blocks, friendships, relation_meta

_VERSION = select(relation_meta.c.version).where(relation_meta.c.user_id == bindparam("user"))


class Pair(msgspec.Struct, frozen=True):
    """What stands between two people. `blocked`: either of them blocks the other."""

    state: str = "none"
    asked_by: int | None = None
    blocked: bool = False


STRANGERS = Pair()


def ordered(a: int, b: int) -> tuple[int, int]:
    """The two ids in canonical order."""
    return (a, b) if a < b else (b, a)


async def between(connection: AsyncConnection, user_id: int, others: Collection[int]) -> dict[int, Pair]:
    """other id -> Pair for those of `others` with whom `user_id` has any relation."""
    found = await among(connection, {ordered(user_id, other) for other in others if other != user_id})
    return {high if low == user_id else low: pair for (low, high), pair in found.items()}


async def among(connection: AsyncConnection, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], Pair]:
    """(low, high) -> Pair for those of these pairs, in canonical order, that have any relation."""
    found: dict[tuple[int, int], Pair] = {}
    if not pairs:
        return found
    query = select(friendships).where(tuple_(friendships.c.low_id, friendships.c.high_id).in_(pairs))
    for row in await connection.execute(query):
        found[row.low_id, row.high_id] = Pair(row.state, row.asked_by)
    both = [*pairs, *((high, low) for low, high in pairs)]
    query = select(blocks.c.blocker_id, blocks.c.blocked_id).where(
        tuple_(blocks.c.blocker_id, blocks.c.blocked_id).in_(both)
    )
    for row in await connection.execute(query):
        key = ordered(row.blocker_id, row.blocked_id)
        known = found.get(key, STRANGERS)
        found[key] = Pair(known.state, known.asked_by, blocked=True)
    return found


async def lock_pair(connection: AsyncConnection, a: int, b: int, now: datetime) -> Record:
    """The canonical row of two people, made when absent, locked until the transaction ends."""
    low, high = ordered(a, b)
    values = {"low_id": low, "high_id": high, "state": "none", "asked_by": None, "version": 1, "changed_at": now}
    # The upsert is the lock: it takes the row whether or not it was there, so two first asks queue up here.
    if connection.dialect.name == "sqlite":
        await connection.execute(sqlite_insert(friendships).values(**values).on_conflict_do_nothing())
    else:
        await connection.execute(
            mysql_insert(friendships).values(**values).on_duplicate_key_update(version=friendships.c.version)
        )
    query = select(friendships).where(friendships.c.low_id == low, friendships.c.high_id == high).with_for_update()
    return (await connection.execute(query)).one()


async def set_pair(
    connection: AsyncConnection, a: int, b: int, *, state: str, asked_by: int | None, now: datetime
) -> None:
    """Writes the state of a locked pair."""
    low, high = ordered(a, b)
    await connection.execute(
        update(friendships)
        .where(friendships.c.low_id == low, friendships.c.high_id == high)
        .values(state=state, asked_by=asked_by, version=friendships.c.version + 1, changed_at=now)
    )


async def lock_meta(connection: AsyncConnection, a: int, b: int) -> dict[int, Record]:
    """user id -> `relation_meta` row of both, locked in ascending order."""
    query = select(relation_meta).where(relation_meta.c.user_id.in_((a, b))).order_by(relation_meta.c.user_id)
    return {row.user_id: row for row in await connection.execute(query.with_for_update())}


async def change_meta(connection: AsyncConnection, ids: Collection[int], *, friends: int) -> None:
    """Adds `friends` to each user's number of friends and raises the relation version."""
    await connection.execute(
        update(relation_meta)
        .where(relation_meta.c.user_id.in_(ids))
        .values(friends=relation_meta.c.friends + friends, version=relation_meta.c.version + 1)
    )


async def version(connection: AsyncConnection, user_id: int) -> int:
    """The version of a user's relations: it grows with every friend, every block, and the end of each. 0 = nobody."""
    return (await connection.execute(_VERSION, {"user": user_id})).scalar() or 0


def _of(user_id: int, state: str) -> Select[Any]:
    """(other id, asked_by, changed_at) of every pair of `user_id` in `state`; both halves use an index."""
    columns = (friendships.c.asked_by, friendships.c.changed_at)
    low = select(friendships.c.high_id.label("other"), *columns).where(
        friendships.c.low_id == user_id, friendships.c.state == state
    )
    high = select(friendships.c.low_id.label("other"), *columns).where(
        friendships.c.high_id == user_id, friendships.c.state == state
    )
    pairs = low.union_all(high).subquery()
    return select(pairs.c.other, pairs.c.asked_by, pairs.c.changed_at)


async def friends_of(
    connection: AsyncConnection, user_id: int, *, after: int = 0, limit: int | None = None
) -> list[int]:
    """Ids of friends, ascending, from `after` (exclusive)."""
    query = _of(user_id, "friends")
    other = query.selected_columns.other
    rows = await connection.execute(query.where(other > after).order_by(other).limit(limit))
    return [row.other for row in rows]


async def requests_of(connection: AsyncConnection, user_id: int, *, after: int, limit: int) -> list[Record]:
    """(other, asked_by, changed_at) of open requests in both directions, ascending by the other's id."""
    query = _of(user_id, "requested")
    other = query.selected_columns.other
    return list(await connection.execute(query.where(other > after).order_by(other).limit(limit)))


async def has_block(connection: AsyncConnection, blocker_id: int, blocked_id: int) -> bool:
    """True when one blocks the other, in this direction."""
    query = select(blocks.c.blocker_id).where(blocks.c.blocker_id == blocker_id, blocks.c.blocked_id == blocked_id)
    return (await connection.execute(query)).first() is not None


async def blocking(connection: AsyncConnection, user_id: int, others: Collection[int]) -> set[int]:
    """Those of `others` who block a user."""
    if not others:
        return set()
    query = select(blocks.c.blocker_id).where(blocks.c.blocked_id == user_id, blocks.c.blocker_id.in_(others))
    return {row.blocker_id for row in await connection.execute(query)}


async def add_block(connection: AsyncConnection, blocker_id: int, blocked_id: int, now: datetime) -> None:
    """Inserts a block, under the lock of the pair."""
    await connection.execute(insert(blocks).values(blocker_id=blocker_id, blocked_id=blocked_id, created_at=now))


async def remove_block(connection: AsyncConnection, blocker_id: int, blocked_id: int) -> None:
    """Deletes a block; nothing there is fine."""
    await connection.execute(delete(blocks).where(blocks.c.blocker_id == blocker_id, blocks.c.blocked_id == blocked_id))


async def blocked_by(connection: AsyncConnection, user_id: int, *, after: int, limit: int) -> list[int]:
    """Ids of those that `user_id` blocks, ascending."""
    query = select(blocks.c.blocked_id).where(blocks.c.blocker_id == user_id, blocks.c.blocked_id > after)
    return [row.blocked_id for row in await connection.execute(query.order_by(blocks.c.blocked_id).limit(limit))]


def apart(viewer_id: int, person: ColumnElement[int]) -> ColumnElement[bool]:
    """For a WHERE: a block stands between the viewer and the person of a column, in either direction."""
    between = or_(
        and_(blocks.c.blocker_id == viewer_id, blocks.c.blocked_id == person),
        and_(blocks.c.blocker_id == person, blocks.c.blocked_id == viewer_id),
    )
    return select(blocks.c.blocker_id).where(between).exists()


async def separated_from(connection: AsyncConnection, user_ids: Collection[int]) -> dict[int, set[int]]:
    """user -> everybody whom a block stands between, in either direction."""
    query = select(blocks.c.blocker_id, blocks.c.blocked_id).where(
        or_(blocks.c.blocker_id.in_(user_ids), blocks.c.blocked_id.in_(user_ids))
    )
    found: dict[int, set[int]] = {user_id: set() for user_id in user_ids}
    for row in await connection.execute(query):
        for user_id, other in ((row.blocker_id, row.blocked_id), (row.blocked_id, row.blocker_id)):
            if user_id in found:
                found[user_id].add(other)
    return found


async def friends_of_each(connection: AsyncConnection, user_ids: Collection[int]) -> dict[int, list[int]]:
    """user -> ids of friends, for many users at once."""
    found: dict[int, list[int]] = {user_id: [] for user_id in user_ids}
    for mine, other in (
        (friendships.c.low_id, friendships.c.high_id),
        (friendships.c.high_id, friendships.c.low_id),
    ):
        query = select(mine.label("mine"), other.label("other"))
        for row in await connection.execute(query.where(mine.in_(user_ids), friendships.c.state == "friends")):
            found[row.mine].append(row.other)
    return found


def _friend_rows(user_id: ColumnElement[int]) -> ColumnElement[int]:
    """The number of a person's friendships, counted; each half uses an index."""
    low, high = (
        select(func.count())
        .select_from(friendships)
        .where(mine == user_id, friendships.c.state == "friends")
        .scalar_subquery()
        for mine in (friendships.c.low_id, friendships.c.high_id)
    )
    return low + high


async def compare_friends(connection: AsyncConnection, user_id: int) -> tuple[int, int] | None:
    """(number of friends as stored, as counted), both of one moment; None when there is no such person."""
    query = select(relation_meta.c.friends, _friend_rows(literal(user_id)).label("counted"))
    row = (await connection.execute(query.where(relation_meta.c.user_id == user_id))).first()
    return None if row is None else (row.friends, int(row.counted))


async def repair_friends(connection: AsyncConnection, user_id: int) -> bool:
    """Brings the number of friends to the friendships; False when nothing was wrong.

    Whoever makes or ends a friendship has this row locked when that commits, and adds to what it says.
    """
    await connection.execute(
        select(relation_meta.c.user_id).where(relation_meta.c.user_id == user_id).with_for_update()
    )
    compared = await compare_friends(connection, user_id)
    if compared is None or compared[0] == compared[1]:
        return False
    await change_meta(connection, [user_id], friends=compared[1] - compared[0])
    return True


async def pairs_of(connection: AsyncConnection, user_id: int, *, limit: int) -> list[tuple[int, int]]:
    """Up to `limit` canonical pairs of a user, in whatever state: what an erasure has to take apart."""
    query = select(friendships.c.low_id, friendships.c.high_id).where(
        or_(friendships.c.low_id == user_id, friendships.c.high_id == user_id)
    )
    return [(row.low_id, row.high_id) for row in await connection.execute(query.limit(limit))]


async def erase_pair(connection: AsyncConnection, low: int, high: int) -> None:
    """Deletes a pair's row, its blocks, and the friend from both counts when they were friends."""
    where = and_(friendships.c.low_id == low, friendships.c.high_id == high)
    row = (await connection.execute(select(friendships.c.state).where(where).with_for_update())).first()
    if row is None:
        return
    await lock_meta(connection, low, high)
    await change_meta(connection, (low, high), friends=-1 if row.state == "friends" else 0)
    await connection.execute(delete(friendships).where(where))


async def erase_blocks(connection: AsyncConnection, user_id: int) -> None:
    """Deletes every block from and of a user, and the user's meta row."""
    await connection.execute(delete(blocks).where(or_(blocks.c.blocker_id == user_id, blocks.c.blocked_id == user_id)))
    await connection.execute(delete(relation_meta).where(relation_meta.c.user_id == user_id))
