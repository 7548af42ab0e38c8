"""Statements that remove a person, a chunk at a time. Each step returns how many rows it removed; 0 = it is done.

What the person counted for elsewhere is taken back through the outbox, behind whatever is still pending there: a
counter that went below zero for a moment would be refused by its constraint.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, post_texts, relations
from db.schema import (
    active_days,
    comments,
    idempotency_keys,
    likes,
    mentions,
    post_counts,
    posts,
    sessions,
    shares,
    user_terms,
    users,
)

CHUNK = 200  # rows of one transaction: short enough that a like elsewhere does not wait

PAIRS = 10  # of one transaction: it locks the numbers of friends of all of them, and bystanders want theirs


async def friends_left(connection: AsyncConnection, user_id: int) -> list[int]:
    """Friends whose pair has not been removed yet."""
    return await relations.friends_of(connection, user_id)


async def _relations(connection: AsyncConnection, user_id: int, _now: datetime) -> int:
    pairs = await relations.pairs_of(connection, user_id, limit=PAIRS)
    for low, high in pairs:
        await relations.erase_pair(connection, low, high)
    return len(pairs)


async def _likes(connection: AsyncConnection, user_id: int, now: datetime) -> int:
    query = (
        select(likes.c.id, likes.c.post_id, likes.c.active)
        .where(likes.c.user_id == user_id)
        .limit(CHUNK)
        .with_for_update()
    )
    rows = list(await connection.execute(query))
    for row in rows:
        if row.active:
            await _take_back(connection, row.post_id, {"likes": -1}, now)
    return await _remove(connection, likes, likes.c.id.in_([row.id for row in rows]), len(rows))


async def _comments(connection: AsyncConnection, user_id: int, now: datetime) -> int:
    query = select(comments).where(comments.c.author_id == user_id).limit(CHUNK).with_for_update()
    rows = list(await connection.execute(query))
    for row in rows:
        if row.deleted_at is None:
            told = {
                "comment_id": row.id,
                "post_id": row.post_id,
                "author_id": user_id,
                "kind": "comment.deleted",
                "version": row.version + 1,
            }
            await outbox.add(connection, f"post:{row.post_id}", [("publish_comment", told)], now)
            await _take_back(connection, row.post_id, {"comments": -1}, now)
    return await _remove(connection, comments, comments.c.id.in_([row.id for row in rows]), len(rows))


async def _on_posts(connection: AsyncConnection, user_id: int, _now: datetime) -> int:
    """What others left on the person's posts."""
    mine = select(posts.c.id).where(posts.c.author_id == user_id).scalar_subquery()
    removed = 0
    for table in (comments, likes):
        query = select(table.c.id).where(table.c.post_id.in_(mine)).limit(CHUNK)
        ids = [row.id for row in await connection.execute(query)]
        removed += await _remove(connection, table, table.c.id.in_(ids), len(ids))
    return removed


async def _mentions(connection: AsyncConnection, user_id: int, _now: datetime) -> int:
    """Where others name the person; their words stay."""
    query = select(mentions.c.post_id).where(mentions.c.user_id == user_id).limit(CHUNK)
    ids = [row.post_id for row in await connection.execute(query)]
    where = (mentions.c.user_id == user_id) & mentions.c.post_id.in_(ids)
    return await _remove(connection, mentions, where, len(ids))


async def _posts(connection: AsyncConnection, user_id: int, now: datetime) -> int:
    """The posts with their texts. Others' shares of them stay, as shares of something gone."""
    query = select(posts.c.id).where(posts.c.author_id == user_id).limit(CHUNK).with_for_update()
    ids = [row.id for row in await connection.execute(query)]
    if ids:
        shared = select(shares.c.shared_id).where(shares.c.post_id.in_(ids), shares.c.shared_id.not_in(ids))
        for row in list(await connection.execute(shared)):
            await _take_back(connection, row.shared_id, {"shares": -1}, now)
        await connection.execute(delete(shares).where(shares.c.post_id.in_(ids)))
        sharing = select(shares.c.shared_id).where(shares.c.shared_id.in_(ids)).distinct()
        for row in list(await connection.execute(sharing)):
            job = ("tell_shares", {"post_id": row.shared_id})
            await outbox.add(connection, f"post:{row.shared_id}", [job], now)
        await post_texts.forget(connection, ids)
        await post_texts.forget_versions(connection, ids)
        await connection.execute(delete(post_counts).where(post_counts.c.post_id.in_(ids)))
    return await _remove(connection, posts, posts.c.id.in_(ids), len(ids))


async def _account(connection: AsyncConnection, user_id: int, _now: datetime) -> int:
    await relations.erase_blocks(connection, user_id)
    for table in (active_days, idempotency_keys, sessions, user_terms):
        await connection.execute(delete(table).where(table.c.user_id == user_id))
    await connection.execute(delete(users).where(users.c.id == user_id))
    return 0


STEPS = (_relations, _likes, _comments, _on_posts, _mentions, _posts, _account)


async def _take_back(connection: AsyncConnection, post_id: int, change: dict[str, int], now: datetime) -> None:
    await outbox.add(connection, f"post:{post_id}", [("refresh_counts", {"post_id": post_id, **change})], now)


async def _remove(connection: AsyncConnection, table: Table, where: ColumnElement[bool], count: int) -> int:
    if count:
        await connection.execute(delete(table).where(where))
    return count
