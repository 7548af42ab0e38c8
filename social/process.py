"""Runs one part as a process: its stores, its signals, its end."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from db.settings import Settings, SettingsRefused
from feed import garbage
from feed.background import Background
from feed.stores import Stores
from social.embedded import StartupRefused

log = structlog.get_logger(__name__)

SCRAPE_ENDS = 1.0  # seconds that a scrape under way has to finish when its process stops


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
    """Runs the loop: uvloop where it exists, with as many descriptors as the system allows: one per socket."""
    garbage.tame()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
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
        async with show_metrics(settings.worker_metrics_port, stores):
            await work(stores, ready=lambda: log.info("worker_ready"), until=stop)
    finally:
        await stores.close()


@asynccontextmanager
async def show_metrics(port: int, stores: Stores) -> AsyncIterator[None]:
    """Shows a process without HTTP of its own to a collector on this machine; port 0 shows nothing.

    Raises StartupRefused for a busy port.
    """
    if not port:
        yield
        return
    from aiohttp import web

    from feed import loop_lag, metrics, outbox_age

    async def answer(_request: web.Request) -> web.Response:
        body, content_type = metrics.page()
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SCRAPE_ENDS)
    await runner.setup()
    background = Background()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            raise StartupRefused(
                f"Port {port} on 127.0.0.1 cannot be used for the metrics: {_reason(error)}. "
                "Choose another one with SOCIAL_WORKER_METRICS_PORT."
            ) from error
        background.keep("loop_lag", loop_lag.keep_measuring)
        background.keep("outbox_age", lambda: outbox_age.keep_looking(stores))
        yield
    finally:
        await background.stop()
        await runner.cleanup()
