"""Tells everyone who has, gains or loses a post: one append per slice of recipients."""

from __future__ import annotations

import msgspec

from db import posts
from db.engine import Record
from feed import streams, views
from feed.audience import recipients
from feed.events import FAREWELLS, event
from feed.objects import Gone
from feed.stores import Stores
from workers.jobs import Task


def lane(task: Task) -> str:
    """The author's: friends get posts in the order in which they were written."""
    return f"author:{task.payload['author_id']}"


async def run(stores: Stores, task: Task) -> None:
    """Fans out `post.created`, `post.edited`, `post.hidden` or `post.deleted`."""
    kind, post_id = task.payload["kind"], task.payload["post_id"]
    async with stores.sql.read() as connection:
        row = (await posts.by_ids(connection, [post_id])).get(post_id)
        if row is None:
            return  # erased meanwhile
        author_id = row.author_id
        data: msgspec.Struct
        if kind in ("post.created", "post.edited"):
            author = await views.event_user(connection, author_id)
            if row.deleted_at is not None or author is None:
                return  # whoever had it is told by the deletion's own task
            data = views.post(row, author)
            people = await recipients(connection, author_id, row.visibility)
        else:
            data = Gone(str(post_id))
            people = await recipients(connection, author_id, task.payload["audience"])
            if kind == "post.hidden":
                keep = set(await recipients(connection, author_id, row.visibility))
                people = [person for person in people if person not in keep]
    happened = event(
        task.event_id, kind, at=task.created_at, actor=author_id, about=post_id, version=row.version, data=data
    )
    await stores.streams.append(happened, [*map(streams.me, people), *_own_stream(kind, row, task)])


def _own_stream(kind: str, row: Record, task: Task) -> list[str]:
    """The post's own stream, where every follower may hear it.

    After a narrowing some followers must not have the new text: those who keep the post are told on `me`. `hidden` is
    handed by the edges to those alone who lost it.
    """
    told = kind in FAREWELLS or (kind == "post.edited" and not task.payload.get("narrowed"))
    return [streams.post(row.id)] if told else []
