"""For operators, outside the base path: is it alive, can it work, and what does it offer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import orjson
from aiohttp import web

from db.errors import StoreUnavailable
from feed.metrics import page
from realtime.addresses import UNKNOWN, address_of, client_address, forwarded_for, within
from realtime.edge import EDGE, Edge

CHECK = 1.0  # seconds that a dependency has to answer a readiness check


async def livez(_request: web.Request) -> web.Response:
    """The process runs its loop; nothing else is asked."""
    return web.Response(text="ok")


async def readyz(request: web.Request) -> web.Response:
    """200 `ok` or `degraded` with each dependency by name; 503 only while this process itself cannot serve.

    A store that is down is the same for every node: taking all of them out of the balancer would help nobody.
    """
    edge = request.app[EDGE]
    checks = await _checks(edge)
    faults = edge.background.faults
    healthy = not faults and all(state == "ok" for state in checks.values())
    status = "draining" if edge.draining else "ok" if healthy else "degraded"
    body = {"status": status, "dependencies": checks, "faults": faults}
    return web.Response(status=503 if edge.draining else 200, body=orjson.dumps(body), content_type="application/json")


async def metrics(request: web.Request) -> web.Response:
    """The metrics of this process, for operators; for everybody else this path does not exist."""
    if not is_operator(request):
        raise web.HTTPNotFound
    body, content_type = page()
    return web.Response(body=body, headers={"Content-Type": content_type})


def is_operator(request: web.Request) -> bool:
    """True for a request from an address of `operators`; to everybody else their paths do not exist."""
    settings = request.app[EDGE].settings
    address = address_of(request, settings.trusted_proxies)
    if address == UNKNOWN:
        return False
    if forwarded_for(request) and address == client_address(request.remote, None, ()):
        # Somebody passed this on whom the settings do not name; that he stands near says nothing of the client.
        return False
    return within(address, settings.operators)


async def _checks(edge: Edge) -> dict[str, str]:
    names = ("mysql", "redis", "s3")
    checks = (edge.stores.sql.check(), edge.stores.redis.ping(), edge.objects.check())
    return dict(zip(names, await asyncio.gather(*map(_state, checks)), strict=True))


async def _state(check: Awaitable[None]) -> str:
    try:
        await asyncio.wait_for(check, CHECK)
    except (TimeoutError, StoreUnavailable):
        return "unreachable"
    return "ok"
