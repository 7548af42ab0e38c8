"""What open connections may still hear: revocation, block, unfriending, narrowed posts, looked at while they are open.

An order from another edge is the quick way; what an order could have been lost for is asked for again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import structlog

from db import posts, relations
from db.errors import StoreUnavailable
from feed import views
from feed.accounts import Accounts, Session
from feed.background import Background
from feed.stores import Stores
from feed.streams import post as post_stream
from realtime.live.hub import Hub, Receiver, Subscription
from realtime.live.inbox import Inbox
from realtime.live.protocol import ErrorFrame

log = structlog.get_logger(__name__)

VERIFY_EVERY = 5.0  # seconds between two looks at all sign-ins: how long a lost sign-out order can matter
SWEEP_TICKS = 60  # of these ticks see every connection's rights looked at once: five minutes
RECHECKS_AT_ONCE = 4  # beside the requests, which need SQL connections too
RECHECK_PAUSE = 0.5  # seconds before a store that did not answer is asked again
VERIFIED_AT_ONCE = 1000  # sign-ins of one query


class Holder(Receiver, Protocol):
    """A connection as its rights see it. `rechecks` numbers the looks at them."""

    sign_in: Session | None
    subscriptions: dict[str, Subscription]
    watched: set[int]
    dirty: set[int]
    rechecks: int

    def say(self, message: Any) -> None:
        """Queues a message."""


class Rights:
    """The rights of this node's connections. `sign_out` closes one for good."""

    def __init__(
        self,
        stores: Stores,
        accounts: Accounts,
        hub: Hub,
        inbox: Inbox,
        background: Background,
        *,
        sign_out: Callable[[Holder], None],
    ) -> None:
        self._stores = stores
        self._accounts = accounts
        self._hub = hub
        self._background = background
        self._sign_out = sign_out
        self._room = asyncio.Semaphore(RECHECKS_AT_ONCE)
        self.generation = 0  # grows with every order: whoever read rights before compares it after
        inbox.on_signed_out = self._signed_out
        inbox.on_parted = self._parted
        inbox.on_narrowed = self._narrowed
        inbox.on_subscribed = self._subscribed

    async def separate(self, holder: Holder) -> None:
        """Loads the people of whom a connection must hear nothing. Raises StoreUnavailable."""
        holder.rechecks += 1
        number = holder.rechecks
        async with self._stores.sql.read() as sql:
            separated = await relations.separated_from(sql, holder.user_id)
        if self._is_newest(holder, number):
            self._hub.deny(holder, separated)

    async def recheck(self, holder: Holder) -> None:
        """Takes from a connection what its user may not see any more; tries until it has looked or the peer is gone."""
        while holder in self._hub.receivers:
            try:
                return await self._recheck(holder)
            except StoreUnavailable as error:
                log.warning("recheck_waits", cause=str(error))
                await asyncio.sleep(RECHECK_PAUSE)
        return None

    async def keep_verifying(self) -> None:
        """Asks of every open sign-in whether it has ended, and of some connections what they may see, for ever.

        An order may have been lost with the publish itself, without any subscription breaking.
        """
        position = 0
        while True:
            await asyncio.sleep(VERIFY_EVERY)
            await self._verify()
            holders = self._holders(self._hub.receivers)
            share = -(-len(holders) // SWEEP_TICKS)
            position = 0 if position >= len(holders) else position
            self._recheck_soon(holders[position : position + share])
            position += share

    async def _recheck(self, holder: Holder) -> None:
        await self.separate(holder)
        number = holder.rechecks
        followed = {int(label[5:]): label for label in holder.subscriptions if label.startswith("post:")}
        asked = followed.keys() | holder.watched
        if not asked:
            return
        async with self._stores.sql.read() as sql:
            rows = await posts.by_ids(sql, asked)
            seen = {row.id for row in await views.seen_posts(sql, holder.user_id, rows.values())}
        if self._is_newest(holder, number):
            self._take(holder, followed, asked - seen)

    def _is_newest(self, holder: Holder, number: int) -> bool:
        """What was read is applied only if nothing was asked later, and the connection is still there."""
        return holder.rechecks == number and holder in self._hub.receivers

    def _take(self, holder: Holder, followed: dict[int, str], lost: set[int]) -> None:
        for post_id in followed.keys() & lost:
            subscription = holder.subscriptions.pop(followed[post_id], None)
            if subscription is not None:
                self._hub.unsubscribe(subscription)
                holder.say(no_stream(followed[post_id]))
        if holder in self._hub.receivers:
            kept = holder.watched - lost
            self._hub.watch(holder, kept, holder.watched)
            holder.watched = kept
            holder.dirty &= kept

    async def _verify(self) -> None:
        holders = [h for h in self._holders(self._hub.receivers) if h.sign_in is not None]
        for start in range(0, len(holders), VERIFIED_AT_ONCE):
            part = [(h, h.sign_in.id) for h in holders[start : start + VERIFIED_AT_ONCE] if h.sign_in is not None]
            living = await self._accounts.still_signed_in({sign_in_id for _, sign_in_id in part})
            for holder, sign_in_id in part:
                if sign_in_id not in living:
                    self._sign_out(holder)

    def _signed_out(self, user_id: int, session_ids: set[int]) -> None:
        for holder in self._holders(self._hub.by_user.get(user_id, ())):
            if holder.sign_in is not None and holder.sign_in.id in session_ids:
                self._sign_out(holder)

    def _parted(self, user_ids: set[int]) -> None:
        """A friendship ended or a block came or went: what these people follow is asked for again."""
        self.generation += 1
        for user_id in user_ids:
            self._recheck_soon(self._holders(self._hub.by_user.get(user_id, ())))

    def _narrowed(self, post_id: int) -> None:
        """A post is for fewer people: whoever follows or watches it is asked for again."""
        self.generation += 1
        stream = self._hub.streams.get(post_stream(post_id))
        receivers = set(self._hub.watchers.get(post_id, ()))
        receivers |= {s.receiver for s in stream.subscriptions} if stream is not None else set()
        self._recheck_soon(self._holders(receivers))

    def _subscribed(self) -> None:
        """Orders may have been missed while the inbox was deaf: everybody is asked for again."""
        self.generation += 1
        self._background.spawn("verify", self._verify)
        self._recheck_soon(self._holders(self._hub.receivers))

    def _recheck_soon(self, holders: list[Holder]) -> None:
        if holders:
            self._background.spawn("recheck", self._recheck_all, holders)

    async def _recheck_all(self, holders: list[Holder]) -> None:
        async def one(holder: Holder) -> None:
            async with self._room:
                await self.recheck(holder)

        await asyncio.gather(*map(one, holders))

    def _holders(self, receivers: Iterable[Receiver]) -> list[Holder]:
        """The hub knows connections by less than they are."""
        return cast("list[Holder]", list(receivers))


def no_stream(label: str, request_id: str | int | None = None) -> ErrorFrame:
    """The answer for a stream that is not there, not for this viewer, or not any more."""
    return ErrorFrame("forbidden_or_missing", f"There is no stream {label}, or you may not follow it.", request_id)
