"""Which friends are online, told in batches. Never O(N^2), never in the log, best effort.

    came     the first socket of a user on this node          -> online, once the batch has looked
    left     the last one closed, and GRACE seconds went by   -> offline, unless another node still has the user
    idle     no word but pongs for AWAY seconds               -> away, and online again with the next word

A batch every TICK seconds: one query for the friends of those who came, one message to all nodes with who changed and
whose friends they are. A node that hears it looks its own users up among those friends: the cost is the number of
friends of those who changed, not of those who are there. Who comes back within GRACE has not changed, so a reconnect
storm is silence.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterable, Set
from itertools import islice

import msgspec
import structlog

from db import relations
from db.errors import StoreUnavailable
from db.redis import PRESENCE
from feed.stores import Stores
from feed.streams import me
from realtime.live.hub import Hub
from realtime.live.protocol import PresenceState

log = structlog.get_logger(__name__)

TICK = 0.5  # seconds between batches
GRACE = 18.0  # seconds without a socket before a user is offline; by then this node has left the stream (`inbox.IDLE`)
AWAY = 300.0  # seconds without a word
AWAY_EVERY = 20  # ticks between looks for the idle
MOST = 200  # users of one batch: the rest waits for the next one
LOOKED_UP = 5000  # friends whose state one batch looks up: arrivals wait rather than the store

Report = Callable[[int, int, PresenceState], None]


class Change(msgspec.Struct, frozen=True):
    """A user whose state changed, and the friends who want to know."""

    user: int
    state: PresenceState
    friends: list[int]


class Present(msgspec.Struct):
    """A user with sockets here, or until a moment ago."""

    friends: array[int] | None = None  # None = to be read
    state: PresenceState | None = None  # what friends were told
    left_at: float | None = None
    greeted: bool = False  # was told which friends are there


class Presences:
    """The presence of this node's users. `active_at(user)` is when one of their sockets last said something."""

    def __init__(self, stores: Stores, hub: Hub, *, active_at: Callable[[int], float], report: Report) -> None:
        self._stores = stores
        self._hub = hub
        self._active_at = active_at
        self._report = report
        self._users: dict[int, Present] = {}
        self._ticks = 0
        self._more_idle = False

    def came(self, user_id: int) -> None:
        """A socket of a user opened."""
        present = self._users.setdefault(user_id, Present())
        present.left_at = None
        present.greeted = False

    def left(self, user_id: int) -> None:
        """A socket of a user closed."""
        present = self._users.get(user_id)
        if present is not None and user_id not in self._hub.by_user:
            present.left_at = time.monotonic()

    def forget(self, users: Set[int]) -> None:
        """Relations of these users changed: nothing is told before their friends were read again."""
        for user_id in users:
            present = self._users.get(user_id)
            if present is not None:  # another object: what is being read for this one is of before the change
                self._users[user_id] = Present(state=present.state, left_at=present.left_at)

    def heard(self, message: bytes) -> None:
        """A batch of some node: tells the friends who are here."""
        for change in msgspec.json.decode(message, type=list[Change]):
            for friend in change.friends:
                mine = self._users.get(friend)
                if mine is not None and mine.friends is not None and change.user in mine.friends:
                    self._report(friend, change.user, change.state)

    async def run(self) -> None:
        """Batches, for ever."""
        while True:
            await asyncio.sleep(TICK)
            try:
                await self._tick()
            except StoreUnavailable as error:
                log.debug("presence_waits", cause=str(error))

    async def _tick(self) -> None:
        self._ticks += 1
        await self._read_friends()
        changes = [*islice(self._arrived(), MOST), *await self._gone()]
        if self._ticks % AWAY_EVERY == 0 or self._more_idle:
            idle = list(islice(self._idle(), MOST))
            self._more_idle = len(idle) == MOST
            changes += idle
        if changes:
            await self._stores.redis.publish(PRESENCE, msgspec.json.encode(changes))
        await self._greet()

    async def _read_friends(self) -> None:
        wanted = [user_id for user_id, present in self._users.items() if present.friends is None][:MOST]
        if not wanted:
            return
        before = {user_id: self._users[user_id] for user_id in wanted}
        async with self._stores.sql.read() as connection:
            found = await relations.friends_of_each(connection, wanted)
        for user_id, present in before.items():
            if self._users.get(user_id) is present:
                present.friends = array("Q", found[user_id])

    def _arrived(self) -> Iterable[Change]:
        for user_id, present in self._users.items():
            if present.friends is not None and not present.state and present.left_at is None:
                yield self._set(user_id, present, "online")

    async def _gone(self) -> list[Change]:
        late = time.monotonic() - GRACE
        every = (u for u, present in self._users.items() if present.left_at is not None and present.left_at < late)
        gone = list(islice(every, MOST))
        elsewhere = await self._stores.streams.listening([me(user_id) for user_id in gone]) if gone else set()
        changes = []
        for user_id in gone:
            present = self._users[user_id]
            if present.left_at is None:
                continue  # came back while the store was asked
            del self._users[user_id]
            if present.state and me(user_id) not in elsewhere:
                changes.append(self._set(user_id, present, "offline"))
        return changes

    def _idle(self) -> Iterable[Change]:
        since = time.monotonic() - AWAY
        for user_id, present in self._users.items():
            if present.left_at is None and present.friends is not None and present.state:
                state: PresenceState = "online" if self._active_at(user_id) > since else "away"
                if state != present.state:
                    yield self._set(user_id, present, state)

    async def _greet(self) -> None:
        """Tells those who came which friends are there: one look for all of them."""
        greeted: list[tuple[int, array[int]]] = []
        friends: set[int] = set()
        for user_id, present in self._users.items():
            if not present.greeted and present.friends is not None:
                greeted.append((user_id, present.friends))
                friends.update(present.friends)
                present.greeted = True
                if len(friends) > LOOKED_UP:
                    break
        live = await self._stores.streams.listening([me(friend) for friend in friends]) if friends else set()
        for user_id, mine in greeted:
            for friend in mine:
                if me(friend) in live:
                    known = self._users.get(friend)
                    self._report(user_id, friend, (known and known.state) or "online")

    @staticmethod
    def _set(user_id: int, present: Present, state: PresenceState) -> Change:
        present.state = state
        return Change(user_id, state, list(present.friends or ()))
