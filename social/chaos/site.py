"""The product under test: real processes, supervised, each behind fault proxies of its own.

`system` is MariaDB, Redis, two edges and two workers; `embedded` is one `social up` with SQLite and its own Valkey.
A process that dies is started again RESTART_AFTER later, as a supervisor would.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from social import guard
from social.chaos.engines import HOST, MariaDB, RedisServer, mysql_url, redis_url
from social.chaos.proxy import Proxy
from social.embedded import EngineFailed
from social.embedded.valkey import find_binary

RESTART_AFTER = 1.0  # seconds that a supervisor lets pass
READY_WITHIN = 40.0  # seconds for a part to be ready; seen 1.5 alone, and it shares the cores with everything else
END_WITHIN = 30.0  # seconds that a drain may take; longer is a broken promise
DIED_POLL = 0.05  # seconds between two looks at a process
ANSWER_WITHIN = 2.0  # seconds for an answer of Redis to the nemesis
STOP_GRACE = 15.0  # seconds that a part has to end by itself when the run is over
EDGES, WORKERS = 2, 2
WORDS = 2000  # bytes of a part's log that its failure quotes
# Everybody comes from one address here, and signs up at once.
SETTINGS = {
    "SOCIAL_SIGN_UP_PER_ADDRESS": "100000/hour",
    "SOCIAL_SIGN_IN_PER_ADDRESS": "100000/minute",
    "SOCIAL_LOG_JSON": "true",
    # nothing is there: uploads are no part of the run, and the site says `degraded`
    "SOCIAL_S3_ENDPOINT": f"http://{HOST}:9",
    "AWS_ACCESS_KEY_ID": "chaos",
    "AWS_SECRET_ACCESS_KEY": "chaos",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PYTHONUNBUFFERED": "1",
}


class Part:
    """One supervised process. `ready` is set while it serves; `port` is where, for those that listen."""

    def __init__(self, name: str, command: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.port = 0
        self.log = folder / f"{name}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("SOCIAL_")}
        self._environment = {**inherited, **SETTINGS, **settings}
        self._command = [sys.executable, "-m", *command]
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to supervise."""
        self._keeper = asyncio.create_task(self._keep(), name=self.name)

    async def stop(self) -> None:
        """Ends the process and its supervision."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._child is not None:
            self._child.send_signal(signal.SIGCONT)
            await asyncio.to_thread(guard.stop, self._child, STOP_GRACE)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; a process that must end is not ready any more."""
        if self._child is not None and self._child.poll() is None:
            if number in (signal.SIGKILL, signal.SIGTERM):
                self.ready.clear()
            self._child.send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        """Sends a signal that ends it once it serves, and waits until it serves again. Raises EngineFailed."""
        await self.wait()
        self.ended.clear()
        self.send(number)
        try:
            async with asyncio.timeout(END_WITHIN):
                await self.ended.wait()
        except TimeoutError as error:
            raise EngineFailed(f"{self.name} did not end within {END_WITHIN:g} s of {number.name}.") from error
        await self.wait()

    async def wait(self) -> None:
        """Waits until it serves. Raises EngineFailed with the end of its log."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                await self.ready.wait()
        except TimeoutError as error:
            words = self.log.read_bytes()[-WORDS:].decode(errors="replace")
            raise EngineFailed(f"{self.name} is not ready within {READY_WITHIN:g} s: {words}") from error

    async def _keep(self) -> None:
        while True:
            await self.live()
            self.ready.clear()
            self.ended.set()
            await asyncio.sleep(RESTART_AFTER)

    async def live(self) -> None:
        """One life of the process, to its end."""
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._child = guard.spawn(self._command, stdout=output, stderr=output, env=self._environment)
        while self._child.poll() is None:
            if not self.ready.is_set() and (line := self._ready_line(before)):
                port = re.search(r'"port": ?(\d+)|:(\d+)$', line)
                self.port = int(port[1] or port[2]) if port else 0
                self.on_ready()
                self.ready.set()
                before = self.log.stat().st_size  # a process that was told to end is not ready by its old line
            await asyncio.sleep(DIED_POLL)
        guard.stop(self._child)

    def on_ready(self) -> None:
        """Set by the owner: the part listens at `port` now."""

    def _ready_line(self, before: int) -> str:
        with self.log.open("rb") as log:
            log.seek(before)
            for line in log:
                text = line.decode(errors="replace").strip()
                if text.startswith("ready http") or '"web_ready"' in text or '"worker_ready"' in text:
                    return text
        return ""


class Site(ABC):
    """What the nemesis, the writers and the readers know of a running product."""

    def __init__(self, folder: Path, dice: random.Random, entry: Sequence[str]) -> None:
        self.folder = folder
        self.entry = list(entry)  # the module that stands for `social`, and its first words
        self.edges: list[Part] = []
        self.workers: list[Part] = []
        self.fronts: list[Proxy] = []  # client -> edge
        self.redis_links: dict[str, Proxy] = {}  # part -> Redis
        self.mysql_links: dict[str, Proxy] = {}  # part -> MySQL
        self._dice = dice

    @property
    def proxies(self) -> list[Proxy]:
        """All of them."""
        return [*self.fronts, *self.redis_links.values(), *self.mysql_links.values()]

    @property
    def urls(self) -> list[str]:
        """Base addresses of the edges, as clients reach them."""
        return [f"http://{HOST}:{front.port}" for front in self.fronts]

    @abstractmethod
    async def start(self) -> None:
        """Starts everything. Raises EngineMissing, EngineFailed."""

    async def stop(self) -> None:
        """Ends everything."""
        await asyncio.gather(*(part.stop() for part in [*self.edges, *self.workers]))
        await asyncio.gather(*(proxy.stop() for proxy in self.proxies))

    @abstractmethod
    def redis(self) -> Redis:
        """A client of the Redis itself, past every proxy."""

    @abstractmethod
    async def restart_redis(self, pause: float) -> None:
        """`kill -9`; empty again `pause` seconds later."""

    async def redis_answers(self) -> None:
        """Returns once Redis answers."""
        while True:
            try:
                async with self.redis() as client:
                    await client.ping()
                    return
            except (RedisError, OSError):
                await asyncio.sleep(DIED_POLL)

    async def _front(self, part: Part) -> None:
        front = await self._proxy(part.name)
        self.fronts.append(front)

        def moved() -> None:
            front.target = (HOST, part.port)

        part.on_ready = moved  # type: ignore[method-assign]

    async def _proxy(self, name: str, port: int = 0) -> Proxy:
        proxy = Proxy(name, random.Random(self._dice.random()), (HOST, port))  # noqa: S311 - faults, not secrets
        await proxy.start()
        return proxy


class SystemSite(Site):
    """MariaDB and Redis of the system, edges and workers as processes."""

    def __init__(self, folder: Path, dice: random.Random, entry: Sequence[str]) -> None:
        super().__init__(folder, dice, entry)
        for name in ("mariadb", "redis"):
            (folder / name).mkdir()
        self.mariadb = MariaDB(folder / "mariadb")
        self.redis_server = RedisServer(folder / "redis")

    async def start(self) -> None:
        """Engines, schema, then every part."""
        self.redis_server.start()
        self.mariadb.start()
        url = self.mariadb.create("social")
        migration = Part("migrate", ["social.cli", "migrate"], {"SOCIAL_DATABASE_URL": url}, self.folder)
        async with asyncio.timeout(READY_WITHIN):
            await migration.live()
        for kind, count, parts in (("web", EDGES, self.edges), ("worker", WORKERS, self.workers)):
            for number in range(1, count + 1):
                parts.append(await self._part(kind, f"{kind}-{number}"))
        for edge in self.edges:
            await self._front(edge)
        for part in [*self.edges, *self.workers]:
            part.start()
        await asyncio.gather(*(part.wait() for part in [*self.edges, *self.workers]))

    async def stop(self) -> None:
        """Parts first, then the engines."""
        await super().stop()
        for engine in (self.mariadb, self.redis_server):
            engine.send(signal.SIGCONT)
            engine.stop()

    def redis(self) -> Redis:
        """A client of the redis-server."""
        return _client(self.redis_server.url)

    async def restart_redis(self, pause: float) -> None:
        """Kills the redis-server and starts it again, empty, at the same port."""
        self.redis_server.kill()
        await asyncio.sleep(pause)
        await self.redis_server.start_again()

    async def _part(self, kind: str, name: str) -> Part:
        redis = self.redis_links[name] = await self._proxy(name, self.redis_server.port)
        mysql = self.mysql_links[name] = await self._proxy(name, self.mariadb.port)
        settings = {
            "SOCIAL_REDIS_URL": redis_url(redis.port),
            "SOCIAL_DATABASE_URL": mysql_url(mysql.port, "social"),
        }
        words = [kind, "--port", "0"] if kind == "web" else [kind]
        return Part(name, [*self.entry, *words], settings, self.folder)


class EmbeddedSite(Site):
    """`social up`: one process, SQLite, and the Valkey that it brings along and starts again by itself."""

    def __init__(self, folder: Path, dice: random.Random, entry: Sequence[str]) -> None:
        super().__init__(folder, dice, entry)
        # short, or Valkey's socket would have to lie elsewhere
        self._data = tempfile.TemporaryDirectory(prefix="social-", ignore_cleanup_errors=True)

    async def start(self) -> None:
        """The one process."""
        find_binary()  # `social up` does without one, but then there would be little to break
        words = ["up", "--no-demo", "--port", "0", "--data", self._data.name]
        part = Part("up-1", [*self.entry, *words], {}, self.folder)
        self.edges.append(part)
        await self._front(part)
        part.start()
        await part.wait()

    def redis(self) -> Redis:
        """A client of the Valkey child, over its socket in the data folder."""
        return _client(f"unix://{self._data.name}/run/valkey.sock")

    async def stop(self) -> None:
        """The process, then its data."""
        await super().stop()
        self._data.cleanup()

    async def restart_redis(self, pause: float) -> None:
        """Kills Valkey; when it comes back is the product's business."""
        async with self.redis() as client:
            process = int((await client.info("server"))["process_id"])
        os.kill(process, signal.SIGKILL)
        await asyncio.sleep(pause)
        await self.redis_answers()


def _client(url: str) -> Redis:
    return Redis.from_url(
        url, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=ANSWER_WITHIN, retry=Retry(NoBackoff(), 0)
    )
