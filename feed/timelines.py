"""Timelines: the newest ids of a user's feed in Redis, for those who read theirs within 30 days.

    timeline   zset of post ids: what the user's friends and the user wrote, for whoever may see it when it was put
    floor      the timeline is complete down to this id; below it the database is asked
    relations  the user's relation version when it was built: a friend more, a friend less, a block make it cold
    cold       absent, of another life of the store (run id), built for other relations, or being built

    put        with the event of the post, for many users in one call                          append.lua
    page       ids below one, and what they are good for                                       timeline.lua
    build      a lease; from then on posts are put in; read from the database; merged          build.lua, built.lua

Nothing here decides who sees what: rights are read for every answer (`feed.views`). A timeline may hold an id too many;
that it never lacks one above its floor is what these steps are for. A post that commits before the lease is read from
the database, one that commits after it is put in by its fan-out, which comes after its commit; and whoever becomes a
friend changes the relation version. A late or repeated put below the floor is refused, so it closes no hole in show.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from db.redis import Redis
from feed.streams import RUN_ID, TIMELINE_KEEPS, me

ACTIVE = 30 * 86400.0  # seconds since a user's last look at the feed for which new posts are put into its timeline
BUILD_WITHIN = 10.0  # seconds that a builder has before another one may begin; ten times a slow database


Cold: TypeAlias = Literal["absent", "another life", "being built"]


class Slice(msgspec.Struct, frozen=True):
    """Ids of a timeline, descending. All there are down to its end, or down to `floor` (0 = there is nothing below)."""

    ids: list[int]
    relations: int
    floor: int


class Timelines:
    """The timelines of one Redis or cluster."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = redis.keys

    async def page(self, user_id: int, *, before: int, limit: int) -> Slice | None:
        """Up to `limit` ids below `before`; None while the timeline is cold. Its owner is active: it lives on."""
        found = await self._read(user_id, before, limit, _ms(ACTIVE))
        return found if isinstance(found, Slice) else None

    async def look(self, user_id: int, *, before: int, limit: int) -> Slice | Cold:
        """The same for auditors and operators: it lives no longer for it, and they hear why it is cold."""
        return await self._read(user_id, before, limit, 0)

    async def build(self, user_id: int, *, relations: int) -> str | None:
        """Begins to build for a relation version; a token, or None while somebody else builds, or has just built."""
        token = secrets.token_hex(8)
        begun = await self._redis.run("build", self._of(user_id), [RUN_ID, token, _ms(BUILD_WITHIN), relations])
        return token if begun else None

    async def built(self, user_id: int, token: str, ids: Sequence[int], *, relations: int) -> bool:
        """Ends the building with what was read: the newest ids, TIMELINE_KEEPS or all; False when it took too long."""
        floor = ids[-1] if len(ids) >= TIMELINE_KEEPS else 0
        arguments = [RUN_ID, token, relations, floor, _ms(ACTIVE), TIMELINE_KEEPS, *ids]
        return bool(await self._redis.run("built", self._of(user_id), arguments))

    async def drop(self, user_id: int) -> None:
        """Makes a timeline cold."""
        await self._redis.delete(*self._of(user_id))

    async def _read(self, user_id: int, before: int, limit: int, life: int) -> Slice | Cold:
        relations, floor, found = await self._redis.run("timeline", self._of(user_id), [RUN_ID, before, limit, life])
        if relations:
            return Slice(list(map(int, found)), int(relations), floor)
        cold: Cold = found[0].decode()
        return cold

    def _of(self, user_id: int) -> list[str]:
        return [self._keys.floor(me(user_id)), self._keys.timeline(me(user_id))]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
