"""What ended somebody's right to see something, known to every edge within a second whatever Redis does.

A change that takes a right away writes a row in its own transaction (`revoke`) and, after COMMIT, tells the edges over
Redis (`Stores.tell_edges`), which is quicker. Every edge reads the table besides, `EVERY` seconds, and remembers what
it learned for the resume window:

    kind      subject, other         ended
    session   sign-in id, user id    a sign-in: sign-out, password change, erasure
    account   user id, 0 or 1        0: an account, disabled or being erased; 1: nothing, it is enabled again
    parted    user ids, low, high    a friendship, or a block came or went: ask again what stands between the two
    friends   user ids, low, high    nothing: two people are friends, which ends an earlier `parted`
    post      post id, version       who could see the post before `version` may not any more: narrowed or deleted
    comment   comment id, version    the comment is deleted

So an item of a stream needs no question to the database: it was appended because its recipient had the right, and
whoever lost it since is in here. What is touched by a row is asked for again; a row never hides anything by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Set
from datetime import timedelta
from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import revocations
from db.engine import Database
from db.errors import StoreUnavailable
from feed.clock import Clock

EVERY = 0.5  # seconds between two looks: with the work that follows, a right ends within one second
LOOK_WITHIN = 1.5  # seconds of one look; one that hangs is worth less than the next
STALE = 3.0  # seconds since the last look after which nothing is taken for granted
SETTLE = 30.0  # seconds after which no transaction can still commit an id below those seen (longest: 15 s)
PAGE = 1000  # rows of one look
SLACK = 60.0  # seconds that a row is remembered beyond the window: clocks differ a little
FORGET_EVERY = 60.0  # seconds between two rounds of forgetting

COMMENTED = ("comment.created", "comment.edited")
NOBODY: Set[int] = frozenset()

Kind = Literal["session", "account", "parted", "friends", "post", "comment"]
# What a right may depend on: ("session" | "account" | "person" | "post" | "comment", id) or ("pair", low id, high id).
# "person" stands for every pair that the person is part of.
Topic = tuple[str, int] | tuple[str, int, int]


class Revocation(msgspec.Struct, frozen=True):
    """One row. `id` tells that two messages are about the same one."""

    id: int
    kind: Kind
    subject: int
    other: int = 0


async def revoke(connection: AsyncConnection, kind: Kind, subject: int, other: int = 0, *, clock: Clock) -> Revocation:
    """Writes a revocation in the transaction that ends the right. Pairs are put in canonical order."""
    if kind in ("parted", "friends"):
        subject, other = sorted((subject, other))
    return Revocation(await revocations.add(connection, kind, subject, other, clock()), kind, subject, other)


class Revocations:
    """What this process has learned. `window` seconds is how far back a stream may be resumed."""

    def __init__(
        self, sql: Database, clock: Clock, *, window: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sql = sql
        self._clock = clock
        self._remember = window + SLACK
        self._monotonic = monotonic
        self._floor: int | None = None  # every row above it is asked for
        self._seen: dict[int, float] = {}  # id -> when learned, of those above the floor
        self._learned: dict[Topic, float] = {}  # what a row is about -> when the newest one was learned
        self._versions: dict[Topic, int] = {}  # post or comment -> version since which fewer people may see it
        self._parted: dict[int, set[int]] = {}
        self._ended: set[int] = set()
        self._newest: dict[Topic, int] = {}  # pair or account -> newest id: what is learned late undoes nothing
        self._looked_at = monotonic() - STALE
        self._forgot_at = monotonic()
        self.on_learned: Callable[[list[Revocation]], None] = lambda _news: None

    @property
    def age(self) -> float:
        """Seconds since the last successful look."""
        return self._monotonic() - self._looked_at

    @property
    def current(self) -> bool:
        """True when nothing older than STALE can be missing."""
        return self.age < STALE

    async def run(self) -> None:
        """Looks for ever. Raises StoreUnavailable; its owner starts it again."""
        while True:
            try:
                async with asyncio.timeout(LOOK_WITHIN):
                    await self.look()
            except TimeoutError as error:
                raise StoreUnavailable("sql", "no answer in time") from error
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Learns every row that is new. Raises StoreUnavailable."""
        started = self._monotonic()
        async with self._sql.read(reserved=True) as connection:
            if self._floor is None:
                since = self._clock() - timedelta(seconds=self._remember)
                self._floor = await revocations.floor(connection, since)
            after = self._floor
            while rows := await revocations.newer(connection, after, limit=PAGE):
                self.learn(Revocation(row.id, row.kind, row.subject, row.other) for row in rows)
                after = rows[-1].id
        self._looked_at = started
        self._raise_floor(started)
        if started - self._forgot_at > FORGET_EVERY:
            self._forget(started)

    def learn(self, news: Iterable[Revocation]) -> None:
        """Takes rows from the table or from an order; each id once."""
        now = self._monotonic()
        fresh = [one for one in news if one.id not in self._seen and one.id > (self._floor or 0)]
        for one in fresh:
            self._seen[one.id] = now
            self._note(one, now)
        if fresh:
            self.on_learned(fresh)

    def moment(self) -> float:
        """To be noted before a right is read, and given to `unchanged` later."""
        return self._monotonic()

    def unchanged(self, since: float, *topics: Topic) -> bool:
        """True when what was read about these topics after the moment `since` is still so."""
        if not self.current or self._monotonic() - since > self._remember - SLACK:
            return False
        return not self.touched(since, *topics)

    def touched(self, since: float, *topics: Topic) -> bool:
        """True when a row about these topics was learned at or after the moment `since`."""
        return any(self._learned.get(topic, -1.0) >= since for topic in topics)

    def parted_from(self, user_id: int) -> Set[int]:
        """Those between whom and the user something was put, and who have not become friends since."""
        return self._parted.get(user_id, NOBODY)

    def ended(self, user_id: int) -> bool:
        """True when an account was disabled or erased."""
        return user_id in self._ended

    def signed_out(self, session_id: int) -> bool:
        """True when a sign-in was ended."""
        return ("session", session_id) in self._learned

    def outdated(self, kind: str, object_id: int, version: int) -> bool:
        """True when an event tells of a post or comment as it was before it was hidden from somebody."""
        what = "post" if kind in ("post.created", "post.edited") else "comment" if kind in COMMENTED else ""
        return version < self._versions.get((what, object_id), 0)

    def _note(self, one: Revocation, now: float) -> None:
        if one.kind in ("parted", "friends"):
            low, high = one.subject, one.other
            for topic in (("pair", low, high), ("person", low), ("person", high)):
                self._learned[topic] = now
            if not self._is_newest(("pair", low, high), one.id):
                return
            for user, other in ((low, high), (high, low)):
                if one.kind == "parted":
                    self._parted.setdefault(user, set()).add(other)
                elif user in self._parted:
                    self._parted[user].discard(other)
        else:
            self._learned[(one.kind, one.subject)] = now
            if one.kind in ("post", "comment"):
                self._versions[one.kind, one.subject] = max(one.other, self._versions.get((one.kind, one.subject), 0))
            elif one.kind == "account" and self._is_newest(("account", one.subject), one.id):
                (self._ended.discard if one.other else self._ended.add)(one.subject)

    def _is_newest(self, topic: Topic, number: int) -> bool:
        newest = number > self._newest.get(topic, 0)
        if newest:
            self._newest[topic] = number
        return newest

    def _raise_floor(self, now: float) -> None:
        """Ids learned long enough ago need not be read again; none below the highest of them can still appear."""
        assert self._floor is not None  # noqa: S101 - the look has just set it
        settled = [number for number, learned in self._seen.items() if now - learned > SETTLE]
        if settled:
            self._floor = max(self._floor, *settled)
            for number in [number for number in self._seen if number <= self._floor]:
                del self._seen[number]

    def _forget(self, now: float) -> None:
        """Drops what is older than anything that could still be resumed."""
        self._forgot_at = now
        for topic in [topic for topic, learned in self._learned.items() if now - learned > self._remember]:
            del self._learned[topic]
            self._versions.pop(topic, None)
            self._newest.pop(topic, None)
            if len(topic) == 3:
                _, low, high = topic
                self._parted.get(low, set()).discard(high)
                self._parted.get(high, set()).discard(low)
            elif topic[0] == "account":
                self._ended.discard(topic[1])
        self._parted = {user: others for user, others in self._parted.items() if others}
