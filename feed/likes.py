"""Likes: one edge per person and post. The edge is written first; the count follows only when it changed."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts
from feed import views
from feed.audience import Audience
from feed.objects import User
from feed.pages import NEWEST, Page, decode, encode
from feed.posts import aggregate, visible
from feed.stores import Stores


class Liked(msgspec.Struct, frozen=True):
    """The caller's own act included in the number, also while the stored count still lags behind."""

    likes: int
    liked: bool


async def set_like(stores: Stores, user_id: int, post_id: int, *, active: bool) -> Liked:
    """Likes or takes the like back; idempotent. Raises NotFound (post absent or not visible)."""

    async def work(connection: AsyncConnection) -> Liked:
        await visible(connection, user_id, post_id)
        now = stores.clock()
        changed = await posts.set_like(connection, post_id, user_id, active=active, now=now)
        if changed:
            change = {"post_id": post_id, "likes": 1 if active else -1}
            await outbox.add(connection, aggregate(post_id), [("refresh_counts", change)], now)
        # Exact for the caller, whatever the counter still has to catch up with.
        return Liked(await posts.settled_likes(connection, post_id), active)

    return await stores.commit(work)


async def likers(stores: Stores, viewer_id: int, post_id: int, *, cursor: str | None, limit: int) -> Page[User]:
    """Who likes a post, newest first, without those hidden from the viewer. Raises NotFound."""
    before = decode("likes", cursor, NEWEST)
    async with stores.sql.read() as connection:
        await visible(connection, viewer_id, post_id)
        rows = await posts.likers(connection, post_id, before=before, limit=limit + 1)
        audience = await Audience.load(connection, viewer_id, [row.user_id for row in rows])
    items = [views.person(audience, row.user_id) for row in rows[:limit] if audience.sees_person(row.user_id)]
    return Page(items, encode("likes", rows[limit - 1].id) if len(rows) > limit else None)
