"""Friends, requests and blocks."""

from __future__ import annotations

from feed import feed_page, friends
from feed.friends import FriendRequest, Friendship
from feed.objects import User
from feed.pages import Page
from realtime.edge import Call


async def put_position(call: Call) -> None:
    """Sets Live-Position: where the stream `me` stood before what follows was read."""
    at = await feed_page.position(call.stores, call.viewer)
    call.headers["Live-Position"] = f"{at.stream}={at.epoch}:{at.offset}"


async def ask(call: Call) -> Friendship:
    """Asks, or accepts."""
    return await friends.ask(call.stores, call.viewer, call.id())


async def remove(call: Call) -> None:
    """Unfriends, withdraws, declines."""
    await friends.remove(call.stores, call.viewer, call.id())


async def list_friends(call: Call, limit: int) -> Page[User]:
    """The caller's friends."""
    await put_position(call)
    return await friends.friends(call.stores, call.viewer, cursor=call.query("cursor"), limit=limit)


async def list_requests(call: Call, limit: int) -> Page[FriendRequest]:
    """Open requests."""
    return await friends.requests(call.stores, call.viewer, cursor=call.query("cursor"), limit=limit)


async def block(call: Call) -> None:
    """Blocks a person."""
    await friends.block(call.stores, call.viewer, call.id())


async def unblock(call: Call) -> None:
    """Takes a block back."""
    await friends.unblock(call.stores, call.viewer, call.id())


async def list_blocks(call: Call, limit: int) -> Page[User]:
    """Those whom the caller blocks."""
    return await friends.blocked(call.stores, call.viewer, cursor=call.query("cursor"), limit=limit)
