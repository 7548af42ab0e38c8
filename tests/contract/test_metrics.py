"""GET /metrics: for operators only, moved by what happens, and no larger for more people."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.checks import problem
from tests.people import PATIENCE

ELSEWHERE = "203.0.113.9"


async def samples(http, site_url):
    """(name, labels) -> value."""
    async with http.get(f"{site_url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = await answer.text()
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def requests(method, route, status):
    labels = {"method": method, "route": route, "status": status}
    return "social_http_requests_total", frozenset(labels.items())


async def test_requests_are_counted_by_the_route_and_never_by_the_path(site, http, person):
    ada = await person("Ada")
    made = await ada.post("counted")
    before = await samples(http, site.url)
    for _ in range(3):
        await ada.ok("GET", f"/posts/{made['id']}")
    await ada.refused(404, "GET", "/posts/999999")
    await ada.refused(404, "GET", "/no/such/page")
    after = await samples(http, site.url)

    def grown(*labels):
        return after[requests(*labels)] - before.get(requests(*labels), 0)

    assert grown("GET", "/api/v1/posts/{id}", "2xx") == 3
    assert grown("GET", "/api/v1/posts/{id}", "4xx") == 1
    assert grown("GET", "other", "4xx") >= 1
    timed = ("social_http_request_seconds_count", frozenset({("route", "/api/v1/posts/{id}")}))
    assert after[timed] - before.get(timed, 0) == 4
    assert not [key for key in after if "/posts/" in str(key) and "/posts/{id}" not in str(key)]


async def test_more_people_make_no_more_series(site, http, person):
    async def live_once(name):
        somebody = await person(name)
        made = await somebody.post("one more")
        await somebody.ok("PUT", f"/posts/{made['id']}/like")
        live = await somebody.live()
        await live.socket.close()

    await live_once("first")
    before = await samples(http, site.url)
    for number in range(5):
        await live_once(f"person {number}")
    for number in range(20):
        async with http.request(f"M{number}", f"{site.url}/nowhere/{number}"):
            pass
    after = await samples(http, site.url)
    new = {key for key in after.keys() - before.keys() if "M1" not in str(key)}
    # what the 20 strange requests, and 404 for them, brought for the first time
    assert len(new) < 20, sorted(map(str, new))
    assert not [key for key in after if "M1" in str(key) or "nowhere" in str(key)]


async def test_the_outbox_the_loop_and_the_build_are_shown(site, http):
    async with asyncio.timeout(PATIENCE):
        while not (found := await samples(http, site.url)).get(("social_event_loop_lag_seconds_count", frozenset())):  # noqa: ASYNC110 - a page has no event
            await asyncio.sleep(0.05)
    for name in ("oldest_seconds", "pending", "parked"):
        assert found["social_outbox_" + name, frozenset()] >= 0  # false for NaN: it was looked at
    builds = [dict(labels) for name, labels in found if name == "social_build_info"]
    assert [build.keys() for build in builds] == [{"version", "python"}]
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


async def refused(http, url, **headers):
    """Asserts that a request is answered as one for a page that does not exist."""
    async with http.get(f"{url}/metrics", headers=headers) as answer, http.get(f"{url}/no-such-page") as other:
        body, expected = await answer.json(), await other.json()
        problem(body, 404, answer.headers)
        assert {**body, "instance": ""} == {**expected, "instance": ""}
        return True


async def test_a_foreign_address_behind_a_trusted_proxy_sees_nothing(own_site, http):
    guest, _ = await own_site(SOCIAL_TRUSTED_PROXIES="127.0.0.0/8", SOCIAL_OPERATORS="127.0.0.0/8,198.51.100.0/24")
    url = guest.api.removesuffix("/api/v1")
    assert await samples(http, url)  # the collector asks without a proxy
    assert await refused(http, url, **{"X-Forwarded-For": ELSEWHERE})
    assert await refused(http, url, **{"X-Forwarded-For": f"127.0.0.1, {ELSEWHERE}"})
    assert await refused(http, url, **{"X-Forwarded-For": "nonsense"})
    async with http.get(f"{url}/metrics", headers={"X-Forwarded-For": "198.51.100.7"}) as answer:
        assert answer.status == 200


async def test_what_somebody_unknown_passed_on_sees_nothing_however_near_he_stands(site, http):
    for forwarded in (ELSEWHERE, "127.0.0.1", "nonsense"):
        assert await refused(http, site.url, **{"X-Forwarded-For": forwarded})


@pytest.mark.parametrize("operators", ["10.0.0.0/8", ""])
async def test_one_who_is_no_operator_sees_nothing(own_site, http, operators):
    guest, _ = await own_site(SOCIAL_OPERATORS=operators)
    assert await refused(http, guest.api.removesuffix("/api/v1"))
