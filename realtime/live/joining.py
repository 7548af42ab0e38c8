"""Joining a stream without a hole: position, log and live items become one sequence.

The order is the point. Register here and in the store first, so that whatever is appended from now on comes to this
node; only then authorise and read the log up to the top of that moment; hold what the inbox brings meanwhile; then
answer, replay, open the gate. Every replayed item passes the audience again: what the viewer lost since is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from db import posts
from feed.audience import Audience
from feed.errors import NotFound
from feed.events import TO_FORGET
from feed.posts import visible
from feed.stores import Stores
from feed.streams import Item, Top, me
from feed.streams import post as post_stream
from realtime.live.hub import Hub, Receiver, Subscription
from realtime.live.inbox import Inbox
from realtime.live.protocol import At, Skip, encode, event_frame, websocket_frame

POST_LABEL = re.compile(r"post:([1-9][0-9]{0,15})")
POSTS = {"post.created", "post.edited"}
COMMENTS = {"comment.created", "comment.edited"}


class Refused(Exception):
    """The stream is not there, or not for this viewer."""


class Outcome(msgspec.Struct):
    """A join that is complete but for the gate. `frames` replay every missed item up to `top`."""

    subscription: Subscription
    top: Top
    recovered: bool
    frames: list[bytes]


class Joiner:
    """Joins the streams of this node's connections."""

    def __init__(self, stores: Stores, hub: Hub, inbox: Inbox) -> None:
        self._stores = stores
        self._hub = hub
        self._inbox = inbox

    async def join(self, receiver: Receiver, label: str, start: At | None) -> Outcome:
        """Subscribes; the caller sends the answer and the frames, then opens `subscription` at `top`.

        Raises Refused, StoreUnavailable; then nothing stays subscribed.
        """
        name = self._name(receiver, label)
        await self.authorise(receiver.user_id, label)  # cheaply, before anything is made for it
        subscription = self._hub.subscribe(receiver, name, label)
        try:
            top = await self._inbox.join(subscription.stream)
            await self.authorise(receiver.user_id, label)
            frames = None if start is None else await self._replay(receiver.user_id, name, label, start, top)
        except BaseException:
            self._hub.unsubscribe(subscription)
            raise
        return Outcome(subscription, top, frames is not None, frames or [])

    def _name(self, receiver: Receiver, label: str) -> str:
        if label == "me":
            return me(receiver.user_id)
        match = POST_LABEL.fullmatch(label)
        if match is None:
            raise Refused
        return post_stream(int(match.group(1)))

    async def authorise(self, viewer_id: int, label: str) -> None:
        """Raises Refused unless the viewer may follow the stream now."""
        if label == "me":
            return
        try:
            async with self._stores.sql.read() as connection:
                await visible(connection, viewer_id, int(label.partition(":")[2]))
        except NotFound as error:
            raise Refused from error

    async def _replay(self, viewer_id: int, name: str, label: str, start: At, top: Top) -> list[bytes] | None:
        """Frames of every item after `start` up to `top`; None where the log cannot bridge."""
        if start.epoch != top.epoch or start.offset > top.offset:
            return None
        if start.offset == top.offset:
            return []
        reading = await self._stores.streams.read(name, start.epoch, start.offset, top.offset)
        if reading.items is None:
            return None
        bodies = await self._stores.streams.payloads([item.event_id for item in reading.items])
        allowed = await self._allowed(viewer_id, reading.items)
        if any(body is None and item.offset in allowed for item, body in zip(reading.items, bodies, strict=True)):
            return None  # its payload has expired: to skip what the viewer may see would be a silent hole
        return _frames(label, reading.items, bodies, allowed)

    async def _allowed(self, viewer_id: int, items: Sequence[Item]) -> set[int]:
        """Offsets of the items that the viewer may see now: one batch of queries for all of them."""
        post_ids = {item.object for item in items if item.kind in POSTS}
        async with self._stores.sql.read() as connection:
            rows = await posts.by_ids(connection, post_ids)
            comments = await posts.living_comments(connection, {i.object for i in items if i.kind in COMMENTS})
            people = {item.actor for item in items} | {row.author_id for row in rows.values()}
            audience = await Audience.load(connection, viewer_id, people)
        allowed = set()
        for item in items:
            if item.kind in TO_FORGET:
                visible_now = True
            elif item.kind in POSTS:
                visible_now = item.object in rows and audience.sees_post(rows[item.object])
            elif item.kind in COMMENTS and item.object not in comments:
                visible_now = False
            else:
                visible_now = audience.sees_person(item.actor)
            if visible_now:
                allowed.add(item.offset)
        return allowed


def _frames(label: str, items: Sequence[Item], bodies: Sequence[bytes | None], allowed: set[int]) -> list[bytes]:
    """One frame per visible item; neighbours that are nothing for this viewer become one skip."""
    frames: list[bytes] = []
    skipped: int | None = None
    for item, body in zip(items, bodies, strict=True):
        if body is None or item.offset not in allowed:
            skipped = item.offset if skipped is None else skipped
            continue
        if skipped is not None:
            frames.append(websocket_frame(encode(Skip(label, skipped, item.offset - 1))))
            skipped = None
        frames.append(websocket_frame(event_frame(label, item.offset, body)))
    if skipped is not None:
        frames.append(websocket_frame(encode(Skip(label, skipped, items[-1].offset))))
    return frames
