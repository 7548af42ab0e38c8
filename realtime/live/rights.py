"""What open connections may still hear: revocation, block, unfriending, narrowed posts, looked at while they are open.

An order from another edge is the quick way; what an order could have been lost for is asked for again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from db import posts, relations
from feed import views
from feed.accounts import Accounts, Session
from feed.background import Background
from feed.stores import Stores
from feed.streams import post as post_stream
from realtime.live.hub import Hub, Receiver, Subscription
from realtime.live.inbox import Inbox
from realtime.live.protocol import ErrorFrame

VERIFY_EVERY = 5.0  # seconds between two looks at all sign-ins: how long a lost sign-out order can matter
VERIFIED_AT_ONCE = 1000  # sign-ins of one query


class Holder(Receiver, Protocol):
    """A connection as its rights see it. `rechecks` counts how often they were looked at anew."""

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
        inbox.on_signed_out = self._signed_out
        inbox.on_parted = self._parted
        inbox.on_narrowed = self._narrowed
        inbox.on_subscribed = self._verify_soon

    async def separate(self, holder: Holder) -> None:
        """Loads the people of whom a connection must hear nothing. Raises StoreUnavailable."""
        async with self._stores.sql.read() as sql:
            separated = await relations.separated_from(sql, holder.user_id)
        if holder in self._hub.receivers:  # it may have gone meanwhile
            self._hub.deny(holder, separated)

    async def recheck(self, holders: Iterable[Holder]) -> None:
        """Takes from each connection what its user may not see any more. Raises StoreUnavailable."""
        for holder in holders:
            holder.rechecks += 1
            await self.separate(holder)
            followed = {int(label[5:]): label for label in holder.subscriptions if label.startswith("post:")}
            asked = followed.keys() | holder.watched
            async with self._stores.sql.read() as sql:
                rows = await posts.by_ids(sql, asked)
                seen = {row.id for row in await views.seen_posts(sql, holder.user_id, rows.values())}
            self._take(holder, followed, asked - seen)

    async def keep_verifying(self) -> None:
        """Asks of every open sign-in whether it has ended, for ever: an order may have been lost."""
        while True:
            await asyncio.sleep(VERIFY_EVERY)
            await self._verify()

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

    def _verify_soon(self) -> None:
        self._background.spawn("verify", self._verify)

    def _signed_out(self, user_id: int, session_ids: set[int]) -> None:
        for holder in self._holders(self._hub.by_user.get(user_id, ())):
            if holder.sign_in is not None and holder.sign_in.id in session_ids:
                self._sign_out(holder)

    def _parted(self, user_ids: set[int]) -> None:
        """A friendship ended or a block came or went: what these people follow is asked for again."""
        for user_id in user_ids:
            self._recheck_soon(self._holders(self._hub.by_user.get(user_id, ())))

    def _narrowed(self, post_id: int) -> None:
        """A post is for fewer people: whoever follows or watches it is asked for again."""
        stream = self._hub.streams.get(post_stream(post_id))
        receivers = set(self._hub.watchers.get(post_id, ()))
        receivers |= {s.receiver for s in stream.subscriptions} if stream is not None else set()
        self._recheck_soon(self._holders(receivers))

    def _recheck_soon(self, holders: list[Holder]) -> None:
        if holders:
            self._background.spawn("recheck", self.recheck, holders)

    def _holders(self, receivers: Iterable[Receiver]) -> list[Holder]:
        """The hub knows connections by less than they are."""
        return cast("list[Holder]", list(receivers))


def no_stream(label: str, request_id: str | int | None = None) -> ErrorFrame:
    """The answer for a stream that is not there, not for this viewer, or not any more."""
    return ErrorFrame("forbidden_or_missing", f"There is no stream {label}, or you may not follow it.", request_id)
