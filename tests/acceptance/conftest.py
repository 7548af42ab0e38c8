"""Everybody in an acceptance test has a page open beside: at the test's end it holds what a fresh read says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from tests.people import Person
from tests.reader import Reader


@pytest_asyncio.fixture
async def person(person: Callable[..., Awaitable[Person]]) -> AsyncIterator[Callable[..., Awaitable[Person]]]:
    """Makes new people on the shared site, each with an open page: await person("Ada")."""
    readers: list[Reader] = []

    async def make(name: str = "Somebody") -> Person:
        made = await person(name)
        readers.append(Reader(made))
        await readers[-1].open()
        return made

    try:
        yield make
        for reader in readers:
            await reader.agree()
    finally:
        for reader in readers:
            await reader.close()
