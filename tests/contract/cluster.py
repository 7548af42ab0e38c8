"""Two web processes and a worker on one MariaDB, and on a Redis that a test may freeze, kill and restart."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from social import guard
from tests.contract.checks import Checked, Documents, person_of
from tests.engines import missing
from tests.sites import GENEROUS, SOCIAL, Process

REDIS_READY_WITHIN = 10.0  # seconds; seen 0.03, the rest is for a machine whose two cores are busy
COMMAND_WITHIN = 30.0  # seconds for a command line run to import and finish
STOP_GRACE = 5.0  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A redis-server on a port that it keeps over restarts; what it held is lost when it is killed."""

    def __init__(self, folder: Path) -> None:
        self._program = shutil.which("redis-server") or missing("Redis", "redis-server")
        self._folder, self._port = folder, free_port()
        self._frozen = False
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder), "--save", ""]
        self._child = guard.spawn([self._program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + REDIS_READY_WITHIN
        while not self._answers():
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)

    def freeze(self) -> None:
        os.killpg(self._child.pid, signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        os.killpg(self._child.pid, signal.SIGCONT)
        self._frozen = False

    def kill(self) -> None:
        os.killpg(self._child.pid, signal.SIGKILL)
        guard.stop(self._child, STOP_GRACE)

    def restart(self) -> None:
        """Brings it back after `freeze` or `kill`."""
        if self._frozen:
            self.thaw()
        else:
            self.start()

    def stop(self) -> None:
        if self._frozen:
            self.thaw()
        guard.stop(self._child, STOP_GRACE)

    def _answers(self) -> bool:
        with redis.Redis(port=self._port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class Cluster:
    """`apis` are the base paths of its web processes."""

    documents: Documents

    def __init__(self, database_url: str, folder: Path, webs: int = 2, **environment: str) -> None:
        self.redis = RedisServer(folder)
        self._settings = {
            **GENEROUS,
            "SOCIAL_DATABASE_URL": database_url,
            "SOCIAL_REDIS_URL": self.redis.url,
            "SOCIAL_S3_ENDPOINT": "http://127.0.0.1:9",  # nothing there: the site works without
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            **environment,
        }
        self.webs: list[Process] = []
        self.apis: list[str] = []
        code, said = self.social("migrate")
        assert code == 0, said
        for _ in range(webs):
            self.start_web()
        self._worker = Process(["worker"], self._settings, r"worker_ready")

    def start_web(self, **environment: str) -> str:
        """Starts one more web process; returns its base path."""
        web = Process(["web", "--port", "0"], {**self._settings, **environment}, r"web_ready")
        match = re.search(r"port=\D*(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", web.ready_line))
        assert match, web.ready_line
        self.webs.append(web)
        self.apis.append(f"http://127.0.0.1:{match.group(1)}/api/v1")
        return self.apis[-1]

    def social(self, *arguments: str) -> tuple[int, str]:
        """(exit code, what was said) of a command."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOCIAL_")}
        done = subprocess.run(
            [*SOCIAL, *arguments],
            env={**inherited, **self._settings},
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    async def operator(self, *arguments: str) -> str:
        """What a command said that must succeed."""
        code, said = await asyncio.to_thread(self.social, *arguments)
        assert code == 0, said
        return said

    @contextmanager
    def no_worker(self) -> Iterator[None]:
        """While the body runs, nothing that a commit promised is done."""
        self._worker.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._worker.send(signal.SIGCONT)

    def everywhere(self, person: Checked) -> list[Checked]:
        """The same sign-in, once for each web process."""
        return [
            person_of(person.http, api, person.documents, {"user": person.user, "token": person.token}, person.password)
            for api in self.apis
        ]

    def stop(self) -> None:
        for process in (*self.webs, self._worker):
            process.stop()
        self.redis.stop()
