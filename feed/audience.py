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
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from db import relations, users
from db.engine import Record
from db.relations import STRANGERS, Pair
from feed.objects import Relation


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


async def recipients(connection: AsyncConnection, author_id: int, visibility: str) -> list[int]:
    """Whose `me` stream carries a post: the author and, unless it is for the author alone, the author's friends."""
    if visibility == "only_me":
        return [author_id]
    return [author_id, *await relations.friends_of(connection, author_id)]
