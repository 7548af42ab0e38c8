"""The only file that touches a socket: carries out the effects of sessions, reads frames, keeps time for all.

One receive loop per socket and no other task; pings, deadlines and counts of all sockets come from one ticker.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import Any

import structlog
from aiohttp import WSMsgType, web

from db import posts
from db.errors import StoreUnavailable
from feed import views
from feed.accounts import Accounts
from feed.accounts import Session as SignIn
from feed.background import Background
from feed.errors import Busy
from feed.stores import Stores
from feed.streams import post as post_stream
from realtime.authentication import require_same_site, token_of
from realtime.edge import EDGE
from realtime.live import protocol
from realtime.live.hub import Hub, Subscription
from realtime.live.inbox import Inbox
from realtime.live.joining import Joiner, Outcome, Refused
from realtime.live.protocol import At, Code, ErrorFrame, Joined, PostCounts
from realtime.live.rights import Holder, Rights, no_stream
from realtime.live.sender import HIGH_WATER, Sender
from realtime.live.session import (
    Close,
    Effect,
    Join,
    Leave,
    Prove,
    Renew,
    Send,
    Session,
    Type,
    WatchCounts,
)
from realtime.live.websocket import WebSocket
from realtime.problems import NotSameSite

log = structlog.get_logger(__name__)

CLOSE_WITHIN = 2.0  # seconds that a peer has to answer a close frame
TICK = 0.25  # seconds: counts leave at most four times a second, deadlines are this exact
PACE = 0.02  # seconds between looks at a socket that is still taking its replay
REPLAY_WITHIN = 30.0  # seconds that a socket has to take its replay before it is a slow reader
KERNEL_BUFFER = 64 * 1024  # bytes of SO_SNDBUF: what a stalled socket may hold in the kernel
UNSENT_LOW = 16 * 1024  # bytes of TCP_NOTSENT_LOWAT: beyond these the transport's buffer, which we see, fills instead


class Ending(Exception):
    """The connection is to be closed with a code; raised in its own task."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.reason)
        self.code = code


class Connection:
    """One socket with its session, sender and subscriptions."""

    def __init__(
        self,
        gateway: Gateway,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        task: asyncio.Task[Any],
    ) -> None:
        self.id = secrets.token_hex(8)
        self.user_id = 0
        self.sign_in: SignIn | None = None
        self.session = Session(time.monotonic(), gateway.ping_seconds)
        self.sender = Sender(transport, lambda: gateway.close_soon(self, protocol.SLOW_READER))
        self.subscriptions: dict[str, Subscription] = {}
        self.watched: set[int] = set()
        self.dirty: set[int] = set()
        self.denied: set[int] = set()
        self.ending: tuple[Code, int | None] | None = None  # close code and when to come back
        self.task = task
        self.websocket = websocket
        self.transport = transport
        self.rechecks = 0

    def send(self, frame: bytes) -> None:
        """Queues a websocket frame."""
        self.sender.enqueue(frame)

    def say(self, message: Any) -> None:
        """Queues a message."""
        self.sender.enqueue(protocol.websocket_frame(protocol.encode(message)))

    def counts_changed(self, post_id: int) -> None:
        """Marks a watched post; the ticker sends its latest numbers."""
        self.dirty.add(post_id)


class Gateway:
    """Every live connection of this process."""

    def __init__(
        self,
        stores: Stores,
        accounts: Accounts,
        background: Background,
        *,
        ping_seconds: int,
        max_sockets: int,
        max_sockets_per_user: int,
    ) -> None:
        self.hub = Hub()
        self.inbox = Inbox(stores.redis, stores.streams, self.hub, background, check=ping_seconds / 2)
        self._rights = Rights(stores, accounts, self.hub, self.inbox, background, sign_out=self._sign_out)
        self.ping_seconds = ping_seconds
        self._joiner = Joiner(stores, self.hub, self.inbox)
        self._stores = stores
        self._accounts = accounts
        self._background = background
        self._max_sockets = max_sockets
        self._max_per_user = max_sockets_per_user
        self._connections: set[Connection] = set()

    def start(self) -> None:
        """Starts the inbox and the ticker; call once, on the loop."""
        self._background.keep("inbox", self.inbox.listen)
        self._background.keep("inbox_checks", self.inbox.keep_checking)
        self._background.keep("ticker", self._tick)
        self._background.keep("verifier", self._rights.keep_verifying)

    @property
    def connections(self) -> int:
        """Sockets that are open."""
        return len(self._connections)

    # --- one socket --------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/live: upgrades and stays until the socket ends."""
        edge = request.app[EDGE]
        if edge.draining or len(self._connections) >= self._max_sockets:
            raise Busy("This server takes no more live connections now. Try again, or another one.", retry_after=5)
        token, by_cookie = token_of(request, edge.settings)
        websocket = WebSocket()
        await websocket.prepare(request)
        transport = request.transport
        if transport is None:
            return websocket
        _bound_kernel_buffers(transport)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in one
        connection = Connection(self, websocket, transport, task)
        self._connections.add(connection)
        try:
            await self._live(connection, request, token, by_cookie)
            self._forget(connection)  # first, so that nothing is queued behind the close frame
            await self._shut(connection)
        finally:
            self._forget(connection)
            self._connections.discard(connection)
        return websocket

    async def _live(self, connection: Connection, request: web.Request, token: str | None, by_cookie: bool) -> None:
        """The conversation; leaves in `ending` how the socket is to be closed, None when the peer has gone."""
        try:
            refusal = self._refusal(request, token, by_cookie)
            if refusal is not None:
                raise Ending(refusal)
            await self._converse(connection, token)
        except Ending as end:
            connection.ending = connection.ending or (end.code, None)
        except asyncio.CancelledError:
            if connection.ending is None:
                raise
            connection.task.uncancel()
        except StoreUnavailable as error:
            log.warning("live_connection_without_store", session=connection.id, cause=str(error))
            connection.ending = (protocol.NO_STORE, None)
        except Exception:
            # Whatever it was, an HTTP answer must not be written into an open websocket.
            log.exception("live_connection_died", session=connection.id)
            connection.ending = (protocol.FAILED, None)

    def _refusal(self, request: web.Request, token: str | None, by_cookie: bool) -> Code | None:
        """Why this socket is closed right after the upgrade, where browsers can read the code."""
        offered = request.headers.get("Sec-WebSocket-Protocol")
        if offered and protocol.SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            return protocol.PROTOCOL_VERSION
        if token is not None and by_cookie:
            try:
                require_same_site(request, request.app[EDGE].settings)
            except NotSameSite:
                return protocol.NOT_ALLOWED
        return None

    async def _converse(self, connection: Connection, token: str | None) -> None:
        """The receive loop."""
        session = connection.session
        async for message in connection.websocket:
            if message.type == WSMsgType.TEXT:
                effects = session.received(message.data, time.monotonic())
            elif message.type == WSMsgType.BINARY:
                effects = session.received_binary()
            else:
                break
            for effect in effects:
                await self._carry_out(connection, effect, token)
            if session.state == "closed":
                break

    async def _carry_out(self, connection: Connection, effect: Effect, token: str | None) -> None:
        match effect:
            case Send(message=message):
                connection.say(message)
            case Prove(token=given, resume=resume):
                await self._greet(connection, token, given, resume)
            case Join(stream=stream, start=start, request_id=request_id):
                await self._subscribe(connection, stream, start, request_id)
            case Leave(stream=stream, request_id=request_id):
                subscription = connection.subscriptions.pop(stream, None)
                if subscription is not None:
                    self.hub.unsubscribe(subscription)
                connection.say(protocol.Unsubscribed(request_id, stream))
            case WatchCounts(posts=wanted, request_id=request_id):
                await self._watch(connection, set(wanted), request_id)
            case Type(post_id=post_id):
                await self._type(connection, post_id)
            case Renew(token=renewed):
                await self._renew(connection, renewed)
            case Close(code=code):
                raise Ending(code)

    async def _greet(self, connection: Connection, token: str | None, given: str | None, resume: dict[str, At]) -> None:
        """Proves the token, joins `me` and every stream of `resume`, answers welcome, replays, opens the gates."""
        if token is not None and given is not None and token != given:
            raise Ending(protocol.BAD_TOKEN)
        chosen = token or given
        sign_in = await self._accounts.authenticate(chosen) if chosen else None
        if sign_in is None:
            raise Ending(protocol.BAD_TOKEN)
        connection.user_id, connection.sign_in = sign_in.user_id, sign_in
        if len(self.hub.by_user.get(sign_in.user_id, ())) >= self._max_per_user:
            raise Ending(protocol.TOO_MANY_CONNECTIONS)
        self.hub.connect(connection)
        await self._rights.separate(connection)
        # Asked again now that an order would find this connection: a sign-out in between is not missed.
        if not await self._accounts.still_signed_in([sign_in.id]):
            raise Ending(protocol.BAD_TOKEN)
        outcomes: dict[str, Outcome] = {}
        errors: list[ErrorFrame] = []
        for label in ["me", *(label for label in resume if label != "me")]:
            try:
                outcomes[label] = await self._join(connection, label, resume.get(label))
            except Refused:
                errors.append(no_stream(label))
        connection.session.proved(sign_in.expires_at.timestamp(), time.monotonic())
        for label in [label for label in outcomes if label not in connection.subscriptions]:
            del outcomes[label]  # revoked while the next one was joined; the error has been said
        streams = {label: Joined(o.top.epoch, o.top.offset, o.recovered) for label, o in outcomes.items()}
        connection.say(
            protocol.Welcome(connection.id, str(sign_in.user_id), self.ping_seconds, protocol.MAX_MESSAGE, streams)
        )
        for error in errors:
            connection.say(error)
        for outcome in outcomes.values():
            await self._open(connection, outcome)

    async def _join(self, connection: Connection, label: str, start: At | None) -> Outcome:
        """Joins a stream; one that is on already is joined anew from the position given."""
        if len(connection.subscriptions) >= protocol.MOST_STREAMS and label not in connection.subscriptions:
            raise Refused
        previous = connection.subscriptions.pop(label, None)
        if previous is not None:
            self.hub.unsubscribe(previous)  # first: what the new one replays must not come from the old one too
        generation = self._rights.generation
        outcome = await self._joiner.join(connection, label, start)
        connection.subscriptions[label] = outcome.subscription
        if self._rights.generation != generation:
            await self._rights.recheck(connection)
            if label not in connection.subscriptions:
                raise Refused
        return outcome

    async def _open(self, connection: Connection, outcome: Outcome) -> None:
        """Sends the replay at the socket's own pace, then opens the gate."""
        deadline = time.monotonic() + REPLAY_WITHIN
        connection.session.replaying = True
        label = outcome.subscription.label
        for frame in outcome.frames:
            while connection.sender.queued > HIGH_WATER and not connection.sender.closed:
                if time.monotonic() > deadline:
                    raise Ending(protocol.SLOW_READER)
                await asyncio.sleep(PACE)
            if connection.subscriptions.get(label) is not outcome.subscription:
                break  # taken away meanwhile
            connection.send(frame)
        connection.session.replayed()
        if connection.subscriptions.get(label) is outcome.subscription:
            outcome.subscription.open(outcome.top)

    async def _subscribe(self, connection: Connection, label: str, start: At | None, request_id: str | int) -> None:
        if len(connection.subscriptions) >= protocol.MOST_STREAMS and label not in connection.subscriptions:
            return connection.say(ErrorFrame("limit", f"At most {protocol.MOST_STREAMS} streams.", request_id))
        try:
            outcome = await self._join(connection, label, start)
        except Refused:
            return connection.say(no_stream(label, request_id))
        top = outcome.top
        connection.say(protocol.Subscribed(request_id, label, top.epoch, top.offset, outcome.recovered))
        return await self._open(connection, outcome)

    async def _watch(self, connection: Connection, wanted: set[int], request_id: str | int) -> None:
        """Watches those posts that the viewer may see, and sends their present numbers."""
        try:
            generation = self._rights.generation
            async with self._stores.sql.read() as sql:
                rows = await posts.by_ids(sql, wanted)
                seen = await views.seen_posts(sql, connection.user_id, rows.values())
            ids = {row.id for row in seen}
            self.hub.watch(connection, ids, connection.watched)
            connection.watched = ids
            await self.inbox.watch(ids)
        except StoreUnavailable:
            return connection.say(ErrorFrame("limit", "Counts are not available now; watch again.", request_id))
        for row in seen:
            self.hub.set_counts(row.id, PostCounts(row.counts_version, row.likes, row.comments, row.shares))
        connection.dirty = ids & connection.watched
        if self._rights.generation != generation:
            await self._rights.recheck(connection)
        return None

    async def _type(self, connection: Connection, post_id: int) -> None:
        """Tells those who follow the same post; who does not follow it says nothing."""
        if post_stream(post_id) not in connection.subscriptions:
            return
        try:
            message = f"typing\n{post_id} {connection.user_id}".encode()
            await self._stores.streams.whisper([post_stream(post_id)], "n:", message)
        except StoreUnavailable as error:
            log.debug("typing_lost", cause=str(error))

    async def _renew(self, connection: Connection, token: str) -> None:
        try:
            sign_in = await self._accounts.authenticate(token)
        except StoreUnavailable:
            return  # the present token still holds; the client tries again before it expires
        if sign_in is None or sign_in.user_id != connection.user_id:
            raise Ending(protocol.BAD_TOKEN)
        connection.sign_in = sign_in
        connection.session.renewed(sign_in.expires_at.timestamp())

    # --- closing -----------------------------------------------------------------------------------------------------

    def close_soon(self, connection: Connection, code: Code, *, reconnect_in_ms: int | None = None) -> None:
        """Ends a connection from outside: its own task is interrupted and shuts the socket, whatever it was doing."""
        if connection.ending is None:
            connection.ending = (code, reconnect_in_ms)
            connection.session.state = "closed"
            if asyncio.current_task() is not connection.task:
                connection.task.cancel()  # its own task sees the state by itself

    def _sign_out(self, holder: Holder) -> None:
        assert isinstance(holder, Connection)  # noqa: S101 - the hub holds no others
        self.close_soon(holder, protocol.BAD_TOKEN)

    async def _shut(self, connection: Connection) -> None:
        """Sends what is queued and the close frame, and waits a little for the peer's own."""
        if connection.ending is None:
            return
        code, reconnect_in_ms = connection.ending
        connection.session.state = "closed"
        if reconnect_in_ms is not None:
            connection.say(protocol.Bye(code.number, reconnect_in_ms))
        connection.sender.drain()
        try:
            async with asyncio.timeout(CLOSE_WITHIN * 2):
                await connection.websocket.close(code=code.number, message=code.reason.encode())
        except (OSError, RuntimeError, TimeoutError) as error:
            log.debug("close_failed", cause=repr(error))
        finally:
            # A peer that does not read would keep the rest of its bytes, and its place, for ever.
            connection.transport.abort()

    async def drain(self) -> None:
        """Says good-bye to every connection with a spread delay, so that they do not all come back at once."""
        registered = self.inbox.registered()
        connections = list(self._connections)
        spread = max(500, 5 * len(connections))
        for connection in connections:
            self.close_soon(connection, protocol.DRAINING, reconnect_in_ms=secrets.randbelow(spread))
        if connections:
            await asyncio.wait([connection.task for connection in connections], timeout=CLOSE_WITHIN * 2)
        await self.inbox.leave_all(registered)

    def _forget(self, connection: Connection) -> None:
        """Takes a connection out of the hub; its socket counts until it is gone."""
        self.hub.watch(connection, set(), connection.watched)
        connection.watched = set()
        for subscription in connection.subscriptions.values():
            self.hub.unsubscribe(subscription)
        connection.subscriptions.clear()
        self.hub.disconnect(connection)

    # --- time --------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Deadlines, pings and counts of every socket, for ever."""
        while True:
            await asyncio.sleep(TICK)
            now, wall = time.monotonic(), time.time()
            for connection in list(self._connections):
                effects, ping = connection.session.tick(now, wall)
                for effect in effects:
                    if isinstance(effect, Close):
                        self.close_soon(connection, effect.code)
                if ping:
                    opened = connection.subscriptions.items()
                    connection.say(protocol.Ping({label: s.offset for label, s in opened if s.opened}))
                if connection.dirty:
                    self._send_counts(connection)

    def _send_counts(self, connection: Connection) -> None:
        known = self.hub.counts
        counts = {str(post_id): known[post_id] for post_id in connection.dirty if post_id in known}
        connection.dirty.clear()
        if counts:
            connection.say(protocol.LatestCounts(counts))


def _bound_kernel_buffers(transport: asyncio.Transport) -> None:
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW)
