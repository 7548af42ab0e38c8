"""What a job is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record
from feed.stores import Stores


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the outbox, unpacked. `id` makes the ids of its events."""

    id: int
    aggregate: str
    payload: dict[str, Any]
    attempts: int
    created_at: datetime

    @classmethod
    def of(cls, row: Record) -> Task:
        """The task of a row."""
        return cls(row.id, row.aggregate, orjson.loads(row.payload), row.attempts, row.created_at)

    @property
    def event_id(self) -> str:
        """Deterministic: a second run of the task makes the same event."""
        return f"o{self.id}"


@dataclass(frozen=True, slots=True)
class Job:
    """How tasks of one kind are done. At least one of `each` and `within` is given.

    each    effects outside of MySQL, task by task; must be harmless when run again; returns True when there is more
            to do: a long job works in slices, so that nobody waits for it
    within  effects inside MySQL, all tasks of a batch together, in the transaction that marks them done
    after   best-effort announcements once that transaction has committed
    lane    tasks of one lane are done one after the other, over aggregates: an author's posts arrive in order
    pause   seconds for which an aggregate rests once its tasks have been done; what comes meanwhile is done together
    Tasks of a job with `within` commute, so they need not wait for their turn in the aggregate.
    """

    each: Callable[[Stores, Task], Awaitable[bool | None]] | None = None
    within: Callable[[AsyncConnection, Sequence[Task]], Awaitable[None]] | None = None
    after: Callable[[Stores, Sequence[Task]], Awaitable[None]] | None = None
    lane: Callable[[Task], str] | None = None
    pause: float = 0.0


def table() -> dict[str, Job]:
    """Every job by the name that outbox rows carry."""
    from workers import erase_user, fan_out_post, publish_comment, refresh_counts, tell_relation, tell_shares

    return {
        "fan_out_post": Job(each=fan_out_post.FanOut().run, lane=fan_out_post.lane),
        "publish_comment": Job(each=publish_comment.run),
        "tell_relation": Job(each=tell_relation.run),
        "refresh_counts": Job(within=refresh_counts.write, after=refresh_counts.announce, pause=refresh_counts.PAUSE),
        "tell_shares": Job(each=tell_shares.run),
        "erase_user": Job(each=erase_user.run),
    }
