"""Headers of every answer, and what answers do not tell."""

from __future__ import annotations

import re

import pytest
from yarl import URL


@pytest.mark.parametrize("path", ["/me", "/feed", "/nowhere", "/users?q=a", "/live"])
async def test_every_api_answer_is_private_and_hardened(somebody, path):
    _, _, headers = await somebody.call("GET", path)
    assert headers["Cache-Control"] == "private, no-store" or "ETag" in headers
    hardened(headers)


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/openapi.json", "/asyncapi.json", "/nowhere"])
async def test_every_other_answer_is_hardened(site, http, path):
    async with http.get(site.url + path) as answer:
        assert answer.headers["X-Request-Id"]
        hardened(answer.headers)


def hardened(headers):
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] in ("'none'", "'self'")
    assert policy["base-uri"] in ("'none'", "'self'")
    assert policy["frame-ancestors"] in ("'none'", "'self'")
    assert policy.get("object-src", policy["default-src"]) == "'none'"
    scripts = policy.get("script-src", policy["default-src"])
    assert not re.search(r"unsafe|\*|data:|https?:", scripts)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    assert not re.search(r"python|aiohttp|\d+\.\d+", headers.get("Server", ""), re.IGNORECASE), headers["Server"]
    assert "X-Powered-By" not in headers


async def test_foreign_origins_get_no_cors(site, guest):
    for origin in ("https://evil.example", "null", site.url + ".evil.example"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for method in ("GET", "OPTIONS"):
            _, _, headers = await guest.call(method, "/me", headers=asked)
            assert not [name for name in headers if name.lower().startswith("access-control-allow")]


async def test_a_request_id_from_outside_cannot_break_headers_or_logs(guest):
    for sent in ("a b", "x" * 500, "<script>", "é", "../../etc"):
        _, body, headers = await guest.call("GET", "/me", headers={"X-Request-Id": sent})
        assert re.fullmatch(r"[!-~]{1,128}", headers["X-Request-Id"])
        assert body["instance"] == headers["X-Request-Id"]
        assert "<" not in headers["X-Request-Id"]


async def test_a_token_in_the_url_is_no_sign_in(person, guest):
    ada = await person()
    for name in ("token", "access_token", "session", "authorization", "auth"):
        status, _, _ = await guest.call("GET", f"/me?{name}={ada.token}")
        assert status in (400, 401)


async def test_a_file_outside_the_static_folder_is_not_served(site, http):
    for path in (
        "/static/../pyproject.toml", "/static/..%2fpyproject.toml", "/static/%2e%2e/pyproject.toml", "/static/.env",
        "/static/..%252fpyproject.toml", "/static/..%5cpyproject.toml", "/static/%00", "/.git/config", "/.env",
        "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/", "/static",
    ):  # fmt: skip
        async with http.get(URL(site.url + path, encoded=True), allow_redirects=False) as answer:
            assert answer.status in (400, 403, 404), (path, answer.status)
