"""/me: the profile, its rules, the export and the end."""

from __future__ import annotations

import io
import json
import zipfile

import pytest


async def test_each_field_of_the_profile_changes_alone(person):
    ada, bela = await person("Ada"), await person()
    before = (await ada.ok("GET", "/me"))["user"]
    after = (await ada.ok("PATCH", "/me", {"name": "Ada L."}))["user"]
    assert after["name"] == "Ada L."
    assert after["version"] > before["version"]
    after = (await ada.ok("PATCH", "/me", {"bio": "Be\u0301la's friend\nsecond line"}))["user"]
    assert after["bio"] == "B\u00e9la's friend\nsecond line"
    assert after["name"] == "Ada L."
    for body in ({"locale": "en"}, {"locale": "hu-HU"}, {"timezone": "Europe/Budapest"}, {"timezone": "UTC"}):
        await ada.ok("PATCH", "/me", body)
    await ada.ok("PATCH", "/me", {"avatar_media_id": None})
    await ada.ok("PATCH", "/me", {"bio": ""})
    seen = await bela.ok("GET", f"/users/{ada.id}")
    assert (seen["name"], seen["bio"], seen["relation"]) == ("Ada L.", "", "none")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", "  ", "a" * 200, None, 1, [], "a\x00b", "a\nb"]),
        ("bio", ["a" * 5001, None, 1, {}, "a\x00b"]),
        ("locale", ["", "xx-yy-zz-1", "english please", None, 1, "a" * 100, "../en"]),
        ("timezone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "europe", None, 1, "a" * 1000, "UTC\x00"]),
        ("avatar_media_id", [1, [], True]),
        ("username", ["other"]), ("id", ["1"]), ("version", [9]), ("is_admin", [True]), ("password", ["a" * 20]),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_pointed_at_and_nothing_changes(person, field, values):
    ada = await person()
    before = await ada.ok("GET", "/me")
    for value in values:
        body = {field: value} if field == "bio" else {"bio": "changed", field: value}
        await ada.invalid("PATCH", "/me", body, f"/{field}")
    assert await ada.ok("GET", "/me") == before


async def test_a_picture_that_does_not_exist_is_refused(person):
    ada = await person()
    before = await ada.ok("GET", "/me")
    for wanted in ("1", "9007199254740991", "x", ""):
        status, _, _ = await ada.call("PATCH", "/me", {"bio": "changed", "avatar_media_id": wanted})
        assert status in (404, 422)
    assert await ada.ok("GET", "/me") == before


async def test_an_empty_change_changes_nothing(person):
    ada = await person()
    before = await ada.ok("GET", "/me")
    status, _, _ = await ada.call("PATCH", "/me", {})
    assert status in (200, 422)
    assert await ada.ok("GET", "/me") == before


async def test_the_export_is_a_zip_of_json_with_what_is_ones_own(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    mine, theirs = await ada.post("exported words", "only_me"), await bela.post("words of another")
    await ada.ok("POST", f"/posts/{theirs['id']}/comments", {"text": "exported comment"})
    await ada.ok("PUT", f"/posts/{theirs['id']}/like")
    await ada.ok("PATCH", "/me", {"bio": "exported bio"})
    status, raw, headers = await ada.call("GET", "/me/export")
    assert status == 200
    assert headers["Content-Type"] == "application/zip"
    assert "attachment" in headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    parsed = [json.loads(text) for name, text in texts.items() if name.endswith(".json")]
    assert parsed
    whole = json.dumps(parsed)
    for wanted in ("exported words", "exported comment", "exported bio", mine["id"], bela.id, ada.user["username"]):
        assert wanted in whole, wanted
    for unwanted in ("argon2", "password_hash", ada.token, "words of another"):
        assert unwanted not in "".join(texts.values())


async def test_deletion_needs_the_password(person):
    ada = await person()
    await ada.invalid("DELETE", "/me", {"password": "wrong wrong"}, "/password")
    await ada.invalid("DELETE", "/me", {}, "/password")
    await ada.invalid("DELETE", "/me", {"password": None}, "/password")
    status, _, _ = await ada.call("DELETE", "/me")
    assert status in (400, 415, 422)
    await ada.ok("GET", "/me")


async def test_deletion_ends_every_session_and_every_trace(person, guest):
    ada, bela, carl = await person("Ada"), await person(), await person()
    phone = await ada.again()
    await ada.befriend(bela)
    await ada.ok("PUT", f"/friends/{carl.id}")
    made = await ada.post("mine", "public")
    await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": "on it"})
    live = await phone.live()
    status, _, _ = await ada.call("DELETE", "/me", {"password": ada.password})
    assert status == 204
    assert await live.closed(5) == 4500
    await ada.refused(401, "GET", "/me")
    await phone.refused(401, "GET", "/me")
    pair = {"username": ada.user["username"], "password": ada.password}
    await guest.refused(401, "POST", "/sessions", pair)
    for path in (f"/users/{ada.id}", f"/users/{ada.id}/posts", f"/posts/{made['id']}", f"/posts/{made['id']}/comments"):
        await carl.refused(404, "GET", path)
    await carl.refused(404, "PUT", f"/friends/{ada.id}")
    assert await carl.everything("/friend-requests") == []
    assert await bela.everything("/friends") == []
    assert await bela.everything("/feed") == []
    found = await carl.everything(f"/users?q={ada.user['username']}")
    assert ada.id not in [user["id"] for user in found]


async def test_a_person_who_left_is_gone_from_likes_and_comments(person):
    ada, bela = await person("Ada"), await person()
    await ada.befriend(bela)
    made = await bela.post("kept")
    await ada.ok("PUT", f"/posts/{made['id']}/like")
    await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "bye"})
    await ada.ok("DELETE", "/me", {"password": ada.password})
    assert await bela.everything(f"/posts/{made['id']}/likes") == []
    assert await bela.everything(f"/posts/{made['id']}/comments") == []
    await bela.settled(made["id"], likes=0)
