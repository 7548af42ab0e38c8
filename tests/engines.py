"""Real engines for tests: a private MariaDB, Redis, Valkey per session, and the browser's path.

A test asks for the fixture and nothing else. Each engine is started once, on a free port or socket of its own, in a
temporary folder, guarded so that not even a killed test run leaves it behind. An engine that is not installed skips
the test, and with SOCIAL_TEST_ALL=1 (`./test --all`, CI) fails it with the name of the package.
Loaded by tests/conftest.py; the fixtures are plain, so that tests of any event loop can use them.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from social.chaos.engines import Engine, MariaDB, RedisServer
from social.embedded import EngineMissing
from social.embedded.valkey import EmbeddedValkey

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

E = TypeVar("E", bound=Engine)


def missing(engine: str, package: str) -> NoReturn:
    """Ends the test that needs `engine`: as skipped, or as failed where everything has to run."""
    if os.environ.get("SOCIAL_TEST_ALL") == "1":
        pytest.fail(f"{engine} is not installed, and with --all it has to be: apt install {package}", pytrace=False)
    pytest.skip(f"{engine} is not installed (apt install {package})")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """A running MariaDB of this session's own."""
    yield from _running("MariaDB", "mariadb-server-core mariadb-client-core", MariaDB)


@pytest.fixture(scope="session")
def mariadb_url(mariadb_server: MariaDB) -> str:
    """The SQLAlchemy URL of a fresh MariaDB without a database name: `mysql+aiomysql://root@127.0.0.1:PORT/`."""
    return mariadb_server.url


@pytest.fixture(scope="session")
def mariadb_database(mariadb_server: MariaDB) -> Callable[[], str]:
    """A factory: each call makes an empty utf8mb4 database and returns its URL. They go when the server goes."""
    numbers = itertools.count(1)
    return lambda: mariadb_server.create(f"social_{next(numbers)}")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """`redis://127.0.0.1:PORT/0` of a private redis-server of the system. Keys are the test's to name and to remove."""
    for server in _running("Redis", "redis-server", RedisServer):
        yield server.url


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """`unix:///…` of the Valkey that `social up` brings along."""
    engine = EmbeddedValkey()
    with tempfile.TemporaryDirectory(prefix="social-valkey-") as name:
        try:
            engine.start(Path(name))
        except EngineMissing:
            missing("Valkey", "valkey-server")
        try:
            yield engine.url
        finally:
            engine.stop()


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The system's browser; as root it needs --no-sandbox."""
    for name in CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    missing("Chromium", "chromium")


def _running(name: str, package: str, kind: Callable[[Path], E]) -> Iterator[E]:
    """An engine in a temporary folder, for as long as the caller iterates."""
    with tempfile.TemporaryDirectory(prefix=f"social-{name.lower()}-", ignore_cleanup_errors=True) as folder:
        engine = kind(Path(folder))
        try:
            engine.start()
        except EngineMissing:
            missing(name, package)
        try:
            yield engine
        finally:
            engine.stop()
