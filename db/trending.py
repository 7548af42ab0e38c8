"""Statements that count people: how many different ones did something to each public post, or used each tag."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, desc, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.schema import comments, likes, post_tags, posts, shares, users

SHARING = posts.alias("sharing")

# What of a post counts at all; the audience is asked again before anything is shown.
PUBLIC = and_(posts.c.visibility == "public", posts.c.deleted_at.is_(None))


def _likes(start: datetime, end: datetime) -> Select[Any]:
    return (
        select(likes.c.post_id.label("name"), func.count().label("people"))  # a person has one like of a post
        .join(posts, posts.c.id == likes.c.post_id)
        .where(likes.c.changed_at >= start, likes.c.changed_at < end, likes.c.active.is_(True))
        .where(posts.c.author_id != likes.c.user_id)
    )


def _comments(start: datetime, end: datetime) -> Select[Any]:
    return (
        select(comments.c.post_id.label("name"), func.count(comments.c.author_id.distinct()).label("people"))
        .join(posts, posts.c.id == comments.c.post_id)
        .where(comments.c.created_at >= start, comments.c.created_at < end, comments.c.deleted_at.is_(None))
        .where(posts.c.author_id != comments.c.author_id)
    )


def _shares(start: datetime, end: datetime) -> Select[Any]:
    return (
        select(shares.c.shared_id.label("name"), func.count(SHARING.c.author_id.distinct()).label("people"))
        .join(posts, posts.c.id == shares.c.shared_id)
        .join(SHARING, SHARING.c.id == shares.c.post_id)
        .where(shares.c.created_at >= start, shares.c.created_at < end, SHARING.c.deleted_at.is_(None))
        .where(posts.c.author_id != SHARING.c.author_id)
    )


def _tags(start: datetime, end: datetime) -> Select[Any]:
    return (
        select(post_tags.c.tag.label("name"), func.count(posts.c.author_id.distinct()).label("people"))
        .join(posts, posts.c.id == post_tags.c.post_id)
        .join(users, users.c.id == posts.c.author_id)
        .where(posts.c.created_at >= start, posts.c.created_at < end, users.c.state == "active")
    )


QUERIES = {"likes": _likes, "comments": _comments, "shares": _shares, "tags": _tags}


async def people(
    connection: AsyncConnection, kind: str, start: datetime, end: datetime, *, since: datetime, limit: int
) -> dict[str, int]:
    """Post id or tag -> how many different people, from `start` up to `end`; the `limit` largest.

    Of posts written before `since` nothing counts, nor what an author does to a post of their own.
    """
    query = QUERIES[kind](start, end).where(PUBLIC, posts.c.created_at >= since).group_by("name")
    query = query.order_by(desc("people"), "name")
    return {str(row.name): row.people for row in await connection.execute(query.limit(limit))}


async def tags_in_use(connection: AsyncConnection, tags: Collection[str], since: datetime) -> set[str]:
    """Those of `tags` that stand in a public post written since then, by somebody who is still there."""
    if not tags:
        return set()
    query = (
        select(post_tags.c.tag)
        .join(posts, posts.c.id == post_tags.c.post_id)
        .join(users, users.c.id == posts.c.author_id)
        .where(post_tags.c.tag.in_(tags), PUBLIC, posts.c.created_at >= since, users.c.state == "active")
    )
    return {row.tag for row in await connection.execute(query.distinct())}
