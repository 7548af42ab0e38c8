"""This node's Redis channels -> hub, and the repair of what did not come that way.

Pub/sub forgets, so nothing is believed because it was silent: holes are read from the log at once, and every CHECK
seconds, and after every (re)subscription, each stream's top is compared with the store's.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import msgspec
import orjson
import structlog

from db import redis as keys
from db.errors import StoreUnavailable
from db.redis import Redis
from feed.background import Background
from feed.events import TO_FORGET
from feed.streams import LISTEN, Streams, Top, post
from realtime.live.hub import Hub, Live, LiveStream
from realtime.live.protocol import PostCounts, TypingNow, encode, websocket_frame

log = structlog.get_logger(__name__)

WAIT = 5.0  # seconds that one wait for a message lasts; only bounds how long a stop takes
LEAVE_AFTER = 2.0  # seconds that a stream without subscriptions is kept: a page flip comes back to it
TOUCHED_AT_ONCE = 200  # streams per touch call
REPAIRS_AT_ONCE = 16  # after a restart of the store every stream repairs: requests need connections too
REPAIR_PAUSE = 0.2  # seconds before a repair that met an unreachable store is tried again


class Inbox:
    """Feeds the hub of one node. `node` names this process's life."""

    def __init__(self, redis: Redis, streams: Streams, hub: Hub, background: Background, *, check: float) -> None:
        self.node = secrets.token_hex(8)
        self._redis = redis
        self._streams = streams
        self._hub = hub
        self._background = background
        self._check = min(check, LISTEN / 3)
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._watching: set[str] = set()
        self._repairing = asyncio.Semaphore(REPAIRS_AT_ONCE)
        self.on_subscribed: Callable[[], None] = lambda: None
        self.on_signed_out: Callable[[int, set[int]], None] = lambda _user, _sessions: None
        self.on_parted: Callable[[set[int]], None] = lambda _users: None
        self.on_narrowed: Callable[[int], None] = lambda _post: None
        hub.wants_repair = self._repair_soon
        hub.wants_leave = self._leave_soon

    async def join(self, stream: LiveStream) -> Top:
        """Registers this node for a stream and starts the hub's view of it. Raises StoreUnavailable."""
        leaving = self._leaving.pop(stream.name, None)
        if leaving is not None:
            # A registration that is being taken back would take this one with it.
            leaving.cancel()
            await asyncio.wait([leaving])
        top = await self._streams.join(stream.name, self.node)
        stream.start(top)
        if stream.epoch != top.epoch:
            stream.restart(top)
        return top

    async def watch(self, posts: set[int]) -> None:
        """Makes sure that counts of these posts, watched in the hub, come to this node. Raises StoreUnavailable."""
        new = {post(post_id) for post_id in posts} - self._watching
        await asyncio.gather(*(self._streams.want_counts(name, self.node) for name in new))
        self._watching |= new

    async def listen(self) -> None:
        """Reads the channels for ever; raises StoreUnavailable when the connection is lost (its owner restarts it)."""
        async with self._redis.subscription(keys.CONTROL, inbox=self.node) as subscription:
            self._background.spawn("inbox_check", self.check)
            self.on_subscribed()
            while True:
                message = await subscription.next(WAIT)
                if message is None:
                    continue
                channel, data = message
                try:
                    self._control(data) if channel == keys.CONTROL else self._take(data)
                except (ValueError, KeyError, msgspec.DecodeError):
                    log.exception("inbox_message_refused", channel=channel, size=len(data))

    async def keep_checking(self) -> None:
        """Compares every stream's top with the store's, for ever."""
        while True:
            await asyncio.sleep(self._check)
            await self.check()

    async def check(self) -> None:
        """Renews every registration; a stream that is behind or gone is repaired. Raises StoreUnavailable."""
        names = list(self._hub.streams)
        for start in range(0, len(names), TOUCHED_AT_ONCE):
            part = names[start : start + TOUCHED_AT_ONCE]
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

    def registered(self) -> list[tuple[str, str]]:
        """Every registration of this node: (stream, field)."""
        fields = [(name, f"n:{self.node}") for name in {*self._hub.streams, *self._leaving}]
        return fields + [(name, f"w:{self.node}") for name in self._watching]

    async def leave_all(self, fields: list[tuple[str, str]]) -> None:
        """Takes registrations back: the process ends, and its users are not online because of it."""
        try:
            for start in range(0, len(fields), TOUCHED_AT_ONCE):
                await self._streams.leave(fields[start : start + TOUCHED_AT_ONCE])
        except StoreUnavailable as error:
            log.debug("leave_lost", cause=str(error))  # the registrations expire by themselves

    def _take(self, data: bytes) -> None:
        """A message for streams of this node: `item` lines and payload, or a whisper."""
        kind, _, rest = data.partition(b"\n")
        if kind == b"item":
            head, _, body = rest.partition(b"\n\n")
            _, reference, *lines = head.decode().split("\n")
            actor = _audible_actor(reference)
            for line in lines:
                name, epoch, offset = line.split(" ")
                self._hub.receive(name, Live(epoch, int(offset), body, actor))
        elif kind == b"counts":
            for post_id, counts in msgspec.json.decode(rest, type=dict[str, PostCounts]).items():
                self._hub.set_counts(int(post_id), counts)
        elif kind == b"typing":
            post_id, user_id = rest.decode().split(" ")
            self._hub.type(post(int(post_id)), int(user_id), websocket_frame(encode(TypingNow(post_id, user_id))))

    def _control(self, data: bytes) -> None:
        order = orjson.loads(data)  # one of another kind is of a newer release
        if "signed_out" in order:
            self.on_signed_out(order["signed_out"]["user"], set(order["signed_out"]["sessions"]))
        if "parted" in order:
            self.on_parted(set(order["parted"]))
        if "narrowed" in order:
            self.on_narrowed(order["narrowed"])

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
                bodies = await self._streams.payloads([item.event_id for item in reading.items])
            except StoreUnavailable as error:
                log.warning("repair_waits", stream=stream.name, cause=str(error))
                await asyncio.sleep(REPAIR_PAUSE)
                continue
            if None in bodies:
                # Deleted or hidden since: every subscription reads its own state again, under its own eyes.
                stream.restart(reading.top)
            else:
                epoch = reading.top.epoch
                stream.fill(
                    Live(epoch, item.offset, body, 0 if item.kind in TO_FORGET else item.actor)
                    for item, body in zip(reading.items, bodies, strict=True)
                    if body is not None
                )
            return

    def _leave_soon(self, name: str) -> None:
        if name not in self._leaving:
            self._leaving[name] = self._background.spawn(f"leave {name}", self._leave, name)

    async def _leave(self, name: str) -> None:
        await asyncio.sleep(LEAVE_AFTER)
        if name not in self._hub.streams:
            try:
                await self._streams.leave([(name, f"n:{self.node}")])
            except StoreUnavailable as error:
                log.debug("leave_lost", cause=str(error))  # the registration expires by itself
        if self._leaving.get(name) is asyncio.current_task():
            del self._leaving[name]


def _audible_actor(reference: str) -> int:
    """Whose act an item is; 0 for one that everybody must hear, because it only tells what to forget."""
    kind, actor, _, _ = reference.split(" ")
    return 0 if kind in TO_FORGET else int(actor)
