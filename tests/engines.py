"""Real engines for tests: a private MariaDB, Redis, Valkey per session, and the browser's path.

A test asks for the fixture and nothing else. Each engine is started once, on a free port or socket of its own, in a
temporary folder, guarded so that not even a killed test run leaves it behind. An engine that is not installed skips
the test, and with SOCIAL_TEST_ALL=1 (`./test --all`, CI) fails it with the name of the package.
Loaded by tests/conftest.py; the fixtures are plain, so that tests of any event loop can use them.
"""

from __future__ import annotations

import getpass
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pymysql  # type: ignore[import-untyped, unused-ignore]
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from social import guard
from social.embedded import EngineMissing
from social.embedded.valkey import EmbeddedValkey

MARIADB_READY_WITHIN = 20.0  # seconds; seen 0.3, the rest is for a machine whose two cores are busy
REDIS_READY_WITHIN = 5.0  # seconds; seen 0.03
INSTALL_WITHIN = 60.0  # seconds for mariadb-install-db; seen 1
READY_POLL = 0.02  # seconds between two tries
STOP_GRACE = 5.0  # seconds; MariaDB flushes its pages first
PORT_TRIES = 3  # a port that was free a moment ago may be taken by the time the engine binds it
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def missing(engine: str, package: str) -> NoReturn:
    """Ends the test that needs `engine`: as skipped, or as failed where everything has to run."""
    if os.environ.get("SOCIAL_TEST_ALL") == "1":
        pytest.fail(f"{engine} is not installed, and with --all it has to be: apt install {package}", pytrace=False)
    pytest.skip(f"{engine} is not installed (apt install {package})")


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """The SQLAlchemy URL of a fresh MariaDB without a database name: `mysql+aiomysql://root@127.0.0.1:PORT/`."""
    with tempfile.TemporaryDirectory(prefix="social-mariadb-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _install_mariadb(folder)
        child, port = _start(lambda port: _mariadb_command(folder, port), _mariadb_answers, MARIADB_READY_WITHIN)
        try:
            yield f"mysql+aiomysql://root@127.0.0.1:{port}/"
        finally:
            guard.stop(child, STOP_GRACE)


@pytest.fixture(scope="session")
def mariadb_database(mariadb_url: str) -> Callable[[], str]:
    """A factory: each call makes an empty utf8mb4 database and returns its URL. They go when the server goes."""
    port = int(mariadb_url.rstrip("/").rpartition(":")[2])
    numbers = itertools.count(1)

    def make() -> str:
        name = f"social_{next(numbers)}"
        with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return f"{mariadb_url}{name}?charset=utf8mb4"

    return make


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """`redis://127.0.0.1:PORT/0` of a private redis-server of the system. Keys are the test's to name and to remove."""
    program = shutil.which("redis-server") or missing("Redis", "redis-server")
    with tempfile.TemporaryDirectory(prefix="social-redis-") as name:
        child, port = _start(lambda port: _redis_command(program, Path(name), port), _redis_answers, REDIS_READY_WITHIN)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            guard.stop(child, STOP_GRACE)


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


def _start(
    command: Callable[[int], list[str]], answers: Callable[[int], bool], within: float
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a server on a free port and waits until it answers; its last words are in the failure."""
    words = ""
    for _ in range(PORT_TRIES):
        port = _free_port()
        with tempfile.TemporaryFile() as output:
            child = guard.spawn(command(port), stdout=output, stderr=output)
            deadline = time.monotonic() + within
            while child.poll() is None and time.monotonic() < deadline:
                if answers(port):
                    return child, port
                time.sleep(READY_POLL)
            guard.stop(child)
            output.seek(0)
            words = output.read()[-2000:].decode(errors="replace")
    pytest.fail(f"The engine did not start: {words}", pytrace=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _install_mariadb(folder: Path) -> None:
    program = shutil.which("mariadb-install-db") or missing("MariaDB", "mariadb-server-core mariadb-client-core")
    done = subprocess.run(
        [
            program,
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=8M",
        ],
        capture_output=True,
        text=True,
        timeout=INSTALL_WITHIN,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"mariadb-install-db failed: {done.stdout[-1000:]}{done.stderr[-1000:]}", pytrace=False)


def _mariadb_command(folder: Path, port: int) -> list[str]:
    program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
    return [
        program or missing("MariaDB", "mariadb-server-core mariadb-client-core"),
        "--no-defaults",
        f"--user={getpass.getuser()}",  # as root the server refuses to run without being told so
        f"--datadir={folder / 'data'}",
        f"--socket={folder / 'mariadb.sock'}",
        f"--pid-file={folder / 'mariadb.pid'}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--skip-name-resolve",
        # as in production
        "--character-set-server=utf8mb4",
        "--transaction-isolation=READ-COMMITTED",
        "--innodb-lock-wait-timeout=3",
        # small and quick; a commit survives the server's death, not a power cut
        "--innodb-log-file-size=8M",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=2",
        "--performance-schema=OFF",
    ]


def _mariadb_answers(port: int) -> bool:
    try:
        pymysql.connect(host="127.0.0.1", port=port, user="root", connect_timeout=1).close()
    except pymysql.err.OperationalError:
        return False
    return True


def _redis_command(program: str, folder: Path, port: int) -> list[str]:
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "zset-max-listpack-entries": "1024",
    }
    return [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _redis_answers(port: int) -> bool:
    with redis.Redis(port=port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
