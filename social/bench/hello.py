"""Commit -> frame in a friend's open socket, one process with its worker; absolute times belong to the machine."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson

from db.migrate import migrate
from db.settings import load
from feed.stores import Stores
from social.bench.figures import machine
from social.bench.site import Committed
from social.process import loop_run, take_port
from social.up import Engines

WARM_UP = 20  # posts that are not counted: connections open, statements compile, scripts load
PATIENCE = 10.0  # seconds for a frame before the benchmark gives up


def hello(*, posts: int, pause: float) -> str:
    """Commit -> frame in the friend's socket, over `posts` posts, in one process with the worker."""
    took: list[float] = []
    with tempfile.TemporaryDirectory(prefix="social-bench-") as folder:
        engines = Engines(Path(folder))
        try:
            loop_run(_hello(engines, posts, pause, took))
        finally:
            engines.stop()
    took = sorted(took[WARM_UP:])
    cut = statistics.quantiles(took, n=100)
    milliseconds = " · ".join(
        f"{name} {value * 1000:.1f} ms" for name, value in (("p50", cut[49]), ("p95", cut[94]), ("p99", cut[98]))
    )
    return f"commit -> frame, {len(took)} posts, embedded, one process: {milliseconds} ({machine()})"


async def _hello(engines: Engines, posts: int, pause: float, took: list[float]) -> None:
    from realtime.app import serve
    from workers.app import work

    settings = engines.start(load({"port": 0}))
    await migrate(settings.database_url.get_secret_value())
    settings = engines.wait_for_objects(settings)
    listener = take_port(settings)
    stores = Stores.open(settings)
    committed = Committed(stores.redis)
    stores = replace(stores, nudge=committed)
    stop, ready = asyncio.Event(), asyncio.Event()
    tasks = [
        asyncio.create_task(serve(settings, stores, listener, ready=lambda _app: ready.set(), until=stop)),
        asyncio.create_task(work(stores, ready=lambda: None, until=stop)),
    ]
    try:
        await ready.wait()
        await _measure(f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1", committed, posts, pause, took)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        await stores.close()


async def _measure(base: str, committed: Committed, posts: int, pause: float, took: list[float]) -> None:
    async with aiohttp.ClientSession() as http:
        writer, reader = [await _sign_up(http, base, name) for name in ("writer", "reader")]
        for one, other in ((writer, reader), (reader, writer)):
            async with http.put(f"{base}/friends/{other['user']['id']}", headers=_bearer(one)) as answer:
                answer.raise_for_status()
        async with http.ws_connect(f"{base}/live", headers=_bearer(reader)) as socket:
            await socket.send_json({"type": "hello"})
            for number in range(posts + WARM_UP):
                body = {"text": f"hello {number}", "visibility": "friends"}
                sent = asyncio.create_task(http.post(f"{base}/posts", json=body, headers=_bearer(writer)))
                await _frame(socket, body["text"])
                took.append(time.perf_counter() - committed.at)
                (await sent).release()
                await asyncio.sleep(pause)


async def _sign_up(http: aiohttp.ClientSession, base: str, name: str) -> dict[str, dict[str, str]]:
    body = {"username": name, "password": f"{name} measures twice", "name": name}
    async with http.post(f"{base}/users", json=body) as answer:
        answer.raise_for_status()
        signed_in: dict[str, dict[str, str]] = await answer.json()
        return signed_in


def _bearer(signed_in: dict[str, dict[str, str]]) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed_in['token']}"}


async def _frame(socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = orjson.loads((await socket.receive()).data)
            if frame["type"] == "event" and frame["data"].get("text") == text:
                return
