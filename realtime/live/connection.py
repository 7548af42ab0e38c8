"""One live connection: its session, its sender, its subscriptions, whatever carries it.

Connection      frames of a websocket
EventStream     the same messages as server-sent events (`realtime.live.events`)
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Set
from typing import Any

from feed import metrics
from feed.accounts import Session as SignIn
from feed.streams import Item
from realtime.live import protocol
from realtime.live.hub import Subscription
from realtime.live.protocol import Bye, Code, Presence, PresenceState, websocket_frame
from realtime.live.sender import Sender
from realtime.live.session import Session

TAKE_WITHIN = 0.4  # seconds that a socket has to take what a revocation may be about; with the look, within one
MOST_PRESENCE = 1000  # friends whose latest state waits for a slow reader; more are dropped

_numbers = itertools.count()


class Ending(Exception):
    """The connection is to be closed with a code; raised in its own task."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.reason)
        self.code = code


class Connection:
    """One socket with its session, sender and subscriptions."""

    def __init__(self, transport: asyncio.Transport, task: asyncio.Task[Any], *, ping_seconds: int) -> None:
        self.id = secrets.token_hex(8)
        self.number = next(_numbers)  # of this process
        self.user_id = 0
        self.sign_in: SignIn | None = None
        self.session = Session(time.monotonic(), ping_seconds)
        self.transport = transport
        self.task = task
        self.sender = Sender(
            transport, caught_up=self._caught_up, overflowed=lambda: self.end_soon(protocol.SLOW_READER)
        )
        self.subscriptions: dict[str, Subscription] = {}
        self.watched: Set[int] = frozenset()
        self.denied: Set[int] = frozenset()
        self.ending: tuple[Code, int | None] | None = None  # close code and when to come back
        self.rechecks = 0
        self._dirty: set[int] = set()
        self._presence: dict[str, PresenceState] = {}

    # --- what the hub calls ------------------------------------------------------------------------------------------

    @property
    def lagging(self) -> bool:
        """True while items are dropped; a resync follows."""
        return self.sender.lagging_since is not None

    def send(self, frame: bytes, item: Item) -> None:
        """Queues the frame of an item, which a resync may replace."""
        self.sender.enqueue(frame, item)

    def send_volatile(self, frame: bytes) -> None:
        """Queues what a slow reader does without."""
        if not self.sender.congested:
            self.sender.enqueue(frame)

    def counts_changed(self, post_id: int) -> None:
        """Marks a watched post; `flush_volatile` sends its latest numbers."""
        self._dirty.add(post_id)

    def presence_changed(self, user_id: int, state: PresenceState) -> None:
        """Marks a friend; `flush_volatile` sends the latest state."""
        if str(user_id) in self._presence or len(self._presence) < MOST_PRESENCE:
            self._presence[str(user_id)] = state

    # --- what the conversation calls ---------------------------------------------------------------------------------

    def reply(self, frame: bytes) -> None:
        """Queues a frame that nothing replaces."""
        self.sender.enqueue(frame)

    def say(self, message: Any) -> None:
        """Queues a message that nothing replaces."""
        self.reply(websocket_frame(protocol.encode(message)))

    def forget_unsent(self, concerns: Callable[[Item], bool], *, cut: bool = False) -> None:
        """Takes back what is held back of items that this concerns: a resync follows.

        What the transport has cannot be taken back: with `cut`, a socket that does not take it now is cut off.
        """
        if self.sender.congested and self.sender.holds(concerns) and self.sender.drop_items():
            self._resync("revoked")
        if cut and self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(TAKE_WITHIN, self._cut_off, self.sender.written)

    def forget_person(self, user_id: int) -> None:
        """Takes back the presence of a person."""
        self._presence.pop(str(user_id), None)

    def _cut_off(self, written: int) -> None:
        """Cuts the connection when bytes that were with the transport at `written` are there still."""
        if self.sender.written - self.transport.get_write_buffer_size() < written:
            self.sender.close()
            self.end_soon(protocol.SLOW_READER)
            self.transport.abort()

    def tell_counts(self) -> None:
        """Marks every watched post, each to be told once now."""
        self._dirty = set(self.watched)

    def flush_volatile(self, counts: dict[int, protocol.PostCounts]) -> None:
        """Sends the latest counts and presence, unless the reader is behind: then they wait, the latest only."""
        if not (self._dirty or self._presence) or self.sender.congested or self.lagging:
            return
        latest = {str(post_id): counts[post_id] for post_id in self._dirty & self.watched if post_id in counts}
        self._dirty.clear()
        if latest:
            self.say(protocol.LatestCounts(latest))
        if self._presence:
            self.say(Presence(self._presence))
            self._presence = {}

    def end_soon(self, code: Code, *, reconnect_in_ms: int | None = None) -> None:
        """Ends a connection from outside: its own task is interrupted and shuts the socket, whatever it was doing."""
        if self.ending is None:
            self.ending = (code, reconnect_in_ms)
            self.session.state = "closed"
            if asyncio.current_task() is not self.task:
                self.task.cancel()  # its own task sees the state by itself

    def say_bye(self) -> None:
        """Queues the good-bye of a planned close."""
        if self.ending is not None and self.ending[1] is not None:
            self.say(Bye(self.ending[0].number, self.ending[1]))

    def ping(self) -> None:
        """Tells the positions that were checked against the log, behind all earlier items."""
        # To one who is lagging the positions are told by the resync that follows.
        offsets = {label: s.offset for label, s in self.subscriptions.items() if s.opened and not self.lagging}
        self.say(protocol.Ping(offsets))

    def _caught_up(self) -> None:
        self._resync("slow")
        self.tell_counts()

    def _resync(self, reason: str) -> None:
        for subscription in self.subscriptions.values():
            if subscription.opened:
                metrics.LIVE_RESYNCS.labels(reason).inc()
                self.say(protocol.Resync(subscription.label, subscription.epoch, subscription.offset))
