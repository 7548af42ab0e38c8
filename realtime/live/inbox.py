"""This node's Redis channels -> hub, and the repair of what did not come that way.

Pub/sub forgets, and can go deaf without a word, so nothing is believed because it was silent:

    a hole          is read from the log at once
    every CHECK     each stream's top is compared with the store's; so is it after every (re)subscription and outage
    every PROBE     an event goes through the append path to this node; one that does not come back is a deaf inbox,
                    which subscribes anew and then compares everything
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
import structlog

from db import redis as keys
from db.errors import StoreUnavailable
from db.redis import Redis
from feed import metrics
from feed.background import Background
from feed.revocations import Revocation
from feed.streams import LISTEN, Event, Item, Streams, Top, post
from realtime.live.hub import Hub, Live, LiveStream
from realtime.live.protocol import At, PostCounts

log = structlog.get_logger(__name__)

WAIT = 1.0  # seconds that one wait for a message lasts; bounds how late a deaf inbox is left
TURN = 0.005  # seconds of messages after which others have their turn
IDLE = 15.0  # seconds that a stream without subscriptions is kept: a network that was away for a moment comes back
IDLE_EVERY = 1.0  # seconds between looks for idle streams
TOUCHED_AT_ONCE = 2000  # streams of one look: between two others have their turn
REPAIRS_AT_ONCE = 16  # after a restart of the store every stream repairs: requests need connections too
REPAIR_PAUSE = 0.2  # seconds before a repair that met an unreachable store is tried again
PROBE = 3.0  # seconds between probes, and that one has to come back: a deaf inbox is found within two of them
BODIES = 16 * 1024 * 1024  # bytes of recent events kept for replays


class Orders(msgspec.Struct):
    """A message on the control channel; one of a newer release may hold more."""

    revoked: list[Revocation] = []


class Inbox:
    """Feeds the hub of one node. `node` names this process's life."""

    def __init__(self, redis: Redis, streams: Streams, hub: Hub, background: Background, *, check: float) -> None:
        self.node = secrets.token_hex(8)
        self._redis = redis
        self._streams = streams
        self._hub = hub
        self._background = background
        self._check = min(check, LISTEN / 3)
        self._leaving: tuple[set[str], asyncio.Task[None]] | None = None
        self._watching: set[str] = set()
        self._repairing = asyncio.Semaphore(REPAIRS_AT_ONCE)
        self._bodies = Bodies()
        self._awaited: set[str] = set()  # probes that have not come back
        self._all_heard = asyncio.Event()
        self._deaf = False
        self._since = 0.0  # when the present subscription began
        self.on_orders: Callable[[list[Revocation]], None] = lambda _news: None
        self.on_presence: Callable[[bytes], None] = lambda _message: None
        hub.wants_repair = self._repair_soon

    def start(self) -> None:
        """Starts its tasks; call once, on the loop."""
        self._background.keep("inbox", self.listen)
        self._background.keep("inbox_checks", self._keep_checking)
        self._background.keep("inbox_probes", self._keep_probing)
        self._background.keep("inbox_idle", self._keep_leaving)

    # --- joining -----------------------------------------------------------------------------------------------------

    async def join(self, stream: LiveStream, start: At | None = None) -> Top:
        """Registers this node for a stream and starts the hub's view of it. Raises StoreUnavailable.

        A view that is open already answers by itself, unless the client has been further than it.
        """
        ahead = start is not None and (start.epoch != stream.epoch or start.offset > stream.offset)
        if stream.top_known and not stream.repairing and not ahead:
            return Top(stream.epoch, stream.offset)
        if self._leaving is not None and stream.name in self._leaving[0]:
            # A registration that is being taken back would take this one with it.
            await asyncio.wait([self._leaving[1]])
        top = await self._streams.join(stream.name, self.node)
        stream.start(top)
        if stream.epoch != top.epoch:
            stream.restart(top)
        # Of two first joins the later answer may be heard first: the view is further, and what lies between has passed.
        return Top(stream.epoch, max(top.offset, stream.offset))

    async def watch(self, posts: set[int]) -> None:
        """Makes sure that counts of these posts, watched in the hub, come to this node. Raises StoreUnavailable."""
        new = {post(post_id) for post_id in posts} - self._watching
        await asyncio.gather(*(self._streams.want_counts(name, self.node) for name in new))
        self._watching |= new

    async def bodies(self, event_ids: Sequence[str]) -> list[bytes | None]:
        """Bodies of events: those heard lately from memory, the rest in one pipelined read; None = expired."""
        found = {event_id: self._bodies.get(event_id) for event_id in event_ids}
        missing = [event_id for event_id, body in found.items() if body is None]
        for event_id, body in zip(missing, await self._streams.payloads(missing), strict=True):
            found[event_id] = body
            if body is not None:
                self._bodies.put(event_id, body)
        return [found[event_id] for event_id in event_ids]

    # --- listening ---------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Reads the channels for ever; raises StoreUnavailable when the connection is lost (its owner restarts it)."""
        async with self._redis.subscription(keys.CONTROL, keys.PRESENCE, inbox=self.node) as subscription:
            self._deaf, self._since = False, time.monotonic()
            self._background.spawn("inbox_check", self.check)
            turn = time.monotonic()
            while not self._deaf:
                message = await subscription.next(WAIT)
                if message is None:
                    turn = time.monotonic()
                    continue
                channel, data = message
                metrics.INBOX_MESSAGES.inc()
                try:
                    self._take(channel, data)
                except (ValueError, KeyError, msgspec.DecodeError):
                    log.exception("inbox_message_refused", channel=channel, size=len(data))
                if time.monotonic() - turn > TURN:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
        raise StoreUnavailable("redis", "a probe did not come back")

    def _take(self, channel: str, data: bytes) -> None:
        if channel == keys.CONTROL:
            self.on_orders(msgspec.json.decode(data, type=Orders).revoked)
        elif channel == keys.PRESENCE:
            self.on_presence(data)
        else:
            self._take_own(data)

    def _take_own(self, data: bytes) -> None:
        """A message for streams of this node: `item` lines and payload, or a whisper."""
        kind, _, rest = data.partition(b"\n")
        if kind == b"item":
            head, _, body = rest.partition(b"\n\n")
            event_id, reference, *lines = head.decode().split("\n")
            what, actor, about, version = reference.split(" ")
            if what == PROBED:
                self._awaited.discard(event_id)
                if not self._awaited:
                    self._all_heard.set()
                return
            self._bodies.put(event_id, body)
            for line in lines:
                name, epoch, offset = line.split(" ")
                item = Item(int(offset), event_id, what, int(actor), int(about), int(version))
                self._hub.receive(name, Live(epoch, item, body))
        elif kind == b"counts":
            for post_id, counts in msgspec.json.decode(rest, type=dict[str, PostCounts]).items():
                self._hub.set_counts(int(post_id), counts)
        elif kind == b"typing":
            post_id, user_id = rest.decode().split(" ")
            self._hub.type(post(int(post_id)), int(user_id))

    # --- distrust ----------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Renews every registration; a stream that is behind or gone is repaired. Raises StoreUnavailable."""
        names = list(self._hub.streams)
        for start in range(0, len(names), TOUCHED_AT_ONCE):
            part = [name for name in names[start : start + TOUCHED_AT_ONCE] if name in self._hub.streams]
            tops = await self._streams.touch([(name, f"n:{self.node}") for name in part])
            for name, top in tops.items():
                stream = self._hub.streams.get(name)
                if stream is None or not stream.top_known:
                    continue
                if top is None or top.epoch != stream.epoch or top.offset > stream.offset:
                    stream.want_repair()
        self._watching &= {post(post_id) for post_id in self._hub.watchers}
        watched = list(self._watching)
        for start in range(0, len(watched), TOUCHED_AT_ONCE):
            await self._streams.touch([(name, f"w:{self.node}") for name in watched[start : start + TOUCHED_AT_ONCE]])

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(self._check)
            await self.check()

    async def _keep_probing(self) -> None:
        """Sends probes for ever. One that is lost makes the inbox subscribe anew; a store that was away, or has
        forgotten, makes it compare everything."""
        away = False
        lives: dict[str, str] = {}
        while True:
            try:
                names = await self._streams.probe_names(self.node)
                before, lives = lives, {name: (await self._streams.join(name, self.node)).epoch for name in names}
                # Another epoch of a probe's stream: the store has forgotten, the other streams with it.
                away |= any(lives[name] != before.get(name, lives[name]) for name in names)
                sent = {f"p{self.node}{time.monotonic_ns()}{i}": name for i, name in enumerate(names)}
                self._awaited = set(sent)
                self._all_heard.clear()
                started = time.monotonic()
                for event_id, name in sent.items():
                    await self._streams.append(Event(event_id, PROBED, 0, 0, 0, b"{}"), [name])
                if away:
                    away = False
                    self._background.spawn("inbox_check", self.check)
                await self._await_probes(started)
            except StoreUnavailable as error:
                away = True
                log.warning("probe_failed", cause=str(error))
            await asyncio.sleep(PROBE)

    async def _await_probes(self, started: float) -> None:
        try:
            async with asyncio.timeout(PROBE):
                await self._all_heard.wait()
            metrics.INBOX_PROBE.observe(time.monotonic() - started)
        except TimeoutError:
            if self._since < started:
                log.warning("inbox_deaf", probes=len(self._awaited))
                metrics.INBOX_DEAF.inc()
                self._deaf = True

    # --- leaving -----------------------------------------------------------------------------------------------------

    async def _keep_leaving(self) -> None:
        """Leaves streams that nobody here has followed for a while, for ever."""
        while True:
            await asyncio.sleep(IDLE_EVERY)
            names = self._hub.drop_idle(time.monotonic() - IDLE)
            if names:
                task = self._background.spawn("leave", self.leave_all, [(name, f"n:{self.node}") for name in names])
                self._leaving = (set(names), task)
                await asyncio.wait([task])
                self._leaving = None

    def registered(self) -> list[tuple[str, str]]:
        """Every registration of this node: (stream, field)."""
        fields = [(name, f"n:{self.node}") for name in self._hub.streams]
        return fields + [(name, f"w:{self.node}") for name in self._watching]

    async def leave_all(self, fields: list[tuple[str, str]]) -> None:
        """Takes registrations back."""
        try:
            await self._streams.leave(fields)
        except StoreUnavailable as error:
            log.debug("leave_lost", cause=str(error))  # the registrations expire by themselves

    # --- repair ------------------------------------------------------------------------------------------------------

    def _repair_soon(self, stream: LiveStream) -> None:
        self._background.spawn(f"repair {stream.name}", self._repair, stream)

    async def _repair(self, stream: LiveStream) -> None:
        """Reads what the hub's view is missing; what the log cannot bridge is a restart, never a loop."""
        try:
            await self._fill(stream)
        except BaseException:
            stream.repairing = False  # the next hole or check wants it again
            raise

    async def _fill(self, stream: LiveStream) -> None:
        while self._hub.streams.get(stream.name) is stream:
            try:
                async with self._repairing:
                    reading = await self._streams.read(stream.name, stream.epoch, stream.offset)
                    if reading.top is None or reading.items is None:
                        stream.restart(await self._streams.join(stream.name, self.node))
                        log.info("stream_restarted", stream=stream.name)
                        return
                    bodies = await self.bodies([item.event_id for item in reading.items])
            except StoreUnavailable as error:
                log.warning("repair_waits", stream=stream.name, cause=str(error))
                await asyncio.sleep(REPAIR_PAUSE)
                continue
            if None in bodies:
                # Expired meanwhile: every subscription reads its own state again, under its own eyes.
                stream.restart(reading.top)
            else:
                epoch = reading.top.epoch
                pairs = zip(reading.items, bodies, strict=True)
                stream.fill(Live(epoch, item, body) for item, body in pairs if body is not None)
            return


PROBED = "probe"  # kind of an event that only proves that this node hears


class Bodies:
    """Bodies of recent events, bounded in bytes; the oldest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, event_id: str) -> bytes | None:
        """A body, or None."""
        return self._kept.get(event_id)

    def put(self, event_id: str, body: bytes) -> None:
        """Keeps a body."""
        if event_id not in self._kept:
            self._kept[event_id] = body
            self._size += len(body)
            while self._size > BODIES:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)
