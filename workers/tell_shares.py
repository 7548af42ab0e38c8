"""Makes those who hold shares of a post read them again: it was edited, narrowed, widened, deleted or erased.

They need not be among those who hold the post itself: a friend of whoever shared it may know no more of its author.
Each share gets a new version and goes out like an edit of its own; what its viewers may see of the post is decided
when they read.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts
from feed.posts import aggregate, fan_out
from feed.stores import Stores
from workers.jobs import Task

# Shares of one post that are told: each goes out to up to 5,000 friends. Older ones show the change when they are read.
NEWEST = 100


async def run(stores: Stores, task: Task) -> None:
    """Raises the versions of the newest shares and promises their fan-outs; a second run only tells it again."""

    async def work(connection: AsyncConnection) -> None:
        waiting = await outbox.of_aggregate(connection, task.aggregate)
        if any(row.job == "tell_shares" and row.id > task.id for row in waiting):
            return  # edited again meanwhile: that one tells it all
        for share in await posts.lock_shares_of(connection, task.payload["post_id"], limit=NEWEST):
            await posts.change(connection, share.id)
            await outbox.add(connection, aggregate(share.id), [fan_out(share, "post.edited")], task.created_at)

    await stores.commit(work)
