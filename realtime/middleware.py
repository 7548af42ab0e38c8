"""Around every request: a request id, one mapping of errors, one access line, the security headers."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from db.errors import SocialError, StoreRefused
from feed import metrics
from realtime.edge import EDGE
from realtime.problems import answer, http_error

log = structlog.get_logger(__name__)
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)
GIVEN_ID = re.compile(r"[A-Za-z0-9_.-]{8,64}")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Server": "social",  # no versions: they only help those who look for known holes
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HSTS = "max-age=63072000; includeSubDomains"  # two years


@web.middleware
async def frame_request(request: web.Request, handler: Next) -> web.StreamResponse:
    """Outermost: nothing leaves without a request id, and no error leaves as anything but a problem document."""
    given = request.headers.get("X-Request-Id", "")
    request_id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
    request[REQUEST_ID] = request_id
    started = time.perf_counter()
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = http_error(error, request_id)
    except SocialError as error:
        response = answer(error, request_id)
    except Exception as error:
        log.exception("request_died", request_id=request_id, method=request.method, path=request.path)
        response = answer(StoreRefused("edge", repr(error)), request_id)
    seconds = time.perf_counter() - started
    metrics.answered(request.method, _template(request), response.status, seconds)
    log.debug(
        "request",
        request_id=request_id,
        method=request.method,
        path=request.path,
        status=response.status,
        ms=round(seconds * 1000, 1),
    )
    return response


def _template(request: web.Request) -> str:
    """The path as the sitemap has it: what a client writes must not make new metrics."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else metrics.OTHER


async def seal(request: web.Request, response: web.StreamResponse) -> None:
    """Before any response starts: security headers, the request id, no caching unless the handler decided."""
    response.headers.update(SECURITY_HEADERS)
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    # Files are revalidated by their ETag; everything else is somebody's own.
    response.headers.setdefault(
        "Cache-Control", "no-cache" if isinstance(response, web.FileResponse) else "private, no-store"
    )
    if request.app[EDGE].settings.secure:
        response.headers["Strict-Transport-Security"] = HSTS
