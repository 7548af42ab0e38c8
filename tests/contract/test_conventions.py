"""Section 1: errors of every kind are problem documents, answers have their headers, lists their bounds."""

from __future__ import annotations

import asyncio
import io
import zlib

import orjson
import pytest

from tests.contract.checks import TIME

JSON = {"Content-Type": "application/json"}


async def test_an_unknown_path_is_a_problem_document(guest, person):
    ada = await person()
    for caller in (guest, ada):
        for path in ("/nowhere", "/posts/1/nothing", "/users/1/posts/2", "/me/nothing", "/me/x.css"):
            await caller.refused(404, "GET", path)
    await ada.refused(404, "GET", ada.api.removesuffix("/api/v1") + "/nowhere")


async def test_a_wrong_method_is_a_problem_document_that_lists_the_right_ones(guest, person):
    ada = await person()
    for method, path in (("PUT", "/users"), ("DELETE", "/feed"), ("POST", "/posts/1"), ("PATCH", "/friends/1")):
        status, body, headers = await ada.call(method, path, {})
        assert (status, body["code"]) == (405, "method_not_allowed")
        assert headers["Allow"]
    status, _, headers = await guest.call("POST", "/me", {}, headers={"X-HTTP-Method-Override": "GET"})
    assert status == 405
    assert "GET" in headers["Allow"]
    assert (await guest.call("TRACE", "/me"))[0] == 405


GOOD = b'{"text":"a","visibility":"public"}'


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"not json", b'{"text":', GOOD[:-1], GOOD[:-1] + b",}", b"\xff\xfe", GOOD.replace(b"a", b"\xff", 1),
        GOOD.replace(b'"', b"'"), GOOD.replace(b'"a"', b"NaN"), GOOD * 2, GOOD + b"x", GOOD.replace(b'"a"',
        b"\"\x00\""),
    ],
    ids=["empty", "brace", "words", "cut", "open", "comma", "utf16", "bytes", "quotes", "nan", "two", "tail", "nul"],
)  # fmt: skip
async def test_malformed_json_is_400(somebody, raw):
    await somebody.refused(400, "POST", "/posts", data=raw, headers=JSON)


async def test_deep_nesting_is_refused(somebody):
    for raw in (
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"text":' + b"[" * 9000 + b"]" * 9000 + b"}",
    ):
        status, _, _ = await somebody.call("POST", "/posts", data=raw, headers=JSON)
        assert status in (400, 422)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"text"', b"true", b'[{"text":"a"}]'])
async def test_json_that_is_no_object_is_refused(somebody, raw):
    status, _, _ = await somebody.call("POST", "/posts", data=raw, headers=JSON)
    assert status in (400, 422)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", None]
)
async def test_another_content_type_is_415(person, kind):
    ada = await person()
    raw = orjson.dumps({"text": "hi", "visibility": "public"})
    headers = {"Content-Type": kind} if kind else {}
    await ada.refused(415, "POST", "/posts", data=raw, headers=headers)
    options = {} if kind else {"skip_auto_headers": ["Content-Type"]}
    await ada.refused(415, "POST", "/posts", data=raw, headers=headers, **options)
    assert await ada.everything("/feed") == []


async def test_the_charset_of_json_may_be_utf_8_and_no_other(person):
    ada = await person()
    raw = orjson.dumps({"text": "hi", "visibility": "public"})
    status, _, _ = await ada.call(
        "POST", "/posts", data=raw, headers={"Content-Type": "application/json;charset=UTF-8"}
    )
    assert status == 201
    for charset in ("utf-7", "utf-16", "nonsense"):
        text = {"Content-Type": f"application/json; charset={charset}"}
        await ada.refused(415, "POST", "/posts", data=raw, headers=text)


async def test_a_body_of_two_mebibytes_is_413(person, guest):
    ada = await person()
    raw = orjson.dumps({"text": "a" * 2 * 1024 * 1024, "visibility": "public"})
    await ada.refused(413, "POST", "/posts", data=io.BytesIO(raw), headers=JSON)

    async def pieces():
        for start in range(0, len(raw), 65536):
            yield raw[start : start + 65536]

    await ada.refused(413, "POST", "/posts", data=pieces(), headers=JSON)
    await guest.refused(413, "POST", "/sessions", data=io.BytesIO(raw), headers=JSON)


async def test_a_compressed_bomb_is_not_read(somebody):
    bomb = zlib.compress(b" " * 50_000_000)
    status, _, _ = await somebody.call("POST", "/posts", data=bomb, headers={**JSON, "Content-Encoding": "deflate"})
    assert status in (400, 413, 415)


async def test_request_ids_differ_and_errors_name_theirs(somebody):
    answers = await asyncio.gather(*(somebody.call("GET", path) for path in ("/me", "/me", "/feed", "/posts/9", "/x")))
    assert len({headers["X-Request-Id"] for _, _, headers in answers}) == 5
    assert answers[3][1]["instance"] == answers[3][2]["X-Request-Id"]


async def test_ids_are_strings_and_times_have_milliseconds(person):
    ada = await person()
    made = await ada.post("hi")
    assert isinstance(made["id"], str)
    assert made["id"].isdigit()
    assert TIME.fullmatch(made["created_at"])
    assert made["edited_at"] is None
    assert made["version"] >= 1


@pytest.mark.parametrize(
    "path",
    ["/feed", "/users?q=a", "/users/{me}/posts", "/friends", "/friend-requests", "/blocks", "/posts/{post}/comments",
     "/posts/{post}/likes"],
)  # fmt: skip
async def test_every_list_has_the_same_bounds(person, path):
    ada = await person()
    made = await ada.post("hi")
    url = path.format(me=ada.id, post=made["id"])
    joint = "&" if "?" in url else "?"
    for limit in ("1", "100"):
        page = await ada.ok("GET", f"{url}{joint}limit={limit}")
        assert isinstance(page["items"], list)
        assert page["next"] is None or isinstance(page["next"], str)
    for limit in ("0", "-1", "101", "1000000000", "a", "1.5", "", "1e1", "%D9%A1", "99999999999999999999"):
        status, body, _ = await ada.call("GET", f"{url}{joint}limit={limit}")
        assert 400 <= status < 500, (limit, status, body)
    for cursor in ("x", "%00", "AAAA", "eyJpZCI6MX0=", "-1", "1", "a" * 3000, "%27%20OR%201=1", "%F0%9F%92%A9"):
        status, body, _ = await ada.call("GET", f"{url}{joint}cursor={cursor}")
        assert 400 <= status < 500, (cursor, status, body)


@pytest.mark.parametrize(
    "wanted", ["0", "-1", "a", "1e3", "9007199254740992", "99999999999999999999999", "1.0", "%00", "..", "01", "%20 1"]
)
async def test_an_odd_id_is_something_that_does_not_exist(somebody, wanted):
    for method, path in (("GET", "/posts/{}"), ("GET", "/users/{}"), ("PUT", "/posts/{}/like"), ("PUT", "/friends/{}")):
        status, body, _ = await somebody.call(method, path.format(wanted))
        assert status == 404, (method, path, wanted, status, body)


async def test_a_missing_and_an_invisible_thing_answer_alike(person):
    ada, stranger = await person(), await person()
    hidden = await ada.post("secret", "only_me")
    seen = await stranger.refused(404, "GET", f"/posts/{hidden['id']}")
    missing = await stranger.refused(404, "GET", "/posts/9007199254740991")
    assert {**seen, "instance": ""} == {**missing, "instance": ""}


async def test_what_needs_a_sign_in_says_so(guest):
    for method, path in (
        ("GET", "/me"), ("GET", "/feed"), ("GET", "/users?q=a"), ("GET", "/users/1"), ("GET", "/posts/1"),
        ("POST", "/posts"), ("PUT", "/friends/1"), ("PUT", "/blocks/1"), ("GET", "/sessions"), ("GET", "/me/export"),
        ("DELETE", "/sessions/current"), ("PUT", "/posts/1/like"), ("DELETE", "/comments/1"),
    ):  # fmt: skip
        body = {"text": "hi", "visibility": "public"} if method == "POST" else None
        await guest.refused(401, method, path, body)
        for token in ("Bearer x", "Bearer ", "Basic YTpi", "Bearer " + "a" * 3000, "bearer", "Bearer é"):
            await guest.refused(401, method, path, body, headers={"Authorization": token})
