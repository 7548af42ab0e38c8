"""The contract's own people: as `tests.people`, with every answer compared with the conventions and the documents."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests import people
from tests.contract.checks import OPENED, Checked, Documents, Guest, documents_of, person_of
from tests.contract.cluster import Cluster
from tests.sites import Site

_documents: dict[str, Documents] = {}
_somebody: dict[str, Checked] = {}


@pytest_asyncio.fixture(autouse=True)
async def no_connection_is_left(http: aiohttp.ClientSession) -> AsyncIterator[None]:
    """A test that fails must not spoil the next one with its open sockets."""
    yield
    while OPENED:
        await OPENED.pop().close()


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


@pytest_asyncio.fixture
async def somebody(site: Site, http: aiohttp.ClientSession, documents: Documents) -> Checked:
    """The same person for all tests that only ask and change nothing; a new one costs a password hash."""
    if site.url not in _somebody:
        _somebody[site.url] = await newcomer(http, site, documents, "Somebody")
    known = _somebody[site.url]
    return person_of(http, site.api, documents, {"user": known.user, "token": known.token}, known.password)


@pytest.fixture
def guest(site: Site, http: aiohttp.ClientSession, documents: Documents) -> Guest:
    """A client that is not signed in."""
    return Guest(http, site.api, documents)


@pytest.fixture
def own_site(start_site: Callable[..., Site], http: aiohttp.ClientSession) -> Callable[..., Awaitable[Any]]:
    """A site of the test's own: (guest, person) = await own_site(SOCIAL_X="y")."""

    async def make(**environment: str) -> tuple[Guest, Callable[..., Awaitable[Checked]]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        running = start_site("--no-demo", port=port, **environment)
        running.url = f"http://127.0.0.1:{port}"  # it may call itself by another name
        described = await documents_of(http, running.url)

        async def make_person(name: str = "Somebody") -> Checked:
            return await newcomer(http, running, described, name)

        return Guest(http, running.api, described), make_person

    return make


@pytest_asyncio.fixture(scope="session")
async def cluster(
    mariadb_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """Two web processes and a worker, shared by the tests that need them; who breaks its Redis brings it back."""
    running = Cluster(mariadb_database(), tmp_path_factory.mktemp("cluster"))
    async with aiohttp.ClientSession() as client:
        running.documents = await documents_of(client, running.apis[0].removesuffix("/api/v1"))
    yield running
    running.stop()


@pytest.fixture
def member(cluster: Cluster, http: aiohttp.ClientSession) -> Callable[..., Awaitable[Checked]]:
    """Makes new people on the cluster, speaking with its first web process: await member("Ada")."""

    async def make(name: str = "Somebody") -> Checked:
        return await newcomer(
            http, Site("cluster", cluster.apis[0].removesuffix("/api/v1"), []), cluster.documents, name
        )

    return make


async def newcomer(http: aiohttp.ClientSession, site: Site, documents: Documents, name: str) -> Checked:
    """Signs somebody up."""
    password = "correct horse battery"
    body = {"username": people.fresh(), "password": password, "name": name}
    signed_in = await Guest(http, site.api, documents).ok("POST", "/users", body)
    return person_of(http, site.api, documents, signed_in, password)
