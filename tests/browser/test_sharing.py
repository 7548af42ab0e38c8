"""Posts in posts, tags, names and search: what leads from one to the next."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.pages import post_with, shot, sign_in


@pytest.mark.timeout(60)
@pytest.mark.parametrize("site", ["embedded"], indirect=True)
async def test_posts_are_shared_and_found(site, open_page, person):
    ada, bela, grace = await person("Ada Moreno"), await person("Béla Kis"), await person("Grace Okafor")
    for friend in (ada, grace):
        await friend.befriend(bela)
    tag = f"Tea{bela.id}"
    mill = await ada.post("A picture of the mill", "public")
    post = await ada.post(f"The old mill is open again #{tag} with @{grace.user['username']}.", "public")
    page, theirs = await open_page(site.url, width=1280), await open_page(site.url, width=390, height=844)
    trending = {"items": [], "tags": [], "refreshed_at": None}
    await page.route("**/api/v1/trending", lambda route: route.fulfill(json=trending))
    await sign_in(page, bela)
    await sign_in(theirs, grace)
    await expect(page.get_by_test_id("side-trending")).to_contain_text("show up here")

    # Shared with a word to it, in which an @ finds a friend; the other one sees it live, with what is shared.
    original = page.locator(f".feed > [data-post-id='{post['id']}']")
    await original.get_by_test_id("share-button").click()
    dialog = page.get_by_test_id("share")
    words = dialog.get_by_label("Your words to it")
    await words.press_sequentially(f"Come along @{grace.user['username'][:-1]}")
    await expect(dialog.get_by_role("option").first).to_have_attribute("aria-selected", "true")
    await dialog.get_by_role("option", name=grace.user["username"]).click()
    await expect(words).to_have_value(f"Come along @{grace.user['username']} ")
    await dialog.get_by_role("button", name="Share", exact=True).click()
    await expect(dialog).to_have_count(0)
    share = post_with(page, "Come along")
    await expect(share.get_by_test_id("shared")).to_contain_text("The old mill is open again")
    await expect(original.get_by_test_id("share-count")).to_have_text("1")
    seen = post_with(theirs, "Come along")
    await expect(seen.get_by_test_id("shared")).to_contain_text("The old mill is open again")
    await shot(page, "shared")

    # An edit shows inside of it; what its author takes away leaves a tombstone.
    await ada.ok("PATCH", f"/posts/{post['id']}", {"text": f"The old mill is open on Saturday #{tag}"})
    for place in (share, seen):
        await expect(place.get_by_test_id("shared")).to_contain_text("Saturday")
    await page.get_by_test_id("shared").get_by_role("link", name=f"#{tag}").click()
    await expect(page.get_by_role("heading", name=f"#{tag.lower()}")).to_be_visible()
    await expect(page.locator(f".feed > [data-post-id='{post['id']}']")).to_contain_text("Saturday")
    await shot(page, "tag")
    await ada.ok("PATCH", f"/posts/{post['id']}", {"visibility": "friends"})
    await expect(seen.get_by_test_id("tombstone")).to_have_text("This post is not available.")
    await seen.get_by_role("link", name=f"@{grace.user['username']}").click()
    await expect(theirs.get_by_test_id("profile")).to_contain_text("Grace Okafor")
    await page.go_back()
    await ada.ok("DELETE", f"/posts/{post['id']}")
    await expect(share.get_by_test_id("tombstone")).to_be_visible()
    await shot(page, "tombstone")

    # What trends says why, in a line and term by term.
    hours = ["2026-11-21T14:00:00.000Z", "2026-11-21T13:00:00.000Z"]
    because = [
        {"kind": "likes", "hour": hours[0], "people": 8, "points": 8.0},
        {"kind": "likes", "hour": hours[1], "people": 4, "points": 3.56},
        {"kind": "comments", "hour": hours[1], "people": 3, "points": 5.34},
    ]
    item = {**await bela.ok("GET", f"/posts/{mill['id']}"), "trend": {"score": 16.9, "because": because}}
    trending |= {"items": [item], "tags": [{"tag": "mill", "score": 1.0, "because": []}], "refreshed_at": hours[0]}
    await page.reload()
    trend = page.get_by_test_id("trend")
    await expect(trend).to_contain_text("12 people liked, 3 commented, most at")
    await trend.locator("summary").click()
    await expect(trend.locator("tbody tr")).to_have_count(3)
    await expect(trend.locator("tfoot")).to_contain_text("16.9")
    await expect(page.get_by_test_id("side-trending").get_by_role("link", name="#mill")).to_be_visible()

    # One box finds people and posts; its address can be passed on.
    await ada.post(f"Marmalade for {bela.id}")
    await page.get_by_role("link", name="Search", exact=True).click()
    await page.get_by_label("Search people and posts").fill("marmal")
    await expect(post_with(page, f"Marmalade for {bela.id}")).to_be_visible()
    await page.get_by_label("Search people and posts").fill(ada.user["username"])
    await expect(page.get_by_test_id("people-results")).to_contain_text("Ada Moreno")
    await expect(page.get_by_text("No post that you can see has these words.")).to_be_visible()
    await shot(page, "search")
    await page.goto(f"{site.url}/search?q=marmal")
    await expect(post_with(page, f"Marmalade for {bela.id}")).to_be_visible()
