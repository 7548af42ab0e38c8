"""For operators by their address, as /metrics: what each day came to, and a page that shows it.

For everybody else these paths do not exist, whatever the method. The page's files under /static/ hold no figures.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from aiohttp import hdrs, web

from feed import analytics as figures
from feed.errors import Fault, Invalid
from realtime.api.operations import is_operator
from realtime.edge import EDGE

PAGE = Path(__file__).parents[2] / "static" / "admin.html"
METHODS = (hdrs.METH_GET, hdrs.METH_HEAD)


async def analytics(request: web.Request) -> web.Response:
    """GET /api/v1/admin/analytics?from=YYYY-MM-DD&to=YYYY-MM-DD, both days included. Raises Invalid."""
    _guard(request)
    days = []
    faults = []
    for name in ("from", "to"):
        try:
            days.append(figures.day_of(request.query.get(name), f"/{name}"))
        except Fault as fault:
            faults.append(fault)
    if faults:
        raise Invalid(faults)
    found = await figures.read(request.app[EDGE].stores, *days)
    return web.Response(body=msgspec.json.encode(found), content_type="application/json", charset="utf-8")


async def page(request: web.Request) -> web.FileResponse:
    """The page; its script asks for the figures."""
    _guard(request)
    return web.FileResponse(PAGE, headers={"Cache-Control": "no-cache"})


def _guard(request: web.Request) -> None:
    if not is_operator(request):
        raise web.HTTPNotFound
    if request.method not in METHODS:
        raise web.HTTPMethodNotAllowed(request.method, METHODS)
