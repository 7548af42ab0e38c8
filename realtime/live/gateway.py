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

from db import posts, relations
from db.errors import SocialError, StoreUnavailable
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
from realtime.problems import NotSameSite

log = structlog.get_logger(__name__)

CLOSE_WITHIN = 2.0  # seconds that a peer has to answer a close frame
TICK = 0.25  # seconds: counts leave at most four times a second, deadlines are this exact
PACE = 0.02  # seconds between looks at a socket that is still taking its replay
REPLAY_WITHIN = 30.0  # seconds that a socket has to take its replay before it is a slow reader
KERNEL_BUFFER = 64 * 1024  # bytes of SO_SNDBUF: what a stalled socket may hold in the kernel
UNSENT_LOW = 16 * 1024  # bytes of TCP_NOTSENT_LOWAT: beyond these the transport's buffer, which we see, fills instead


class Connection:
    """One socket with its session, sender and subscriptions."""

    def __init__(self, gateway: Gateway, websocket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.id = secrets.token_hex(8)
        self.user_id = 0
        self.sign_in: SignIn | None = None
        self.session = Session(time.monotonic(), gateway.ping_seconds)
        self.sender = Sender(transport, lambda: gateway.close_soon(self, protocol.SLOW_READER))
        self.subscriptions: dict[str, Subscription] = {}
        self.watched: set[int] = set()
        self.dirty: set[int] = set()
        self.denied: set[int] = set()
        self.closing: asyncio.Task[None] | None = None
        self.websocket = websocket

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
        self.inbox.on_signed_out = self._signed_out
        self.inbox.on_parted = self._parted
        self.inbox.on_narrowed = self._narrowed
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
        websocket = web.WebSocketResponse(
            protocols=(protocol.SUBPROTOCOL,),
            compress=False,  # 95 KB and six times the CPU per socket
            max_msg_size=protocol.MAX_MESSAGE + 1,  # aiohttp refuses from this size on
            timeout=CLOSE_WITHIN,
        )
        await websocket.prepare(request)
        transport = request.transport
        if transport is None:
            return websocket
        _bound_kernel_buffers(transport)
        connection = Connection(self, websocket, transport)
        self._connections.add(connection)
        try:
            refusal = self._refusal(request, token, by_cookie)
            if refusal is not None:
                await self._close(connection, refusal)
            else:
                await self._converse(connection, token)
        finally:
            self._forget(connection)
            if connection.closing is not None:
                await asyncio.wait([connection.closing])
        return websocket

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
                await self._close(connection, code)

    async def _greet(self, connection: Connection, token: str | None, given: str | None, resume: dict[str, At]) -> None:
        """Proves the token, joins `me` and every stream of `resume`, answers welcome, replays, opens the gates."""
        if token is not None and given is not None and token != given:
            return await self._end(connection, connection.session.refused())
        chosen = token or given
        try:
            sign_in = await self._accounts.authenticate(chosen) if chosen else None
        except StoreUnavailable:
            return await self._close(connection, Code(1011, "a store is unreachable"))
        if connection.session.state == "closed":
            return None
        if sign_in is None:
            return await self._end(connection, connection.session.refused())
        connection.user_id, connection.sign_in = sign_in.user_id, sign_in
        if len(self.hub.by_user.get(sign_in.user_id, ())) >= self._max_per_user:
            return await self._close(connection, protocol.TOO_MANY_CONNECTIONS)
        self.hub.connect(connection)
        try:
            await self._separate(connection)
        except StoreUnavailable:
            return await self._close(connection, Code(1011, "a store is unreachable"))
        outcomes: dict[str, Outcome] = {}
        errors: list[ErrorFrame] = []
        for label in ["me", *(label for label in resume if label != "me")]:
            try:
                outcomes[label] = await self._join(connection, label, resume.get(label))
            except Refused:
                errors.append(_no_stream(label))
            except StoreUnavailable:
                return await self._close(connection, Code(1011, "a store is unreachable"))
        if connection.session.state == "closed":
            return None  # signed out while it was joining
        connection.session.proved(sign_in.expires_at.timestamp(), time.monotonic())
        streams = {label: Joined(o.top.epoch, o.top.offset, o.recovered) for label, o in outcomes.items()}
        connection.say(
            protocol.Welcome(connection.id, str(sign_in.user_id), self.ping_seconds, protocol.MAX_MESSAGE, streams)
        )
        for error in errors:
            connection.say(error)
        for outcome in outcomes.values():
            await self._open(connection, outcome)
        return None

    async def _join(self, connection: Connection, label: str, start: At | None) -> Outcome:
        """Joins a stream; one that is on already is joined anew from the position given."""
        if len(connection.subscriptions) >= protocol.MOST_STREAMS and label not in connection.subscriptions:
            raise Refused
        outcome = await self._joiner.join(connection, label, start)
        previous = connection.subscriptions.get(label)
        if previous is not None:
            self.hub.unsubscribe(previous)
        connection.subscriptions[label] = outcome.subscription
        if connection.session.state == "closed":
            self.hub.unsubscribe(outcome.subscription)
        return outcome

    async def _open(self, connection: Connection, outcome: Outcome) -> None:
        """Sends the replay at the socket's own pace, then opens the gate."""
        deadline = time.monotonic() + REPLAY_WITHIN
        for frame in outcome.frames:
            while connection.sender.queued > HIGH_WATER and not connection.sender.closed:
                if time.monotonic() > deadline:
                    return await self._close(connection, protocol.SLOW_READER)
                await asyncio.sleep(PACE)
            connection.send(frame)
        outcome.subscription.open(outcome.top)
        return None

    async def _subscribe(self, connection: Connection, label: str, start: At | None, request_id: str | int) -> None:
        if len(connection.subscriptions) >= protocol.MOST_STREAMS and label not in connection.subscriptions:
            return connection.say(ErrorFrame("limit", f"At most {protocol.MOST_STREAMS} streams.", request_id))
        try:
            outcome = await self._join(connection, label, start)
        except Refused:
            return connection.say(_no_stream(label, request_id))
        except StoreUnavailable:
            return await self._close(connection, Code(1011, "a store is unreachable"))
        top = outcome.top
        connection.say(protocol.Subscribed(request_id, label, top.epoch, top.offset, outcome.recovered))
        return await self._open(connection, outcome)

    async def _watch(self, connection: Connection, wanted: set[int], request_id: str | int) -> None:
        """Watches those posts that the viewer may see, and sends their present numbers."""
        try:
            async with self._stores.sql.read() as sql:
                rows = await posts.by_ids(sql, wanted)
                seen = await views.seen_posts(sql, connection.user_id, rows.values())
            await self.inbox.watch({row.id for row in seen})
        except StoreUnavailable:
            return connection.say(ErrorFrame("limit", "Counts are not available now; watch again.", request_id))
        ids = {row.id for row in seen}
        self.hub.watch(connection, ids, connection.watched)
        connection.watched = ids
        for row in seen:
            self.hub.set_counts(row.id, PostCounts(row.counts_version, row.likes, row.comments, row.shares))
        connection.dirty = set(ids)
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
            await self._end(connection, connection.session.refused())
            return
        connection.sign_in = sign_in
        connection.session.renewed(sign_in.expires_at.timestamp())

    # --- closing -----------------------------------------------------------------------------------------------------

    async def _end(self, connection: Connection, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Close):
                await self._close(connection, effect.code)

    async def _close(self, connection: Connection, code: Code, *, reconnect_in_ms: int | None = None) -> None:
        """Sends what is queued, then the close frame; forgets the connection first, so nothing is queued behind."""
        connection.session.state = "closed"
        self._forget(connection)
        if reconnect_in_ms is not None:
            connection.say(protocol.Bye(code.number, reconnect_in_ms))
        connection.sender.drain()
        await connection.websocket.close(code=code.number, message=code.reason.encode())

    def close_soon(self, connection: Connection, code: Code) -> None:
        """Closes from code that must not wait."""
        if connection.closing is None:
            connection.session.state = "closed"
            connection.closing = asyncio.create_task(self._close_quietly(connection, code))

    async def _close_quietly(self, connection: Connection, code: Code) -> None:
        try:
            await asyncio.wait_for(self._close(connection, code), CLOSE_WITHIN * 2)
        except (TimeoutError, OSError, RuntimeError, SocialError) as error:
            log.debug("close_failed", cause=repr(error))

    async def drain(self) -> None:
        """Says good-bye to every connection with a spread delay, so that they do not all come back at once."""
        connections = list(self._connections)
        spread = max(500, 5 * len(connections))
        for connection in connections:
            delay = secrets.randbelow(spread)
            if connection.closing is None:
                connection.closing = asyncio.create_task(self._close_politely(connection, delay))
        waiting = [c.closing for c in connections if c.closing is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=CLOSE_WITHIN * 2)

    async def _close_politely(self, connection: Connection, delay: int) -> None:
        try:
            await self._close(connection, protocol.DRAINING, reconnect_in_ms=delay)
        except (OSError, RuntimeError) as error:
            log.debug("close_failed", cause=repr(error))

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.hub.watch(connection, set(), connection.watched)
        connection.watched = set()
        for subscription in connection.subscriptions.values():
            self.hub.unsubscribe(subscription)
        connection.subscriptions.clear()
        self.hub.disconnect(connection)

    def _parted(self, user_ids: set[int]) -> None:
        """A friendship ended or a block came or went: what these people follow is asked for again."""
        for user_id in user_ids:
            self._recheck_soon([c for c in self.hub.by_user.get(user_id, ()) if isinstance(c, Connection)])

    def _narrowed(self, post_id: int) -> None:
        """A post is for fewer people: whoever follows or watches it is asked for again."""
        stream = self.hub.streams.get(post_stream(post_id))
        receivers = set(self.hub.watchers.get(post_id, ()))
        receivers |= {s.receiver for s in stream.subscriptions} if stream is not None else set()
        self._recheck_soon([c for c in receivers if isinstance(c, Connection)])

    def _recheck_soon(self, connections: list[Connection]) -> None:
        if connections:
            self._background.spawn("recheck", self._recheck(connections))

    async def _recheck(self, connections: list[Connection]) -> None:
        """Takes from each connection what its user may not see any more."""
        for connection in connections:
            followed = {int(label[5:]): label for label in connection.subscriptions if label.startswith("post:")}
            await self._separate(connection)
            async with self._stores.sql.read() as sql:
                rows = await posts.by_ids(sql, followed.keys() | connection.watched)
                seen = {row.id for row in await views.seen_posts(sql, connection.user_id, rows.values())}
            for post_id in followed.keys() - seen:
                subscription = connection.subscriptions.pop(followed[post_id], None)
                if subscription is not None:
                    self.hub.unsubscribe(subscription)
                    connection.say(_no_stream(followed[post_id]))
            kept = connection.watched & seen
            self.hub.watch(connection, kept, connection.watched)
            connection.watched = kept
            connection.dirty &= kept

    async def _separate(self, connection: Connection) -> None:
        """Loads the people of whom this connection must hear nothing."""
        async with self._stores.sql.read() as sql:
            self.hub.deny(connection, await relations.separated_from(sql, connection.user_id))

    def _signed_out(self, user_id: int, session_ids: set[int]) -> None:
        for receiver in list(self.hub.by_user.get(user_id, ())):
            if isinstance(receiver, Connection) and receiver.sign_in and receiver.sign_in.id in session_ids:
                self.close_soon(receiver, protocol.BAD_TOKEN)

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


def _no_stream(label: str, request_id: str | int | None = None) -> ErrorFrame:
    return ErrorFrame("forbidden_or_missing", f"There is no stream {label}, or you may not follow it.", request_id)


def _bound_kernel_buffers(transport: asyncio.Transport) -> None:
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW)
