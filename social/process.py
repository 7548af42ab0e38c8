"""Runs one part as a process: its stores, its signals, its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

from db.settings import Settings, SettingsRefused
from feed.stores import Stores
from social.embedded import StartupRefused

log = structlog.get_logger(__name__)


def run_web(settings: Settings) -> None:
    """`social web`: an edge until SIGTERM or SIGINT."""
    require_stores(settings, "database_url", "redis_url")
    loop_run(_web(settings))


def run_worker(settings: Settings) -> None:
    """`social worker`: a worker until SIGTERM or SIGINT."""
    require_stores(settings, "database_url", "redis_url")
    loop_run(_worker(settings))


def require_stores(settings: Settings, *names: str) -> None:
    """Raises SettingsRefused for a store that a part cannot do without."""
    missing = [f"SOCIAL_{name.upper()}" for name in names if not getattr(settings, name).get_secret_value()]
    if missing:
        raise SettingsRefused(f"Set {' and '.join(missing)}, or run `social up`, which brings its own engines.")


def loop_run(work: Coroutine[Any, Any, None]) -> None:
    """Runs the loop: uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def stop_signal() -> asyncio.Event:
    """Set by SIGINT or SIGTERM; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    return stop


def take_port(settings: Settings) -> Any:
    """The listening socket; raises StartupRefused with a sentence when the port cannot be had."""
    from realtime.app import listen

    try:
        return listen(settings)
    except OSError as error:
        raise StartupRefused(
            f"Port {settings.port} on {settings.host} cannot be used: {_reason(error)}. "
            "Stop what runs there, or choose another one with --port."
        ) from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def _web(settings: Settings) -> None:
    from realtime.app import serve

    listener = take_port(settings)
    stop = stop_signal()
    stores = Stores.open(settings)
    port = listener.getsockname()[1]
    try:
        await serve(settings, stores, listener, ready=lambda _app: log.info("web_ready", port=port), until=stop)
    finally:
        await stores.close()


async def _worker(settings: Settings) -> None:
    from workers.app import work

    stop = stop_signal()
    stores = Stores.open(settings)
    try:
        await work(stores, ready=lambda: log.info("worker_ready"), until=stop)
    finally:
        await stores.close()
