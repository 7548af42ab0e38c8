"""The same streams as server-sent events, for where websockets are blocked.

`GET /api/v1/live/events?streams=me,trending,post:1&watch=2,3`: what is followed is fixed for the connection. Every
event has as its `id` the position of all streams, `me=<epoch>:<offset>,post:1=...`, which comes back as
`Last-Event-ID`.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web

from feed.errors import Unauthenticated
from feed.streams import TRENDING, Item
from realtime.authentication import require_same_site, token_of
from realtime.edge import EDGE
from realtime.live import protocol
from realtime.live.connection import Connection
from realtime.live.gateway import Gateway
from realtime.live.joining import POST_LABEL
from realtime.live.protocol import At, Bye, Code, payload_of
from realtime.live.session import WatchCounts
from realtime.live.websocket import bound_kernel_buffers
from realtime.problems import BadRequest

POSITION = re.compile(r"(me|trending|post:[1-9][0-9]{0,15})=([^:,=\s]{1,64}):([0-9]{1,16})")
POST_ID = re.compile(r"[1-9][0-9]{0,15}")
MOST_POSITIONS = 8192  # characters of a Last-Event-ID
COME_BACK_MS = 1000  # what EventSource waits by itself before it comes back


class Chunks(asyncio.Transport):
    """The transport under a chunked answer: each write is one chunk (RFC 9112, 7.1)."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport

    def write(self, data: Any) -> None:
        """Writes one chunk."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def get_write_buffer_size(self) -> int:
        """Bytes that wait in the process."""
        return self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """True when nothing more can be written."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """Cuts the connection."""
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket, among others."""
        return self._transport.get_extra_info(name, default)


class EventStream(Connection):
    """A connection that is carried by server-sent events.

    Every frame claims, by its `id`, all that was queued before it; so nothing that is queued may be dropped. A slow
    reader is closed instead, and resumes from the last id that it got.
    """

    lagging = False

    def __init__(self, transport: asyncio.Transport, task: asyncio.Task[Any], *, ping_seconds: int) -> None:
        super().__init__(transport, task, ping_seconds=ping_seconds)
        self.session.mute = True
        self.sender.drops = False

    def send(self, frame: bytes, item: Item) -> None:
        """Queues the frame of an item."""
        self.sender.enqueue(self._event(frame), item)

    def send_volatile(self, frame: bytes) -> None:
        """Queues what a slow reader does without."""
        if not self.sender.congested:
            self.sender.enqueue(self._event(frame))

    def reply(self, frame: bytes) -> None:
        """Queues any other frame."""
        self.sender.enqueue(self._event(frame))

    def forget_unsent(self, concerns: Callable[[Item], bool], *, cut: bool = False) -> None:
        """Cuts a slow reader off that has lost a right to what is held back: it comes back for the rest."""
        if self.sender.congested and self.sender.holds(concerns):
            self.sender.close()
            self.end_soon(protocol.GAP_FOUND)
        else:
            super().forget_unsent(lambda _item: False, cut=cut)

    def say_bye(self) -> None:
        """Queues the good-bye: there is no close code here, so every planned end has one."""
        if self.ending is not None:
            code, reconnect_in_ms = self.ending
            wait = COME_BACK_MS if reconnect_in_ms is None else reconnect_in_ms
            self.sender.enqueue(b"retry: %d\n" % wait)
            self.say(Bye(code.number, wait))

    def ping(self) -> None:
        """A comment keeps proxies awake; the message tells positions."""
        self.sender.enqueue(b":\n\n")
        super().ping()

    def _caught_up(self) -> None:
        """Nothing was dropped."""

    def _event(self, frame: bytes) -> bytes:
        positions = ",".join(
            f"{label}={subscription.epoch}:{subscription.offset}"
            for label, subscription in self.subscriptions.items()
            if subscription.epoch
        )
        head = f"id: {positions}\n".encode() if positions else b""
        return b"%bdata: %b\n\n" % (head, payload_of(frame))


async def serve_events(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    """GET /api/v1/live/events: answers until the peer goes. Raises Unauthenticated, Disabled, BadRequest, Busy."""
    edge = request.app[EDGE]
    streams, watched = _wanted(request)
    token, by_cookie = token_of(request, edge.settings)
    if by_cookie:
        require_same_site(request, edge.settings, proof=False)
    if token is None or await gateway.grants.sign_in(token) is None:
        raise Unauthenticated
    ticket = gateway.admission.admit(request, edge, gateway.connections)
    try:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
                hdrs.CACHE_CONTROL: "private, no-store",
                "X-Accel-Buffering": "no",
            }
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport, task = request.transport, asyncio.current_task()
        if transport is None or task is None:
            return response
        bound_kernel_buffers(transport)
        connection = EventStream(Chunks(transport), task, ping_seconds=gateway.ping_seconds)

        async def talk() -> None:
            await gateway.conversations.greet(connection, token, None, streams)
            ticket.greeted()
            if watched:
                await gateway.conversations.carry_out(connection, WatchCounts(watched, "watch"), token)
            if connection.ending is None:
                await asyncio.Event().wait()  # the peer says nothing more; the gateway sees when it has gone

        async def shut(_code: Code) -> None:
            await response.write_eof()

        await gateway.host(connection, talk, shut)
    finally:
        ticket.leave()
    return response


def _wanted(request: web.Request) -> tuple[dict[str, At | None], frozenset[int]]:
    """(stream -> position or None, posts to watch) of the query and Last-Event-ID. Raises BadRequest."""
    labels = [label for label in request.query.get("streams", "me").split(",") if label]
    known = all(label in ("me", TRENDING) or POST_LABEL.fullmatch(label) for label in labels)
    if len(labels) > protocol.MOST_STREAMS or not known:
        raise BadRequest(f"`streams` is a list of `me`, `trending` and `post:<id>`, {protocol.MOST_STREAMS} at most.")
    posts = [post for post in request.query.get("watch", "").split(",") if post]
    if len(posts) > protocol.MOST_WATCHED or not all(map(POST_ID.fullmatch, posts)):
        raise BadRequest(f"`watch` is a list of post ids, {protocol.MOST_WATCHED} at most.")
    streams: dict[str, At | None] = dict.fromkeys(["me", *labels])
    last = request.headers.get("Last-Event-ID", "")
    if len(last) > MOST_POSITIONS:
        raise BadRequest("This Last-Event-ID is not one of ours.")
    for part in filter(None, last.split(",")):
        match = POSITION.fullmatch(part)
        if match is None:
            raise BadRequest("This Last-Event-ID is not one of ours.")
        if match.group(1) in streams:
            streams[match.group(1)] = At(match.group(2), int(match.group(3)))
    return streams, frozenset(map(int, posts))
