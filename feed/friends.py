"""Friendship and blocks, as seen by one of the two.

    none ──ask──> requested ──accept (the asked asks back)──> friends
    requested, friends ──remove, or a block──> none

The pair's row is the lock: asked, accepted, removed and blocked from both sides at once end in one legal state. Every
change raises both relation versions and leaves its events in the outbox, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, relations
from db.errors import MissingParent
from feed import streams, views
from feed.audience import Audience
from feed.errors import Conflict, Fault, Invalid, NotFound
from feed.objects import Timestamp, User, timestamp
from feed.pages import Page, decode, encode
from feed.revocations import Revocation
from feed.stores import Stores

T = TypeVar("T")
MOST_FRIENDS = 5000


class Friendship(msgspec.Struct, frozen=True):
    """The state after asking: `requested` until the other one accepts."""

    state: Literal["requested", "friends"]


class FriendRequest(msgspec.Struct, frozen=True):
    """An open request; `in` = the viewer was asked."""

    user: User
    direction: Literal["in", "out"]
    at: Timestamp


async def ask(stores: Stores, user_id: int, other_id: int) -> Friendship:
    """Asks, or accepts when asked; idempotent. Raises NotFound, Invalid (oneself), Conflict (5,000 friends)."""
    _not_oneself(user_id, other_id)

    async def work(connection: AsyncConnection) -> tuple[Friendship, list[Revocation]]:
        pair = await _lock_visible(stores, connection, user_id, other_id)
        if pair.state == "friends" or (pair.state == "requested" and pair.asked_by == user_id):
            return Friendship(pair.state), []
        now = stores.clock()
        if pair.state == "none":
            await relations.set_pair(connection, user_id, other_id, state="requested", asked_by=user_id, now=now)
            await relations.lock_meta(connection, user_id, other_id)
            await relations.change_meta(connection, (user_id, other_id), friends=0)
            await _promise(stores, connection, user_id, other_id, [_tell("friend.requested", user_id, other_id)])
            return Friendship("requested"), []
        metas = await relations.lock_meta(connection, user_id, other_id)
        for person_id, meta in metas.items():
            if meta.friends >= MOST_FRIENDS:
                whose = "You have" if person_id == user_id else "This person has"
                raise Conflict(f"{whose} {MOST_FRIENDS} friends, which is the most there can be.", code="friend_limit")
        await relations.set_pair(connection, user_id, other_id, state="friends", asked_by=None, now=now)
        await relations.change_meta(connection, (user_id, other_id), friends=+1)
        await _promise(stores, connection, user_id, other_id, _both("friend.accepted", user_id, other_id))
        return Friendship("friends"), [await stores.revoke(connection, "friends", user_id, other_id)]

    friendship, news = await _commit(stores, work)
    stores.tell_edges(*news)
    return friendship


async def remove(stores: Stores, user_id: int, other_id: int) -> None:
    """Unfriends, withdraws or declines; nothing between them is fine. Raises NotFound for nobody."""
    _not_oneself(user_id, other_id)

    async def work(connection: AsyncConnection) -> list[Revocation]:
        pair = await _lock_visible(stores, connection, user_id, other_id)
        if pair.state == "none":
            return []
        await _separate(stores, connection, user_id, other_id, pair)
        await _promise(stores, connection, user_id, other_id, _both("friend.removed", user_id, other_id))
        return [await stores.revoke(connection, "parted", user_id, other_id)]

    stores.tell_edges(*await _commit(stores, work))


async def block(stores: Stores, user_id: int, other_id: int) -> None:
    """Blocks: the friendship ends and neither sees the other from the next read on; idempotent."""
    _not_oneself(user_id, other_id)

    async def work(connection: AsyncConnection) -> list[Revocation]:
        pair = await relations.lock_pair(connection, user_id, other_id, stores.clock())
        if await relations.has_block(connection, user_id, other_id):
            return []
        if not (await Audience.load(connection, user_id, [other_id])).sees_person(other_id):
            raise NotFound("person")  # one who blocks the user answers like nobody
        await relations.add_block(connection, user_id, other_id, stores.clock())
        await _separate(stores, connection, user_id, other_id, pair)
        await _promise(stores, connection, user_id, other_id, _both("author.hidden", user_id, other_id))
        return [await stores.revoke(connection, "parted", user_id, other_id)]

    stores.tell_edges(*await _commit(stores, work))


async def unblock(stores: Stores, user_id: int, other_id: int) -> None:
    """Takes one's own block back; no block on somebody visible is fine. Raises NotFound."""
    _not_oneself(user_id, other_id)

    async def work(connection: AsyncConnection) -> list[Revocation]:
        if not await relations.has_block(connection, user_id, other_id):
            if not (await Audience.load(connection, user_id, [other_id])).sees_person(other_id):
                raise NotFound("person")
            return []
        await relations.lock_pair(connection, user_id, other_id, stores.clock())
        if not await relations.has_block(connection, user_id, other_id):
            return []  # taken back at the same moment by another request
        await relations.remove_block(connection, user_id, other_id)
        await relations.lock_meta(connection, user_id, other_id)
        await relations.change_meta(connection, (user_id, other_id), friends=0)
        return [await stores.revoke(connection, "parted", user_id, other_id)]

    stores.tell_edges(*await _commit(stores, work))


async def friends(stores: Stores, user_id: int, *, cursor: str | None, limit: int) -> Page[User]:
    """Friends with `online`: a device of theirs is connected."""
    after = decode("friends", cursor, 0)
    async with stores.sql.read() as connection:
        ids = await relations.friends_of(connection, user_id, after=after, limit=limit + 1)
        audience = await Audience.load(connection, user_id, ids)
    shown = [other for other in ids[:limit] if audience.sees_person(other)]
    live = await stores.streams.listening([streams.me(other) for other in shown])
    items = [views.person(audience, other, online=streams.me(other) in live) for other in shown]
    return Page(items, encode("friends", ids[limit - 1]) if len(ids) > limit else None)


async def requests(stores: Stores, user_id: int, *, cursor: str | None, limit: int) -> Page[FriendRequest]:
    """Open requests in both directions."""
    after = decode("requests", cursor, 0)
    async with stores.sql.read() as connection:
        rows = await relations.requests_of(connection, user_id, after=after, limit=limit + 1)
        audience = await Audience.load(connection, user_id, [row.other for row in rows])
    items = [
        FriendRequest(
            views.person(audience, row.other), "out" if row.asked_by == user_id else "in", timestamp(row.changed_at)
        )
        for row in rows[:limit]
        if audience.sees_person(row.other)
    ]
    return Page(items, encode("requests", rows[limit - 1].other) if len(rows) > limit else None)


async def blocked(stores: Stores, user_id: int, *, cursor: str | None, limit: int) -> Page[User]:
    """Those whom the user blocks."""
    after = decode("blocks", cursor, 0)
    async with stores.sql.read() as connection:
        ids = await relations.blocked_by(connection, user_id, after=after, limit=limit + 1)
        audience = await Audience.load(connection, user_id, ids)
        hiding = await relations.blocking(connection, user_id, ids)
    items = [
        views.hidden(other) if other in hiding else views.person(audience, other)
        for other in ids[:limit]
        if other in audience.people
    ]
    return Page(items, encode("blocks", ids[limit - 1]) if len(ids) > limit else None)


def _not_oneself(user_id: int, other_id: int) -> None:
    if user_id == other_id:
        detail = "This is you. Friendship and blocks need another person."
        raise Invalid([Fault("/user_id", detail)], detail)


async def _commit(stores: Stores, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    try:
        return await stores.commit(work)
    except MissingParent as error:
        raise NotFound("person") from error


async def _lock_visible(stores: Stores, connection: AsyncConnection, user_id: int, other_id: int) -> Any:
    """The locked pair, once it is sure that the user may know of the other one."""
    if not (await Audience.load(connection, user_id, [other_id])).sees_person(other_id):
        raise NotFound("person")
    pair = await relations.lock_pair(connection, user_id, other_id, stores.clock())
    # Read again under the lock: a block that was committed meanwhile wins.
    if not (await Audience.load(connection, user_id, [other_id])).sees_person(other_id):
        raise NotFound("person")
    return pair


async def _separate(stores: Stores, connection: AsyncConnection, user_id: int, other_id: int, pair: Any) -> None:
    """Ends whatever is between the two of a locked pair."""
    if pair.state != "none":
        now = stores.clock()
        await relations.set_pair(connection, user_id, other_id, state="none", asked_by=None, now=now)
    await relations.lock_meta(connection, user_id, other_id)
    await relations.change_meta(connection, (user_id, other_id), friends=-1 if pair.state == "friends" else 0)


def _tell(kind: str, about: int, to: int) -> tuple[str, dict[str, Any]]:
    return ("tell_relation", {"kind": kind, "about": about, "to": to})


def _both(kind: str, a: int, b: int) -> list[tuple[str, dict[str, Any]]]:
    return [_tell(kind, a, b), _tell(kind, b, a)]


async def _promise(
    stores: Stores, connection: AsyncConnection, a: int, b: int, jobs: list[tuple[str, dict[str, Any]]]
) -> None:
    low, high = relations.ordered(a, b)
    await outbox.add(connection, f"pair:{low}:{high}", jobs, stores.clock())
