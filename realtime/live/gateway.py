"""The live side of an edge process: takes sockets in, keeps time for all, sends them home.

One receive loop per socket and no other task; pings, deadlines, counts and presence of all sockets come from one
ticker. A socket is closed by its own task alone: whoever wants it closed interrupts that task (`end_soon`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import WSMsgType, web

from db.errors import StoreUnavailable
from feed import metrics
from feed.background import Background
from feed.grants import Grants
from feed.revocations import Revocation, Revocations
from feed.stores import Stores
from realtime.authentication import require_same_site, token_of
from realtime.edge import EDGE
from realtime.live import protocol
from realtime.live.admission import Admission
from realtime.live.connection import Connection, Ending
from realtime.live.conversation import Conversations
from realtime.live.hub import Hub
from realtime.live.inbox import Inbox
from realtime.live.presence import Presences
from realtime.live.protocol import Code, PresenceState
from realtime.live.rights import Rights
from realtime.live.session import Close
from realtime.live.websocket import CLOSE_WITHIN, WebSocket
from realtime.problems import NotSameSite

log = structlog.get_logger(__name__)

TICK = 0.25  # seconds: counts leave at most four times a second
SLICES = 4  # ticks that one round of deadlines takes: each is exact to a second
CLOSES_PER_SECOND = 500  # sockets that are sent home while draining: others take them in
DRAIN_WITHIN = 8.0  # seconds that the sending home takes at most
COME_BACK = (500, 5000)  # ms after which a client that was sent home comes back: the least spread, and the longest


class Gateway:
    """Every live connection of this process."""

    def __init__(
        self,
        stores: Stores,
        background: Background,
        *,
        ping_seconds: int,
        max_sockets: int,
        max_sockets_per_user: int,
        accepts_per_second: int,
    ) -> None:
        self._background = background
        self.ping_seconds = ping_seconds
        self.revocations = Revocations(stores.sql, stores.clock, window=stores.streams.window)
        self.grants = Grants(stores, self.revocations)
        self.hub = Hub(self.revocations)
        self.inbox = Inbox(stores.redis, stores.streams, self.hub, background, check=ping_seconds / 2)
        self._rights = Rights(self.grants, self.hub, background)
        self._presences = Presences(stores, self.hub, active_at=self._active_at, report=self._report_presence)
        self.conversations = Conversations(
            stores,
            self.grants,
            self.revocations,
            self.hub,
            self.inbox,
            self._rights,
            self._presences,
            ping_seconds=ping_seconds,
            max_per_user=max_sockets_per_user,
        )
        self.admission = Admission(most=max_sockets, per_second=accepts_per_second)
        self._connections: set[Connection] = set()
        self.revocations.on_learned = self._learned
        self.inbox.on_orders = self.revocations.learn
        self.inbox.on_presence = self._presences.heard
        self._rights.on_relations = self._presences.forget

    def start(self) -> None:
        """Starts its tasks; call once, on the loop."""
        self.inbox.start()
        self._background.keep("revocations", self.revocations.run)
        self._background.keep("presence", self._presences.run)
        self._background.keep("ticker", self._tick)

    @property
    def connections(self) -> int:
        """Sockets that are open."""
        return len(self._connections)

    # --- one socket --------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """GET /api/v1/live: upgrades and stays until the socket ends."""
        edge = request.app[EDGE]
        ticket = self.admission.admit(request, edge, len(self._connections))
        try:
            token, by_cookie = token_of(request, edge.settings)
            websocket = WebSocket()
            await websocket.prepare(request)
            transport = request.transport
            if transport is None:
                return websocket
            connection = Connection(transport, _this_task(), ping_seconds=self.ping_seconds)

            async def talk() -> None:
                refusal = self._refusal(request, token, by_cookie)
                if refusal is not None:
                    raise Ending(refusal)
                await self._converse(connection, websocket, token, ticket.greeted)

            async def shut(code: Code) -> None:
                await websocket.close(code=code.number, message=code.reason.encode())

            await self.host(connection, talk, shut)
        finally:
            ticket.leave()
        return websocket

    async def host(
        self, connection: Connection, talk: Callable[[], Awaitable[None]], shut: Callable[[Code], Awaitable[None]]
    ) -> None:
        """Runs the conversation of a connection to its end, whatever that is, and closes what carries it."""
        self._connections.add(connection)
        try:
            await self._guarded(connection, talk)
            self.conversations.leave(connection)  # first, so that nothing is queued behind the close frame
            await self._shut(connection, shut)
        finally:
            self.conversations.leave(connection)
            connection.sender.close()
            self._connections.discard(connection)

    async def _guarded(self, connection: Connection, talk: Callable[[], Awaitable[None]]) -> None:
        """The conversation; leaves in `ending` how the socket is to be closed, None when the peer has gone."""
        try:
            await talk()
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
            # Whatever it was, an HTTP answer must not be written into an open socket.
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

    async def _converse(
        self, connection: Connection, websocket: WebSocket, token: str | None, greeted: Callable[[], None]
    ) -> None:
        """The receive loop."""
        session = connection.session
        async for message in websocket:
            if message.type == WSMsgType.TEXT:
                effects = session.received(message.data, time.monotonic())
            elif message.type == WSMsgType.BINARY:
                effects = session.received_binary()
            else:
                break
            for effect in effects:
                if isinstance(effect, Close):
                    raise Ending(effect.code)
                await self.conversations.carry_out(connection, effect, token)
            if session.state == "open":
                greeted()
            elif session.state == "closed":
                break

    async def _shut(self, connection: Connection, shut: Callable[[Code], Awaitable[None]]) -> None:
        """Sends what is queued and the close frame, and waits a little for the peer's own."""
        if connection.ending is None:
            metrics.LIVE_CLOSES.labels("gone").inc()
            return
        code, _ = connection.ending
        metrics.LIVE_CLOSES.labels(str(code.number)).inc()
        connection.session.state = "closed"
        connection.say_bye()
        connection.sender.drain()
        try:
            async with asyncio.timeout(CLOSE_WITHIN * 2):
                await shut(code)
        except (OSError, RuntimeError, TimeoutError) as error:
            log.debug("close_failed", cause=repr(error))
        finally:
            # A peer that does not read would keep the rest of its bytes, and its place, for ever.
            connection.transport.abort()

    # --- all of them -------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Sends every connection home, spread over time, each told when to come back; takes none in any more."""
        self.admission.close()
        registered = self.inbox.registered()
        connections = list(self._connections)
        spread = min(max(COME_BACK[0], 5 * len(connections)), COME_BACK[1])
        pause = min(1 / CLOSES_PER_SECOND, DRAIN_WITHIN / max(1, len(connections)))
        started = time.monotonic()
        for number, connection in enumerate(connections):
            connection.end_soon(protocol.DRAINING, reconnect_in_ms=secrets.randbelow(spread))
            ahead = started + number * pause - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
        tasks = [connection.task for connection in self._connections]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_WITHIN * 2)
        await self.inbox.leave_all(registered)

    async def _tick(self) -> None:
        """Deadlines, pings, counts, presence and typing of every socket, for ever."""
        turn = 0
        while True:
            await asyncio.sleep(TICK)
            turn = (turn + 1) % SLICES
            now, wall = time.monotonic(), time.time()
            queued = largest = subscriptions = 0
            for connection in list(self._connections):
                if connection.number % SLICES == turn:
                    self._keep_time(connection, now, wall)
                connection.flush_volatile(self.hub.counts)
                size = connection.sender.queued
                queued, largest = queued + size, max(largest, size)
                subscriptions += len(connection.subscriptions)
            self.hub.tell_typing()
            metrics.LIVE_QUEUE.set(queued)
            metrics.LIVE_LARGEST_QUEUE.set(largest)
            metrics.LIVE_SESSIONS.set(len(self._connections))
            metrics.LIVE_STREAMS.set(len(self.hub.streams))
            metrics.LIVE_SUBSCRIPTIONS.set(subscriptions)
            metrics.REVOCATIONS_POLL_AGE.set(self.revocations.age)

    def _keep_time(self, connection: Connection, now: float, wall: float) -> None:
        effects, ping = connection.session.tick(now, wall)
        for effect in effects:
            if isinstance(effect, Close):
                connection.end_soon(effect.code)
        if ping:
            connection.ping()
        if connection.transport.is_closing():
            connection.end_soon(protocol.NO_PONG)  # a websocket's loop has noticed; an event stream has none

    def _learned(self, news: list[Revocation]) -> None:
        self._rights.learned(news)

    def _active_at(self, user_id: int) -> float:
        now = time.monotonic()  # of an event stream nothing is ever heard: it counts as active
        return max((now if c.session.mute else c.session.active_at for c in self._of_user(user_id)), default=0.0)

    def _report_presence(self, to: int, about: int, state: PresenceState) -> None:
        for connection in self._of_user(to):
            connection.presence_changed(about, state)

    def _of_user(self, user_id: int) -> list[Connection]:
        return [c for c in self.hub.by_user.get(user_id, ()) if isinstance(c, Connection)]


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a handler always runs in one
    return task
