"""The feed page: posts of the viewer and friends, newest first, read from MySQL and filtered by the audience."""

from __future__ import annotations

import msgspec

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
        page = await posts.fill(connection, viewer_id, authors, name="feed", before=before, limit=limit)
    return FeedPage(page.items, page.next, at)
