"""May this viewer see this? Who receives this? The one choke point of privacy.

`Audience` answers for one viewer from relations read just now. Every door goes through it: feed, posts, comments,
likes lists, profiles, search, streams and replays. Lists take candidates from SQL and filter them here; they never
express the rule a second time as SQL.

| what          | who sees it                                                                                 |
|---------------|---------------------------------------------------------------------------------------------|
| a person      | everybody signed in, unless one blocks the other or the account is not active               |
| public post   | whoever sees its author                                                                     |
| friends post  | the author's friends                                                                        |
| only_me post  | the author                                                                                  |
| deleted post  | nobody                                                                                      |
| comment, like | whoever sees the post and the person who made it                                            |
| shared post   | inside the sharing one, whoever sees both: a share widens nothing                           |
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from db import relations, users
from db.engine import Record
from db.errors import StoreUnavailable
from db.relations import STRANGERS, Pair
from feed.objects import Relation
from feed.stores import Stores

FRIENDS_KEPT = 86_400.0  # seconds that a list of friends is kept for; whoever posts daily keeps it warm


class Author(NamedTuple):
    """All of an author that a right depends on."""

    state: str


class Audience:
    """What one viewer may see of the people it was loaded for."""

    def __init__(self, viewer_id: int, people: Mapping[int, Any], pairs: Mapping[int, Pair]) -> None:
        self.viewer_id = viewer_id
        self.people = people
        self._pairs = pairs

    @classmethod
    async def load(cls, connection: AsyncConnection, viewer_id: int, people: Collection[int]) -> Audience:
        """Reads the relations between the viewer and `people`, in three queries whatever their number."""
        ids = set(people)
        return cls(
            viewer_id, await users.profiles(connection, ids), await relations.between(connection, viewer_id, ids)
        )

    @classmethod
    def of_authors(cls, viewer_id: int, rows: Iterable[Record]) -> Audience:
        """For the authors of posts, from rows of `db.posts.as_seen_by`; of `people` it knows the state alone."""
        people, pairs = {}, {}
        for row in rows:
            people[row.author_id] = Author(row.author_state)
            pairs[row.author_id] = Pair(row.pair_state or "none", row.asked_by, blocked=bool(row.blocked))
        return cls(viewer_id, people, pairs)

    @classmethod
    async def load_each(cls, connection: AsyncConnection, wanted: Mapping[int, Collection[int]]) -> dict[int, Audience]:
        """viewer -> Audience for many viewers and their people, in as few queries as for one."""
        pairs = {relations.ordered(v, p) for v, people in wanted.items() for p in people if p != v}
        people = await users.profiles(connection, {p for each in wanted.values() for p in each})
        known = await relations.among(connection, pairs)
        found = {}
        for viewer_id, ids in wanted.items():
            mine = {other: known.get(relations.ordered(viewer_id, other), STRANGERS) for other in ids}
            found[viewer_id] = cls(viewer_id, people, mine)
        return found

    def relation(self, user_id: int) -> Relation:
        """The viewer's relation to a person."""
        if user_id == self.viewer_id:
            return "self"
        pair = self._pairs.get(user_id, STRANGERS)
        if pair.state == "friends":
            return "friends"
        if pair.state == "requested":
            return "requested" if pair.asked_by == self.viewer_id else "asked"
        return "none"

    def sees_person(self, user_id: int) -> bool:
        """True when the viewer may know that this person exists."""
        person = self.people.get(user_id)
        if person is None or person.state != "active":
            return False
        return user_id == self.viewer_id or not self._pairs.get(user_id, STRANGERS).blocked

    def sees_post(self, post: Record) -> bool:
        """True when the viewer may see a post (a row of `db.posts`)."""
        if post.deleted_at is not None or not self.sees_person(post.author_id):
            return False
        if post.author_id == self.viewer_id or post.visibility == "public":
            return True
        return post.visibility == "friends" and self.relation(post.author_id) == "friends"


async def recipients(stores: Stores, connection: AsyncConnection, author_id: int, visibility: str) -> list[int]:
    """Whose `me` stream carries a post, ascending: the author and, unless it is for the author alone, the friends."""
    friends = [] if visibility == "only_me" else (await friends_of(stores, connection, author_id))[1]
    return sorted([author_id, *friends])


async def friends_of(stores: Stores, connection: AsyncConnection, user_id: int) -> tuple[int, list[int]]:
    """(relation version, ids of friends, ascending): those of that version, or of a newer one.

    The version is read from the writer; the list comes from Redis where it was kept for the same version, so five
    thousand rows are read once for each change of theirs.
    """
    version = await relations.version(connection, user_id)
    key = stores.redis.keys.friends(user_id)
    try:
        kept = (await stores.redis.get_many([key]))[0]
    except StoreUnavailable:
        return version, await relations.friends_of(connection, user_id)
    if kept is not None:
        of, friends = orjson.loads(kept)
        if of == version:
            return version, friends
    friends = await relations.friends_of(connection, user_id)
    with suppress(StoreUnavailable):
        await stores.redis.set_many([(key, orjson.dumps([version, friends]))], seconds=FRIENDS_KEPT)
    return version, friends
