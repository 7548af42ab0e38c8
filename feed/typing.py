"""Somebody is writing a comment: told to those who follow the post, never logged, best effort."""

from __future__ import annotations

import structlog

from db.errors import StoreUnavailable
from feed.posts import visible
from feed.stores import Stores
from feed.streams import post

log = structlog.get_logger(__name__)


async def announce(stores: Stores, user_id: int, post_id: int) -> None:
    """Tells that a user writes on a post. Raises NotFound unless the user may see it."""
    async with stores.sql.read() as connection:
        await visible(connection, user_id, post_id)
    await tell(stores, user_id, post_id)


async def tell(stores: Stores, user_id: int, post_id: int) -> None:
    """The same for somebody who is known to see the post."""
    try:
        await stores.streams.whisper([post(post_id)], "n:", f"typing\n{post_id} {user_id}".encode())
    except StoreUnavailable as error:
        log.debug("typing_lost", cause=str(error))
