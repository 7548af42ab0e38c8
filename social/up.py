"""`social up`: every part in one process, embedded engines where no URL is set, one line when it is ready.

The engines are started from the main thread, because the kernel ends them when the thread that started them dies.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import SecretStr

from db import redis as keys
from db.migrate import migrate
from db.settings import Settings
from feed.background import Background
from feed.stores import Stores
from social.embedded import EngineMissing
from social.embedded.lock import DataLock
from social.embedded.objects import EmbeddedObjects
from social.embedded.valkey import EmbeddedValkey
from social.process import loop_run, stop_signal, take_port

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Engines:
    """What this process brings along, under the data folder."""

    directory: Path
    valkey: EmbeddedValkey | None = None
    objects: EmbeddedObjects | None = None
    _objects_thread: threading.Thread | None = None
    _objects_fault: list[BaseException] = field(default_factory=list)

    def start(self, settings: Settings) -> Settings:
        """Starts what has no URL and returns the settings with the URLs of what was started."""
        found: dict[str, object] = {"data": self.directory}
        if not settings.s3_endpoint:
            self.objects = EmbeddedObjects()
            # A thread of its own: importing the S3 server takes longer than all the rest together.
            self._objects_thread = threading.Thread(target=self._start_objects, args=(self.objects,))
            self._objects_thread.start()
        if not settings.redis_url.get_secret_value():
            found["redis_url"] = SecretStr(self._start_valkey())
        if not settings.database_url.get_secret_value():
            found["database_url"] = SecretStr(f"sqlite+aiosqlite:///{self.directory / 'social.db'}")
        return settings.model_copy(update=found)

    def wait_for_objects(self, settings: Settings) -> Settings:
        """Waits until the S3 server answers and returns the settings with its URL."""
        if self._objects_thread is None or self.objects is None:
            return settings
        self._objects_thread.join()
        if self._objects_fault:
            raise self._objects_fault[0]
        # The embedded S3 checks no signature, but a client without credentials signs nothing at all.
        os.environ.setdefault("AWS_ACCESS_KEY_ID", "embedded")
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "embedded")
        os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        return settings.model_copy(update={"s3_endpoint": self.objects.url})

    def stop(self) -> None:
        """Ends every engine."""
        if self._objects_thread is not None:
            self._objects_thread.join()
        if self.objects is not None:
            self.objects.stop()
        if self.valkey is not None:
            self.valkey.stop()

    async def keep_valkey(self) -> None:
        """Starts Valkey again when it dies, at the same address; what it held is rebuilt, streams begin anew."""
        assert self.valkey is not None  # noqa: S101 - the caller asked
        while True:
            code = await self.valkey.died()
            log.error("valkey_died", code=code)
            self.valkey.start(self.directory)

    def _start_valkey(self) -> str:
        self.valkey = EmbeddedValkey()
        try:
            self.valkey.start(self.directory)
        except EngineMissing:
            self.valkey = None
            log.warning("valkey_missing", used_instead="fakeredis, in this process")
            return keys.MEMORY
        return self.valkey.url

    def _start_objects(self, objects: EmbeddedObjects) -> None:
        try:
            objects.start(self.directory)
        except BaseException as error:
            self._objects_fault.append(error)


def run(settings: Settings, *, demo: bool) -> None:
    """Runs until SIGINT or SIGTERM. Raises StartupRefused with one sentence."""
    directory = settings.data.absolute()
    with ExitStack() as stack:
        stack.enter_context(DataLock(directory))
        listener = stack.enter_context(take_port(settings))
        engines = Engines(directory)
        stack.callback(engines.stop)
        loop_run(_serve(engines.start(settings), engines, listener, demo=demo))


async def _serve(settings: Settings, engines: Engines, listener: socket.socket, *, demo: bool) -> None:
    from realtime.app import serve
    from social.demo import Bots, seed
    from workers.app import work

    stop = stop_signal()
    await migrate(settings.database_url.get_secret_value())
    settings = engines.wait_for_objects(settings)
    stores = Stores.open(settings)
    background = Background()
    port = listener.getsockname()[1]
    try:
        signs = await seed(stores, settings) if demo else None
        if engines.valkey is not None:
            background.keep("valkey", engines.keep_valkey)

        def ready(*_: object) -> None:
            host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - shown, not bound
            print(f"ready {settings.public_url or f'http://{host}:{port}'}")
            if signs is not None:
                print(signs.text())
                background.keep("bots", Bots(stores, signs).run)
            sys.stdout.flush()

        edge_stopped = asyncio.Event()
        worker = asyncio.create_task(work(stores, ready=lambda: None, until=edge_stopped))
        try:
            await serve(settings, stores, listener, ready=ready, until=stop)
        finally:
            # The worker goes last: what the edge still committed while draining is dispatched, not left for tomorrow.
            edge_stopped.set()
            await worker
    finally:
        await background.stop()
        await stores.close()
