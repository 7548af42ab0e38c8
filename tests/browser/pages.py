"""What people do in the page, and pictures of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from tests.people import Person, fresh

SHOTS = os.environ.get("SOCIAL_TEST_SHOTS")  # a folder to keep screenshots in, for people to look at
PASSWORD = "correct horse battery"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def shot(page: Page, name: str) -> None:
    if SHOTS:
        await page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


async def join(page: Page, name: str) -> str:
    """Signs up in the page; returns the username."""
    username = fresh("b")
    await page.get_by_role("link", name="Create an account").click()
    form = page.get_by_test_id("sign-up")
    await form.get_by_label("Your name").fill(name)
    await form.get_by_label("Username").fill(username)
    await form.get_by_label("Password", exact=True).fill(PASSWORD)
    await form.get_by_role("button", name="Create an account").click()
    await is_live(page)
    return username


async def is_live(page: Page, within: int = 10_000) -> None:
    """Waits, `within` milliseconds at most, until the page says that it is live."""
    await expect(page.get_by_test_id("connection").first).to_have_attribute("data-state", "live", timeout=within)


async def write(page: Page, text: str) -> None:
    composer = page.get_by_test_id("composer")
    await composer.get_by_label("Text of your post").fill(text)
    await composer.get_by_role("button", name="Post", exact=True).click()


def post_with(page: Page, text: str) -> Locator:
    return page.get_by_test_id("post").filter(has_text=text)


async def id_of(page: Page) -> str:
    """The id of who is signed in there."""
    return str(await page.evaluate("fetch('/api/v1/me').then((r) => r.json()).then((me) => me.user.id)"))


async def sign_in(page: Page, person: Person) -> None:
    """Signs a person in who has an account already."""
    form = page.get_by_test_id("sign-in")
    await form.get_by_label("Username").fill(person.user["username"])
    await form.get_by_label("Password", exact=True).fill(person.password)
    await form.get_by_role("button", name="Sign in").click()
    await is_live(page)


async def choose(item: Locator, menu: str, label: str) -> None:
    """Takes an entry of the menu of a post or comment."""
    await item.get_by_test_id(menu).first.click()
    await item.get_by_role("button", name=label, exact=True).click()
