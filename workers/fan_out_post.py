"""Tells everyone who has, gains or loses a post, slice by slice, and keeps their timelines."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts
from db.engine import Record
from feed import streams, views
from feed.audience import recipients
from feed.events import FAREWELLS, event
from feed.objects import Gone
from feed.stores import Stores
from feed.streams import TimelineAct
from workers.jobs import Task

# Recipients of one run. Between two runs everybody else's posts get theirs: a post for five thousand friends does not
# delay one for ten by more than a slice.
SLICE = 1000
KEPT = 1000  # tasks whose place is remembered; one that is forgotten begins again, which nobody notices
# A hidden post stays in timelines, whose readers ask for their rights: a worker that lost its lease may wake up late,
# and what it took out when the post was shown again would be missing for good.
ACTS: dict[str, TimelineAct] = {"post.created": "put", "post.deleted": "take"}


def lane(task: Task) -> str:
    """The author's: friends get posts in the order in which they were written."""
    return f"author:{task.payload['author_id']}"


class FanOut:
    """Fans out `post.created`, `post.edited`, `post.hidden` or `post.deleted`.

    Who receives it is asked again for each slice, of the writer: a friend who has gone since the last one gets nothing
    more. The place is in memory only; a crash begins again, and streams and timelines know what they have.
    """

    def __init__(self) -> None:
        self._done: OrderedDict[int, int] = OrderedDict()  # task -> the last recipient who has it

    async def run(self, stores: Stores, task: Task) -> bool:
        """Does a slice; True when there is more to do."""
        kind, post_id = task.payload["kind"], task.payload["post_id"]
        async with stores.sql.read() as connection:
            row = (await posts.by_ids(connection, [post_id])).get(post_id)
            if row is None:
                return self._end(task)  # erased meanwhile
            data: msgspec.Struct = Gone(str(post_id))
            if kind in ("post.created", "post.edited"):
                author = await views.event_user(connection, row.author_id)
                if row.deleted_at is not None or author is None:
                    return self._end(task)  # whoever had it is told by the deletion's own task
                data = views.post(row, author)
            people = await _recipients(stores, connection, row, task)
        start = bisect_right(people, self._done.get(task.id, 0))
        some = people[start : start + SLICE]
        happened = event(
            task.event_id, kind, at=task.created_at, actor=row.author_id, about=post_id, version=row.version, data=data
        )
        await stores.streams.append(happened, list(map(streams.me, some)), ACTS.get(kind, ""))
        if start + SLICE < len(people):
            self._done[task.id] = some[-1]
            while len(self._done) > KEPT:
                self._done.popitem(last=False)
            return True
        if _follows(kind, task):
            await stores.streams.append(happened, [streams.post(post_id)])
        return self._end(task)

    def _end(self, task: Task) -> bool:
        self._done.pop(task.id, None)
        return False


async def _recipients(stores: Stores, connection: AsyncConnection, row: Record, task: Task) -> list[int]:
    """Ids, ascending: who may see the post now, or for a farewell who could before."""
    if task.payload["kind"] not in FAREWELLS:
        return await recipients(stores, connection, row.author_id, row.visibility)
    had = await recipients(stores, connection, row.author_id, task.payload["audience"])
    if task.payload["kind"] == "post.deleted":
        return had
    keep = set(await recipients(stores, connection, row.author_id, row.visibility))
    return [person for person in had if person not in keep]


def _follows(kind: str, task: Task) -> bool:
    """Whether the post's own stream is told, where every follower may hear it.

    After a narrowing some followers must not have the new text: those who keep the post are told on `me`. `hidden` is
    handed by the edges to those alone who lost it.
    """
    return kind in FAREWELLS or (kind == "post.edited" and not task.payload.get("narrowed"))
