"""Tells those who hold shares of a post that it was edited, narrowed, deleted or erased.

They need not be among those who hold the post itself: a friend of whoever shared it may know no more of its author.
A share gets a new version, so that clients read it again, and with it what they may still see of what it shares.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts
from feed.posts import aggregate, fan_out
from workers.jobs import Task

# Shares of one post that are told. Each goes out like an edit of its own, to up to 5,000 friends; older shares, which
# nobody has on the first screens, show the change at their next read.
NEWEST = 200


async def write(connection: AsyncConnection, tasks: Sequence[Task]) -> None:
    """Raises the versions of the newest shares of each post and promises the fan-outs; many edits are told once."""
    changed = {task.payload["post_id"]: task.created_at for task in tasks}
    for post_id in sorted(changed):
        for share in await posts.lock_shares_of(connection, post_id, limit=NEWEST):
            await posts.change(connection, share.id)
            await outbox.add(connection, aggregate(share.id), [fan_out(share, "post.edited")], changed[post_id])
