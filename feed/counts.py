"""The counters of posts: what those who watch them are told."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from db import posts
from feed import streams
from feed.stores import Stores


async def tell(stores: Stores, post_ids: Collection[int]) -> None:
    """Tells the nodes where somebody watches these posts their latest numbers. Raises StoreUnavailable."""
    async with stores.sql.read() as connection:
        rows = await posts.counts(connection, post_ids)
    latest = {
        str(row.post_id): {
            "version": row.version,
            "likes": row.likes,
            "comments": row.comments,
            "shares": row.shares,
        }
        for row in rows.values()
    }
    if latest:
        message = b"counts\n" + msgspec.json.encode(latest)
        await stores.streams.whisper([streams.post(post_id) for post_id in rows], "w:", message)
