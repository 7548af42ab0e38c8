"""Joining a stream without a hole: position, log and live items become one sequence.

The order is the point. Register here and in the store first, so that whatever is appended from now on comes to this
node; only then authorise and read up to the top of that moment; hold what the inbox brings meanwhile; then answer,
replay, open the gate. Every replayed item passes the audience again: what the viewer lost since is skipped.

Clients that come back together cost little: what this node has seen lately is replayed from memory, one read of a log
serves whoever waits for that stream, rights come from `feed.grants`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import msgspec

from feed import metrics
from feed.events import HIDDEN, TO_FORGET, age
from feed.grants import Grants
from feed.streams import TRENDING, Item, Streams, Top, me
from feed.streams import post as post_stream
from realtime.live.hub import Hub, Live, LiveStream, Receiver, Subscription
from realtime.live.inbox import Inbox
from realtime.live.protocol import At, Skip, encode, event_frame, websocket_frame

POST_LABEL = re.compile(r"post:([1-9][0-9]{0,15})")


class Refused(Exception):
    """The stream is not there, or not for this viewer."""


class Frame(msgspec.Struct, frozen=True):
    """A frame of a replay, and the position of whoever has handled it."""

    offset: int
    bytes: bytes
    item: Item | None = None  # None: a skip


class Outcome(msgspec.Struct):
    """A join that is complete but for the gate. `frames` replay every missed item up to `top`."""

    subscription: Subscription
    top: Top
    recovered: bool
    frames: list[Frame]
    generation: int = 0  # of the rights that the frames were judged by


class Joiner:
    """Joins the streams of this node's connections."""

    def __init__(self, streams: Streams, grants: Grants, hub: Hub, inbox: Inbox) -> None:
        self._streams = streams
        self._grants = grants
        self._hub = hub
        self._inbox = inbox
        self._reading: dict[tuple[str, str], Reading] = {}

    async def join(self, receiver: Receiver, label: str, start: At | None) -> Outcome:
        """Subscribes; the caller sends the answer and the frames, then opens `subscription` at `top`.

        Raises Refused, StoreUnavailable; then nothing stays subscribed.
        """
        name = self._name(receiver, label)
        await self._authorise(receiver, label)  # cheaply, before anything is made for it
        subscription = self._hub.subscribe(receiver, name, label)
        try:
            top = await self._inbox.join(subscription.stream, start)
            await self._authorise(receiver, label)
            frames = None if start is None else await self._replay(receiver, subscription.stream, start, top)
        except BaseException:
            self._hub.unsubscribe(subscription)
            raise
        position = start if start is not None and frames is not None else top
        subscription.epoch, subscription.offset = position.epoch, position.offset
        return Outcome(subscription, top, frames is not None, frames or [])

    def _name(self, receiver: Receiver, label: str) -> str:
        if label == "me":
            return me(receiver.user_id)
        if label == TRENDING:
            return TRENDING
        match = POST_LABEL.fullmatch(label)
        if match is None:
            raise Refused
        return post_stream(int(match.group(1)))

    async def _authorise(self, receiver: Receiver, label: str) -> None:
        """Raises Refused unless the viewer may follow the stream now."""
        if label not in ("me", TRENDING) and not await self._grants.sees_post(
            receiver.user_id, int(label.partition(":")[2])
        ):
            raise Refused

    async def _replay(self, receiver: Receiver, stream: LiveStream, start: At, top: Top) -> list[Frame] | None:
        """Frames of every item after `start` up to `top`; None where the log cannot bridge."""
        if start.epoch != top.epoch or start.offset > top.offset:
            metrics.LIVE_REPLAYS.labels("not_recovered").inc()
            return None
        missed = self._from_memory(stream, start, top)
        source = "memory"
        if missed is None:
            missed, source = await self._from_log(stream, start, top), "log"
        metrics.LIVE_REPLAYS.labels("not_recovered" if missed is None else source).inc()
        if not missed:
            return missed if missed is None else []
        allowed = await self._grants.sees_items(receiver.user_id, [live.item for live in missed])
        for live in missed:
            kind = live.item.kind
            if (kind == HIDDEN and stream.label != "me") or (
                live.item.actor in receiver.denied and kind not in TO_FORGET
            ):
                allowed.discard(live.offset)
        return _frames(stream.label, missed, allowed)

    def _from_memory(self, stream: LiveStream, start: At, top: Top) -> list[Live] | None:
        recent = stream.since(start.epoch, start.offset)
        if recent is None or stream.offset < top.offset:
            return None
        if recent and age(recent[0].body) >= self._streams.window:
            return None  # no revocation is remembered for longer: what the log would refuse, memory refuses too
        return recent[: top.offset - start.offset]

    async def _from_log(self, stream: LiveStream, start: At, top: Top) -> list[Live] | None:
        """The log's items, read once for all who wait for this stream; then they are in memory."""
        key = (stream.name, start.epoch)
        reading = self._reading.get(key)
        if reading is None or reading.offset > start.offset or reading.upto < top.offset:
            lowest = start.offset
            if stream.label != "me":  # all that the log keeps: the next client may be further behind
                lowest = min(lowest, max(0, top.offset - self._streams.keep))
            task = asyncio.create_task(self._read(stream, start.epoch, lowest, top.offset))
            self._reading[key] = reading = Reading(lowest, top.offset, task)
            reading.task.add_done_callback(lambda _task: self._read_done(key, reading))
        found = await asyncio.shield(reading.task)  # a client that goes away does not take the read along
        if found is None and reading.offset < start.offset:
            found = await self._read(stream, start.epoch, start.offset, top.offset)
        if found is None:
            return None
        return [live for live in found if start.offset < live.offset <= top.offset]

    def _read_done(self, key: tuple[str, str], reading: Reading) -> None:
        if self._reading.get(key) is reading:
            del self._reading[key]
        if not reading.task.cancelled():
            reading.task.exception()  # whoever waited raises it; it may be that nobody does any more

    async def _read(self, stream: LiveStream, epoch: str, offset: int, upto: int) -> list[Live] | None:
        """Every item after `offset` up to `upto`, or None. Two pipelined reads: references, then bodies."""
        reading = await self._streams.read(stream.name, epoch, offset, upto)
        if reading.items is None:
            return None
        bodies = await self._inbox.bodies([item.event_id for item in reading.items])
        if None in bodies:
            return None  # a payload has expired: to skip what the viewer may see would be a silent hole
        found = [Live(epoch, item, body) for item, body in zip(reading.items, bodies, strict=True) if body is not None]
        stream.remember(found)
        return found


class Reading(msgspec.Struct):
    """One read of a log that several clients wait for."""

    offset: int
    upto: int
    task: asyncio.Task[list[Live] | None]


def _frames(label: str, missed: Sequence[Live], allowed: set[int]) -> list[Frame]:
    """One frame per visible item; neighbours that are nothing for this viewer become one skip."""
    frames: list[Frame] = []
    skipped: int | None = None
    for live in missed:
        if live.offset not in allowed:
            skipped = live.offset if skipped is None else skipped
            continue
        if skipped is not None:
            frames.append(_skip(label, skipped, live.offset - 1))
            skipped = None
        frame = websocket_frame(event_frame(label, live.offset, live.body))
        frames.append(Frame(live.offset, frame, live.item))
    if skipped is not None:
        frames.append(_skip(label, skipped, missed[-1].offset))
    return frames


def _skip(label: str, offset: int, to: int) -> Frame:
    return Frame(to, websocket_frame(encode(Skip(label, offset, to))))
