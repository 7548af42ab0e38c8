"""Networks that let no websocket through: the page is live all the same, by server-sent events."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests import people
from tests.browser.pages import free_port, id_of, is_live, join, post_with, shot, write
from tests.browser.proxies import proxy


@pytest.mark.timeout(150)
@pytest.mark.parametrize("does", ["refuses", "swallows"])
async def test_page_is_live_where_upgrades_do_not_pass(start_site, open_page, http, does):
    port = free_port()
    site = start_site("--no-demo", port=port)
    ada = await people.sign_up(http, site.api, "Ada Moreno")
    async with proxy(port, does) as between:
        bela = await open_page(between.url)
        await join(bela, "Béla Kis")
        assert between.upgrades == 2
        streams = [head for head in between.heads if b"/live/events?" in head]

        # The friend's request, post, like and comment arrive without a reload.
        bela_id = await id_of(bela)
        await ada.ok("PUT", f"/friends/{bela_id}")
        await bela.get_by_test_id("side-requests").get_by_role("button", name="Accept Ada Moreno").click()
        await write(bela, "Is anybody there?")
        mine = post_with(bela, "Is anybody there?")
        post_id = await mine.get_attribute("data-post-id")
        await ada.post("All of us are")
        await expect(post_with(bela, "All of us are")).to_be_visible()
        await ada.ok("PUT", f"/posts/{post_id}/like")
        await expect(mine.get_by_test_id("like-count")).to_have_text(re.compile("1 like"))
        await mine.get_by_test_id("comments-toggle").click()
        await expect(mine.get_by_test_id("thread")).to_have_attribute("aria-busy", "false")
        await ada.ok("POST", f"/posts/{post_id}/comments", {"text": "Here I am"})
        await expect(mine.get_by_test_id("comment")).to_contain_text("Here I am")

        # Typing goes both ways.
        theirs = await ada.live({f"post:{post_id}": {"epoch": "new", "offset": 0}})
        await mine.get_by_test_id("comment-text").press_sequentially("Wel")
        await theirs.until(type="typing", post_id=post_id, user_id=bela_id)
        await theirs.socket.close()
        await ada.ok("POST", "/live/typing", {"post_id": post_id})
        await expect(mine.get_by_test_id("typing")).to_contain_text("Ada Moreno is writing")
        await shot(bela, f"events-{does}")

        # A reload knows the way. Then the server dies; what is written before the page is back arrives by itself.
        before = between.upgrades
        await bela.reload()
        await is_live(bela)
        assert between.upgrades == before
        site.processes[0].kill()
        await expect(bela.get_by_test_id("connection").first).not_to_have_attribute("data-state", "live")
        start_site("--no-demo", port=port)
        await ada.post("Written while you were away")
        await expect(post_with(bela, "Written while you were away")).to_be_visible(timeout=40_000)
        await is_live(bela)
        await expect(post_with(bela, "All of us are")).to_have_count(1)
        assert len([head for head in between.heads if b"/live/events?" in head]) > len(streams)
        assert any(b"Last-Event-ID: me=" in head for head in between.heads)
