"""POST /sessions and the limits on guessing."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from tests.contract.checks import Guest


def pair(who, **changes):
    return {"username": who.user["username"], "password": who.password, **changes}


async def test_a_right_pair_signs_in_on_a_new_session(person, guest):
    ada = await person()
    status, made, headers = await guest.call("POST", "/sessions", pair(ada))
    assert status == 201
    assert made.keys() == {"user", "token", "expires_at"}
    assert made["user"]["id"] == ada.id
    assert made["token"] != ada.token
    assert "httponly" in headers["Set-Cookie"].lower()
    assert (await ada.ok("GET", "/me"))["user"]["id"] == ada.id


async def test_the_username_is_folded(person, guest):
    ada = await person()
    assert (await guest.ok("POST", "/sessions", pair(ada, username=ada.user["username"].upper())))["user"][
        "id"
    ] == ada.id


async def test_an_unknown_name_and_a_wrong_password_answer_alike(person, guest):
    ada = await person()
    wrong = await guest.refused(401, "POST", "/sessions", pair(ada, password="not the password"))
    unknown = await guest.refused(401, "POST", "/sessions", pair(ada, username="nobody.of.this.name"))
    odd = await guest.refused(401, "POST", "/sessions", pair(ada, username="' OR 1=1 --"))
    assert {**wrong, "instance": ""} == {**unknown, "instance": ""} == {**odd, "instance": ""}


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(person, guest):
    ada = await person()

    async def took(body):
        began = time.perf_counter()
        await guest.refused(401, "POST", "/sessions", body)
        return time.perf_counter() - began

    wrong, unknown = [], []
    for n in range(7):
        wrong.append(await took(pair(ada, password=f"not the password {n}")))
        unknown.append(await took(pair(ada, username=f"nobody.{n}")))
    assert 0.5 < statistics.median(unknown) / statistics.median(wrong) < 2, (wrong, unknown)


@pytest.mark.parametrize("field", ["username", "password"])
async def test_a_field_that_is_missing_or_no_text_is_pointed_at(person, guest, field):
    ada = await person()
    body = pair(ada)
    del body[field]
    await guest.invalid("POST", "/sessions", body, f"/{field}")
    for value in (None, 1, True, [], {"$ne": ""}):
        await guest.invalid("POST", "/sessions", pair(ada, **{field: value}), f"/{field}")
    await guest.invalid("POST", "/sessions", pair(ada, remember=True), "/remember")


async def test_guessing_from_one_address_is_limited_and_says_when_to_come_back(own_site):
    guest, person = await own_site(SOCIAL_SIGN_IN_PER_ADDRESS="5/minute")
    ada = await person()
    answers = []
    for n in range(8):
        headers = {
            "X-Forwarded-For": f"198.51.100.{n}",
            "X-Real-IP": f"198.51.100.{n}",
            "Forwarded": f"for=198.51.100.{n}",
        }
        body = pair(ada, username=f"name{n}", password="wrong wrong")
        answers.append(await guest.call("POST", "/sessions", body, headers=headers))
    statuses = [status for status, _, _ in answers]
    assert statuses == [401] * 5 + [429] * 3
    assert 1 <= int(answers[-1][2]["Retry-After"]) <= 60
    assert (await guest.call("POST", "/sessions", pair(ada)))[0] == 429
    assert (await ada.ok("GET", "/me"))["user"]["id"] == ada.id


async def test_an_address_told_by_a_trusted_proxy_counts_for_itself(own_site):
    guest, person = await own_site(SOCIAL_SIGN_IN_PER_ADDRESS="3/minute", SOCIAL_TRUSTED_PROXIES="127.0.0.1/32")
    ada = await person()

    async def guess(n, forwarded):
        body = pair(ada, username=f"name{n}", password="wrong wrong")
        return (await guest.call("POST", "/sessions", body, headers={"X-Forwarded-For": forwarded}))[0]

    assert [await guess(n, f"198.51.100.{n}") for n in range(5)] == [401] * 5
    # The client may write what it likes in front; the last hop is what the proxy saw.
    assert [await guess(n, f"203.0.113.{n}, 192.0.2.7") for n in range(5)] == [401] * 3 + [429] * 2


async def test_guessing_at_one_account_is_limited(own_site):
    guest, person = await own_site(SOCIAL_SIGN_IN_PER_ACCOUNT="4/minute")
    ada, bela = await person(), await person()
    for n in range(4):
        name = ada.user["username"] if n % 2 else ada.user["username"].upper()
        await guest.refused(401, "POST", "/sessions", pair(ada, username=name, password="wrong wrong"))
    assert (await guest.call("POST", "/sessions", pair(ada, password="wrong wrong")))[0] == 429
    assert (await guest.call("POST", "/sessions", pair(bela)))[0] == 201
    for _ in range(4):
        await guest.refused(401, "POST", "/sessions", pair(ada, username="never.was", password="wrong wrong"))
    assert (await guest.call("POST", "/sessions", pair(ada, username="never.was", password="wrong wrong")))[0] == 429


async def test_sign_ups_from_one_address_are_limited(own_site):
    guest, _ = await own_site(SOCIAL_SIGN_UP_PER_ADDRESS="3/hour")
    statuses = []
    for n in range(5):
        body = {"username": f"name{n}", "password": "correct horse battery", "name": "Ada"}
        status, _, headers = await guest.call("POST", "/users", body)
        statuses.append(status)
    assert statuses == [201] * 3 + [429] * 2
    assert 1 <= int(headers["Retry-After"]) <= 3600


async def test_a_flood_of_sign_ins_does_not_slow_others_down(person, guest: Guest):
    ada = await person()
    flood = [
        asyncio.create_task(guest.call("POST", "/sessions", pair(ada, username=f"flood{n}", password="wrong wrong")))
        for n in range(30)
    ]
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    await ada.ok("GET", "/me")
    assert time.perf_counter() - began < 2
    answers = await asyncio.gather(*flood)
    assert {status for status, _, _ in answers} <= {401, 429, 503}
