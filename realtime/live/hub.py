"""Stream -> subscriptions on this node. Synchronous: it never waits for a peer or a store.

A `LiveStream` is this node's view of one stream: it takes items in offset order, each once, and hands them to its
subscriptions. What does not fit (a hole, another epoch) it holds and asks for a repair; `live.inbox` reads the log
and answers with `fill` or `restart`.

    joining    no top known yet: items are held
    open       next item = offset + 1; lower is dropped, higher is held and a repair is wanted
    repairing  held until `fill` (the log bridged it) or `restart` (it could not: every subscription resyncs)

A `Subscription` is one socket's view: closed until its join is complete, then the same rule of the next offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Protocol

import msgspec

from feed.streams import Top
from realtime.live.protocol import PostCounts, Resync, Skip, encode, event_frame, websocket_frame

HELD_LIMIT = 1024  # items held by one stream or subscription; more is a resync, not memory


class Live(msgspec.Struct, frozen=True):
    """An item as it came from the store: where it stands, its body, and whose act it is (0 = everybody may hear)."""

    epoch: str
    offset: int
    body: bytes
    actor: int = 0


class Receiver(Protocol):
    """What the hub needs of a connection."""

    user_id: int
    denied: set[int]

    def send(self, frame: bytes) -> None:
        """Queues a websocket frame."""

    def counts_changed(self, post_id: int) -> None:
        """A watched post has new numbers."""


class Subscription:
    """One connection on one stream. Frames pass only once `open` has said where the connection stands."""

    __slots__ = ("_held", "epoch", "label", "offset", "opened", "receiver", "stream")

    def __init__(self, receiver: Receiver, stream: LiveStream, label: str) -> None:
        self.receiver = receiver
        self.stream = stream
        self.label = label
        self.opened = False
        self.epoch = ""
        self.offset = 0
        self._held: list[tuple[str, int, bytes]] = []

    def open(self, top: Top) -> None:
        """The connection has everything up to `top`; what came meanwhile follows, and from now on all the rest."""
        self.opened = True
        self.epoch, self.offset = top.epoch, top.offset
        held, self._held = self._held, []
        for epoch, offset, frame in held:
            if epoch == self.epoch:
                self.offer(epoch, offset, frame)
        stream = self.stream
        if stream.epoch != self.epoch or stream.offset > self.offset:
            # The stream began anew, or more came than can be held, while the gate was closed.
            self.resync(Top(stream.epoch, stream.offset))

    def offer(self, epoch: str, offset: int, frame: bytes) -> None:
        """The stream's next item."""
        if not self.opened:
            if len(self._held) >= HELD_LIMIT:
                del self._held[0]  # the hole shows as soon as the gate opens, and becomes a resync
            self._held.append((epoch, offset, frame))
        elif epoch == self.epoch and offset == self.offset + 1:
            self.offset = offset
            self.receiver.send(frame)
        elif epoch != self.epoch or offset > self.offset:
            self.resync(Top(epoch, offset))

    def resync(self, top: Top) -> None:
        """Tells the connection that the log cannot bridge to `top`, and goes on from there."""
        if not self.opened:
            return
        self.epoch, self.offset = top.epoch, top.offset
        self.receiver.send(websocket_frame(encode(Resync(self.label, top.epoch, top.offset))))


class LiveStream:
    """This node's view of one stream."""

    __slots__ = (
        "_denied",
        "_held",
        "_wants_repair",
        "epoch",
        "label",
        "name",
        "offset",
        "repairing",
        "subscriptions",
        "top_known",
    )

    def __init__(
        self,
        name: str,
        label: str,
        wants_repair: Callable[[LiveStream], None],
        denied: Mapping[int, Set[Receiver]] | None = None,
    ) -> None:
        self._denied = {} if denied is None else denied
        self.name = name
        self.label = label
        self.subscriptions: set[Subscription] = set()
        self.epoch = ""
        self.offset = 0
        self.top_known = False
        self.repairing = False
        self._held: list[Live] = []
        self._wants_repair = wants_repair

    def start(self, top: Top) -> None:
        """The first join has told where the stream stands; a second one changes nothing."""
        if self.top_known:
            return
        self.epoch, self.offset, self.top_known = top.epoch, top.offset, True
        self._release()

    def receive(self, item: Live) -> None:
        """An item from the inbox, in whatever order."""
        if not self.top_known or self.repairing:
            self._hold(item)
        elif item.epoch != self.epoch or item.offset > self.offset + 1:
            self._hold(item)
            self.want_repair()
        elif item.offset == self.offset + 1:
            self._deliver(item)

    def want_repair(self) -> None:
        """Something is missing, or may be."""
        if not self.repairing:
            self.repairing = True
            self._wants_repair(self)

    def fill(self, items: Iterable[Live]) -> None:
        """The log's items behind `offset`, contiguous; then what was held meanwhile."""
        for item in items:
            if item.epoch == self.epoch and item.offset == self.offset + 1:
                self._deliver(item)
        self.repairing = False
        self._release()

    def restart(self, top: Top) -> None:
        """The log cannot bridge: go on from `top`, and tell everyone."""
        self.epoch, self.offset, self.repairing = top.epoch, top.offset, False
        for subscription in list(self.subscriptions):
            subscription.resync(top)
        self._release()

    def _hold(self, item: Live) -> None:
        """Keeps an item, also of another epoch: it may overtake the restart that makes it the present one."""
        if len(self._held) >= HELD_LIMIT:
            del self._held[0]
        self._held.append(item)

    def _release(self) -> None:
        """Takes what was held of the present epoch; of any other one nothing can be made any more."""
        held, self._held = self._held, []
        for item in sorted((item for item in held if item.epoch == self.epoch), key=lambda item: item.offset):
            self.receive(item)

    def _deliver(self, item: Live) -> None:
        """Encodes once, hands the same bytes to everyone; who must not hear of the actor gets a skip instead."""
        self.offset = item.offset
        frame = websocket_frame(event_frame(self.label, item.offset, item.body))
        denied = self._denied.get(item.actor, ())
        skip = websocket_frame(encode(Skip(self.label, item.offset, item.offset))) if denied else b""
        for subscription in list(self.subscriptions):
            subscription.offer(item.epoch, item.offset, skip if subscription.receiver in denied else frame)


class Hub:
    """Every stream, watched post and connection of this node."""

    def __init__(self) -> None:
        self.streams: dict[str, LiveStream] = {}
        self.watchers: dict[int, set[Receiver]] = {}
        self.counts: dict[int, PostCounts] = {}
        self.receivers: set[Receiver] = set()
        self.by_user: dict[int, set[Receiver]] = {}
        self.denied: dict[int, set[Receiver]] = {}  # actor -> connections of those whom a block separates
        # Set by the owner before the first connection.
        self.wants_repair: Callable[[LiveStream], None] = lambda _stream: None
        self.wants_leave: Callable[[str], None] = lambda _stream: None

    def connect(self, receiver: Receiver) -> None:
        """A connection whose user is known."""
        self.receivers.add(receiver)
        self.by_user.setdefault(receiver.user_id, set()).add(receiver)

    def deny(self, receiver: Receiver, actors: set[int]) -> None:
        """Replaces the people of whom a connection must hear nothing."""
        for actor in receiver.denied - actors:
            receivers = self.denied.get(actor)
            if receivers is not None:
                receivers.discard(receiver)
                if not receivers:
                    del self.denied[actor]
        for actor in actors:
            self.denied.setdefault(actor, set()).add(receiver)
        receiver.denied = actors

    def disconnect(self, receiver: Receiver) -> None:
        """A connection has gone."""
        self.deny(receiver, set())
        self.receivers.discard(receiver)
        mine = self.by_user.get(receiver.user_id)
        if mine is not None:
            mine.discard(receiver)
            if not mine:
                del self.by_user[receiver.user_id]

    def subscribe(self, receiver: Receiver, name: str, label: str) -> Subscription:
        """A closed subscription: it holds what comes until its join is complete."""
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = LiveStream(name, label, lambda s: self.wants_repair(s), self.denied)
        subscription = Subscription(receiver, stream, label)
        stream.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription; the last one of a stream lets the node leave it."""
        stream = subscription.stream
        stream.subscriptions.discard(subscription)
        if not stream.subscriptions and self.streams.get(stream.name) is stream:
            del self.streams[stream.name]
            self.wants_leave(stream.name)

    def receive(self, name: str, item: Live) -> None:
        """An item for one of this node's streams; others have left meanwhile."""
        stream = self.streams.get(name)
        if stream is not None:
            stream.receive(item)

    def watch(self, receiver: Receiver, posts: set[int], before: set[int]) -> None:
        """Replaces the posts whose counts a connection wants."""
        for post_id in before - posts:
            watchers = self.watchers.get(post_id)
            if watchers is not None:
                watchers.discard(receiver)
                if not watchers:
                    del self.watchers[post_id]
                    self.counts.pop(post_id, None)
        for post_id in posts:
            self.watchers.setdefault(post_id, set()).add(receiver)

    def set_counts(self, post_id: int, counts: PostCounts) -> None:
        """New numbers of a post; older versions are ignored."""
        watchers = self.watchers.get(post_id)
        known = self.counts.get(post_id)
        if watchers is None or (known is not None and known.version >= counts.version):
            return
        self.counts[post_id] = counts
        for receiver in watchers:
            receiver.counts_changed(post_id)

    def type(self, post_name: str, user_id: int, frame: bytes) -> None:
        """Somebody writes on a post: everyone who follows it hears, except the writer."""
        stream = self.streams.get(post_name)
        if stream is None:
            return
        for subscription in stream.subscriptions:
            receiver = subscription.receiver
            if subscription.opened and receiver.user_id != user_id and user_id not in receiver.denied:
                receiver.send(frame)
