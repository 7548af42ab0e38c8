"""The feed page: posts of the viewer and friends, newest first or by rank.

Ids come from the viewer's timeline, above its floor, and from the posts that are not fanned out yet; below the floor,
and while somebody else builds the timeline, from the database. A cold timeline is built before the answer, so an answer
is never empty for want of a cache. What the viewer may see is read for each answer.
"""

from __future__ import annotations

import heapq
import itertools
import secrets
import zlib
from collections.abc import Collection
from typing import Any

import msgspec
import orjson
import structlog
from msgspec import structs
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts, relations
from feed import metrics, ranking, streams, views
from feed.audience import Audience, friends_of
from feed.errors import Fault, Invalid
from feed.objects import Position, Post
from feed.pages import NEWEST, REFILLS, decode, encode, list_of
from feed.stores import Stores
from feed.streams import TIMELINE_KEEPS
from feed.timelines import Slice

log = structlog.get_logger(__name__)

CANDIDATES = 300  # posts that are ranked: more than anybody scrolls through in one sitting
RANKINGS = 16  # of one viewer that are kept at a time, over all devices
TOP = "top-"  # how the cursors of rankings are told apart
FROZEN = 600.0  # seconds that a ranking stays as it was when its first page was asked for
FAN_OUT = "fan_out_post"
UNFINISHED = 1000  # posts on their way that a page looks at; behind more than that it is read from the database


class FeedPage(msgspec.Struct, frozen=True):
    """A page of the feed and the position of the stream `me` before it was read."""

    items: list[Post]
    next: str | None
    position: Position


async def position(stores: Stores, user_id: int) -> Position:
    """Where the user's stream stands, creating it when absent and keeping it for the resume window.

    Taken before a read, so that read and stream overlap rather than leave a hole.
    """
    top = await stores.streams.join(streams.me(user_id))
    return Position("me", top.epoch, top.offset)


async def recent(stores: Stores, viewer_id: int, *, cursor: str | None, limit: int) -> FeedPage:
    """A page of the feed, newest first. Raises Invalid (cursor)."""
    before = decode("feed", cursor, NEWEST)
    at = await position(stores, viewer_id)
    found: list[Post] = []
    async with stores.sql.read() as connection:
        for _ in range(REFILLS):
            wanted = limit - len(found)
            ids, more = await newest(stores, connection, viewer_id, before=before, limit=wanted)
            found.extend(await views.visible_posts(connection, viewer_id, ids, cache=stores.post_cache))
            if not more:
                return FeedPage(found, None, at)
            before = ids[-1]
            if len(found) >= limit:
                break
    return FeedPage(found, encode("feed", before), at)


async def top(stores: Stores, viewer_id: int, *, cursor: str | None, limit: int) -> FeedPage:
    """A page of the newest CANDIDATES by rank (`feed.ranking`), frozen for FROZEN seconds from its first page on.

    Raises Invalid (cursor; also of a ranking that has ended).
    """
    name = list_of(cursor) if cursor is not None else f"{TOP}{secrets.token_hex(8)}"
    start = decode(name if name.startswith(TOP) else TOP, cursor, 0)
    at = await position(stores, viewer_id)
    ids = await (_rank if cursor is None else _frozen)(stores, viewer_id, name)
    found: list[Post] = []
    while start < len(ids) and len(found) < limit:
        some = ids[start : start + limit - len(found)]
        async with stores.sql.read() as connection:
            found.extend(await views.visible_posts(connection, viewer_id, some, cache=stores.post_cache))
        start += len(some)
    return FeedPage(found, encode(name, start) if start < len(ids) else None, at)


async def _rank(stores: Stores, viewer_id: int, name: str) -> list[int]:
    """Ranks, and keeps the order under a name for the pages that follow."""
    async with stores.sql.read() as connection:
        ids, _ = await newest(stores, connection, viewer_id, before=NEWEST, limit=CANDIDATES)
        order = await ranking.ranked(connection, viewer_id, ids, stores.clock())
    await stores.redis.set_many([(_slot(stores, viewer_id, name), orjson.dumps([name, order]))], seconds=FROZEN)
    return order


async def _frozen(stores: Stores, viewer_id: int, name: str) -> list[int]:
    kept = (await stores.redis.get_many([_slot(stores, viewer_id, name)]))[0]
    of, order = orjson.loads(kept) if kept is not None else ("", [])
    if of != name:
        detail = "This ranking has ended. Load the first page again."
        raise Invalid([Fault("/cursor", detail)], detail)
    ids: list[int] = order
    return ids


def _slot(stores: Stores, viewer_id: int, name: str) -> str:
    """Where a ranking is kept: one of a few places of each viewer, so that asking again and again fills nothing."""
    return stores.redis.keys.ranking(viewer_id, str(zlib.crc32(name.encode()) % RANKINGS))


async def newest(
    stores: Stores, connection: AsyncConnection, viewer_id: int, *, before: int, limit: int
) -> tuple[list[int], bool]:
    """(ids of the newest `limit` posts of a feed below `before`, whether there may be more), rights not asked."""
    found = await _slice(stores, connection, viewer_id, before=before, limit=limit + 1)
    ids = found.ids
    if len(ids) <= limit and found.floor:
        _, friends = await friends_of(stores, connection, viewer_id)
        authors, below, wanted = [viewer_id, *friends], min(before, found.floor), limit + 1 - len(ids)
        ids = ids + await newest_by(connection, viewer_id, authors, before=below, limit=wanted)
    return ids[:limit], len(ids) > limit


async def _slice(stores: Stores, connection: AsyncConnection, viewer_id: int, *, before: int, limit: int) -> Slice:
    """From the timeline and what is not fanned out yet; where it is cold from the database, building it.

    A floor of `before` leaves it all to the database: while another request builds the timeline, for one.
    """
    version = await relations.version(connection, viewer_id)
    # Before the timeline is read: what is done by now is in there.
    tasks = await outbox.unfinished(connection, FAN_OUT, "post.created", limit=UNFINISHED + 1)
    found = await stores.timelines.page(viewer_id, before=before, limit=limit)
    if len(tasks) > UNFINISHED:
        metrics.FEED_READS.labels("behind").inc()
        return Slice([], version, before)
    if found is not None and found.relations == version:
        metrics.FEED_READS.labels("warm").inc()
        return await _with_unfinished(connection, viewer_id, found, tasks, before=before, limit=limit)
    token = await stores.timelines.build(viewer_id, relations=version)
    if token is None:
        metrics.FEED_READS.labels("beside").inc()
        return Slice([], version, before)
    metrics.FEED_READS.labels("built").inc()
    return await _build(stores, connection, viewer_id, token, before=before, limit=limit)


async def _with_unfinished(
    connection: AsyncConnection,
    viewer_id: int,
    found: Slice,
    tasks: list[dict[str, Any]],
    *,
    before: int,
    limit: int,
) -> Slice:
    """A slice with the posts that its owner is about to get: a feed lacks nothing that is committed, however far the
    workers are behind."""
    created = {task["post_id"]: task["author_id"] for task in tasks}
    missing = {post_id for post_id in created if max(1, found.floor) <= post_id < before} - set(found.ids)
    if not missing:
        return found
    pairs = await relations.between(connection, viewer_id, {created[post_id] for post_id in missing})
    mine = {viewer_id, *(author for author, pair in pairs.items() if pair.state == "friends")}
    due = [post_id for post_id in missing if created[post_id] in mine]
    return structs.replace(found, ids=sorted([*found.ids, *due], reverse=True)[:limit])


async def _build(
    stores: Stores, connection: AsyncConnection, viewer_id: int, token: str, *, before: int, limit: int
) -> Slice:
    """Builds the timeline and answers from what was read for it."""
    version, friends = await friends_of(stores, connection, viewer_id)
    ids = await newest_by(connection, viewer_id, [viewer_id, *friends], before=NEWEST, limit=TIMELINE_KEEPS)
    if not await stores.timelines.built(viewer_id, token, ids, relations=version):
        log.info("timeline_lost", user=viewer_id)  # the store was emptied meanwhile; the next reader builds it
    floor = ids[-1] if len(ids) >= TIMELINE_KEEPS else 0
    return Slice([post_id for post_id in ids if post_id < before][:limit], version, floor)


async def lacking(stores: Stores, user_id: int) -> list[int]:
    """Ids that a user's timeline lacks though it says that it is complete: none, or a fault. A cold one lacks nothing.

    The database is read first, then what is not fanned out yet, then the timeline: so a delay is no fault.
    """
    async with stores.sql.read() as connection:
        before, friends = await friends_of(stores, connection, user_id)
        truth = await newest_by(connection, user_id, [user_id, *friends], before=NEWEST, limit=TIMELINE_KEEPS)
        tasks = await outbox.unfinished(connection, FAN_OUT, "post.created", limit=UNFINISHED + 1)
        version = await relations.version(connection, user_id)
    found = await stores.timelines.look(user_id, before=NEWEST, limit=2 * TIMELINE_KEEPS)
    if not isinstance(found, Slice) or not before == version == found.relations or len(tasks) > UNFINISHED:
        return []
    there = {*found.ids, *(task["post_id"] for task in tasks)}
    lacks = [post_id for post_id in truth if post_id >= found.floor and post_id not in there]
    if lacks:  # what was deleted or hidden meanwhile is no fault either
        async with stores.sql.read() as connection:
            rows = await posts.as_seen_by(connection, user_id, lacks)
            audience = Audience.of_authors(user_id, rows.values())
        lacks = [post_id for post_id in lacks if post_id in rows and audience.sees_post(rows[post_id])]
    return lacks


async def newest_by(
    connection: AsyncConnection, viewer_id: int, authors: Collection[int], *, before: int, limit: int
) -> list[int]:
    """Ids of the newest `limit` posts of these authors that a feed of the viewer holds, descending, below `before`.

    A merge of lists that are read piece by piece: whoever's piece was full and ends above what is wanted is asked for
    twice as much, so the work follows what is asked for, not what the authors have ever written.
    """
    found: list[int] = []
    befores = dict.fromkeys(authors, before)
    piece = max(2, 2 * limit // max(1, len(befores)))
    while befores:
        pieces = await posts.newest_of_each(connection, befores, viewer_id=viewer_id, limit=piece)
        found = heapq.nlargest(limit, [*found, *itertools.chain.from_iterable(pieces.values())])
        least = found[-1] if len(found) == limit else 0
        befores = {a: ids[-1] for a, ids in pieces.items() if len(ids) == piece and ids[-1] > least}
        piece = min(2 * piece, limit)
    return found
