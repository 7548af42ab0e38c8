"""The contract's own people: as `tests.people`, with every answer compared with the conventions and the documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests import people
from tests.contract.checks import Checked, Documents, Guest, documents_of, person_of
from tests.sites import Site

_documents: dict[str, Documents] = {}


@pytest_asyncio.fixture
async def documents(site: Site, http: aiohttp.ClientSession) -> Documents:
    if site.url not in _documents:
        _documents[site.url] = await documents_of(http, site.url)
    return _documents[site.url]


@pytest.fixture
def person(site: Site, http: aiohttp.ClientSession, documents: Documents) -> Callable[..., Awaitable[Checked]]:
    """Makes new people on the shared site: await person("Ada")."""

    async def make(name: str = "Somebody", **options: Any) -> Checked:
        return await newcomer(http, site, documents, name, **options)

    return make


@pytest.fixture
def guest(site: Site, http: aiohttp.ClientSession, documents: Documents) -> Guest:
    """A client that is not signed in."""
    return Guest(http, site.api, documents)


@pytest.fixture
def own_site(start_site: Callable[..., Site], http: aiohttp.ClientSession) -> Callable[..., Awaitable[Any]]:
    """A site of the test's own: (guest, person) = await own_site(SOCIAL_X="y")."""

    async def make(**environment: str) -> tuple[Guest, Callable[..., Awaitable[Checked]]]:
        running = start_site("--no-demo", **environment)
        described = await documents_of(http, running.url)

        async def make_person(name: str = "Somebody") -> Checked:
            return await newcomer(http, running, described, name)

        return Guest(http, running.api, described), make_person

    return make


async def newcomer(
    http: aiohttp.ClientSession, site: Site, documents: Documents, name: str, password: str = "correct horse battery"
) -> Checked:
    """Signs somebody up."""
    body = {"username": people.fresh(), "password": password, "name": name}
    signed_in = await Guest(http, site.api, documents).ok("POST", "/users", body)
    return person_of(http, site.api, documents, signed_in, password)
