"""What open connections may still hear: what revocations do to them, whichever way they are learned.

a sign-in or an account ended   the sockets close
two people were parted          items of the other become a resync at once (`hub`), those not sent yet are taken
                                back, then the database is asked what stands between them now
a post was narrowed, deleted    whoever follows or watches it is asked for again
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Set
from typing import Any, Protocol, cast

import structlog

from db.errors import StoreUnavailable
from feed.accounts import Session
from feed.background import Background
from feed.grants import Grants
from feed.revocations import Revocation
from feed.streams import Item
from feed.streams import post as post_stream
from realtime.live.hub import Hub, Receiver, Subscription
from realtime.live.protocol import BAD_TOKEN, DISABLED, Code, ErrorFrame

log = structlog.get_logger(__name__)

RECHECKS_AT_ONCE = 4  # beside the requests, which need SQL connections too
HIDDEN_KNOWN = 60.0  # seconds that a post counts as just hidden: a store that is away delays the looking
FADE = 5.0  # seconds that a lost subscription waits for the item that says why
RECHECK_PAUSE = 0.5  # seconds before a store that did not answer is asked again


class Holder(Receiver, Protocol):
    """A connection as its rights see it. `rechecks` numbers the looks at them."""

    sign_in: Session | None
    subscriptions: dict[str, Subscription]
    watched: Set[int]
    rechecks: int

    def say(self, message: Any) -> None:
        """Queues a message."""

    def forget_unsent(self, concerns: Callable[[Item], bool], *, cut: bool = False) -> None:
        """Takes back what a slow reader has not been sent."""

    def forget_person(self, user_id: int) -> None:
        """Takes back the presence of a person."""

    def end_soon(self, code: Code) -> None:
        """Closes the connection."""


class Rights:
    """The rights of this node's connections."""

    def __init__(self, grants: Grants, hub: Hub, background: Background) -> None:
        self._grants = grants
        self._hub = hub
        self._background = background
        hub.wants_end = self._end_subscription
        self._room = asyncio.Semaphore(RECHECKS_AT_ONCE)
        self._hidden: dict[int, float] = {}  # posts that were narrowed or deleted lately
        self.generation = 0  # grows with every revocation: whoever read rights before compares it after
        self.on_relations: Callable[[Set[int]], None] = lambda _users: None

    async def separate(self, holder: Holder) -> None:
        """Loads the people of whom a connection must hear nothing. Raises StoreUnavailable."""
        holder.rechecks += 1
        number = holder.rechecks
        separated = await self._grants.separated(holder.user_id)
        if self._is_newest(holder, number):
            self._hub.deny(holder, separated)

    async def recheck(self, holder: Holder) -> None:
        """Takes from a connection what its user may not see any more; tries until it has looked or the peer is gone."""
        while holder in self._hub.receivers:
            try:
                await self.separate(holder)  # asked for many at once: nobody queues for it
                async with self._room:
                    return await self._recheck_posts(holder)
            except StoreUnavailable as error:
                log.warning("recheck_waits", cause=str(error))
                await asyncio.sleep(RECHECK_PAUSE)
        return None

    def learned(self, news: list[Revocation]) -> None:
        """Does to open connections what these revocations ask for."""
        self.generation += 1
        now = time.monotonic()
        self._hidden = {post_id: at for post_id, at in self._hidden.items() if now - at < HIDDEN_KNOWN}
        parted: set[int] = set()
        accounts: set[int] = set()
        objects: set[int] = set()
        asked: set[Receiver] = set()
        for one in news:
            match one.kind:
                case "session":
                    self._end(one.other, BAD_TOKEN, one.subject)
                case "account" if not one.other:
                    self._end(one.subject, DISABLED)
                    accounts.add(one.subject)
                case "parted":
                    parted |= {one.subject, one.other}
                    self._forget_each_other(one.subject, one.other)
                case "friends":
                    self.on_relations({one.subject, one.other})
                case "post" | "comment":
                    objects.add(one.subject)
                    asked |= self._hide(one.subject, now) if one.kind == "post" else set()
        if parted:
            self.on_relations(parted)
            asked |= {receiver for user_id in parted for receiver in self._hub.by_user.get(user_id, ())}
        if accounts or objects:
            for holder in _holders(self._hub.receivers):
                holder.forget_unsent(lambda item: item.object in objects or item.actor in accounts)
            for holder in _holders(asked):
                holder.forget_unsent(lambda _item: False, cut=True)
        if asked:
            self._background.spawn("recheck", self._recheck_all, _holders(asked))
        if accounts:
            self._background.spawn("recheck_accounts", self._recheck_accounts, accounts)

    def _forget_each_other(self, low: int, high: int) -> None:
        for user_id, other in ((low, high), (high, low)):
            for holder in _holders(self._hub.by_user.get(user_id, ())):
                holder.forget_unsent(lambda item, other=other: item.actor == other, cut=True)  # type: ignore[misc]
                holder.forget_person(other)

    def _hide(self, post_id: int, now: float) -> set[Receiver]:
        """A post was narrowed or deleted: its followers hear nothing of it until they were asked for again."""
        self._hidden[post_id] = now
        for subscription in self._followers(post_id):
            subscription.doubt()
        return self._of_post(post_id)

    async def _recheck_accounts(self, accounts: set[int]) -> None:
        """Asks again for those who follow or watch posts of accounts that ended: few among all who are here."""
        while True:
            followed = {int(name[5:]) for name in self._hub.streams if name.startswith("post:")}
            try:
                theirs = await self._grants.posts_of(followed | self._hub.watchers.keys(), accounts)
                break
            except StoreUnavailable as error:
                log.warning("recheck_waits", cause=str(error))
                await asyncio.sleep(RECHECK_PAUSE)
        await self._recheck_all(_holders({receiver for post_id in theirs for receiver in self._of_post(post_id)}))

    def _end(self, user_id: int, code: Code, sign_in_id: int | None = None) -> None:
        for holder in _holders(self._hub.by_user.get(user_id, ())):
            if sign_in_id is None or (holder.sign_in is not None and holder.sign_in.id == sign_in_id):
                holder.end_soon(code)

    def _of_post(self, post_id: int) -> set[Receiver]:
        """Whoever follows or watches a post."""
        return set(self._hub.watchers.get(post_id, ())) | {s.receiver for s in self._followers(post_id)}

    def _followers(self, post_id: int) -> Set[Subscription]:
        stream = self._hub.streams.get(post_stream(post_id))
        return stream.subscriptions if stream is not None else frozenset()

    async def _recheck_posts(self, holder: Holder) -> None:
        number = holder.rechecks
        followed = {int(label[5:]): label for label in holder.subscriptions if label.startswith("post:")}
        asked = followed.keys() | holder.watched
        if asked:
            seen = await self._grants.sees_posts(holder.user_id, asked)
            if self._is_newest(holder, number):
                self._take(holder, followed, asked - seen)

    def _is_newest(self, holder: Holder, number: int) -> bool:
        """What was read is applied only if nothing was asked later, and the connection is still there."""
        return holder.rechecks == number and holder in self._hub.receivers

    def _take(self, holder: Holder, followed: dict[int, str], lost: set[int]) -> None:
        for post_id, label in followed.items():
            subscription = holder.subscriptions.get(label)
            if subscription is None or subscription.fading:
                continue
            if post_id not in lost:
                subscription.trust()
            elif post_id in self._hidden and (subscription.opened or subscription.doubted):
                # The item that says why is on its way, or was held.
                subscription.fade()
                self._background.spawn("fade", self._fade, subscription)
            else:
                self._end_subscription(subscription)
        kept = holder.watched - lost
        self._hub.watch(holder, kept, holder.watched)
        holder.watched = kept

    async def _fade(self, subscription: Subscription) -> None:
        await asyncio.sleep(FADE)
        self._end_subscription(subscription)

    def _end_subscription(self, subscription: Subscription) -> None:
        holder = cast("Holder", subscription.receiver)
        if holder.subscriptions.get(subscription.label) is subscription:
            del holder.subscriptions[subscription.label]
            self._hub.unsubscribe(subscription)
            holder.say(ended(subscription.label))

    async def _recheck_all(self, holders: list[Holder]) -> None:
        await asyncio.gather(*map(self.recheck, holders))


def _holders(receivers: Iterable[Receiver]) -> list[Holder]:
    """The hub knows connections by less than they are."""
    return cast("list[Holder]", list(receivers))


def no_stream(label: str, request_id: str | int | None = None) -> ErrorFrame:
    """The answer for a stream that is not there or not for this viewer."""
    return ErrorFrame("forbidden_or_missing", f"There is no stream {label}, or you may not follow it.", request_id)


def ended(label: str) -> ErrorFrame:
    """Tells that a subscription has ended, because its stream has or the right to it."""
    return ErrorFrame("forbidden_or_missing", f"The stream {label} has ended for you.", stream=label)
