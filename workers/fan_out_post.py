"""Tells everyone who has, gains or loses a post, slice by slice, and keeps their timelines."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts
from db.engine import Record
from feed import streams, views
from feed.audience import recipients
from feed.events import FAREWELLS, HIDDEN, event
from feed.objects import Gone
from feed.stores import Stores
from feed.streams import Event, TimelineAct
from workers.jobs import Task

# Recipients of one run. Between two runs everybody else's posts get theirs: a post for five thousand friends does not
# delay one for ten by more than a slice.
SLICE = 250
PLACES = 1000  # tasks whose place is remembered, twice a look of the dispatcher; a forgotten one begins again
PLANS = 64  # plans that are kept: some 13 MB, each with 5,000 recipients; a forgotten one is made again
# A hidden post stays in timelines, whose readers ask for their rights: a worker that lost its lease may wake up late,
# and what it took out when the post was shown again would be missing for good.
ACTS: dict[str, TimelineAct] = {"post.created": "put", "post.deleted": "take"}


def lane(task: Task) -> str:
    """The author's: friends get posts in the order in which they were written."""
    return f"author:{task.payload['author_id']}"


class Plan(NamedTuple):
    """What is told, and to whom, as long as the post and its author's relations are as they were."""

    stamp: posts.Stamp
    happened: Event
    people: list[int]


class FanOut:
    """Fans out `post.created`, `post.edited`, `post.hidden` or `post.deleted`.

    Whether the post and who receives it are still the same is asked of the writer for each slice: a friend who has gone
    since the last one gets nothing more. The place is in memory only; a crash begins again, and streams and timelines
    know what they have.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[int, int] = OrderedDict()  # task -> the last recipient who has it
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    async def run(self, stores: Stores, task: Task) -> bool:
        """Does a slice; True when there is more to do."""
        plan = self._plans.get(task.id)
        async with stores.sql.read() as connection:
            stamp = await posts.stamp(connection, task.payload["post_id"])
            if stamp is not None and (plan is None or plan.stamp != stamp):
                plan = await _plan(stores, connection, task, stamp)
        if stamp is None or plan is None:
            return self._end(task)
        start = bisect_right(plan.people, self._places.get(task.id, 0))
        some = plan.people[start : start + SLICE]
        kind = task.payload["kind"]
        await stores.streams.append(plan.happened, list(map(streams.me, some)), ACTS.get(kind, ""))
        if start + SLICE < len(plan.people):
            self._keep(task, plan, some[-1])
            return True
        if _follows(kind, task):
            await stores.streams.append(plan.happened, [streams.post(task.payload["post_id"])])
        return self._end(task)

    def _keep(self, task: Task, plan: Plan, place: int) -> None:
        self._places[task.id] = place
        self._plans[task.id] = plan
        for kept, most in ((self._places, PLACES), (self._plans, PLANS)):
            while len(kept) > most:
                kept.popitem(last=False)

    def _end(self, task: Task) -> bool:
        self._places.pop(task.id, None)
        self._plans.pop(task.id, None)
        return False


async def _plan(stores: Stores, connection: AsyncConnection, task: Task, stamp: posts.Stamp) -> Plan | None:
    """Read after its stamp, so that what it may be too new for makes another one; None = there is nothing to tell."""
    kind, post_id, event_id = task.payload["kind"], task.payload["post_id"], task.event_id
    row = (await posts.by_ids(connection, [post_id])).get(post_id)
    if row is None:
        return None  # erased meanwhile
    data: msgspec.Struct = Gone(str(post_id))
    if kind in ("post.created", "post.edited"):
        author = await views.event_user(connection, row.author_id)
        if row.deleted_at is not None or (author is None and stamp.author_state != "disabled"):
            return None  # whoever had it is told by the deletion's own task
        if author is None:
            # Nobody may see it now, but it has to be there when its author is back: the timelines get it, and what is
            # told is harmless.
            event_id, kind = f"{event_id}-disabled", HIDDEN
        else:
            data = views.post(row, author)
    happened = event(
        event_id, kind, at=task.created_at, actor=row.author_id, about=post_id, version=row.version, data=data
    )
    return Plan(stamp, happened, await _recipients(stores, connection, row, task))


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
