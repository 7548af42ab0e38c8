"""Two people in two browsers: friends, a live post, a live like, and a server that is killed and comes back."""

from __future__ import annotations

import re

import aiohttp
import pytest
from playwright.async_api import expect

from tests.browser.pages import PASSWORD, free_port, join, shot, write


@pytest.mark.timeout(150)
async def test_two_people_meet_and_the_page_survives_the_server(start_site, open_page, tmp_path):
    port = free_port()
    site = start_site("--no-demo", port=port)
    ada, bela = await open_page(site.url), await open_page(site.url, width=390, height=844)
    await shot(ada, "signed-out")
    ada_name = await join(ada, "Ada Moreno")
    await join(bela, "Béla Kis")

    # Friends, in the page: one asks, the other hears of it live and accepts.
    await ada.goto(f"{site.url}/people")
    await ada.get_by_label("Search by name or username").fill("bel")
    await ada.get_by_role("button", name="Add friend Béla Kis").click()
    await bela.goto(f"{site.url}/friends")
    await bela.get_by_role("button", name="Accept Ada Moreno").click()
    await expect(bela.get_by_test_id("friends-list")).to_contain_text("Ada Moreno")
    await ada.goto(site.url)
    await bela.goto(site.url)
    await expect(bela.get_by_test_id("connection").first).to_have_attribute("data-state", "live")

    # A posts, B sees it without a reload in under two seconds.
    await write(ada, "Hello from the other side of the room")
    arrived = bela.get_by_test_id("post").filter(has_text="Hello from the other side")
    await expect(arrived).to_be_visible(timeout=2000)
    await shot(bela, "post-arrived")

    # B likes, A's number moves.
    await arrived.get_by_test_id("like").click()
    mine = ada.get_by_test_id("post").filter(has_text="Hello from the other side")
    await expect(mine.get_by_test_id("like-count")).to_have_text(re.compile("1 like"))

    # B comments, A sees it in the open thread.
    await mine.get_by_test_id("comments-toggle").click()
    await arrived.get_by_test_id("comments-toggle").click()
    await arrived.get_by_test_id("comment-text").fill("Hello back")
    await arrived.get_by_test_id("comment-send").click()
    await expect(mine.get_by_test_id("comment")).to_contain_text("Hello back")
    await shot(ada, "thread-open")

    # The server is killed and started again; a post made before B is back arrives by itself.
    site.processes[0].kill()
    await expect(bela.get_by_test_id("connection").first).not_to_have_attribute("data-state", "live")
    again = start_site("--no-demo", port=port)
    async with aiohttp.ClientSession() as http:
        pair = {"username": ada_name, "password": PASSWORD}
        async with http.post(f"{again.api}/sessions", json=pair) as answer:
            token = (await answer.json())["token"]
        body = {"text": "Written while you were away", "visibility": "friends"}
        headers = {"Authorization": f"Bearer {token}"}
        async with http.post(f"{again.api}/posts", json=body, headers=headers) as answer:
            assert answer.status == 201
    # B reads further down by now: the page says so and moves only when asked.
    await bela.get_by_test_id("new-posts").click(timeout=40_000)
    await expect(bela.get_by_test_id("post").filter(has_text="Written while you were away")).to_be_visible()
    await expect(bela.get_by_test_id("connection").first).to_have_attribute("data-state", "live")
    await expect(bela.get_by_test_id("post").filter(has_text="Hello from the other side")).to_have_count(1)
    await shot(bela, "recovered")
