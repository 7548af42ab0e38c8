"""What days came to: for operators only, counted by the command line, in bounded ranges."""

from __future__ import annotations

import asyncio
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.checks import problem
from tests.sites import SOCIAL

PATHS = ("/api/v1/admin/analytics?from=2026-11-01&to=2026-11-02", "/admin")
TODAY = datetime.now(UTC).date()


async def read(http, site, first, last):
    async with http.get(f"{site.url}/api/v1/admin/analytics?from={first}&to={last}") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "private, no-store"
        return (await answer.json())["days"]


async def social(site, *words):
    told = {f"SOCIAL_{name.upper()}": value for name, value in site.stores.items()}
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("SOCIAL_")}, **told}
    return await asyncio.to_thread(
        subprocess.run, [*SOCIAL, *words], env=environment, capture_output=True, text=True, check=False
    )


async def test_days_are_counted_by_hand_and_again(site, http, person):
    ada = await person()
    await ada.post("counted", "public")
    for _ in range(2):
        done = await social(site, "analytics", "--day", str(TODAY))
        assert done.stdout == f"Counted {TODAY}.\n", done.stderr
    [day] = await read(http, site, TODAY, TODAY)
    assert day["day"] == str(TODAY)
    assert day["figures"]["posts"] >= 1
    assert day["figures"]["sign_ups"] >= 1
    before = day["figures"]["posts"]
    await ada.post("one more", "public")
    first = TODAY - timedelta(days=3)
    done = await social(site, "analytics", "--from", str(first), "--to", str(TODAY))
    assert done.stdout == f"Counted 4 days, {first} to {TODAY}.\n", done.stderr
    days = await read(http, site, first, TODAY)
    assert [d["day"] for d in days] == [str(first + timedelta(days=n)) for n in range(4)]
    assert days[-1]["figures"]["posts"] > before
    assert days[0]["figures"]["posts"] == 0


async def test_a_range_that_is_none_is_refused_with_a_sentence(site):
    for words in (["--from", "2026-11-02", "--to", "2026-11-01"], ["--day", "yesterday"], ["--to", "2026-11-01"],
                  ["--day", "2026-11-01", "--from", "2026-11-01"]):  # fmt: skip
        done = await social(site, "analytics", *words)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("", "/from"), ("?from=2026-11-01", "/to"), ("?from=2026-11-02&to=2026-11-01", "/from"),
        ("?from=2026-02-30&to=2026-11-01", "/from"), ("?from=2026-11-01&to=1", "/to"),
        ("?from=2025-11-20&to=2026-11-21", "/to"),
    ],
)  # fmt: skip
async def test_what_is_no_range_is_a_fault_that_points_at_it(site, http, query, pointer):
    async with http.get(f"{site.url}/api/v1/admin/analytics{query}") as answer:
        body = problem(await answer.json(), 422, answer.headers, "invalid")
    assert pointer in {fault["pointer"] for fault in body["errors"]}


async def test_a_year_and_a_day_is_the_most(site, http):
    assert len(await read(http, site, "2024-01-01", "2024-12-31")) == 366


async def test_the_page_is_there_for_operators(site, http):
    async with http.get(f"{site.url}/admin") as answer:
        assert answer.status == 200
        assert "admin.js" in await answer.text()
    async with http.post(f"{site.url}/admin") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


async def refused(http, url, path, method="GET", **headers):
    """Asserts that a request is answered as one for a page that does not exist."""
    async with (
        http.request(method, f"{url}{path}", headers=headers) as answer,
        http.request(method, f"{url}/no-such-page", headers=headers) as other,
    ):
        body, expected = await answer.json(), await other.json()
        problem(body, 404, answer.headers)
        assert {**body, "instance": ""} == {**expected, "instance": ""}
        own = ("x-request-id", "date")
        assert [h for h in answer.raw_headers if h[0].decode().lower() not in own] == [
            h for h in other.raw_headers if h[0].decode().lower() not in own
        ]
        return True


@pytest.mark.parametrize("operators", ["10.0.0.0/8", ""])
async def test_for_everybody_else_there_is_nothing(own_site, http, operators):
    guest, make = await own_site(SOCIAL_OPERATORS=operators)
    url = guest.api.removesuffix("/api/v1")
    ada = await make()
    for path in PATHS:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            assert await refused(http, url, path, method)
        assert await refused(http, url, path, **ada.headers)


async def test_what_somebody_unknown_passed_on_sees_nothing(site, http):
    for path in PATHS:
        for forwarded in ("203.0.113.9", "127.0.0.1", "nonsense"):
            assert await refused(http, site.url, path, **{"X-Forwarded-For": forwarded})
