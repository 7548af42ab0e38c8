"""Reading: what is read stays where it is, and what is far away leaves the page."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.browser.pages import choose, post_with, shot, sign_in, write

POSTS = 150
AT_ONCE = 10  # written; more than a loaded machine takes are refused
PAGE = 20
MOST_DRAWN = 60
WATCH_THE_PEAK = """() => {
  window.peak = 0;
  const drawn = document.getElementsByClassName('post-inner');
  const count = () => { window.peak = Math.max(window.peak, drawn.length); };
  new MutationObserver(count).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
IN_THE_MIDDLE = """() => {
  const drawn = [...document.querySelectorAll('[data-testid="post"]')];
  const article = drawn.find((one) => one.getBoundingClientRect().top > 150);
  return { id: article.dataset.postId, top: Math.round(article.getBoundingClientRect().top) };
}"""
TOP_OF = "(id) => Math.round(document.querySelector(`.feed > [data-post-id='${id}']`).getBoundingClientRect().top)"


async def to_the_end(page: Page, posts: int) -> None:
    """Scrolls until all posts have been read."""
    places = page.locator(".feed > [data-post-id]")
    for read in range(PAGE, posts + PAGE, PAGE):
        await expect(places.nth(min(read, posts) - 1)).to_be_attached()
        await page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    await expect(page.get_by_text("That is everything.")).to_be_visible()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("site", ["embedded"], indirect=True)
async def test_what_is_read_stays_and_what_is_far_away_leaves(site, open_page, person):
    ada, bela = await person("Ada Moreno"), await person("Béla Kis")
    await ada.befriend(bela)
    texts = [f"Thought {number}. " + "It goes on for a while. " * (number % 9) for number in range(POSTS)]
    for start in range(0, POSTS, AT_ONCE):
        await asyncio.gather(*map(ada.post, texts[start : start + AT_ONCE]))
    page = await open_page(site.url, width=1280)
    await sign_in(page, bela)
    await page.evaluate(WATCH_THE_PEAK)

    # Who has a hand on the first post is not pushed away from it, and finds the focus there after scrolling away.
    newest = await page.locator(".feed > article").first.get_attribute("data-post-id")
    first = page.locator(f".feed > [data-post-id='{newest}']")
    await first.get_by_test_id("like").focus()
    pill = page.get_by_test_id("new-posts")
    await ada.post("Breaking: clouds")
    await expect(pill).to_have_text("1 new post")
    await to_the_end(page, POSTS)
    assert await page.evaluate("window.peak") <= MOST_DRAWN
    assert await page.get_by_test_id("post-away").count() > POSTS - MOST_DRAWN
    await expect(first.get_by_test_id("like")).to_be_focused()

    # Back in the middle: new posts wait, edits and deletions come in place, and nothing moves.
    await page.evaluate("window.scrollTo(0, document.body.scrollHeight / 2)")
    await page.wait_for_function(f"({IN_THE_MIDDLE})().id !== undefined")
    middle = await page.evaluate(IN_THE_MIDDLE)
    reading = page.locator(f".feed > [data-post-id='{middle['id']}']")
    await shot(page, "reading")
    await ada.post("Breaking: it rains")
    await ada.post("Breaking: it pours")
    await expect(pill).to_have_text("3 new posts")
    await ada.ok("PATCH", f"/posts/{middle['id']}", {"text": "Another thought"})
    await expect(reading).to_contain_text("Another thought")
    await expect(reading.get_by_test_id("edited")).to_be_visible()
    assert await page.evaluate(TOP_OF, middle["id"]) == middle["top"]
    await expect(post_with(page, "Breaking")).to_have_count(0)

    # A look at the post alone and back: the same line at the same place.
    await reading.locator("a.quiet").first.click()
    await expect(page.get_by_test_id("thread")).to_be_visible()
    await page.go_back()
    await expect(reading).to_contain_text("Another thought")
    assert abs(await page.evaluate(TOP_OF, middle["id"]) - middle["top"]) <= 1

    # The pill leads up to them, its successor back down.
    await pill.click()
    await expect(post_with(page, "Breaking: it pours")).to_be_in_viewport()
    await expect(page.locator(".feed > article").first).to_be_focused()
    await page.get_by_test_id("back-to-reading").click()
    await expect(reading).to_be_in_viewport()

    # In the ranking, too, the posts of others wait; one's own is there at once.
    await page.evaluate("window.scrollTo(0, 0)")
    await page.get_by_test_id("home-tabs").get_by_role("button", name="Top").click()
    await expect(page.get_by_role("feed", name="matter most")).to_be_visible()
    await ada.post("Breaking: the sun")
    await expect(pill).to_have_text("1 new post")
    await write(page, "I take an umbrella")
    await expect(page.get_by_test_id("post").first).to_contain_text("I take an umbrella")
    await pill.click()
    await expect(post_with(page, "Breaking: the sun")).to_be_visible()
    await expect(page.get_by_role("button", name="Newest")).to_have_attribute("aria-pressed", "true")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("site", ["embedded"], indirect=True)
async def test_deleting_editing_and_blocking_can_be_taken_back(site, open_page, person):
    ada, bela = await person("Ada Moreno"), await person("Béla Kis")
    await ada.befriend(bela)
    text = f"Nonsense of {bela.id}"
    post = await bela.post(text)
    comment = await bela.ok("POST", f"/posts/{post['id']}/comments", {"text": "Even more of it"})
    page = await open_page(site.url, width=390, height=844)
    await sign_in(page, bela)
    mine = post_with(page, text)

    # Edited in place; its author sees what it said before.
    await choose(mine, "post-menu", "Edit")
    form = page.get_by_test_id("edit-post")
    await form.get_by_label("Text of the post").fill(f"Sense of {bela.id}")
    await form.get_by_role("button", name="Save").click()
    mine = post_with(page, f"Sense of {bela.id}")
    await expect(mine.get_by_test_id("post-menu")).to_be_focused()
    await mine.get_by_test_id("edited").get_by_role("button").click()
    await expect(page.get_by_test_id("version")).to_contain_text(text)
    await shot(page, "history")
    await page.keyboard.press("Escape")

    # A comment and the post go at once, and come back.
    await mine.get_by_test_id("comments-toggle").click()
    await choose(mine.get_by_test_id("comment"), "comment-menu", "Delete")
    await expect(mine.get_by_test_id("comment")).to_have_count(0)
    await expect(mine.get_by_test_id("comments-toggle")).to_be_focused()
    await page.keyboard.press("Control+z")
    await expect(mine.get_by_test_id("comment")).to_contain_text("Even more of it")
    await choose(mine, "post-menu", "Delete")
    await expect(mine).to_have_count(0)
    await shot(page, "undo")
    await page.get_by_role("button", name="Undo").click()
    await expect(mine).to_be_focused()
    assert (await bela.ok("GET", f"/posts/{post['id']}/comments"))["items"][0]["id"] == comment["id"]

    # Whoever leaves the page has deleted it.
    await choose(mine, "post-menu", "Delete")
    await expect(mine).to_have_count(0)
    assert (await bela.call("GET", f"/posts/{post['id']}"))[0] == 200
    theirs = await ada.live()
    await page.reload()
    await theirs.until(event="post.deleted")
    await theirs.socket.close()
    await expect(page.get_by_test_id("empty")).to_be_visible()
    assert (await bela.call("GET", f"/posts/{post['id']}"))[0] == 404

    # Blocked, and not blocked any more.
    await bela.ok("PUT", f"/blocks/{ada.id}")
    await page.goto(f"{site.url}/friends")
    await page.get_by_role("button", name="Unblock Ada Moreno").click()
    await expect(page.get_by_test_id("blocked")).to_have_count(0)
    await page.get_by_label("Search by name or username").fill(ada.user["username"])
    await page.get_by_role("button", name="Add friend Ada Moreno").click()
    await expect(page.get_by_role("button", name="Withdraw request to Ada Moreno")).to_be_visible()
    await shot(page, "unblocked")
