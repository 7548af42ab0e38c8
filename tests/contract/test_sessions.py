"""Devices: what is listed, what ends when."""

from __future__ import annotations

import asyncio
import time


async def test_every_sign_in_is_a_device_and_one_of_them_is_this_one(person):
    ada = await person()
    phone = await ada.again(**{"User-Agent": "Phone/1.0"})
    devices = (await ada.ok("GET", "/sessions"))["items"]
    assert len(devices) == 2
    assert len({device["id"] for device in devices}) == 2
    assert sorted(device["current"] for device in devices) == [False, True]
    assert ada.token not in str(devices)
    assert phone.token not in str(devices)
    theirs = (await phone.ok("GET", "/sessions"))["items"]
    assert {d["id"] for d in theirs} == {d["id"] for d in devices}
    assert [d["id"] for d in theirs if d["current"]] != [d["id"] for d in devices if d["current"]]


async def test_ending_another_device_ends_its_token_and_sockets_and_no_other(person):
    ada = await person()
    phone = await ada.again()
    mine, theirs = await ada.live(), await asyncio.gather(phone.live(), phone.live())
    (other,) = [d["id"] for d in (await ada.ok("GET", "/sessions"))["items"] if not d["current"]]
    status, raw, _ = await ada.call("DELETE", f"/sessions/{other}")
    assert (status, raw) == (204, b"")
    began = time.monotonic()
    assert await asyncio.gather(*(live.closed() for live in theirs)) == [4500, 4500]
    assert time.monotonic() - began < 1
    await phone.refused(401, "GET", "/me")
    await mine.barrier()
    assert len((await ada.ok("GET", "/sessions"))["items"]) == 1
    await ada.refused(404, "DELETE", f"/sessions/{other}")


async def test_the_current_device_signs_out(person, guest):
    ada = await person()
    phone = await ada.again()
    live, other = await ada.live(), await phone.live()
    began = time.monotonic()
    status, _, _ = await ada.call("DELETE", "/sessions/current")
    assert status == 204
    assert await live.closed() == 4500
    assert time.monotonic() - began < 1.5
    await ada.refused(401, "GET", "/feed")
    await ada.refused(401, "POST", "/posts", {"text": "hi", "visibility": "public"})
    await other.barrier()
    again = await ada.live(greet=False)
    await again.send({"type": "hello"})
    assert await again.closed() == 4500


async def test_signing_out_by_cookie_takes_the_cookie_back(site, person, guest):
    ada = await person()
    cookie = {"Cookie": f"session={ada.token}", "Origin": site.url}
    status, _, headers = await guest.call("DELETE", "/sessions/current", headers=cookie)
    assert status == 204
    taken = headers["Set-Cookie"].lower()
    assert 'session=""' in taken or "session=;" in taken
    assert "max-age=0" in taken or "expires=thu, 01" in taken
    await guest.refused(401, "GET", "/me", headers=cookie)


async def test_sessions_of_others_do_not_exist(person):
    ada, eve = await person(), await person()
    (device,) = (await ada.ok("GET", "/sessions"))["items"]
    await eve.refused(404, "DELETE", f"/sessions/{device['id']}")
    await eve.refused(404, "DELETE", "/sessions/9007199254740991")
    await eve.refused(404, "DELETE", "/sessions/abc")
    await ada.ok("GET", "/me")


async def test_a_new_password_ends_all_other_sessions_and_their_sockets(person, guest):
    ada = await person()
    phone, tablet = await ada.again(), await ada.again()
    mine, theirs = await ada.live(), [await phone.live(), await tablet.live()]
    body = {"current": ada.password, "new": "another good phrase"}
    assert (await ada.call("POST", "/me/password", body))[0] == 204
    assert await asyncio.gather(*(live.closed(3) for live in theirs)) == [4500, 4500]
    await phone.refused(401, "GET", "/me")
    await tablet.refused(401, "GET", "/me")
    await mine.barrier()
    assert len((await ada.ok("GET", "/sessions"))["items"]) == 1
    pair = {"username": ada.user["username"], "password": ada.password}
    await guest.refused(401, "POST", "/sessions", pair)
    await guest.ok("POST", "/sessions", {**pair, "password": body["new"]})


async def test_a_new_password_needs_the_old_one_and_the_rules_of_sign_up(person):
    ada = await person()
    good = "another good phrase"
    await ada.invalid("POST", "/me/password", {"current": "wrong wrong", "new": good}, "/current")
    for new in ("short77", "a" * 257, "password", ada.user["username"], "", None, 1):
        await ada.invalid("POST", "/me/password", {"current": ada.password, "new": new}, "/new")
    await ada.invalid("POST", "/me/password", {"new": good}, "/current")
    await ada.invalid("POST", "/me/password", {"current": ada.password}, "/new")
    await ada.invalid("POST", "/me/password", {"current": ada.password, "new": good, "user_id": "1"}, "/user_id")
    await ada.again()
