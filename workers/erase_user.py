"""Removes everything of a person, in chunks: a crash anywhere resumes with what is left."""

from __future__ import annotations

import time

from db import erasure
from feed import streams
from feed.events import event
from feed.objects import HiddenAuthor
from feed.stores import Stores
from workers.jobs import Task

SLICE = 0.2  # seconds of one run: what others wait for is dispatched in between


async def run(stores: Stores, task: Task) -> bool:
    """Tells the friends, then removes relations, likes, comments, posts and at last the account; True = more to do."""
    started = time.monotonic()
    user_id = task.payload["user_id"]
    async with stores.sql.read() as connection:
        friends = await erasure.friends_left(connection, user_id)
    hidden = event(
        task.event_id,
        "author.hidden",
        at=task.created_at,
        actor=user_id,
        about=user_id,
        version=1,
        data=HiddenAuthor(str(user_id)),
    )
    await stores.streams.append(hidden, [streams.me(friend) for friend in friends])
    for step in erasure.STEPS:
        while await stores.commit(lambda connection, step=step: step(connection, user_id, stores.clock())):  # type: ignore[misc]
            if time.monotonic() - started > SLICE:
                return True
    await stores.timelines.drop(user_id)
    await stores.redis.delete(stores.redis.keys.friends(user_id))
    return False
