"""POST, GET, PATCH and DELETE of posts."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

POST = {"text": "hi", "visibility": "friends"}


async def test_a_new_post_has_every_member_and_is_in_the_own_feed(person):
    ada = await person("Ada")
    made = await ada.ok("POST", "/posts", {"text": "hello", "visibility": "public"})
    assert made["author"] == ada.user
    assert (made["text"], made["visibility"], made["media"], made["shared"]) == ("hello", "public", [], None)
    assert {name: made["counts"][name] for name in ("likes", "comments", "shares")} == dict.fromkeys(
        ("likes", "comments", "shares"), 0
    )
    assert made["liked"] is False
    assert (await ada.ok("GET", "/feed"))["items"] == [made]
    assert await ada.ok("GET", f"/posts/{made['id']}") == made
    assert (await ada.ok("GET", f"/users/{ada.id}/posts"))["items"] == [made]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("visibility", ["", "Public", "everyone", None, 1, ["public"], "public "]),
        ("text", [None, 1, True, ["a"], {"a": 1}, "a" * 5001, "𝄞" * 5001, "a\x00b", "", "   ", "\n\t"]),
        ("author_id", ["1"]), ("id", ["1"]), ("created_at", ["2020-01-01T00:00:00.000Z"]), ("is_admin", [True]),
        ("counts", [{"likes": 99}]), ("version", [7]), ("__proto__", [{}]), ("author", [{"id": "1"}]),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_pointed_at(person, method, field, values):
    ada = await person()
    made = await ada.post("before") if method == "PATCH" else None
    path = f"/posts/{made['id']}" if made else "/posts"
    for value in values:
        await ada.invalid(method, path, {**POST, field: value}, f"/{field}")
    feed = await ada.everything("/feed")
    assert feed == ([made] if made else [])


async def test_a_text_of_invisible_characters_is_no_text(person):
    ada = await person()
    for text in ("\u200b", "\u2060\ufeff", "\u3164", "\u00a0\u2003"):
        await ada.invalid("POST", "/posts", {**POST, "text": text}, "/text")


async def test_a_lone_surrogate_in_a_text_is_refused(somebody):
    raw = b'{"text":"\\ud800","visibility":"public"}'
    status, _, _ = await somebody.call("POST", "/posts", data=raw, headers={"Content-Type": "application/json"})
    assert status in (400, 422)


async def test_visibility_and_text_must_be_given(person):
    ada = await person()
    await ada.invalid("POST", "/posts", {"text": "hi"}, "/visibility")
    await ada.refused(422, "POST", "/posts", {"visibility": "public"})
    await ada.refused(422, "POST", "/posts", {"visibility": "public", "media": []})
    await ada.refused(422, "POST", "/posts", {"visibility": "public", "text": "", "media": []})


async def test_a_media_id_that_does_not_exist_is_refused(person):
    ada = await person()
    for media in (["1"], ["9007199254740991"], ["x"], [""]):
        status, _, _ = await ada.call("POST", "/posts", {**POST, "media": media})
        assert status in (404, 422), media
    for media in ("1", 1, [1], None, {}, [None], [["1"]]):
        await ada.refused(422, "POST", "/posts", {**POST, "media": media})
    assert await ada.everything("/feed") == []


@pytest.mark.parametrize("sign", ["a", "é", "𝄞", "👍", "e\u0301", "<", '"', "\\", "中"], ids=ascii)
async def test_a_text_may_have_five_thousand_code_points_after_nfc(person, sign):
    ada = await person()
    made = await ada.post(sign * 5000)
    assert len(made["text"]) == 5000
    assert (await ada.ok("GET", f"/posts/{made['id']}"))["text"] == made["text"]
    await ada.invalid("POST", "/posts", {**POST, "text": sign * 5001}, "/text")


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "' OR 1=1 --", "%s %(x)s {0}", "\u202eabc", "👩‍👩‍👧‍👦🏳️‍🌈", "z\u0335\u0336" * 200,
     "a" * 5000,
     "line\nline\r\nline\ttab", "\\u0000 \\x00", "javascript:alert(1)", "x\U0010fffd", "שלום مرحبا"],
    ids=range(12),
)  # fmt: skip
async def test_text_comes_back_as_it_was_meant(person, text):

    ada = await person()
    made = await ada.post(text)
    kept = made["text"].replace("\r\n", "\n")
    assert kept == unicodedata.normalize("NFC", text).replace("\r\n", "\n")


async def test_an_edit_raises_the_version_and_tells_when(person):
    ada = await person()
    made = await ada.post("draft")
    edited = await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "final"})
    assert edited["version"] > made["version"]
    assert (edited["text"], edited["visibility"], edited["id"]) == ("final", "friends", made["id"])
    assert edited["edited_at"] >= edited["created_at"] == made["created_at"]
    opened = await ada.ok("PATCH", f"/posts/{made['id']}", {"visibility": "public"})
    assert (opened["text"], opened["visibility"]) == ("final", "public")
    assert opened["version"] > edited["version"]
    assert await ada.ok("GET", f"/posts/{made['id']}") == opened


async def test_parallel_edits_never_show_two_texts_under_one_version(person):
    ada = await person()
    made = await ada.post("draft")
    answers = await asyncio.gather(*(ada.ok("PATCH", f"/posts/{made['id']}", {"text": f"t{n}"}) for n in range(10)))
    assert len({answer["version"] for answer in answers}) == len({(a["version"], a["text"]) for a in answers})
    last = max(answers, key=lambda answer: answer["version"])
    kept = await ada.ok("GET", f"/posts/{made['id']}")
    assert kept["version"] == made["version"] + 10
    assert (kept["version"], kept["text"]) == (last["version"], last["text"])


async def test_only_the_author_edits_and_deletes(person):
    ada, friend, stranger = await person(), await person(), await person()
    await ada.befriend(friend)
    for visibility, viewers in (("public", (friend, stranger)), ("friends", (friend,))):
        made = await ada.post("mine", visibility)
        for viewer in viewers:
            for method, body in (("PATCH", {"text": "theirs"}), ("DELETE", None)):
                status, _, _ = await viewer.call(method, f"/posts/{made['id']}", body)
                assert status in (403, 404)
        assert await ada.ok("GET", f"/posts/{made['id']}") == made
    hidden = await ada.post("mine", "only_me")
    for method, body in (("PATCH", {"text": "theirs"}), ("DELETE", None)):
        await friend.refused(404, method, f"/posts/{hidden['id']}", body)
        await friend.refused(404, method, "/posts/9007199254740991", body)


async def test_a_deleted_post_is_gone_everywhere_and_stays_gone(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    made = await ada.post("short lived", "public")
    said = await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": "hm"})
    status, raw, _ = await ada.call("DELETE", f"/posts/{made['id']}")
    assert (status, raw) == (204, b"")
    for viewer in (ada, bela):
        for method, path, body in (
            ("GET", "", None), ("GET", "/comments", None), ("GET", "/likes", None), ("PUT", "/like", None),
            ("DELETE", "/like", None), ("POST", "/comments", {"text": "late"}), ("PATCH", "", {"text": "late"}),
            ("DELETE", "", None),
        ):  # fmt: skip
            await viewer.refused(404, method, f"/posts/{made['id']}{path}", body)
        assert await viewer.everything("/feed") == []
        assert await viewer.everything(f"/users/{ada.id}/posts") == []
        await viewer.refused(404, "PATCH", f"/comments/{said['id']}", {"text": "late"})
        await viewer.refused(404, "DELETE", f"/comments/{said['id']}")
