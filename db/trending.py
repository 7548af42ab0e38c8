"""Statements that count people: how many different ones did something to each public post, or used each tag."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, case, desc, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.relations import apart
from db.schema import comments, likes, post_tags, posts, shares, users

SHARING = posts.alias("sharing")

# What of a post counts at all; the audience is asked again before anything is shown.
PUBLIC = and_(posts.c.visibility == "public", posts.c.deleted_at.is_(None))
# Posts are joined to the most popular of an hour, not to every act: public or not is asked for these times the limit.
SPARE = 4


def _likes(start: datetime, end: datetime, limit: int) -> Select[Any]:
    these = and_(likes.c.changed_at >= start, likes.c.changed_at < end, likes.c.active.is_(True))
    found = select(likes.c.post_id, func.count().label("people")).where(these)  # a person has one like of a post
    return _without_own(found.group_by(likes.c.post_id), likes, likes.c.user_id, these, limit)


def _comments(start: datetime, end: datetime, limit: int) -> Select[Any]:
    these = and_(comments.c.created_at >= start, comments.c.created_at < end, comments.c.deleted_at.is_(None))
    found = select(comments.c.post_id, func.count(comments.c.author_id.distinct()).label("people")).where(these)
    return _without_own(found.group_by(comments.c.post_id), comments, comments.c.author_id, these, limit)


def _without_own(
    found: Select[Any], table: Table, actor: ColumnElement[int], these: ColumnElement[bool], limit: int
) -> Select[Any]:
    """Of the most popular posts the public ones, their authors' own acts taken away."""
    most = found.order_by(desc("people"), table.c.post_id).limit(limit * SPARE).subquery("most")
    own = select(table.c.id).where(table.c.post_id == posts.c.id, actor == posts.c.author_id, these).exists()
    people = most.c.people - case((own, 1), else_=0)
    return select(most.c.post_id.label("subject"), people.label("people")).join(posts, posts.c.id == most.c.post_id)


def _shares(start: datetime, end: datetime, _limit: int) -> Select[Any]:
    return (
        select(shares.c.shared_id.label("subject"), func.count(SHARING.c.author_id.distinct()).label("people"))
        .join(posts, posts.c.id == shares.c.shared_id)
        .join(SHARING, SHARING.c.id == shares.c.post_id)
        .where(shares.c.created_at >= start, shares.c.created_at < end, SHARING.c.deleted_at.is_(None))
        .where(posts.c.author_id != SHARING.c.author_id)
        .group_by(shares.c.shared_id)
    )


def _tags(start: datetime, end: datetime, _limit: int) -> Select[Any]:
    return (
        select(post_tags.c.tag.label("subject"), func.count(posts.c.author_id.distinct()).label("people"))
        .join(posts, posts.c.id == post_tags.c.post_id)
        .where(posts.c.created_at >= start, posts.c.created_at < end)
        .group_by(post_tags.c.tag)
    )


QUERIES = {"likes": _likes, "comments": _comments, "shares": _shares, "tags": _tags}


async def people(
    connection: AsyncConnection, kind: str, start: datetime, end: datetime, *, since: datetime, limit: int
) -> dict[str, int]:
    """Post id or tag -> how many different people, from `start` up to `end`; the `limit` largest.

    Of posts written before `since` nothing counts, nor what an author does to a post of their own. Public posts are
    sought among the `limit` * SPARE that most people liked or commented on.
    """
    query = QUERIES[kind](start, end, limit).where(PUBLIC, posts.c.created_at >= since)
    query = query.order_by(desc("people"), "subject").limit(limit)
    return {str(row.subject): row.people for row in await connection.execute(query) if row.people}


async def tags_in_use(
    connection: AsyncConnection, tags: Collection[str], since: datetime, *, viewer_id: int | None = None
) -> set[str]:
    """Those of `tags` that stand in a public post written since then, by somebody who is still there.

    With a viewer those alone that stand in a post of somebody whom no block separates from the viewer.
    """
    if not tags:
        return set()
    query = (
        select(post_tags.c.tag)
        .join(posts, posts.c.id == post_tags.c.post_id)
        .join(users, users.c.id == posts.c.author_id)
        .where(post_tags.c.tag.in_(tags), PUBLIC, posts.c.created_at >= since, users.c.state == "active")
    )
    if viewer_id is not None:
        query = query.where(~apart(viewer_id, posts.c.author_id))
    return {row.tag for row in await connection.execute(query.distinct())}
