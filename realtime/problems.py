"""From an error to what a client sees: problem+json (RFC 9457). The one table of HTTP statuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web

from db.errors import DuplicateKey, MissingParent, SocialError, StoreUnavailable
from feed.errors import Busy, Conflict, Disabled, Fault, Forbidden, Invalid, NotFound, TooMany, Unauthenticated
from feed.idempotency import Reused

log = structlog.get_logger(__name__)

RETRY_STORE = 2  # seconds after which a store that did not answer is worth another try


class BadRequest(SocialError):
    """The request cannot be understood at all."""

    code = "bad_request"


class NotSameSite(SocialError):
    """A cookie came without proof that our own page sent it."""

    code = "not_same_site"


class Unsupported(SocialError):
    """The body is not JSON by its content type."""

    code = "unsupported_media_type"


class NoUpgrade(SocialError):
    """A plain request for a path that only upgrades."""

    code = "upgrade_required"


class TooLarge(SocialError):
    """The body is over the limit."""

    code = "too_large"


STATUS: dict[type[SocialError], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Disabled: HTTPStatus.FORBIDDEN,
    NotSameSite: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    MissingParent: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    DuplicateKey: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Unsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    NoUpgrade: HTTPStatus.UPGRADE_REQUIRED,
    Fault: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reused: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(kind: type[SocialError]) -> HTTPStatus:
    """The HTTP status of an error class or the nearest class above it; 500 for those that are our own fault."""
    return next((STATUS[above] for above in kind.__mro__ if above in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)


def answer(error: SocialError, request_id: str) -> web.Response:
    """The response for an error of ours."""
    status = status_of(type(error))
    if status >= 500:
        log.warning("request_failed", request_id=request_id, code=error.code, cause=str(error))
    extra: dict[str, Any] = {}
    if isinstance(error, Invalid):
        extra["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults]
    elif isinstance(error, Fault) or (isinstance(error, Conflict) and error.pointer):
        extra["errors"] = [{"pointer": error.pointer, "detail": error.detail}]
    headers = {}
    if isinstance(error, TooMany | Busy):
        headers["Retry-After"] = str(error.retry_after)
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_STORE)
    if status == HTTPStatus.UPGRADE_REQUIRED:
        headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(status, error.code, error.detail, request_id, headers=headers, **extra)


def http_error(error: web.HTTPException, request_id: str) -> web.Response:
    """The response for what aiohttp itself refuses: unknown path, wrong method, too large."""
    status = HTTPStatus(error.status)
    detail = {
        404: "There is no such page, or you may not see it.",
        405: "This path does not take this method. `Allow` lists the ones it takes.",
        413: "The body is larger than this service takes.",
    }.get(error.status, f"{status.description or status.phrase}.")
    headers = {name: value for name, value in error.headers.items() if name in ("Allow", "Location")}
    return problem(status, status.phrase.lower().replace(" ", "_"), detail, request_id, headers=headers)


def problem(
    status: HTTPStatus, code: str, detail: str, request_id: str, *, headers: dict[str, str], **extra: Any
) -> web.Response:
    """A problem document. `type` is a page of the docs, `instance` the request id to quote."""
    body = {
        "type": f"/docs#{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": request_id,
        "code": code,
        **extra,
    }
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/problem+json", headers=headers
    )
