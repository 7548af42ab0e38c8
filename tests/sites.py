"""Running sites for black-box tests: the real command line in processes of its own, on free ports.

`site` is given twice: `embedded` (one process, SQLite, Valkey child) and `system` (MariaDB and Redis, a web and a
worker process). A test that needs its own site, to kill or to configure it, uses `start_site`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests import people

READY_WITHIN = 30.0  # seconds for a site to answer; a loaded machine imports slowly
STOP_WITHIN = 15.0  # seconds for a process to end after SIGTERM
SOCIAL = [sys.executable, "-m", "social.cli"]
# Tests sign up hundreds of people from one address; the limits have tests of their own.
GENEROUS = {
    "SOCIAL_SIGN_UP_PER_ADDRESS": "100000/hour",
    "SOCIAL_SIGN_IN_PER_ADDRESS": "100000/minute",
    "SOCIAL_SIGN_IN_PER_ACCOUNT": "1000/minute",
}


class Process:
    """One `social` process with its output."""

    def __init__(self, arguments: list[str], environment: dict[str, str], ready: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SOCIAL_")}
        self.lines: list[str] = []
        self._child = subprocess.Popen(
            [*SOCIAL, *arguments],
            env={**inherited, **environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready_line = self._wait_for(ready)

    @property
    def pid(self) -> int:
        return self._child.pid

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, seconds: float = STOP_WITHIN) -> int:
        code = self._child.wait(seconds)
        self._reader.join(1)
        return code

    def stop(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
        assert self._child.stdout is not None
        self._child.stdout.close()

    def kill(self) -> None:
        self._child.kill()
        self.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        try:
            for line in self._child.stdout:
                self.lines.append(line.rstrip())
        except ValueError:  # closed while reading
            return

    def _wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + READY_WITHIN
        seen = 0
        while time.monotonic() < deadline:
            while seen < len(self.lines):
                if re.search(pattern, self.lines[seen]):
                    return self.lines[seen]
                seen += 1
            if self._child.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        self._child.kill()
        raise AssertionError("not ready:\n" + "\n".join(self.lines[-30:]))


@dataclass
class Site:
    """A running site: `url` has scheme, host and port; `stores` are the settings by which others reach its stores."""

    kind: str
    url: str
    processes: list[Process]
    stores: dict[str, str] = field(default_factory=dict)
    restart: Callable[[], None] = field(repr=False, default=lambda: None)

    @property
    def api(self) -> str:
        return f"{self.url}/api/v1"

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def up(data: Path, *options: str, port: int = 0, **environment: str) -> Site:
    """`social up` on its own data folder."""
    arguments = ["up", "--port", str(port), "--data", str(data), *options]
    process = Process(arguments, {**GENEROUS, **environment}, r"^ready http")
    stores = {
        "database_url": f"sqlite+aiosqlite:///{data.absolute() / 'social.db'}",
        "redis_url": f"unix://{data.absolute() / 'run' / 'valkey.sock'}",
    }
    return Site("embedded", process.ready_line.split()[1], [process], stores)


def system(database_url: str, redis_url: str, **environment: str) -> Site:
    """`social migrate`, then a web and a worker process."""
    settings = {
        **GENEROUS,
        "SOCIAL_DATABASE_URL": database_url,
        "SOCIAL_REDIS_URL": redis_url,
        "SOCIAL_S3_ENDPOINT": "http://127.0.0.1:9",  # nothing there: the site works without, and says `degraded`
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        **environment,
    }
    migration = Process(["migrate"], settings, r"up to date")
    assert migration.wait() == 0
    migration.stop()
    web = Process(["web", "--port", "0"], settings, r"web_ready")
    worker = Process(["worker"], settings, r"worker_ready")
    match = re.search(r"port=\D*(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", web.ready_line))
    assert match, web.ready_line
    stores = {"database_url": database_url, "redis_url": redis_url}
    return Site("system", f"http://127.0.0.1:{match.group(1)}", [web, worker], stores)


@pytest.fixture(scope="session", params=["embedded", "system"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that many tests share: make your own people, assume nothing about others."""
    if request.param == "embedded":
        running = up(tmp_path_factory.mktemp("site"), "--no-demo")
    else:
        database = request.getfixturevalue("mariadb_database")
        running = system(database(), request.getfixturevalue("redis_url"))
    yield running
    running.stop()


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Starts embedded sites of the test's own: start_site(*options, port=0, **environment)."""
    started: list[Site] = []

    def start(*options: str, data: Path = tmp_path / "data", port: int = 0, **environment: str) -> Site:
        started.append(up(data, *options, port=port, **environment))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client without cookies of its own."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
def person(site: Site, http: aiohttp.ClientSession) -> Callable[..., Awaitable[people.Person]]:
    """Makes new people on the shared site: await person("Ada")."""

    def make(name: str = "Somebody") -> Awaitable[people.Person]:
        return people.sign_up(http, site.api, name)

    return make
