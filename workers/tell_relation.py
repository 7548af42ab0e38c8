"""Tells one of two people what has changed between them."""

from __future__ import annotations

import msgspec

from feed import streams, views
from feed.events import event
from feed.objects import HiddenAuthor
from feed.stores import Stores
from workers.jobs import Task


async def run(stores: Stores, task: Task) -> None:
    """Tells `friend.requested`, `friend.accepted`, `friend.removed` or `author.hidden` about a person."""
    kind, about, to = task.payload["kind"], task.payload["about"], task.payload["to"]
    data: msgspec.Struct
    if kind == "author.hidden":
        data = HiddenAuthor(str(about))
        version = 1
    else:
        async with stores.sql.read() as connection:
            person = await views.event_user(connection, about)
        if person is None:
            return  # the account is gone, and so is whatever was between them
        data, version = person, person.version
    happened = event(task.event_id, kind, at=task.created_at, actor=about, about=about, version=version, data=data)
    await stores.streams.append(happened, [streams.me(to)])
