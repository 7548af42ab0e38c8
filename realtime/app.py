"""The composition root of an edge process: opens the stores, mounts the routes, starts the live side, drains."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import structlog
from aiohttp import web

from db.s3 import Objects
from db.settings import Settings
from feed import garbage, loop_lag, outbox_age
from feed.accounts import Accounts
from feed.background import Background
from feed.passwords import Passwords
from feed.stores import Stores
from feed.usage import Usage
from realtime.edge import EDGE, Edge
from realtime.endpoint import BODY_LIMIT
from realtime.limits import Limits
from realtime.live.gateway import Gateway
from realtime.middleware import frame_request, seal
from realtime.routes import mount

log = structlog.get_logger(__name__)

SHUTDOWN = 2.5  # seconds that requests in flight have to finish; aiohttp waits twice this at most
USAGE_WITHIN = 1.0  # seconds at the end to write what was seen last; the figures can do without
BACKLOG = 1024  # connections that the kernel queues: a reconnect storm arrives at once
KEEP_ALIVE = 75.0  # seconds; longer than the idle time of a balancer in front, so that it never meets a closed socket


def build(settings: Settings, objects: Objects, stores: Stores) -> web.Application:
    """The application on stores that the caller opened and will close."""
    background = Background()
    accounts = Accounts(stores, Passwords(settings.password_threads), session_days=settings.session_days)
    gateway = Gateway(
        stores,
        background,
        ping_seconds=settings.ping_seconds,
        max_sockets=settings.max_sockets,
        max_sockets_per_user=settings.max_sockets_per_user,
        accepts_per_second=settings.accepts_per_second,
    )
    usage = Usage(stores)
    gateway.conversations.on_admitted = usage.seen
    gateway.hub.on_delivered = usage.delivered
    app = web.Application(middlewares=[frame_request], client_max_size=BODY_LIMIT)
    app[EDGE] = Edge(settings, stores, objects, accounts, Limits(settings), background, gateway, usage)
    app.on_response_prepare.append(seal)
    app.on_shutdown.append(_drain)
    app.cleanup_ctx.append(_live)
    mount(app)
    return app


def listen(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything else is started. Raises OSError for a busy port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


async def serve(
    settings: Settings,
    stores: Stores,
    listener: socket.socket,
    *,
    ready: Callable[[web.Application], None],
    until: asyncio.Event,
) -> None:
    """Runs an edge on stores that the caller opened, until `until` is set; then drains and closes the listener."""
    objects = await Objects.open(settings)
    app = build(settings, objects, stores)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN, keepalive_timeout=KEEP_ALIVE)
    try:
        await runner.setup()
        site = web.SockSite(runner, listener)
        await site.start()
        ready(app)
        await until.wait()
        app[EDGE].draining = True  # readyz is red from now on; a balancer sends nobody after its next check
        await asyncio.sleep(settings.balancer_check)
        await site.stop()
    finally:
        await runner.cleanup()
        await objects.close()


async def _live(app: web.Application) -> AsyncIterator[None]:
    edge = app[EDGE]
    edge.gateway.start()
    edge.background.keep("nudge", edge.stores.nudge.run)
    edge.background.keep("orders", edge.stores.orders.run)
    edge.background.keep("loop_lag", loop_lag.keep_measuring)
    edge.background.keep("garbage", garbage.keep_collecting)
    edge.background.keep("outbox_age", lambda: outbox_age.keep_looking(edge.stores))
    edge.background.keep("usage", edge.usage.run)
    yield
    await edge.background.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(USAGE_WITHIN):
            await edge.usage.write()
    edge.accounts.close()
    await edge.limits.close()


async def _drain(app: web.Application) -> None:
    edge = app[EDGE]
    edge.draining = True
    await edge.gateway.drain()
