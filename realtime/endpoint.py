"""From a row of the sitemap to an aiohttp handler: proves the viewer, parses, calls, encodes.

The same row makes the OpenAPI document, so that what is checked and what is documented cannot differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import ETag, web
from aiohttp.http import HttpProcessingError

from feed.accounts import Session
from feed.errors import Fault, Invalid, NotFound, Unauthenticated
from feed.idempotency import Key
from feed.pages import DEFAULT, MOST
from realtime.addresses import address_of
from realtime.authentication import SAFE, cookie_name, require_same_site, token_of
from realtime.edge import EDGE, Call
from realtime.problems import BadRequest, TooLarge, Unsupported

BODY_LIMIT = 128 * 1024  # bytes: 5,000 characters as \\u escapes are 60,000
BODY_WITHIN = 20.0  # seconds: 128 KiB over the slowest phone network that is still usable
KEY = re.compile(r"[\x21-\x7e]{1,128}")
MOST_ID = 2**53
ENCODER = msgspec.json.Encoder()
MISSING_FIELD = re.compile(r"missing required field `(\w+)`")
UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: what it takes, what it answers.

    `open_to_all` needs no sign-in. `creates` accepts an Idempotency-Key. `paged` takes `cursor` and `limit`.
    `limited` takes `limit` up to that number, and there is no next page. `live` answers with the header Live-Position.
    `validated` answers with an ETag, and 304 to who has that one.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: type[Any] | None = None
    reply: Any = None
    status: int = 200
    open_to_all: bool = False
    creates: bool = False
    paged: bool = False
    limited: int = 0
    live: bool = False
    validated: bool = False
    query: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


def endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""
    decoder = msgspec.json.Decoder(route.body) if route.body is not None else None

    async def handle(request: web.Request) -> web.StreamResponse:
        edge = request.app[EDGE]
        _check_path(request)
        session = await _session(request, route)
        call = Call(request, edge, session, address_of(request, edge.settings.trusted_proxies))
        arguments: list[Any] = []
        if decoder is not None:
            raw = await _body(request)
            if route.creates:
                call.key = _key(call, route, raw)
            arguments.append(_decode(decoder, raw))
        if route.paged or route.limited:
            arguments.append(_limit(request, route.limited or MOST))
        return _answer(route, call, await route.handler(call, *arguments))

    return handle


def _check_path(request: web.Request) -> None:
    for value in request.match_info.values():
        if int(value) >= MOST_ID:
            raise NotFound


async def _session(request: web.Request, route: Route) -> Session | None:
    edge = request.app[EDGE]
    token, by_cookie = token_of(request, edge.settings)
    if by_cookie and request.method not in SAFE:
        require_same_site(request, edge.settings, proof=token is not None)
    if token is None:
        if not route.open_to_all:
            raise Unauthenticated
        return None
    session = await edge.accounts.authenticate(token)
    if session is None and not route.open_to_all:
        raise Unauthenticated("Your sign-in has ended. Sign in again.")
    if session is not None:
        edge.usage.seen(session.user_id)
    return session


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise Unsupported("Send the body as `Content-Type: application/json`.")
    if (request.charset or "utf-8").casefold() not in ("utf-8", "utf8"):
        raise Unsupported("Send the body in UTF-8.")
    if (request.content_length or 0) > BODY_LIMIT:
        raise TooLarge(f"The body may have at most {BODY_LIMIT} bytes.")
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge(f"The body may have at most {BODY_LIMIT} bytes.") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise BadRequest("The body does not fit its own headers.") from error
    except ConnectionError as error:
        raise BadRequest("The connection ended within the body.") from error  # nobody is there to read it
    except TimeoutError as error:
        raise BadRequest("The body took too long. Send it again.") from error


def _decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise Invalid([fault_of(str(error))]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.", code="malformed_json") from error


def fault_of(message: str) -> Fault:
    """msgspec's sentence as a fault with a JSON pointer."""
    text, _, place = message.partition(" - at `")
    pointer = re.sub(r"\[(\d+)\]", r"/\1", place.rstrip("`").removeprefix("$")).replace(".", "/")
    if match := MISSING_FIELD.search(text):
        return Fault(f"{pointer}/{match.group(1)}", "This field must be given.")
    if match := UNKNOWN_FIELD.search(text):
        name = match.group(1).replace("~", "~0").replace("/", "~1")  # RFC 6901
        return Fault(f"{pointer}/{name}", "There is no such field.")
    return Fault(pointer, f"{text}.")


def _key(call: Call, route: Route, raw: bytes) -> Key | None:
    value = call.request.headers.get("Idempotency-Key")
    if value is None:
        return None
    if not KEY.fullmatch(value):
        raise Invalid([Fault("/Idempotency-Key", "1 to 128 visible ASCII characters.")])
    operation = f"{route.method} {call.request.path}\n".encode()
    return Key(call.viewer, value, hashlib.sha256(operation + raw).digest())


def _limit(request: web.Request, most: int) -> int:
    text = request.query.get("limit")
    if text is None:
        return DEFAULT
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= most:
        raise Invalid([Fault("/limit", f"A number from 1 to {most}.")])
    return int(text)


def _validated(call: Call, response: web.StreamResponse) -> web.StreamResponse:
    """The answer with its ETag, or 304 when the client has it. Weak (RFC 9110, 8.8.1): not byte by byte the same."""
    tag = hashlib.blake2b(ENCODER.encode(call.validator), digest_size=12).hexdigest()
    given = call.request.if_none_match or ()
    if any(known.value in (tag, "*") for known in given):
        response = web.Response(status=304, headers=call.headers)
    response.etag = ETag(tag, is_weak=True)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _answer(route: Route, call: Call, result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        response = result
    elif route.status == 204:
        response = web.Response(status=204)
    else:
        response = web.Response(
            status=route.status, body=ENCODER.encode(result), content_type="application/json", charset="utf-8"
        )
    response.headers.update(call.headers)
    if call.validator is not None:
        response = _validated(call, response)
    settings = call.edge.settings
    if call.cookie:
        response.set_cookie(
            cookie_name(settings),
            call.cookie,
            max_age=int(settings.session_days * 86400),
            path="/",
            httponly=True,
            secure=settings.secure,
            samesite="Lax",
        )
    elif call.cookie == "":
        response.del_cookie(cookie_name(settings), path="/", secure=settings.secure, httponly=True, samesite="Lax")
    return response
