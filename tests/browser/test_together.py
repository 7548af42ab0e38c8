"""Who is here, and who is writing."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests import people
from tests.browser.pages import SHOTS, free_port, id_of, is_live, join, post_with, shot, write

# Colours fade from one scheme to the other; only what ends is waited for: the dots of a typing line never do.
FINISHED = """() => Promise.allSettled(document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime !== Infinity).map((one) => one.finished))"""
LOOKS = [(390, "light"), (390, "dark"), (1400, "light"), (1400, "dark")]


async def picture(page: Page, name: str, width: int, scheme: str) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    await page.emulate_media(color_scheme=scheme)
    await page.evaluate(FINISHED)
    await shot(page, f"{name}-{width}-{scheme}")


@pytest.mark.timeout(150)
async def test_friends_are_seen_to_be_here_and_to_write(start_site, open_page, http):
    port = free_port()
    site = start_site("--no-demo", port=port)
    bela = await open_page(site.url, width=1400)
    await join(bela, "Béla Kis")
    bela_id = await id_of(bela)
    friends = [await people.sign_up(http, site.api, name) for name in ("Ada Moreno", "Grace Okafor", "Lin Wei")]
    ada, grace, _lin = friends
    for friend in friends:
        await friend.ok("PUT", f"/friends/{bela_id}")
    requests = bela.get_by_test_id("side-requests")
    for name in ("Ada Moreno", "Grace Okafor", "Lin Wei"):
        await requests.get_by_role("button", name=f"Accept {name}").click()

    # Two friends come; one goes again, and is gone for the page when the server says so.
    sockets = [await friend.live() for friend in (ada, grace)]
    here = bela.get_by_test_id("side-online")
    await expect(here.get_by_test_id("person")).to_have_count(2)
    await expect(here.get_by_test_id("person").filter(has_text="Ada Moreno")).to_contain_text("online")
    await ada.post("Lunch at the old mill?")
    hers = post_with(bela, "Lunch at the old mill?")
    await expect(hers.locator(".post-head .presence-online")).to_be_visible()
    await sockets[1].socket.close()
    await expect(here.get_by_test_id("person")).to_have_count(1, timeout=40_000)

    # Somebody writes, then others too; the line comes and goes without moving anything.
    await hers.get_by_test_id("comments-toggle").click()
    line = hers.get_by_test_id("typing")
    await expect(line).to_have_text("")
    await expect(hers.get_by_test_id("thread")).to_have_attribute("aria-busy", "false")
    before = await hers.bounding_box()
    post_id = await hers.get_attribute("data-post-id")
    typing = {"post_id": post_id}
    await ada.ok("POST", "/live/typing", typing)
    await expect(line).to_contain_text("Ada Moreno is writing…")
    assert await hers.bounding_box() == before
    await expect(bela.locator("#announcer")).to_contain_text("Ada Moreno is writing…")
    await expect(line).to_have_text("", timeout=10_000)

    # The comment itself ends it.
    await ada.ok("POST", "/live/typing", typing)
    await expect(line).to_contain_text("Ada Moreno is writing…")
    await ada.ok("POST", f"/posts/{post_id}/comments", {"text": "Or the new one, if it rains"})
    await expect(hers.get_by_test_id("comment")).to_contain_text("if it rains")
    await expect(line).to_have_text("", timeout=2000)

    # The viewer's own keys are told, at most every 3 s, and never to the viewer.
    theirs = await ada.live()
    await theirs.send({"type": "subscribe", "id": "1", "stream": f"post:{post_id}"})
    await theirs.until(type="subscribed")
    await hers.get_by_test_id("comment-text").press_sequentially("I will bring cake", delay=40)
    await theirs.until(type="typing", post_id=post_id, user_id=bela_id)
    await expect(line).to_have_text("")

    # On the viewer's own post all friends may write; strangers have no name here.
    await write(bela, "Who comes along?")
    mine = post_with(bela, "Who comes along?")
    typing = {"post_id": await mine.get_attribute("data-post-id")}
    await mine.get_by_test_id("comments-toggle").click()
    await expect(mine.get_by_test_id("thread")).to_have_attribute("aria-busy", "false")
    for friend in (ada, grace):
        await friend.ok("POST", "/live/typing", typing)
    await expect(mine.get_by_test_id("typing")).to_contain_text("Ada Moreno and Grace Okafor are writing…")
    for friend in friends:
        await friend.ok("POST", "/live/typing", typing)
    await expect(mine.get_by_test_id("typing")).to_contain_text("Ada Moreno and 2 others are writing…")
    await ada.ok("POST", f"/posts/{typing['post_id']}/comments", {"text": "I do"})
    for width, scheme in LOOKS if SHOTS else []:
        await ada.ok("POST", "/live/typing", typing)
        await picture(bela, "together", width, scheme)
    await bela.set_viewport_size({"width": 1400, "height": 900})

    # After a break only those who are here again are shown: the server tells.
    site.processes[0].kill()
    await expect(bela.get_by_test_id("connection").first).not_to_have_attribute("data-state", "live")
    start_site("--no-demo", port=port)
    await is_live(bela, within=40_000)
    await expect(here.get_by_test_id("person")).to_have_count(0)
    again = await grace.live()
    await expect(here.get_by_test_id("person")).to_have_text(re.compile("Grace Okafor"))
    await bela.get_by_role("link", name="Friends", exact=True).click()
    friends_list = bela.get_by_test_id("friends-list")
    await expect(friends_list.locator(".presence")).to_have_count(1)
    await expect(friends_list.get_by_test_id("person").filter(has_text="Grace Okafor")).to_contain_text("online")
    for width, scheme in LOOKS if SHOTS else []:
        await picture(bela, "friends", width, scheme)
    for live in (*sockets, theirs, again):
        await live.socket.close()


@pytest.mark.timeout(100)
async def test_strangers_who_write_have_no_name(start_site, open_page, http):
    site = start_site("--no-demo")
    ada, stranger = [await people.sign_up(http, site.api, name) for name in ("Ada Moreno", "Zoe Unknown")]
    post = await ada.post("Open to everybody", "public")
    page = await open_page(site.url, width=390, height=844)
    await join(page, "Béla Kis")
    await page.goto(f"{site.url}/posts/{post['id']}")
    await is_live(page)
    await expect(page.get_by_test_id("thread")).to_have_attribute("aria-busy", "false")
    await stranger.ok("POST", "/live/typing", {"post_id": post["id"]})
    await expect(page.get_by_test_id("typing")).to_contain_text("Somebody is writing…")
    await ada.ok("POST", "/live/typing", {"post_id": post["id"]})
    await expect(page.get_by_test_id("typing")).to_contain_text("Ada Moreno and 1 other are writing…")
    await shot(page, "strangers-390-light")
