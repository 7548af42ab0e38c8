"""What open connections need to know of rights, mostly without a question to the database.

A grant is a right that was read a while ago and that no revocation has touched since (`feed.revocations`). A grant only
ever says yes: where there is none, or it may have ended, the database is asked, together with whoever else asks at that
moment (`feed.batches`). So a thousand clients that come back cost no query where they were known, and a few where not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from db import posts, relations, users
from db.engine import Record
from db.relations import ordered
from feed.accounts import Session, digest_of, proved
from feed.audience import Audience
from feed.batches import Batches
from feed.events import COMMENTS, POSTS, REFRESHED, TO_FORGET
from feed.revocations import Revocations, Topic
from feed.stores import Stores
from feed.streams import Item

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEPT = 50_000  # grants of a kind; the least recently used go first


class Kept(msgspec.Struct, Generic[V]):
    """A value, when its reading began, and what could end it."""

    value: V
    since: float
    topics: tuple[Topic, ...]


class Grants:
    """The grants of one edge."""

    def __init__(self, stores: Stores, revocations: Revocations) -> None:
        self._stores = stores
        self._revocations = revocations
        self._sign_ins = Shelf[bytes, Session](revocations)
        self._separated = Shelf[int, frozenset[int]](revocations)
        self._posts = Shelf[tuple[int, int], bool](revocations)
        self._ask_sign_in = Batches(self._read_sign_ins)
        self._ask_separated = Batches(self._read_separated)
        self._ask_post = Batches(self._read_posts)
        self._ask_items = Batches(self._read_items)

    async def sign_in(self, token: str) -> Session | None:
        """The sign-in of a token, None when it is unknown or expired. Raises Disabled, StoreUnavailable."""
        digest = digest_of(token)
        if digest is None:
            return None
        kept = self._sign_ins.get(digest)
        if kept is not None:
            return kept if kept.expires_at > self._stores.clock() else None
        since = self._revocations.moment()
        session = proved(await self._ask_sign_in.get(digest), self._stores.clock())
        if session is not None:
            topics = (("session", session.id), ("account", session.user_id))
            self._sign_ins.put(digest, session, since, *topics)
        return session

    async def separated(self, user_id: int) -> frozenset[int]:
        """Everybody whom a block separates from a user. Raises StoreUnavailable."""
        kept = self._separated.get(user_id)
        if kept is not None:
            return kept
        since = self._revocations.moment()
        found = frozenset(await self._ask_separated.get(user_id) or ())
        self._separated.put(user_id, found, since, ("person", user_id))
        return found

    async def sees_post(self, viewer_id: int, post_id: int) -> bool:
        """True when the viewer may follow a post. Raises StoreUnavailable."""
        if self._posts.get((viewer_id, post_id)):
            return True
        since = self._revocations.moment()
        author_id = await self._ask_post.get((viewer_id, post_id))
        if author_id is None:
            return False
        pair: tuple[Topic, ...] = (("pair", *ordered(viewer_id, author_id)),) if author_id != viewer_id else ()
        self._posts.put((viewer_id, post_id), True, since, ("post", post_id), ("account", author_id), *pair)
        return True

    async def sees_posts(self, viewer_id: int, post_ids: Collection[int]) -> set[int]:
        """Those of these posts that the viewer may see now, asked of the database. Raises StoreUnavailable."""
        async with self._stores.sql.read() as connection:
            rows = await posts.by_ids(connection, post_ids)
            audience = await Audience.load(connection, viewer_id, {row.author_id for row in rows.values()})
        return {post_id for post_id, row in rows.items() if audience.sees_post(row)}

    async def posts_of(self, post_ids: Collection[int], authors: Collection[int]) -> set[int]:
        """Those of these posts that one of these people wrote. Raises StoreUnavailable."""
        async with self._stores.sql.read() as connection:
            rows = await posts.by_ids(connection, post_ids)
        return {post_id for post_id, row in rows.items() if row.author_id in authors}

    async def sees_items(self, viewer_id: int, items: Sequence[Item]) -> set[int]:
        """Offsets of the items that the viewer may see now. Raises StoreUnavailable.

        An item is on a stream because its recipient had the right to it; so only those are asked for that a
        revocation could be about, or all of them while this node does not know every revocation.
        """
        doubtful = [item for item in items if self.doubts(viewer_id, item)]
        seen = {item.offset for item in items}
        if doubtful:
            allowed = await self._ask_items.get((viewer_id, tuple(doubtful)))
            seen -= {item.offset for item in doubtful} - (allowed or set())
        return seen

    def doubts(self, viewer_id: int, item: Item) -> bool:
        """True when the viewer may have lost the right to an item since it was appended."""
        known = self._revocations
        return (
            item.kind not in TO_FORGET
            and item.kind != REFRESHED
            and (
                not known.current
                or item.actor in known.parted_from(viewer_id)
                or known.ended(item.actor)
                or known.outdated(item.kind, item.object, item.version)
            )
        )

    # --- questions, each for many askers -----------------------------------------------------------------------------

    async def _read_sign_ins(self, digests: list[bytes]) -> dict[bytes, Record]:
        async with self._stores.sql.read() as connection:
            return await users.sessions_by_token(connection, digests)

    async def _read_separated(self, user_ids: list[int]) -> dict[int, set[int]]:
        async with self._stores.sql.read() as connection:
            return await relations.separated_from(connection, user_ids)

    async def _read_posts(self, asked: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """(viewer, post) -> the post's author, where the viewer may see it."""
        async with self._stores.sql.read() as connection:
            rows = await posts.by_ids(connection, {post_id for _, post_id in asked})
            wanted: dict[int, set[int]] = {}
            for viewer_id, post_id in asked:
                if post_id in rows:
                    wanted.setdefault(viewer_id, set()).add(rows[post_id].author_id)
            audiences = await Audience.load_each(connection, wanted)
        return {
            (viewer_id, post_id): rows[post_id].author_id
            for viewer_id, post_id in asked
            if post_id in rows and audiences[viewer_id].sees_post(rows[post_id])
        }

    async def _read_items(
        self, asked: list[tuple[int, tuple[Item, ...]]]
    ) -> dict[tuple[int, tuple[Item, ...]], set[int]]:
        """(viewer, items) -> offsets of those that the viewer may see.

        Of a post only what tells of its present version: an earlier text may have been for fewer people, and a body is
        written anew when its task runs again. Each version is told by an item of its own, to all who may have it.
        """
        every = [item for _, items in asked for item in items]
        async with self._stores.sql.read() as connection:
            rows = await posts.by_ids(connection, {item.object for item in every if item.kind in POSTS})
            living = await posts.living_comments(connection, {item.object for item in every if item.kind in COMMENTS})
            wanted: dict[int, set[int]] = {}
            for viewer_id, items in asked:
                people = {item.actor for item in items}
                people |= {rows[item.object].author_id for item in items if item.kind in POSTS and item.object in rows}
                wanted.setdefault(viewer_id, set()).update(people)
            audiences = await Audience.load_each(connection, wanted)

        def sees(audience: Audience, item: Item) -> bool:
            if item.kind in POSTS:
                row = rows.get(item.object)
                return row is not None and item.version >= row.version and audience.sees_post(row)
            if item.kind in COMMENTS and item.object not in living:
                return False
            return audience.sees_person(item.actor)

        return {
            (viewer_id, items): {item.offset for item in items if sees(audiences[viewer_id], item)}
            for viewer_id, items in asked
        }


class Shelf(Generic[K, V]):
    """Bounded store of grants of one kind."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._kept: OrderedDict[K, Kept[V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, if nothing has ended it."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if not self._revocations.unchanged(kept.since, *kept.topics):
            if self._revocations.current:
                del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept.value

    def put(self, key: K, value: V, since: float, *topics: Topic) -> None:
        """Keeps what was read from the moment `since` on."""
        self._kept[key] = Kept(value, since, topics)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
