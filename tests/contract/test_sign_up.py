"""POST /users."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from tests.people import fresh

PASSWORD = "correct horse battery"


def body(**changes):
    return {"username": fresh(), "password": PASSWORD, "name": "Ada", **changes}


async def test_a_new_person_gets_a_user_a_token_and_a_cookie(guest):
    wanted = body()
    status, made, headers = await guest.call("POST", "/users", wanted)
    assert status == 201
    assert made.keys() == {"user", "token", "expires_at"}
    assert made["user"]["username"] == wanted["username"]
    assert made["user"]["name"] == "Ada"
    assert made["user"]["bio"] == ""
    assert made["user"]["avatar"] is None
    assert made["user"]["relation"] == "self"
    assert len(made["token"]) >= 22
    cookies = headers.getall("Set-Cookie")
    assert len(cookies) == 1
    flags = {flag.strip().lower() for flag in cookies[0].split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= flags
    assert not any(flag.startswith("domain") for flag in flags)
    me = await guest.ok("GET", "/me", headers={"Authorization": f"Bearer {made['token']}"})
    assert me["user"] == made["user"]
    assert me["unseen_notifications"] == 0
    cookie = cookies[0].split(";")[0]
    assert (await guest.ok("GET", "/me", headers={"Cookie": cookie}))["user"]["id"] == made["user"]["id"]
    assert "password" not in str(made).lower()


@pytest.mark.parametrize("name", ["abc", "a" * 20, "a_b", "a.b", "0x9"])
async def test_usernames_of_the_allowed_kind_are_taken(guest, name):
    tail = fresh("")[1:].replace("_", ".")
    wanted = f"{name[: 29 - len(tail)]}_{tail}"
    assert (await guest.ok("POST", "/users", body(username=wanted)))["user"]["username"] == wanted


async def test_a_username_may_have_three_and_thirty_characters(guest):
    tail = fresh("")
    await guest.ok("POST", "/users", body(username="a" * (30 - len(tail)) + tail))
    await guest.ok("POST", "/users", body(username=secrets.token_hex(2)[:3]))


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 31, "a b", "a-b-c", "añb", "абв", "abc ", " abc", "a@b.c", "abc\n", "abc\u200b", "a/b", "İabc",
     "<b>", "%61bc", "abc\u0000"],
)  # fmt: skip
async def test_other_usernames_are_refused(guest, name):
    await guest.invalid("POST", "/users", body(username=name), "/username")


@pytest.mark.parametrize("field", ["username", "password", "name"])
async def test_a_field_that_is_missing_or_no_text_is_pointed_at(guest, field):
    missing = body()
    del missing[field]
    await guest.invalid("POST", "/users", missing, f"/{field}")
    for value in (None, 1, True, [], {}, ["abc"]):
        await guest.invalid("POST", "/users", body(**{field: value}), f"/{field}")


@pytest.mark.parametrize("field", ["id", "is_admin", "version", "relation", "created_at", "bio", "__proto__"])
async def test_a_field_that_does_not_exist_is_refused(guest, field):
    await guest.invalid("POST", "/users", body(**{field: "1"}), f"/{field}")


@pytest.mark.parametrize(
    "password", ["", "short77", "a" * 257, "password", "12345678", "password1", "qwertyuiop", "iloveyou", "Password1"]
)
async def test_weak_passwords_are_refused(guest, password):
    await guest.invalid("POST", "/users", body(password=password), "/password")


async def test_a_password_equal_to_the_username_is_refused(guest):
    name = fresh("very")
    for password in (name, name.upper()):
        await guest.invalid("POST", "/users", body(username=name, password=password), "/password")


@pytest.mark.parametrize(
    "password", ["xk7#qv!z", "пароль с пробелом 7", " leading and trailing ", "é" * 100, "Zq7-" * 64]
)
async def test_good_passwords_are_taken_whole(guest, password):
    wanted = body(password=password)
    await guest.ok("POST", "/users", wanted)
    pair = {"username": wanted["username"], "password": password}
    await guest.ok("POST", "/sessions", pair)
    await guest.refused(401, "POST", "/sessions", {**pair, "password": password[:-1]})
    if password.strip() != password:
        await guest.refused(401, "POST", "/sessions", {**pair, "password": password.strip()})


async def test_a_password_is_compared_after_nfc(guest):
    wanted = body(password="caf\u00e9 au lait 77")
    await guest.ok("POST", "/users", wanted)
    await guest.ok("POST", "/sessions", {"username": wanted["username"], "password": "cafe\u0301 au lait 77"})


async def test_a_name_is_taken_once_whatever_its_case(guest):
    wanted = body()
    await guest.ok("POST", "/users", wanted)
    for name in (wanted["username"], wanted["username"].upper(), wanted["username"].title()):
        await guest.refused(409, "POST", "/users", body(username=name))


async def test_a_compatibility_twin_of_a_name_is_refused_or_the_same_name(guest):
    wanted = body()
    await guest.ok("POST", "/users", wanted)
    twin = "".join(chr(ord(c) + 0xFEE0) for c in wanted["username"])
    status, _, _ = await guest.call("POST", "/users", body(username=twin))
    assert status in (409, 422)


async def test_twenty_parallel_sign_ups_of_one_name_make_one_person(guest):
    name = fresh()
    answers = await asyncio.gather(
        *(guest.call("POST", "/users", body(username=name if n % 2 else name.upper())) for n in range(20))
    )
    assert sorted(status for status, _, _ in answers) == [201] + [409] * 19


@pytest.mark.parametrize("name", ["", "   ", "a" * 200, "a\nb", "a\x00b"])
async def test_odd_display_names_are_refused(guest, name):
    await guest.invalid("POST", "/users", body(name=name), "/name")


@pytest.mark.parametrize("name", ["\u202eadA", "\u200b", "\u2066\u2069", "\u3164"], ids=ascii)
async def test_display_names_that_show_nothing_or_turn_the_text_around_are_refused(guest, name):
    await guest.invalid("POST", "/users", body(name=name), "/name")


async def test_a_display_name_is_kept_as_nfc_text(guest):
    made = await guest.ok("POST", "/users", body(name="Be\u0301la <b>&amp; 👩‍👩‍👧"))
    assert made["user"]["name"] == "B\u00e9la <b>&amp; 👩‍👩‍👧"


@pytest.mark.parametrize(
    "email", ["", "x", "a@", "@b.example", "a@b@c.example", "a b@c.example", "a@b.example\r\nBcc: c@d.example"]
)
async def test_a_wrong_email_is_refused(guest, email):
    await guest.invalid("POST", "/users", body(email=email), "/email")


async def test_an_email_may_be_there_and_is_not_shown_to_others(guest, person):
    made = await guest.ok("POST", "/users", body(email="ada@mail.example"))
    await guest.ok("POST", "/users", body(email=None))
    other = await person()
    assert "ada@mail.example" not in str(await other.ok("GET", f"/users/{made['user']['id']}"))
