"""The contract as the server knows it: OpenAPI, AsyncAPI, and a page for people."""

from __future__ import annotations

from aiohttp import web

from realtime import asyncapi as live_document
from realtime import openapi as http_document
from realtime import reference as reference_page


async def openapi(_request: web.Request) -> web.Response:
    """The HTTP API."""
    from realtime.routes import BASE, ROUTES

    return _json(http_document.document(ROUTES, BASE, f"{BASE}/live"))


async def asyncapi(_request: web.Request) -> web.Response:
    """The live protocol."""
    from realtime.routes import BASE

    return _json(live_document.document(f"{BASE}/live"))


async def reference(_request: web.Request) -> web.Response:
    """Both, to read."""
    from realtime.routes import BASE, ROUTES

    page = reference_page.page(ROUTES, BASE)
    return web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-cache"})


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-cache"})
