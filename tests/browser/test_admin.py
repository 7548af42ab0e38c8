"""The operators' page: numbers under the pointer and the arrow keys, tables for those who do not see plots."""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import expect

from tests.browser.pages import shot

DAYS = 120
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
GAP = 5  # days ago, not counted


def figures(ago: int) -> dict[str, float]:
    """A site that grows, with quiet week-ends."""
    week = 0.7 + 0.3 * math.sin(ago * 2 * math.pi / 7)
    size = (DAYS - ago) * week
    return {
        "daily_active_users": round(40 + 30 * size), "sign_ups": round(2 * size), "posts": round(90 * size),
        "comments": round(260 * size), "likes": round(900 * size), "shares": round(12 * size),
        "friendships": round(5 * size), "deliveries": round(41_000 * size),
        "commit_to_frame_p50_seconds": 0.011 + 0.004 * week, "commit_to_frame_p99_seconds": 0.12 + 0.09 * week,
    }  # fmt: skip


async def counted(database: Path) -> None:
    """Waits until the site has counted yesterday by itself: it would overwrite what the test makes up."""
    async with asyncio.timeout(30):
        with sqlite3.connect(database) as connection:
            while not connection.execute("SELECT 1 FROM ticks WHERE job = 'daily-analytics' AND done_at").fetchall():  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def fill(database: Path) -> None:
    rows = [
        (str(YESTERDAY - timedelta(days=ago)), name, value)
        for ago in range(DAYS)
        if ago != GAP
        for name, value in figures(ago).items()
    ]
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM daily_figures")
        connection.executemany("INSERT INTO daily_figures (day, name, value) VALUES (?, ?, ?)", rows)


async def test_operators_see_what_days_came_to(start_site, open_page, tmp_path):
    site = start_site("--no-demo")
    await counted(tmp_path / "data" / "social.db")
    fill(tmp_path / "data" / "social.db")
    page = await open_page(f"{site.url}/admin", width=1400, height=1000)
    people = page.get_by_role("region", name="Active people", exact=True)
    posts = page.get_by_role("region", name="Posts", exact=True)
    latest = f"{figures(0)['daily_active_users']:,}"
    await expect(people).to_contain_text(latest)
    await expect(page.locator("svg .plot-bar").first).to_be_visible()
    await expect(page.get_by_role("status")).to_contain_text("29 of 30 days")

    # The pointer and the arrow keys show the figures of a day.
    plot = people.get_by_role("application")
    box = await plot.bounding_box()
    await page.mouse.move(box["x"] + 46, box["y"] + 60)
    await expect(people).to_contain_text(f"{figures(29)['daily_active_users']:,}")
    await page.mouse.move(0, 0)
    await posts.get_by_role("application").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(posts).to_contain_text(f"{figures(1)['posts']:,}")
    await page.keyboard.press("Home")
    await expect(posts).to_contain_text(f"{figures(29)['posts']:,}")

    await shot(page, "admin-pointed-at")

    # A day that was not counted is a gap and says so.
    await plot.focus()
    for _ in range(GAP):
        await page.keyboard.press("ArrowLeft")
    await expect(people.locator("b")).to_have_text("–")
    await expect(people.locator(".plot-line")).to_have_count(2)

    # The same as a table.
    await people.get_by_text("As a table").click()
    rows = people.get_by_role("row")
    await expect(rows).to_have_count(31)
    await expect(rows.nth(1)).to_have_text(re.compile(f"{YESTERDAY}\\s*{latest}"))
    await people.get_by_text("As a table").click()

    await page.get_by_role("radio", name="90 days").check()
    await expect(page.get_by_role("status")).to_contain_text("89 of 90 days")
    await page.mouse.move(0, 0)
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        for width, height in ((1400, 1000), (390, 844)):
            await page.set_viewport_size({"width": width, "height": height})
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width
            await shot(page, f"admin-{theme}-{width}")
