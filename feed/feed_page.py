"""The feed page: posts of the viewer and friends, newest first or by rank.

Ids come from the viewer's timeline, above its floor; below it, and while somebody else builds it, from the database. A
cold timeline is built before the answer, so an answer is never empty for want of a cache. What the viewer may see is
read for each answer.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Collection

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts, relations
from feed import metrics, streams, views
from feed.audience import friends_of
from feed.objects import Position, Post
from feed.pages import NEWEST, REFILLS, decode, encode
from feed.stores import Stores
from feed.streams import TIMELINE_KEEPS
from feed.timelines import Slice

log = structlog.get_logger(__name__)

BUILDER_WAIT = 0.02  # seconds between looks whether somebody else has built a timeline
BUILDER_PATIENCE = 1.0  # seconds after which the database is asked instead


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
    for _ in range(REFILLS):
        wanted = limit - len(found)
        ids, more = await newest(stores, viewer_id, before=before, limit=wanted)
        async with stores.sql.read() as connection:
            found.extend(await views.visible_posts(connection, viewer_id, ids, cache=stores.post_cache))
        if not more:
            return FeedPage(found, None, at)
        before = ids[-1]
        if len(found) >= limit:
            break
    return FeedPage(found, encode("feed", before), at)


async def newest(stores: Stores, viewer_id: int, *, before: int, limit: int) -> tuple[list[int], bool]:
    """(ids of the newest `limit` posts of a feed below `before`, whether there may be more), rights not asked."""
    found = await _slice(stores, viewer_id, before=before, limit=limit + 1)
    ids = found.ids
    if len(ids) <= limit and found.floor:
        below = min(before, found.floor)
        async with stores.sql.read() as connection:
            _, friends = await friends_of(stores, connection, viewer_id)
            ids = ids + await newest_by(
                connection, viewer_id, [viewer_id, *friends], before=below, limit=limit + 1 - len(ids)
            )
    return ids[:limit], len(ids) > limit


async def _slice(stores: Stores, viewer_id: int, *, before: int, limit: int) -> Slice:
    """From the timeline, or where it is cold from the database, building it. A floor of `before` promises nothing."""
    async with stores.sql.read() as connection:
        version = await relations.version(connection, viewer_id)
    found = await stores.timelines.page(viewer_id, before=before, limit=limit)
    if found is not None and found.relations == version:
        metrics.FEED_READS.labels("warm").inc()
        return found
    token = await stores.timelines.build(viewer_id)
    if token is not None:
        metrics.FEED_READS.labels("built").inc()
        return await _build(stores, viewer_id, token, before=before, limit=limit)
    metrics.FEED_READS.labels("waited").inc()
    until = asyncio.get_running_loop().time() + BUILDER_PATIENCE
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(BUILDER_WAIT)
        found = await stores.timelines.page(viewer_id, before=before, limit=limit)
        if found is not None and found.relations >= version:
            return found
    return Slice([], version, before)


async def _build(stores: Stores, viewer_id: int, token: str, *, before: int, limit: int) -> Slice:
    """Builds the timeline and answers from what was read for it."""
    async with stores.sql.read() as connection:
        version, friends = await friends_of(stores, connection, viewer_id)
        ids = await newest_by(connection, viewer_id, [viewer_id, *friends], before=NEWEST, limit=TIMELINE_KEEPS)
    if not await stores.timelines.built(viewer_id, token, ids, relations=version):
        log.info("timeline_lost", user=viewer_id)  # the store was emptied meanwhile; the next reader builds it
    floor = ids[-1] if len(ids) >= TIMELINE_KEEPS else 0
    return Slice([post_id for post_id in ids if post_id < before][:limit], version, floor)


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
