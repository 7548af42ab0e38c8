"""A private Redis Cluster for tests: three primaries without replicas, on free ports, gone with the test run.

`cluster_url` is shared by a session; a test that kills or reshapes a cluster starts its own with `start_cluster`.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import pytest
import redis
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.retry import Retry

from social import guard
from tests.engines import missing

PRIMARIES = 3
READY_WITHIN = 30.0  # seconds for `cluster_state:ok`; seen 2 to 3, the nodes gossip once a second
READY_POLL = 0.05  # seconds between two tries
STOP_GRACE = 2.0  # seconds; nothing is saved
PORT_TRIES = 3  # ports that were free a moment ago may be taken by the time the servers bind them
BUS_OFFSET = 10_000  # what a server adds to its port for the cluster bus


class Cluster:
    """A running cluster. `url` names its first node; `children` and `ports` are in the order of the slots."""

    def __init__(self, program: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="social-cluster-", ignore_cleanup_errors=True)
        self.ports = _free_ports(PRIMARIES)
        self.children = [guard.spawn(_command(program, Path(self._folder.name), port)) for port in self.ports]
        try:
            self._join()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.ports[0]}"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def node(self, number: int) -> redis.Redis:
        """A client of one node, which knows nothing of the cluster."""
        return redis.Redis(port=self.ports[number], socket_timeout=2, retry=Retry(NoBackoff(), 0))

    def slots(self, number: int) -> range:
        """The slots that a node held at first."""
        return range(
            REDIS_CLUSTER_HASH_SLOTS * number // PRIMARIES, REDIS_CLUSTER_HASH_SLOTS * (number + 1) // PRIMARIES
        )

    def name(self, number: int) -> str:
        """What a node is called among its like."""
        with self.node(number) as client:
            return str(client.execute_command("CLUSTER MYID"), "ascii")

    def move(self, slots: Iterable[int], source: int, target: int) -> None:
        """Gives slots without keys to another node, as every node then knows."""
        taker = self.name(target)
        for number in (target, source, *range(PRIMARIES)):
            with self.node(number) as client, client.pipeline(transaction=False) as pipe:
                for slot in slots:
                    pipe.execute_command("CLUSTER SETSLOT", slot, "NODE", taker)
                pipe.execute()

    def begin_move(self, slot: int, source: int, target: int) -> None:
        """Leaves a slot on its way: who asks for a key that `source` lacks is sent to `target` (ASK)."""
        giver, taker = self.name(source), self.name(target)
        with self.node(target) as client:
            client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", giver)
        with self.node(source) as client:
            client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", taker)

    def kill(self, number: int) -> None:
        """Ends one node as a crash would."""
        self.children[number].kill()
        self.children[number].wait()

    def stop(self) -> None:
        for child in self.children:
            guard.stop(child, STOP_GRACE)
        self._folder.cleanup()

    def _join(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        for number in range(PRIMARIES):
            _until(deadline, lambda number=number: self._answers(number), self.children)
            with self.node(number) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", self.slots(number)[0], self.slots(number)[-1])
                # Epochs that differ from the start: nodes that meet with equal ones need seconds to settle who leads.
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        with self.node(0) as client:
            for port in self.ports[1:]:
                client.execute_command("CLUSTER MEET", "127.0.0.1", port)
        for number in range(PRIMARIES):
            _until(deadline, lambda number=number: self._settled(number), self.children)

    def _answers(self, number: int) -> bool:
        try:
            with self.node(number) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _settled(self, number: int) -> bool:
        with self.node(number) as client:
            state: str = client.execute_command("CLUSTER INFO")["cluster_state"]
            return state == "ok"


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """`redis+cluster://127.0.0.1:PORT` of a private cluster. Keys are the test's to name and to remove."""
    with _start() as cluster:
        yield cluster.url


@pytest.fixture
def start_cluster() -> Iterator[Callable[[], Cluster]]:
    """Starts clusters of the test's own."""
    started: list[Cluster] = []

    def start() -> Cluster:
        started.append(_start())
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


def _start() -> Cluster:
    program = shutil.which("redis-server") or missing("Redis", "redis-server")
    for _ in range(PORT_TRIES):
        try:
            return Cluster(program)
        except RuntimeError as error:
            fault = error
    pytest.fail(f"The cluster did not start: {fault}", pytrace=False)


def _until(deadline: float, holds: Callable[[], bool], children: list[subprocess.Popen[bytes]]) -> None:
    while not holds():
        ended = [child.returncode for child in children if child.poll() is not None]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"a server ended with {ended}" if ended else f"not ready in {READY_WITHIN:.0f} s")
        time.sleep(READY_POLL)


def _command(program: str, folder: Path, port: int) -> list[str]:
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "cluster-enabled": "yes",
        "cluster-config-file": f"nodes-{port}.conf",
        "cluster-node-timeout": "2000",
        "cluster-allow-replica-migration": "no",  # a node without slots stays a primary
    }
    return [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and whose bus ports are."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port + BUS_OFFSET > 65_535 or port in found:
                continue
            try:
                second.bind(("127.0.0.1", port + BUS_OFFSET))
            except OSError:
                continue
            found.append(port)
    return found
