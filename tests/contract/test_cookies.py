"""The session cookie: whose page may use it."""

from __future__ import annotations

import aiohttp
import pytest

EVIL = ["https://evil.example", "null", "", "{site}.evil.example", "https://{host}", "http://evil.example:{port}",
        "http://{name}:1", "file://", "{site}@evil.example", "http://sub.{host}"]  # fmt: skip
UNSAFE = [
    ("POST", "/posts", {"text": "hi", "visibility": "public"}),
    ("PATCH", "/me", {"bio": "taken"}),
    ("PUT", "/friends/1", None),
    ("DELETE", "/sessions/current", None),
    ("POST", "/me/password", {"current": "correct horse battery", "new": "another good phrase"}),
    ("DELETE", "/me", {"password": "correct horse battery"}),
]


def foreign(site, pattern):
    host = site.url.split("//")[1]
    return pattern.format(site=site.url, host=host, name=host.split(":")[0], port=host.split(":")[1])


@pytest.mark.parametrize(("method", "path", "body"), UNSAFE)
async def test_an_unsafe_method_with_the_cookie_needs_the_sites_own_origin(site, person, guest, method, path, body):
    ada = await person()
    cookie = {"Cookie": f"session={ada.token}"}
    await guest.refused(403, method, path, body, headers=cookie)
    for pattern in EVIL:
        await guest.refused(403, method, path, body, headers={**cookie, "Origin": foreign(site, pattern)})
    for value in ("cross-site", "none", "same-site-not"):
        await guest.refused(403, method, path, body, headers={**cookie, "Sec-Fetch-Site": value})
    mixed = {**cookie, "Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}
    await guest.refused(403, method, path, body, headers=mixed)
    mixed = {**cookie, "Origin": site.url, "Sec-Fetch-Site": "cross-site"}
    await guest.refused(403, method, path, body, headers=mixed)
    me = await ada.ok("GET", "/me")
    assert me["user"]["bio"] == ""
    assert await ada.everything("/feed") == []
    assert await ada.everything("/friend-requests") == []


async def test_the_sites_own_pages_may_use_the_cookie(site, person, guest):
    ada = await person()
    cookie = {"Cookie": f"session={ada.token}"}
    post = {"text": "hi", "visibility": "public"}
    await guest.ok("GET", "/me", headers=cookie)
    await guest.ok("POST", "/posts", post, headers={**cookie, "Origin": site.url})
    await guest.ok("POST", "/posts", post, headers={**cookie, "Origin": site.url, "Sec-Fetch-Site": "same-origin"})
    await guest.ok("POST", "/posts", post, headers={**cookie, "Sec-Fetch-Site": "same-origin"})
    assert len(await ada.everything("/feed")) == 3


async def test_a_token_in_the_header_needs_no_origin_and_beats_the_cookie(person):
    ada, eve = await person(), await person()
    made = await ada.ok(
        "POST", "/posts", {"text": "hi", "visibility": "public"}, headers={"Cookie": f"session={eve.token}"}
    )
    assert made["author"]["id"] == ada.id
    bad = {"Authorization": "Bearer wrong", "Cookie": f"session={eve.token}", "Origin": ada.api.removesuffix("/api/v1")}
    await ada.refused(401, "GET", "/me", headers=bad)


async def test_a_foreign_page_cannot_sign_a_visitor_in_or_up(guest, person):
    ada = await person()
    pair = {"username": ada.user["username"], "password": ada.password}
    cross = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    await guest.refused(403, "POST", "/sessions", pair, headers=cross)
    await guest.refused(403, "POST", "/users", {**pair, "username": "evil.twin", "name": "E"}, headers=cross)


async def test_the_cookie_is_secure_and_bound_to_the_host_where_the_site_is_https(own_site):
    guest, _ = await own_site(SOCIAL_PUBLIC_URL="https://social.example")
    body = {"username": "ada", "password": "correct horse battery", "name": "Ada"}
    _, _, headers = await guest.call("POST", "/users", body)
    cookie = headers["Set-Cookie"]
    assert cookie.startswith("__Host-")
    assert "secure" in cookie.lower()
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()


@pytest.mark.parametrize("pattern", [*EVIL, None])
async def test_a_websocket_with_the_cookie_needs_the_sites_own_origin(site, http, person, pattern):
    ada = await person()
    headers = {"Cookie": f"session={ada.token}"}
    if pattern is not None:
        headers["Origin"] = foreign(site, pattern)
    try:
        async with http.ws_connect(f"{site.api}/live", headers=headers) as socket:
            await socket.send_str('{"type":"hello"}')
            message = await socket.receive(5)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), message
            assert socket.close_code == 4502
    except aiohttp.WSServerHandshakeError as refused:
        assert refused.status == 403  # noqa: PT017


async def test_a_websocket_of_the_sites_own_page_is_welcome(site, http, person):
    ada = await person()
    cookie = {"Cookie": f"session={ada.token}"}
    for headers in ({"Origin": site.url}, {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}):
        async with http.ws_connect(f"{site.api}/live", headers={**cookie, **headers}) as socket:
            await socket.send_str('{"type":"hello"}')
            assert (await socket.receive_json(timeout=5))["user"] == ada.id
