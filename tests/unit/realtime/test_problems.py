"""Every error of ours has an HTTP status on purpose, and what goes out holds no secret of the store."""

from __future__ import annotations

import importlib
import pkgutil

import orjson
import pytest
from aiohttp import web

import db
import feed
import realtime
import workers
from db.errors import DuplicateKey, MissingParent, OutcomeUnknown, SocialError, StoreRefused, StoreUnavailable
from db.settings import SettingsRefused
from feed.errors import Busy, Conflict, Disabled, Fault, Forbidden, Invalid, NotFound, TooMany, Unauthenticated
from feed.idempotency import Reused
from realtime.problems import BadRequest, NotSameSite, NoUpgrade, TooLarge, Unsupported, answer, http_error, status_of

STATUSES: dict[type[SocialError], int] = {
    SocialError: 500,
    StoreRefused: 500,  # our own defect
    SettingsRefused: 500,  # at start only, never in an answer
    StoreUnavailable: 503,
    OutcomeUnknown: 503,
    Busy: 503,
    TooMany: 429,
    DuplicateKey: 409,
    Conflict: 409,
    MissingParent: 404,
    NotFound: 404,
    Fault: 422,
    Invalid: 422,
    Reused: 422,
    Unauthenticated: 401,
    Forbidden: 403,
    Disabled: 403,
    NotSameSite: 403,
    BadRequest: 400,
    TooLarge: 413,
    Unsupported: 415,
    NoUpgrade: 426,
}
EXAMPLES: list[SocialError] = [
    StoreUnavailable("sql", "root@10.0.0.1 refused"),
    OutcomeUnknown("sql", "root@10.0.0.1 lost"),
    StoreRefused("sql", "INSERT INTO users (password_hash) VALUES ('x')"),
    DuplicateKey("uq_users_username"),
    MissingParent(),
    Busy("Full.", retry_after=7),
    TooMany(42),
    Conflict("Taken.", code="username_taken", pointer="/username"),
    Conflict("No."),
    NotFound("post"),
    Fault("/name", "Too long."),
    Invalid([Fault("/a", "x"), Fault("/b", "y")]),
    Reused(),
    Unauthenticated(),
    Forbidden("No."),
    Disabled(),
    NotSameSite("No."),
    BadRequest("What?"),
    TooLarge("Too much."),
    Unsupported("JSON, please."),
    NoUpgrade("Upgrade."),
]


def body_of(response: web.Response) -> dict[str, object]:
    assert isinstance(response.body, bytes)
    body: dict[str, object] = orjson.loads(response.body)
    return body


def test_every_error_of_the_product_stands_in_this_table() -> None:
    for package in (db, feed, realtime, workers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" not in module.name:
                importlib.import_module(module.name)
    found: set[type[SocialError]] = set()
    new = [SocialError]
    while new:
        kind = new.pop()
        if kind.__module__.partition(".")[0] in ("db", "feed", "realtime", "workers"):
            found.add(kind)
        new.extend(kind.__subclasses__())
    assert found == set(STATUSES)


@pytest.mark.parametrize("kind", STATUSES, ids=lambda kind: kind.__name__)
def test_an_error_has_its_status(kind: type[SocialError]) -> None:
    assert status_of(kind) == STATUSES[kind]


def test_an_error_that_nobody_mapped_has_the_status_of_its_parent() -> None:
    class Stranger(Conflict):
        pass

    assert status_of(Stranger) == 409


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: f"{type(error).__name__} {error.code}")
def test_an_answer_is_a_problem_document(error: SocialError) -> None:
    response = answer(error, "req-1")
    body = body_of(response)
    assert response.content_type == "application/problem+json"
    assert response.status == STATUSES[type(error)] == body["status"]
    assert {"type", "title", "detail"} <= set(body)
    assert (body["code"], body["instance"], body["detail"]) == (error.code, "req-1", error.detail)


@pytest.mark.parametrize("error", EXAMPLES[:3], ids=lambda error: type(error).__name__)
def test_what_a_store_said_stays_inside(error: SocialError) -> None:
    response = answer(error, "req-1")
    assert isinstance(response.body, bytes)
    assert b"root@" not in response.body
    assert b"INSERT" not in response.body


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: f"{type(error).__name__} {error.code}")
def test_who_shall_come_back_is_told_when(error: SocialError) -> None:
    response = answer(error, "req-1")
    assert ("Retry-After" in response.headers) == (response.status in (429, 503))
    if isinstance(error, TooMany | Busy):
        assert response.headers["Retry-After"] == str(error.retry_after)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: f"{type(error).__name__} {error.code}")
def test_only_what_may_pass_is_called_temporary(error: SocialError) -> None:
    assert error.temporary == (STATUSES[type(error)] in (429, 503))


@pytest.mark.parametrize(
    ("error", "pointers"),
    [
        (Invalid([Fault("/a", "x"), Fault("/b", "y")]), ["/a", "/b"]),
        (Fault("/name", "Too long."), ["/name"]),
        (Conflict("Taken.", pointer="/username"), ["/username"]),
        (Reused(), ["/Idempotency-Key"]),
    ],
    ids=["invalid", "fault", "conflict", "reused"],
)
def test_the_fields_to_blame_are_named(error: SocialError, pointers: list[str]) -> None:
    errors = body_of(answer(error, "req-1"))["errors"]
    assert isinstance(errors, list)
    assert [entry["pointer"] for entry in errors] == pointers
    assert all(entry["detail"] for entry in errors)


def test_an_error_without_a_field_names_none() -> None:
    assert "errors" not in body_of(answer(Conflict("No."), "req-1"))


def test_headers_that_a_status_demands_are_there() -> None:
    assert answer(Unauthenticated(), "r").headers["WWW-Authenticate"] == "Bearer"
    assert answer(NoUpgrade("Upgrade."), "r").headers["Upgrade"] == "websocket"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method_not_allowed"),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "request_entity_too_large"),
        (web.HTTPBadRequest(text="secret"), 400, "bad_request"),
    ],
    ids=["404", "405", "413", "400"],
)
def test_what_aiohttp_refuses_is_a_problem_document_too(error: web.HTTPException, status: int, code: str) -> None:
    response = http_error(error, "req-1")
    body = body_of(response)
    assert response.content_type == "application/problem+json"
    assert (response.status, body["status"], body["code"], body["instance"]) == (status, status, code, "req-1")
    assert "secret" not in str(body)


def test_a_refused_method_lists_the_others() -> None:
    response = http_error(web.HTTPMethodNotAllowed("PUT", ["GET", "POST"]), "req-1")
    assert set(response.headers["Allow"].replace(" ", "").split(",")) == {"GET", "POST"}


def test_absent_and_hidden_and_unrouted_read_alike() -> None:
    unrouted = body_of(http_error(web.HTTPNotFound(), "r"))
    absent = body_of(answer(NotFound(), "r"))
    assert unrouted == absent
