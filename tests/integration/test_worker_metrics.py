"""A worker has no HTTP; on a port of its own it shows its metrics to this machine."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.sites import SOCIAL, Process


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path, redis_url: str) -> dict[str, str]:
    settings = {
        "SOCIAL_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'social.db'}",
        "SOCIAL_REDIS_URL": redis_url,
    }
    migration = Process(["migrate"], settings, r"up to date")
    assert migration.wait() == 0
    migration.stop()
    return settings


@pytest.fixture
def worker(environment: dict[str, str], port: int) -> Iterator[Process]:
    running = Process(["worker"], {**environment, "SOCIAL_WORKER_METRICS_PORT": str(port)}, r"worker_ready")
    yield running
    running.stop()


async def test_a_worker_shows_its_metrics(worker: Process, port: int, http: aiohttp.ClientSession) -> None:
    async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    assert "social_event_loop_lag_seconds_count" in text
    assert "social_build_info{" in text
    async with http.get(f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 404
    worker.stop()
    assert worker.wait() == 0


async def test_a_busy_port_is_refused_with_one_sentence(environment: dict[str, str], port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        run = await asyncio.create_subprocess_exec(
            *SOCIAL,
            "worker",
            env={**os.environ, **environment, "SOCIAL_WORKER_METRICS_PORT": str(port)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await run.communicate()
    assert run.returncode == 1
    said = output.decode()
    assert f"Port {port} on 127.0.0.1 cannot be used for the metrics" in said
    assert "Traceback" not in said
