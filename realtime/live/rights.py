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

    def forget_unsent(self) -> None:
        """Takes back what a slow reader has not been sent."""

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
                return await self._recheck(holder)
            except StoreUnavailable as error:
                log.warning("recheck_waits", cause=str(error))
                await asyncio.sleep(RECHECK_PAUSE)
        return None

    def learned(self, news: list[Revocation]) -> None:
        """Does to open connections what these revocations ask for."""
        self.generation += 1
        now = time.monotonic()
        self._hidden = {post_id: at for post_id, at in self._hidden.items() if now - at < HIDDEN_KNOWN}
        people: set[int] = set()
        asked: set[Receiver] = set()
        for one in news:
            match one.kind:
                case "session":
                    self._end(one.other, BAD_TOKEN, one.subject)
                case "account" if not one.other:
                    self._end(one.subject, DISABLED)
                    asked |= {receiver for receiver in self._hub.receivers if cast("Holder", receiver).subscriptions}
                case "parted":
                    people |= {one.subject, one.other}
                case "friends":
                    self.on_relations({one.subject, one.other})
                case "post":
                    asked |= self._of_post(one.subject)
                    self._hidden[one.subject] = now
                    for subscription in self._followers(one.subject):
                        subscription.doubt()
        asked |= {receiver for user_id in people for receiver in self._hub.by_user.get(user_id, ())}
        # Whose queue is held back may have items of anything in it; whose is not has sent them by now.
        for holder in _holders(self._hub.receivers):
            holder.forget_unsent()
        if people:
            self.on_relations(people)
        if asked:
            self._background.spawn("recheck", self._recheck_all, _holders(asked))

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

    async def _recheck(self, holder: Holder) -> None:
        await self.separate(holder)
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
            elif post_id in self._hidden:
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
        async def one(holder: Holder) -> None:
            async with self._room:
                await self.recheck(holder)

        await asyncio.gather(*map(one, holders))


def _holders(receivers: Iterable[Receiver]) -> list[Holder]:
    """The hub knows connections by less than they are."""
    return cast("list[Holder]", list(receivers))


def no_stream(label: str, request_id: str | int | None = None) -> ErrorFrame:
    """The answer for a stream that is not there or not for this viewer."""
    return ErrorFrame("forbidden_or_missing", f"There is no stream {label}, or you may not follow it.", request_id)


def ended(label: str) -> ErrorFrame:
    """Tells that a subscription has ended, because its stream has or the right to it."""
    return ErrorFrame("forbidden_or_missing", f"The stream {label} has ended for you.", stream=label)
