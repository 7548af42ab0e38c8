"""The feed page: posts of the viewer and friends, newest first, read from MySQL and filtered by the audience."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection
from functools import partial

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts as posts_by
from db import relations
from feed import posts, streams
from feed.objects import Position, Post
from feed.pages import NEWEST, decode
from feed.stores import Stores


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


async def feed(stores: Stores, viewer_id: int, *, cursor: str | None, limit: int) -> FeedPage:
    """A page of the feed."""
    before = decode("feed", cursor, NEWEST)
    at = await position(stores, viewer_id)
    async with stores.sql.read() as connection:
        authors = [viewer_id, *await relations.friends_of(connection, viewer_id)]
        newest = partial(newest_by, connection, viewer_id, authors)
        page = await posts.fill(stores, connection, viewer_id, newest, name="feed", before=before, limit=limit)
    return FeedPage(page.items, page.next, at)


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
        pieces = await posts_by.newest_of_each(connection, befores, viewer_id=viewer_id, limit=piece)
        found = heapq.nlargest(limit, [*found, *itertools.chain.from_iterable(pieces.values())])
        least = found[-1] if len(found) == limit else 0
        befores = {a: ids[-1] for a, ids in pieces.items() if len(ids) == piece and ids[-1] > least}
        piece = min(2 * piece, limit)
    return found
