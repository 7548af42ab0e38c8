"""/docs: the contract as a page for people, made from the same types as the machine-readable documents.

Each error code has an anchor: the `type` of a problem document points there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from http import HTTPStatus
from typing import Any, get_args

from db.errors import SocialError
from realtime.asyncapi import EVENT_STREAM, EVENTS
from realtime.endpoint import Route
from realtime.live import protocol
from realtime.problems import STATUS, status_of

# Codes that are given at the place of an error rather than by its class.
NAMED = {
    "malformed_json": (HTTPStatus.BAD_REQUEST, "The body is not valid JSON."),
    "wrong_credentials": (HTTPStatus.UNAUTHORIZED, "Wrong username or password."),
    "username_taken": (HTTPStatus.CONFLICT, "Another account has this username."),
    "friend_limit": (HTTPStatus.CONFLICT, "One of the two has 5,000 friends already."),
    "method_not_allowed": (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "`Allow` lists the methods that the path takes.",
    ),
}


@cache
def page(routes: tuple[Route, ...], base: str) -> str:
    """The whole page as HTML; no script in it."""
    operations = _table(
        ("Operation", "What", "Body", "Reply", "Status"),
        ((f"{r.method} {base}{r.path}", r.summary, _name(r.body), _name(r.reply), str(r.status)) for r in routes),
    )
    errors = "".join(
        f'<tr id="{escape(code)}"><td><code>{escape(code)}</code></td><td>{status.value} {escape(status.phrase)}</td>'
        f"<td>{escape(text)}</td></tr>"
        for code, (status, text) in sorted(_codes().items())
    )
    inward = _table(("Client sends", "Meaning"), _messages(get_args(protocol.ClientMessage)))
    outward = _table(("Server sends", "Meaning"), _messages(get_args(protocol.ServerMessage)))
    events = _table(("Event", "Streams", "Data"), ((kind, on, data.__name__) for kind, (data, on) in EVENTS.items()))
    closes = _table(("Close code", "Reason", "Come back"), _closes())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Social Realtime: the contract</title>
<link rel="stylesheet" href="/static/docs.css">
</head>
<body>
<main>
<h1>The contract</h1>
<p>For machines: <a href="/openapi.json">OpenAPI</a> · <a href="/asyncapi.json">AsyncAPI</a>.
Errors are <code>application/problem+json</code>; quote their <code>instance</code> when you ask for help.</p>
<h2>HTTP</h2>
{operations}
<h2>Error codes</h2>
<table><thead><tr><th>Code</th><th>Status</th><th>Meaning</th></tr></thead><tbody>{errors}</tbody></table>
<h2>Live: {escape(base)}/live, subprotocol {escape(protocol.SUBPROTOCOL)}</h2>
{inward}
{outward}
<p>Where websockets are blocked: <code>GET {escape(base)}/live/events</code>. {_codes_in(EVENT_STREAM)}</p>
{events}
{closes}
</main>
</body>
</html>
"""


def _codes() -> dict[str, tuple[HTTPStatus, str]]:
    """Every code that an HTTP answer can carry, with its status and meaning."""
    kinds: tuple[type[SocialError], ...] = (*STATUS, SocialError)
    codes = {kind.code: (status_of(kind), _first_line(kind)) for kind in kinds}
    return {**codes, **NAMED}


def _messages(kinds: Iterable[type[Any]]) -> Iterator[tuple[str, str]]:
    for kind in kinds:
        yield str(kind.__struct_config__.tag), _first_line(kind)


def _closes() -> Iterator[tuple[str, str, str]]:
    for code in protocol.CODES:
        yield str(code.number), code.reason, "yes, with its position" if code.number < 4500 else "no"


def _codes_in(text: str) -> str:
    """Escaped text whose `quoted` parts are code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _name(kind: Any) -> str:
    if kind is None:
        return ""
    if kind is bytes:
        return "ZIP"
    inner = ", ".join(_name(part) for part in get_args(kind))
    name = getattr(kind, "__origin__", kind).__name__
    return f"{name}[{inner}]" if inner else str(name)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
