"""Private servers of this machine: a MariaDB and a Redis on free ports, which can be killed, frozen and restarted.

Owns their programs, settings, folders and ends. The children are guarded: not even a starter that dies of `kill -9`
leaves one behind. Tests take their engines from here too.
"""

from __future__ import annotations

import asyncio
import getpass
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

import pymysql  # type: ignore[import-untyped, unused-ignore]
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from social import guard
from social.embedded import EngineFailed, EngineMissing

HOST = "127.0.0.1"
INSTALL_WITHIN = 60.0  # seconds for mariadb-install-db; seen 1
READY_POLL = 0.02  # seconds between two looks at a server that starts
ANSWER_WITHIN = 1.0  # seconds for one answer of a server that starts
STOP_GRACE = 5.0  # seconds between SIGTERM and SIGKILL; MariaDB flushes its pages first
PORT_TRIES = 3  # a port that was free a moment ago may be taken by the time the server binds it
WORDS = 2000  # bytes of a server's last words that its failure quotes


class Engine(ABC):
    """One server. `start` belongs to the main thread (see guard); `port` is chosen once and kept by restarts."""

    name: str
    ready_within: float

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server on a free port and waits. Raises EngineMissing, EngineFailed with its last words."""
        self._prepare()
        for _ in range(PORT_TRIES):
            self.port = free_port()
            self._spawn()
            deadline = time.monotonic() + self.ready_within
            while self.alive() and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(READY_POLL)
            self.stop()
        raise EngineFailed(f"{self.name} did not start: {self._last_words()}")

    async def start_again(self) -> None:
        """Starts a server that was killed, at its old port, without holding up the loop. Raises EngineFailed."""
        self.stop()
        self._spawn()
        deadline = time.monotonic() + self.ready_within
        while self.alive() and time.monotonic() < deadline:
            if await asyncio.to_thread(self._answers):
                return
            await asyncio.sleep(READY_POLL)
        raise EngineFailed(f"{self.name} did not start again: {self._last_words()}")

    def alive(self) -> bool:
        """True while the process exists."""
        return self._child is not None and self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to a server that runs."""
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, and waits for the end."""
        self.send(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        """Ends the server; idempotent, from any thread."""
        if self._child is not None:
            guard.stop(self._child, STOP_GRACE)
            self._child = None

    def _spawn(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._child = guard.spawn(self._command(), stdout=output, stderr=output)

    def _last_words(self) -> str:
        return (self.folder / "output").read_bytes()[-WORDS:].decode(errors="replace")

    @abstractmethod
    def _prepare(self) -> None:
        """What the first start needs beforehand."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its settings."""

    @abstractmethod
    def _answers(self) -> bool:
        """True once the server serves."""


class MariaDB(Engine):
    """A fresh MariaDB with the settings of production where they matter; root needs no password."""

    name = "MariaDB"
    ready_within = 20.0  # seconds; seen 0.3, the rest is for a machine whose two cores are busy

    @property
    def url(self) -> str:
        """The SQLAlchemy URL without a database name."""
        return mysql_url(self.port)

    def create(self, name: str) -> str:
        """Makes an empty utf8mb4 database and returns its URL."""
        with pymysql.connect(host=HOST, port=self.port, user="root") as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return mysql_url(self.port, name)

    def kill_connections(self) -> int:
        """KILLs every client connection, as an operator or a firewall would; returns how many there were."""
        with pymysql.connect(host=HOST, port=self.port, user="root") as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"
            )
            ids = [int(row[0]) for row in cursor.fetchall()]
            for number in ids:
                try:
                    cursor.execute(f"KILL {number}")
                except pymysql.err.OperationalError:
                    continue  # gone by itself
        return len(ids)

    def _prepare(self) -> None:
        done = subprocess.run(  # noqa: S603
            [
                _program("mariadb-install-db", self.name, "mariadb-server-core mariadb-client-core"),
                "--no-defaults",
                f"--user={getpass.getuser()}",
                f"--datadir={self.folder / 'data'}",
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
            raise EngineFailed(f"mariadb-install-db failed: {done.stdout[-WORDS:]}{done.stderr[-WORDS:]}")

    def _command(self) -> list[str]:
        return [
            _program("mariadbd", self.name, "mariadb-server-core mariadb-client-core"),
            "--no-defaults",
            f"--user={getpass.getuser()}",  # as root the server refuses to run without being told so
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'mariadb.sock'}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
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

    def _answers(self) -> bool:
        try:
            pymysql.connect(host=HOST, port=self.port, user="root", connect_timeout=ANSWER_WITHIN).close()
        except pymysql.err.OperationalError:
            return False
        return True


class RedisServer(Engine):
    """The system's redis-server, without persistence: every restart is an empty one."""

    name = "Redis"
    ready_within = 5.0  # seconds; seen 0.03

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`."""
        return redis_url(self.port)

    def _prepare(self) -> None:
        return  # it makes what it needs

    def _command(self) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "zset-max-listpack-entries": "1024",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return [_program("redis-server", self.name, "redis-server"), *words]

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=ANSWER_WITHIN, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def mysql_url(port: int, database: str = "") -> str:
    """The SQLAlchemy URL of a MariaDB of ours, behind whatever listens on `port`."""
    return f"mysql+aiomysql://root@{HOST}:{port}/{f'{database}?charset=utf8mb4' if database else ''}"


def redis_url(port: int) -> str:
    """The URL of a Redis of ours, behind whatever listens on `port`."""
    return f"redis://{HOST}:{port}/0"


def free_port() -> int:
    """A TCP port that nobody holds right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _program(name: str, engine: str, packages: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise EngineMissing(f"{engine} is not installed: apt install {packages}")
    return found
