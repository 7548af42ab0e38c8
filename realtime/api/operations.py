"""For operators, outside the base path: is it alive, can it work, and what does it offer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import orjson
from aiohttp import web

from db.errors import StoreUnavailable
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
