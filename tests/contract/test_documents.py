"""openapi.json, asyncapi.json and the operations outside the base path."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.contract.checks import FIELDS, FRAMES

OPERATIONS = [
    "post /users", "get /users", "get /users/{}", "get /users/{}/posts", "post /sessions", "get /sessions",
    "delete /sessions/{}", "delete /sessions/current", "get /me", "patch /me", "delete /me", "post /me/password",
    "get /me/export", "put /friends/{}", "delete /friends/{}", "get /friends", "get /friend-requests", "put /blocks/{}",
    "delete /blocks/{}", "get /blocks", "post /posts", "get /posts/{}", "patch /posts/{}", "delete /posts/{}",
    "get /posts/{}/comments", "post /posts/{}/comments", "patch /comments/{}", "delete /comments/{}",
    "put /posts/{}/like", "delete /posts/{}/like", "get /posts/{}/likes", "get /feed", "post /live/typing",
    "get /posts", "post /posts/{}/shares", "get /posts/{}/history", "get /trending",
]  # fmt: skip
LATER = [
    "GET /notifications", "POST /notifications/seen", "GET /notification-preferences", "GET /push/key",
    "POST /push/subscriptions", "POST /uploads", "GET /media/1",
]  # fmt: skip


def plain(path):
    return re.sub(r"\{[^}]+\}", "{}", path.removeprefix("/api/v1"))


def test_openapi_is_valid(documents):
    validate(documents.openapi)
    assert documents.openapi["openapi"].startswith("3.1")


def test_openapi_has_every_operation_of_the_contract(documents):
    known = {
        f"{method} {plain(path)}"
        for path, item in documents.openapi["paths"].items()
        if path.startswith("/api/v1")
        for method in item
    }
    assert set(OPERATIONS) <= known


def test_every_operation_documents_its_errors_and_ids_are_unique(documents):
    ids = []
    for path, item in documents.openapi["paths"].items():
        for method, operation in item.items():
            ids.append(operation["operationId"])
            if path.endswith("/live"):
                continue
            assert operation["summary"]
            assert any(status.startswith("2") for status in operation["responses"]), (method, path)
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert "application/problem+json" in response["content"], (method, path, status)
    assert len(ids) == len(set(ids))


def test_creating_posts_and_comments_documents_the_idempotency_key(documents):
    for path, item in documents.openapi["paths"].items():
        if plain(path) in ("/posts", "/posts/{}/comments", "/posts/{}/shares"):
            names = [parameter.get("name") for parameter in item["post"].get("parameters", [])]
            assert "Idempotency-Key" in names, path


def test_feed_and_friends_document_the_live_position(documents):
    for path in ("/api/v1/feed", "/api/v1/friends"):
        headers = documents.openapi["paths"][path]["get"]["responses"]["200"].get("headers", {})
        assert "Live-Position" in headers, path


def test_objects_have_the_members_of_the_contract(documents):
    schemas = {name.lower(): schema for name, schema in documents.openapi["components"]["schemas"].items()}
    for name, fields in FIELDS.items():
        assert fields <= schemas[name]["properties"].keys()


def test_asyncapi_describes_every_frame_with_valid_schemas(documents):
    asyncapi = documents.asyncapi
    assert asyncapi["asyncapi"].startswith("3.")
    assert {"info", "channels", "operations", "components"} <= asyncapi.keys()
    schemas = asyncapi["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    kinds = {kind for s in schemas.values() for kind in s.get("properties", {}).get("type", {}).get("enum", [])}
    wanted = {
        "hello", "subscribe", "unsubscribe", "watch", "pong", "ack", "typing", "refresh", "welcome", "subscribed",
        "unsubscribed", "event", "skip", "counts", "presence", "ping", "resync", "error", "bye",
    }  # fmt: skip
    assert wanted <= kinds
    assert set(FRAMES) <= schemas.keys()


def test_every_reference_in_the_documents_leads_somewhere(documents):
    def check(document, value):
        if isinstance(value, dict):
            if "$ref" in value:
                target = document
                for part in value["$ref"].removeprefix("#/").split("/"):
                    target = target[part.replace("~1", "/").replace("~0", "~")]
            for inner in value.values():
                check(document, inner)
        elif isinstance(value, list):
            for inner in value:
                check(document, inner)

    check(documents.openapi, documents.openapi)
    check(documents.asyncapi, documents.asyncapi)


@pytest.mark.parametrize("what", LATER)
async def test_what_comes_later_does_not_exist_yet(somebody, what):
    method, path = what.split(" ")
    await somebody.refused(404, method, path, {} if method == "POST" else None)


async def test_livez_and_readyz_need_nobody_and_tell_their_state(site, http):
    async with http.get(f"{site.url}/livez") as answer:
        assert answer.status == 200
    async with http.get(f"{site.url}/readyz") as answer:
        assert answer.status == 200
        told = await answer.json()
    # The system site has no S3 at all: degraded, and the name of what is missing.
    assert told["status"] in (("ok",) if site.kind == "embedded" else ("ok", "degraded"))
    assert {"mysql", "redis"} <= told["dependencies"].keys()
    if site.kind == "system":
        assert told["status"] == "degraded"
        assert told["dependencies"]["s3"] != "ok"
        assert told["dependencies"]["mysql"] == told["dependencies"]["redis"] == "ok"
