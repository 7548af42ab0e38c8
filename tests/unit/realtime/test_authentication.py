"""Which token counts, and when a cookie is believed."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from db.settings import Settings
from realtime.authentication import cookie_name, require_same_site, token_of
from realtime.problems import BadRequest, NotSameSite

PLAIN = Settings()
TLS = Settings(public_url="https://social.example")


def request(path: str = "/api/v1/me", method: str = "POST", **headers: str) -> web.Request:
    return make_mocked_request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})


# --- which token -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Bearer sr_a", "bearer sr_a", "BEARER   sr_a "])
def test_a_bearer_token_is_taken_however_its_scheme_is_written(value: str) -> None:
    assert token_of(request(Authorization=value), PLAIN) == ("sr_a", False)


def test_a_bearer_token_stands_before_the_cookie() -> None:
    assert token_of(request(Authorization="Bearer sr_a", Cookie="session=sr_b"), PLAIN) == ("sr_a", False)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic c3JfYTo="])
def test_without_a_bearer_token_the_cookie_counts(value: str) -> None:
    assert token_of(request(Authorization=value, Cookie="session=sr_b"), PLAIN) == ("sr_b", True)


@pytest.mark.parametrize("cookie", ["", "session=", "other=sr_b"])
def test_no_token_is_none(cookie: str) -> None:
    assert token_of(request(Cookie=cookie), PLAIN) == (None, True)


def test_over_tls_only_the_cookie_that_is_bound_to_the_host_counts() -> None:
    assert cookie_name(TLS) == "__Host-session"
    assert token_of(request(Cookie="session=sr_b"), TLS) == (None, True)
    assert token_of(request(Cookie="__Host-session=sr_b"), TLS) == ("sr_b", True)


@pytest.mark.parametrize("name", ["token", "access_token", "session"])
def test_a_token_in_a_url_is_refused_even_beside_a_good_one(name: str) -> None:
    with pytest.raises(BadRequest, match="must not stand in a URL"):
        token_of(request(f"/api/v1/live?{name}=sr_a", Authorization="Bearer sr_a"), PLAIN)


# --- our own page ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://site.test:8080", None])
@pytest.mark.parametrize("site", ["same-origin", "same-site"])
def test_our_own_page_is_believed(origin: str | None, site: str) -> None:
    headers = {"Host": "site.test:8080", "Sec_Fetch_Site": site}
    require_same_site(request(**headers, **({"Origin": origin} if origin else {})), PLAIN)


def test_an_origin_alone_is_enough_for_browsers_that_send_no_more() -> None:
    require_same_site(request(Host="site.test", Origin="http://site.test"), PLAIN)
    require_same_site(request(Host="10.0.0.5", Origin="https://social.example"), TLS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": ""},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "https://site.test"},
        {"Origin": "http://site.test:8080"},
        {"Origin": "http://site.test.evil.test"},
        {"Origin": "http://site.test@evil.test"},
        {"Origin": "http://evil.test", "Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://site.test", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://site.test", "Sec_Fetch_Site": "none"},
    ],
)
def test_any_other_page_is_not_believed(headers: dict[str, str]) -> None:
    with pytest.raises(NotSameSite):
        require_same_site(request(Host="site.test", **headers), PLAIN)


@pytest.mark.parametrize(
    "origin",
    ["http://social.example", "https://social.example:8443", "https://sub.social.example", "https://SOCIAL.example"],
)
def test_a_configured_site_is_compared_exactly(origin: str) -> None:
    with pytest.raises(NotSameSite):
        require_same_site(request(Host="social.example", Origin=origin), TLS)
