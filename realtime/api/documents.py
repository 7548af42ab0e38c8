"""The contract as the server knows it: OpenAPI and AsyncAPI."""

from __future__ import annotations

from aiohttp import web

from realtime import asyncapi as live_document
from realtime import openapi as http_document


async def openapi(_request: web.Request) -> web.Response:
    """The HTTP API."""
    from realtime.routes import BASE, ROUTES

    return _json(http_document.document(ROUTES, BASE, f"{BASE}/live"))


async def asyncapi(_request: web.Request) -> web.Response:
    """The live protocol."""
    from realtime.routes import BASE

    return _json(live_document.document(f"{BASE}/live"))


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-cache"})
