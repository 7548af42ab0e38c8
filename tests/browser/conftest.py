"""The system's Chromium, one per session, and fresh contexts that fail a test on any script error or CSP report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 15_000  # milliseconds for an element; a loaded machine paints late


@pytest_asyncio.fixture(scope="session")
async def browser(chromium_path: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=str(chromium_path), args=FLAGS)
        yield running
        await running.close()


@pytest_asyncio.fixture
async def open_page(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """await open_page(url, width=1280, height=900, **context options): a page of its own, like another device."""
    contexts = []
    faults: list[str] = []

    async def make(url: str, *, width: int = 1280, height: int = 900, **options: object) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if "Content Security Policy" in m.text else None)
        await page.goto(url)
        return page

    yield make
    for context in contexts:
        await context.close()
    assert faults == []
