"""Tells those who follow a post about a comment."""

from __future__ import annotations

import msgspec

from db import posts
from feed import streams, views
from feed.events import event
from feed.objects import Gone
from feed.stores import Stores
from workers.jobs import Task


async def run(stores: Stores, task: Task) -> None:
    """Publishes `comment.created`, `comment.edited` or `comment.deleted`."""
    kind, comment_id = task.payload["kind"], task.payload["comment_id"]
    data: msgspec.Struct = Gone(str(comment_id))
    version = task.payload["version"]
    if kind != "comment.deleted":
        async with stores.sql.read() as connection:
            row = await posts.comment(connection, comment_id)
            if row is None or row.deleted_at is not None:
                return  # the deletion's own task tells
            author = await views.event_user(connection, row.author_id)
        if author is None:
            return
        data, version = views.comment(row, author), row.version
    happened = event(
        task.event_id,
        kind,
        at=task.created_at,
        actor=task.payload["author_id"],
        about=comment_id,
        version=version,
        data=data,
    )
    await stores.streams.append(happened, [streams.post(task.payload["post_id"])])
