"""Stream -> subscriptions on this node. Synchronous: it never waits for a peer or a store.

A `LiveStream` is this node's view of one stream: it takes items in offset order, each once, and hands them to its
subscriptions. What does not fit (a hole, another epoch) it holds and asks for a repair; `live.inbox` reads the log
and answers with `fill` or `restart`. It keeps its newest items, so that clients that come back cost no read.

    joining    no top known yet: items are held
    open       next item = offset + 1; lower is dropped, higher is held and a repair is wanted
    repairing  held until `fill` (the log bridged it) or `restart` (it could not: every subscription resyncs)
    idle       open or repairing without subscriptions, for a while: whoever was cut off comes back

A `Subscription` is one socket's view: closed until its join is complete, then the same rule of the next offset.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import islice
from typing import Protocol

import msgspec

from feed import metrics
from feed.events import COMMENTS, FAREWELLS, HIDDEN, POSTS, TO_FORGET, age
from feed.streams import Item, Top
from realtime.live.protocol import PostCounts, Resync, Skip, TypingNow, encode, event_frame, websocket_frame

HELD_LIMIT = 1024  # items held by one stream or subscription; more is a resync, not memory
REMEMBERED = 512  # items that a stream keeps at most when older ones were read for somebody
RECENT = 128  # newest items that a stream keeps here for clients that come back
TYPISTS = 3  # people whose typing on one post is told in one tick: a crowd is told as a few


class Live(msgspec.Struct, frozen=True):
    """An item as it came from the store, with its body."""

    epoch: str
    item: Item
    body: bytes

    @property
    def offset(self) -> int:
        """Where it stands in its epoch."""
        return self.item.offset


class Offer(msgspec.Struct, frozen=True):
    """An item as a subscription gets it. `frame` is None where it has to be read by HTTP instead; `farewell` is what
    one who may not follow any more still hears of it."""

    epoch: str
    offset: int
    frame: bytes | None
    item: Item
    farewell: bytes | None = None


class Receiver(Protocol):
    """What the hub needs of a connection. One that is `lagging` gets no items, and is told to resync."""

    user_id: int
    denied: Set[int]

    @property
    def lagging(self) -> bool:
        """True while the reader is too slow for items."""

    def send(self, frame: bytes, item: Item) -> None:
        """Queues the frame of an item, which a resync may replace."""

    def reply(self, frame: bytes) -> None:
        """Queues a frame that nothing replaces."""

    def send_volatile(self, frame: bytes) -> None:
        """Queues a websocket frame that a slow reader does not get."""

    def counts_changed(self, post_id: int) -> None:
        """A watched post has new numbers."""


class Verdicts(Protocol):
    """What the hub asks of `feed.revocations`."""

    def parted_from(self, user_id: int) -> Set[int]:
        """Those between whom and the user something was put."""

    def ended(self, user_id: int) -> bool:
        """True when an account was disabled or erased."""

    def outdated(self, kind: str, object_id: int, version: int) -> bool:
        """True when an event tells of something as it was before it was hidden from somebody."""


class Subscription:
    """One connection on one stream. Frames pass only once `open` has said where the connection stands.

    closed    items are held: the join is under way, or the right is in doubt (`doubt`, then `trust` or `fade`)
    open      the next item passes
    fading    the right is lost: nothing passes but the item that says so, which ends it
    """

    __slots__ = ("_held", "doubted", "epoch", "fading", "label", "offset", "opened", "receiver", "stream")

    def __init__(self, receiver: Receiver, stream: LiveStream, label: str) -> None:
        self.receiver = receiver
        self.stream = stream
        self.label = label
        self.opened = False
        self.doubted = False
        self.fading = False
        self.epoch = ""
        self.offset = 0
        self._held: list[Offer] = []

    def doubt(self) -> None:
        """Closes the gate where the connection stands, until its right was read again."""
        if self.opened:
            self.opened, self.doubted = False, True

    def trust(self) -> None:
        """The right is still there: what was held passes."""
        if self.doubted:
            self.doubted = False
            self.open(Top(self.epoch, self.offset))

    def fade(self) -> None:
        """The right is lost; the item that says so may have been held, or is still on its way."""
        self.opened, self.doubted, self.fading = False, False, True
        held, self._held = self._held, []
        for offer in held:
            self.offer(offer)

    def open(self, top: Top) -> None:
        """The connection has everything up to `top`; what came meanwhile follows, and from now on all the rest."""
        self.opened = True
        self.epoch, self.offset = top.epoch, top.offset
        held, self._held = self._held, []
        stream = self.stream
        for offer in held:
            if offer.epoch == self.epoch:
                self.offer(stream.judged_again(offer, self.receiver))
        if stream.epoch != self.epoch or stream.offset > self.offset:
            # The stream began anew, or more came than can be held, while the gate was closed.
            self.resync(Top(stream.epoch, stream.offset), "held")

    def offer(self, offer: Offer) -> None:
        """The stream's next item."""
        epoch, offset, frame = offer.epoch, offer.offset, offer.frame
        if self.fading:
            if offer.farewell is not None and epoch == self.epoch and offset > self.offset:
                self._part(offset, offer.farewell)
        elif not self.opened:
            if len(self._held) >= HELD_LIMIT:
                del self._held[0]  # the hole shows as soon as the gate opens, and becomes a resync
            self._held.append(offer)
        elif epoch == self.epoch and offset == self.offset + 1 and frame is not None:
            self.offset = offset
            if not self.receiver.lagging:
                self.receiver.send(frame, offer.item)
        elif epoch != self.epoch or offset > self.offset:
            self.resync(Top(epoch, offset), "doubt" if frame is None else "gap")

    def _part(self, offset: int, farewell: bytes) -> None:
        """Tells why the stream ends for this connection; what stands before it is nothing to it."""
        if offset > self.offset + 1:
            self.receiver.reply(websocket_frame(encode(Skip(self.label, self.offset + 1, offset - 1))))
        self.offset = offset
        self.receiver.reply(farewell)
        self.stream.hub.wants_end(self)

    def resync(self, top: Top, reason: str) -> None:
        """Tells the connection that the log cannot bridge to `top`, and goes on from there."""
        if not self.opened:
            return
        self.epoch, self.offset = top.epoch, top.offset
        if not self.receiver.lagging:
            metrics.LIVE_RESYNCS.labels(reason).inc()
            self.receiver.reply(websocket_frame(encode(Resync(self.label, top.epoch, top.offset))))


class LiveStream:
    """This node's view of one stream."""

    __slots__ = (
        "_held",
        "epoch",
        "hub",
        "idle_since",
        "label",
        "name",
        "offset",
        "recent",
        "repairing",
        "subscriptions",
        "top_known",
    )

    def __init__(self, name: str, label: str, hub: Hub) -> None:
        self.hub = hub
        self.name = name
        self.label = label
        self.subscriptions: set[Subscription] = set()
        self.epoch = ""
        self.offset = 0
        self.top_known = False
        self.repairing = False
        self.idle_since: float | None = None
        self.recent: deque[Live] = deque()  # contiguous, the last one is `offset`
        self._held: list[Live] = []

    def start(self, top: Top) -> None:
        """The first join has told where the stream stands; a second one changes nothing."""
        if self.top_known:
            return
        self.epoch, self.offset, self.top_known = top.epoch, top.offset, True
        self._release()

    def receive(self, live: Live) -> None:
        """An item from the inbox, in whatever order."""
        if not self.top_known or self.repairing:
            self._hold(live)
        elif live.epoch != self.epoch or live.offset > self.offset + 1:
            metrics.LIVE_GAPS.inc()
            self._hold(live)
            self.want_repair()
        elif live.offset == self.offset + 1:
            self._deliver(live)

    def want_repair(self) -> None:
        """Something is missing, or may be."""
        if not self.repairing:
            self.repairing = True
            self.hub.wants_repair(self)

    def fill(self, items: Iterable[Live]) -> None:
        """The log's items behind `offset`, contiguous; then what was held meanwhile."""
        for live in items:
            if live.epoch == self.epoch and live.offset == self.offset + 1:
                self._deliver(live)
        self.repairing = False
        self._release()

    def restart(self, top: Top) -> None:
        """The log cannot bridge: go on from `top`, and tell everyone."""
        self.epoch, self.offset, self.repairing = top.epoch, top.offset, False
        self.recent.clear()
        for subscription in list(self.subscriptions):
            subscription.resync(top, "log")
        self._release()

    def since(self, epoch: str, offset: int) -> list[Live] | None:
        """The newest items behind a position; None when they are not all here."""
        missed = self.offset - offset
        if not self.top_known or epoch != self.epoch or not 0 <= missed <= len(self.recent):
            return None
        return list(islice(self.recent, len(self.recent) - missed, None))

    def remember(self, items: Sequence[Live]) -> None:
        """Older items, read from the log: kept when they join up with those that are here."""
        first = self.recent[0].offset if self.recent else self.offset + 1
        if items and items[0].epoch == self.epoch and items[-1].offset >= first - 1:
            older = [live for live in reversed(items) if live.offset < first]
            self.recent.extendleft(older[: REMEMBERED - len(self.recent)])

    def _hold(self, live: Live) -> None:
        """Keeps an item, also of another epoch: it may overtake the restart that makes it the present one."""
        if len(self._held) >= HELD_LIMIT:
            del self._held[0]
        self._held.append(live)

    def _release(self) -> None:
        """Takes what was held of the present epoch; of any other one nothing can be made any more."""
        held, self._held = self._held, []
        for live in sorted((live for live in held if live.epoch == self.epoch), key=lambda live: live.offset):
            self.receive(live)

    def judged_again(self, offer: Offer, receiver: Receiver) -> Offer:
        """An offer that was held for a while: a right may have ended since."""
        item, known = offer.item, self.hub.verdicts
        if item.kind in TO_FORGET or offer.frame is None:
            return offer
        outdated = known.outdated(item.kind, item.object, item.version)
        if receiver in self.hub.denied.get(item.actor, ()) or (item.kind in COMMENTS and outdated):
            skip = websocket_frame(encode(Skip(self.label, offer.offset, offer.offset)))
            return msgspec.structs.replace(offer, frame=skip)
        parted = self.label == "me" and item.kind in POSTS and receiver.user_id in known.parted_from(item.actor)
        if parted or outdated or known.ended(item.actor):
            return msgspec.structs.replace(offer, frame=None)
        return offer

    def _deliver(self, live: Live) -> None:
        """Encodes once, hands the same bytes to everyone. Who must not hear of the actor gets a skip instead; who may
        have lost the right on the way is told to read the state again."""
        self.offset = live.offset
        self.recent.append(live)
        while len(self.recent) > RECENT:
            self.recent.popleft()
        if not self.subscriptions:
            return
        epoch, offset, item = live.epoch, live.offset, live.item
        event = websocket_frame(event_frame(self.label, offset, live.body))
        offer = Offer(epoch, offset, event, item, event if item.kind in FAREWELLS else None)
        skip = websocket_frame(encode(Skip(self.label, offset, offset)))
        denied: Set[Receiver] = frozenset()
        parted: Set[int] = frozenset()
        if item.kind not in TO_FORGET:
            known = self.hub.verdicts
            denied = self.hub.denied.get(item.actor, denied)
            if item.kind in COMMENTS and known.outdated(item.kind, item.object, item.version):
                offer = Offer(epoch, offset, skip, item)  # deleted for everybody
            elif known.ended(item.actor) or known.outdated(item.kind, item.object, item.version):
                offer = Offer(epoch, offset, None, item)
            if self.label == "me" and item.kind in POSTS:
                parted = known.parted_from(item.actor)
        elif item.kind == HIDDEN and self.label != "me":
            offer = Offer(epoch, offset, skip, item, event)  # whoever still follows the post has not lost it
        seconds = age(live.body)
        metrics.COMMIT_TO_FRAME.observe(seconds)
        self.hub.on_delivered(seconds, len(self.subscriptions))
        if not denied and not parted:
            for subscription in list(self.subscriptions):
                subscription.offer(offer)
            return
        hidden, unsure = Offer(epoch, offset, skip, item), Offer(epoch, offset, None, item)
        for subscription in list(self.subscriptions):
            receiver = subscription.receiver
            subscription.offer(hidden if receiver in denied else unsure if receiver.user_id in parted else offer)


class Hub:
    """Every stream, watched post and connection of this node."""

    def __init__(self, verdicts: Verdicts) -> None:
        self.verdicts = verdicts
        self.streams: dict[str, LiveStream] = {}
        self.watchers: dict[int, set[Receiver]] = {}
        self.counts: dict[int, PostCounts] = {}
        self.receivers: set[Receiver] = set()
        self.by_user: dict[int, set[Receiver]] = {}
        self.denied: dict[int, set[Receiver]] = {}  # actor -> connections of those whom a block separates
        self._typing: dict[str, set[int]] = {}
        # Set by the owner before the first connection.
        self.wants_repair: Callable[[LiveStream], None] = lambda _stream: None
        self.wants_end: Callable[[Subscription], None] = lambda _subscription: None
        self.on_delivered: Callable[[float, int], None] = lambda _seconds, _deliveries: None

    def connect(self, receiver: Receiver) -> None:
        """A connection whose user is known."""
        self.receivers.add(receiver)
        self.by_user.setdefault(receiver.user_id, set()).add(receiver)

    def deny(self, receiver: Receiver, actors: Set[int]) -> None:
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
        self.deny(receiver, frozenset())
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
            stream = self.streams[name] = LiveStream(name, label, self)
        stream.idle_since = None
        subscription = Subscription(receiver, stream, label)
        stream.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription; a stream without any stays for a while."""
        stream = subscription.stream
        stream.subscriptions.discard(subscription)
        if not stream.subscriptions and stream.idle_since is None:
            stream.idle_since = time.monotonic()

    def drop_idle(self, since: float) -> list[str]:
        """Forgets the streams that have been idle since the moment `since` or longer; returns their names."""
        idle = ((name, stream.idle_since) for name, stream in self.streams.items())
        names = [name for name, idle_since in idle if idle_since is not None and idle_since <= since]
        for name in names:
            del self.streams[name]
        return names

    def receive(self, name: str, live: Live) -> None:
        """An item for one of this node's streams; others have left meanwhile."""
        stream = self.streams.get(name)
        if stream is not None:
            stream.receive(live)

    def watch(self, receiver: Receiver, posts: Set[int], before: Set[int]) -> None:
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

    def type(self, post_name: str, user_id: int) -> None:
        """Somebody writes on a post; told with the next `tell_typing`."""
        if post_name in self.streams:
            typists = self._typing.setdefault(post_name, set())
            if len(typists) < TYPISTS:
                typists.add(user_id)

    def tell_typing(self) -> None:
        """Tells who has begun to write to everyone who follows the post, except the writer."""
        typing, self._typing = self._typing, {}
        for post_name, typists in typing.items():
            stream = self.streams.get(post_name)
            if stream is None:
                continue
            for user_id in typists:
                frame = websocket_frame(encode(TypingNow(post_name.partition(":")[2], str(user_id))))
                for subscription in stream.subscriptions:
                    receiver = subscription.receiver
                    if subscription.opened and receiver.user_id != user_id and user_id not in receiver.denied:
                        receiver.send_volatile(frame)
