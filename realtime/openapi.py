"""The OpenAPI document, made from the sitemap and the types that the handlers use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from feed.objects import Id
from feed.pages import DEFAULT, MOST
from realtime.endpoint import Route

VERSION = "1.0.0"
REF = "#/components/schemas/{name}"


class FaultDocument(msgspec.Struct):
    """One wrong field."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457. `code` is stable, `detail` says what to do, `instance` is the request id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FaultDocument] = []


@cache
def document(routes: tuple[Route, ...], base: str, live_path: str) -> bytes:
    """The document as JSON bytes."""
    types = [route.body for route in routes if route.body] + [r.reply for r in routes if r.reply not in (None, bytes)]
    schemas, components = msgspec.json.schema_components([*types, Problem, Id], ref_template=REF)
    by_type = dict(zip([str(t) for t in types], schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(base + route.path, {})[route.method.lower()] = _operation(route, by_type)
    paths[live_path] = {"get": _live()}
    paths[f"{live_path}/events"] = {"get": _live_events()}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Social Realtime",
                "version": VERSION,
                "description": "HTTP API, version 1. The live protocol is in /asyncapi.json.",
            },
            "servers": [{"url": "/"}],
            "security": [{"bearer": []}, {"cookie": []}],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "cookie": {"type": "apiKey", "in": "cookie", "name": "session"},
                },
            },
        }
    )


def _operation(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route, by_type),
    }
    if route.open_to_all:
        operation["security"] = []
    if route.body is not None:
        content = {"application/json": {"schema": by_type[str(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    id_schema = {"type": "string", "pattern": "^[1-9][0-9]{0,15}$"}
    parameters: list[dict[str, Any]] = []
    if "{id}" in route.path:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": id_schema})
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query]
    if route.paged or route.limited:
        limit = {"type": "integer", "minimum": 1, "maximum": route.limited or MOST, "default": DEFAULT}
        parameters.append({"name": "limit", "in": "query", "schema": limit})
    if route.paged:
        parameters.append({"name": "cursor", "in": "query", "schema": {"type": "string"}})
    if route.creates:
        key = {"type": "string", "pattern": r"^[\x21-\x7e]{1,128}$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": key})
    return parameters


def _responses(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.live:
        schema = {"type": "string", "examples": ["me=3f2a91c0:17"]}
        described = "Where the stream `me` stood before this was read: resume from there."
        good["headers"] = {"Live-Position": {"description": described, "schema": schema}}
    if route.validated:
        described = "Send it back in If-None-Match: 304 while the page is the same."
        good.setdefault("headers", {})["ETag"] = {"description": described, "schema": {"type": "string"}}
    if route.reply is bytes:
        good["content"] = {"application/zip": {}}
    elif route.reply is not None:
        good["content"] = {"application/json": {"schema": by_type[str(route.reply)]}}
    statuses: Sequence[int] = sorted(
        {
            400,
            403,
            503,
            *route.errors,
            *(() if route.open_to_all and route.path != "/sessions" else (401,)),
            *((413, 415, 422) if route.body is not None else ()),
            *((422,) if route.paged or route.limited else ()),
            *((404,) if "{id}" in route.path else ()),
            *((422,) if "{id}" in route.path and route.method == "PUT" else ()),
        }
    )
    same = {"304": {"description": "The client has it already", "headers": good["headers"]}} if route.validated else {}
    return {str(route.status): good, **same, **{str(status): _problem(status) for status in statuses}}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": REF.format(name="Problem")}
    return {"description": HTTPStatus(status).phrase, "content": {"application/problem+json": {"schema": schema}}}


def _live() -> dict[str, Any]:
    return {
        "operationId": "live",
        "summary": "Upgrade to the live protocol (see /asyncapi.json)",
        "responses": {
            "101": {"description": "Switching to `social.live.v1`"},
            "426": _problem(426),
            "503": _problem(503),
        },
    }


def _live_events() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "operationId": "live_events",
        "summary": "The live protocol's messages as server-sent events (see /asyncapi.json)",
        "parameters": [
            {"name": "streams", "in": "query", "schema": {**text, "examples": ["me,trending,post:17"]}},
            {"name": "watch", "in": "query", "schema": {**text, "examples": ["17,18"]}},
            {"name": "Last-Event-ID", "in": "header", "schema": {**text, "examples": ["me=3f2a91c0:17"]}},
        ],
        "responses": {
            "200": {"description": "Events until one side ends", "content": {"text/event-stream": {"schema": text}}},
            **{str(status): _problem(status) for status in (400, 401, 403, 503)},
        },
    }
