"""From rows to the objects of the contract. No rule here: callers ask `feed.audience` first."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts, users
from db.engine import Record
from feed.audience import Audience
from feed.objects import Comment, Counts, Post, Relation, User, timestamp


def user(row: Record, relation: Relation | UnsetType = UNSET, *, online: bool | UnsetType = UNSET) -> User:
    """A profile row as the viewer sees it; without `relation` as an event carries it."""
    return User(
        id=str(row.id),
        version=row.version,
        username=row.username,
        name=row.name,
        bio=row.bio,
        relation=relation,
        online=online,
    )


def hidden(user_id: int) -> User:
    """Somebody who is on the viewer's own list but does not want to be seen: an id to act on, nothing else."""
    return User(id=str(user_id), version=0, username="", name="Hidden person", bio="", relation="none")


def post(row: Record, author: User, *, liked: bool | UnsetType = UNSET) -> Post:
    """A post row. Its version covers the text only; counts carry their own (live `counts`)."""
    return Post(
        id=str(row.id),
        version=row.version,
        author=author,
        text=row.text,
        visibility=row.visibility,
        media=[],
        shared=None,
        created_at=timestamp(row.created_at),
        edited_at=None if row.edited_at is None else timestamp(row.edited_at),
        counts=Counts(row.counts_version, row.likes, row.comments, row.shares),
        liked=liked,
    )


def comment(row: Record, author: User) -> Comment:
    """A comment row."""
    return Comment(
        id=str(row.id),
        version=row.version,
        post_id=str(row.post_id),
        author=author,
        text=row.text,
        created_at=timestamp(row.created_at),
        edited_at=None if row.edited_at is None else timestamp(row.edited_at),
    )


def person(audience: Audience, user_id: int, *, online: bool | UnsetType = UNSET) -> User:
    """A person whom the audience was loaded for, with the viewer's relation."""
    return user(audience.people[user_id], audience.relation(user_id), online=online)


async def visible_posts(connection: AsyncConnection, viewer_id: int, rows: Collection[Record]) -> list[Post]:
    """Those of `rows` that the viewer may see, in their order, with the viewer's bits."""
    audience = await Audience.load(connection, viewer_id, {row.author_id for row in rows})
    seen = [row for row in rows if audience.sees_post(row)]
    liked = await posts.liked(connection, viewer_id, [row.id for row in seen])
    return [post(row, person(audience, row.author_id), liked=row.id in liked) for row in seen]


async def event_user(connection: AsyncConnection, user_id: int) -> User | None:
    """A person as an event carries it; None when the account is gone."""
    row = (await users.profiles(connection, [user_id])).get(user_id)
    return user(row) if row is not None and row.state == "active" else None
