"""What a benchmark measures: engines of its own, one node and one worker as children, and what they cost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

import msgspec
import orjson
from pydantic import SecretStr

from db import outbox
from db.migrate import migrate
from db.redis import Redis
from db.settings import Settings, load
from feed.background import Background
from feed.stores import Nudge, Stores
from social import guard
from social.bench.figures import raise_descriptor_limit
from social.bench.node import Counted
from social.bench.sampler import read, report
from social.chaos.engines import MariaDB, RedisServer
from social.embedded import StartupRefused
from social.up import Engines as EmbeddedEngines

READY_WITHIN = 30.0  # seconds until a child says that it is ready; seen 1, the rest is for a busy machine
TOLD_WITHIN = 20.0  # seconds until the node's counts are there: its loop may be late while thousands come back
SETTLED_WITHIN = 120.0  # seconds until the outbox is empty
POLL = 0.02  # seconds between two looks at a file or the outbox
STOP_GRACE = 10.0  # seconds for a node to say good-bye to thousands of sockets
PROFILE_ROWS = 15
NOWHERE = "http://127.0.0.1:9"  # the discard port: no benchmark here touches S3, and starting one takes a second


class Engines(Protocol):
    """Stores for one benchmark; `social.up.Engines` is the embedded kind."""

    def start(self, settings: Settings) -> Settings:
        """Starts them, from the main thread, and returns the settings with their URLs."""

    def stop(self) -> None:
        """Ends them."""


class SystemEngines:
    """A private MariaDB and Redis of the system's packages."""

    def __init__(self, folder: Path) -> None:
        self._mariadb = MariaDB(folder / "mariadb")
        self._redis = RedisServer(folder / "redis")

    def start(self, settings: Settings) -> Settings:
        """Starts both. Raises EngineMissing, EngineFailed."""
        for engine in (self._mariadb, self._redis):
            engine.folder.mkdir()
            engine.start()
        urls = {"database_url": self._mariadb.create("social"), "redis_url": self._redis.url}
        return settings.model_copy(update={name: SecretStr(url) for name, url in urls.items()})

    def stop(self) -> None:
        """Ends both."""
        self._redis.stop()
        self._mariadb.stop()


def engines_of(kind: str, folder: Path) -> Engines:
    """The engines of that name, with their state in `folder`. Raises StartupRefused for an unknown one."""
    makers: dict[str, Callable[[Path], Engines]] = {"embedded": EmbeddedEngines, "system": SystemEngines}
    if kind not in makers:
        raise StartupRefused(f"There are no engines `{kind}`. Known: {', '.join(makers)}.")
    return makers[kind](folder)


class Committed(Nudge):
    """Notes the time of every commit: the nudge is called right after it."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.at = 0.0  # time.perf_counter()

    def __call__(self) -> None:
        self.at = time.perf_counter()
        super().__call__()


@dataclass(frozen=True, slots=True)
class Cost:
    """What the node spent between two looks."""

    statements: Counter[str]
    cpu: float
    loop_cpu: float


class Child:
    """A process of the product with its log."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self._process = guard.spawn(command, stderr=output, env=environment)
        self.pid = self._process.pid

    async def ready(self, event: str) -> dict[str, object]:
        """The log line of `event`. Raises StartupRefused when it does not come."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self.log.read_bytes().splitlines():
                with suppress(orjson.JSONDecodeError):
                    found: dict[str, object] = orjson.loads(line)
                    if found.get("event") == event:
                        return found
            await asyncio.sleep(POLL)
        raise StartupRefused(f"The {self.name} did not become ready: {self.log.read_text('utf-8')[-500:]}")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def cpu(self) -> float | None:
        """CPU seconds so far; None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)

    def memory(self, field: str = "VmRSS") -> int | None:
        """Bytes of resident memory now, or with 'VmHWM' at its highest; None where the system does not tell."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)

    def forget_peak(self) -> None:
        """Begins a new highest memory."""
        with suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5", "ascii")

    def stop(self) -> None:
        """Ends it."""
        with suppress(subprocess.TimeoutExpired):
            guard.stop(self._process, STOP_GRACE)

    def complaints(self) -> Counter[str]:
        """Warnings and errors of its log, by event."""
        found: Counter[str] = Counter()
        for line in self.log.read_bytes().splitlines():
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # of a library, or a traceback
            if entry.get("level") in ("warning", "error", "critical"):
                found[str(entry.get("event"))] += 1
        return found


@dataclass(slots=True)
class Site:
    """A running node and worker, and the stores that the benchmark writes through."""

    settings: Settings
    stores: Stores
    committed: Committed
    web: Child
    worker: Child
    port: int
    _profiled: Child
    _state: Path
    _profile: Path | None

    async def counted(self) -> Counted:
        """The node's own counts, now. Raises StartupRefused when it does not tell."""
        await self._ask(self.web, signal.SIGUSR1, self._state)
        return msgspec.json.decode(self._state.read_bytes(), type=Counted)

    async def settled(self) -> None:
        """Waits until every commit's work is done."""
        async with asyncio.timeout(SETTLED_WITHIN):
            while True:
                async with self.stores.sql.read() as connection:
                    if not await outbox.waiting(connection, state="pending", limit=1):
                        return
                await asyncio.sleep(POLL)

    def start_profile(self) -> None:
        """Starts the profile of the node or worker; nothing when none was asked for."""
        if self._profile is not None:
            self._profiled.signal(signal.SIGUSR2)

    async def end_profile(self) -> None:
        """Ends the profile, which is written then. Raises StartupRefused when the process does not write it."""
        if self._profile is not None:
            await self._ask(self._profiled, signal.SIGUSR2, self._profile)

    def profile_text(self) -> str:
        """The functions that cost most."""
        return "" if self._profile is None else report(read(self._profile.read_text("utf-8")), PROFILE_ROWS)

    async def _ask(self, child: Child, number: signal.Signals, file: Path) -> None:
        """Sends a signal and waits for the file that answers it."""
        file.unlink(missing_ok=True)  # noqa: ASYNC240 - a local file, in a process that has nothing else to do
        child.signal(number)
        deadline = time.monotonic() + TOLD_WITHIN
        while not file.exists():  # noqa: ASYNC240
            if time.monotonic() > deadline:
                raise StartupRefused(f"The {child.name} does not write {file.name}: is it alive?")
            await asyncio.sleep(POLL)


def cost(before: Counted, after: Counted) -> Cost:
    """What happened between two counts."""
    statements = Counter(after.statements)
    statements.subtract(before.statements)
    return Cost(+statements, after.cpu - before.cpu, after.loop_cpu - before.loop_cpu)


@asynccontextmanager
async def site(
    kind: str, *, sockets: int, profile: Path | None = None, of: Literal["node", "worker"] = "node"
) -> AsyncIterator[Site]:
    """Starts everything in a temporary folder and ends it. `sockets` is the most that the node must take; `profile`
    is where the profile `of` one of the two processes goes."""
    raise_descriptor_limit()
    with TemporaryDirectory(prefix="social-bench-") as temporary:
        folder = Path(temporary)
        engines = engines_of(kind, folder)
        children: list[Child] = []
        background = Background()
        settings = load({"s3_endpoint": NOWHERE, "log_json": True})
        try:
            settings = engines.start(settings)
            await migrate(settings.database_url.get_secret_value())
            stores = Stores.open(settings)
            committed = Committed(stores.redis)
            stores = replace(stores, nudge=committed)
            background.keep("nudge", committed.run)
            environment = _environment(settings, sockets)
            commands = {"node": ["web", "--port", "0"], "worker": ["worker"]}
            for name, command in commands.items():
                words = [sys.executable, "-m", "social.bench.node", "--state", str(folder / f"{name}.json")]
                words += ["--profile", str(profile)] if profile and name == of else []
                children.append(Child(name, [*words, *command], folder, environment))
            web, worker = children
            await worker.ready("worker_ready")
            port = int(str((await web.ready("web_ready"))["port"]))
            try:
                profiled = web if of == "node" else worker
                yield Site(settings, stores, committed, web, worker, port, profiled, folder / "node.json", profile)
            finally:
                await background.stop()
                await stores.close()
        finally:
            for child in children:
                await asyncio.to_thread(child.stop)
            engines.stop()


def _environment(settings: Settings, sockets: int) -> dict[str, str]:
    return {
        **os.environ,
        "SOCIAL_DATABASE_URL": settings.database_url.get_secret_value(),
        "SOCIAL_REDIS_URL": settings.redis_url.get_secret_value(),
        "SOCIAL_S3_ENDPOINT": settings.s3_endpoint,
        "SOCIAL_MAX_SOCKETS": str(max(sockets, settings.max_sockets)),
        "SOCIAL_LOG_JSON": "true",
        # A client without credentials looks for them on the network.
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }
