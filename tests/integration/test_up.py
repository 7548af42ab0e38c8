"""`social up` as a process: what it leaves behind when it is killed, what it keeps, what it refuses in one sentence."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import make_url

from tests.sites import SOCIAL

GONE_WITHIN = 5.0  # seconds for a child to notice that its parent was killed


def children_of(pid: int) -> list[int]:
    """Pids whose parent is `pid` (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(pids: list[int]) -> bool:
    """True once none of them runs; False when one still does after GONE_WITHIN."""
    deadline = time.monotonic() + GONE_WITHIN
    while any(map(is_running, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def refusal(*arguments: str, **environment: str) -> tuple[int, str]:
    """(exit code, what was said) of a command that must refuse."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOCIAL_")}
    done = subprocess.run(
        [*SOCIAL, *arguments], env={**inherited, **environment}, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
async def test_kill_9_leaves_no_child_and_the_next_start_keeps_the_data(start_site, http):
    first = start_site()
    said = [line for line in first.processes[0].lines if line.startswith("sign in as")]
    for _ in range(50):  # the sign-ins are printed right behind the ready line
        said = [line for line in first.processes[0].lines if line.startswith("sign in as")]
        if len(said) == 2:
            break
        await asyncio.sleep(0.02)
    username, password = said[0].split()[3], said[0].split()[5]
    children = children_of(first.processes[0].pid)
    assert children, "the embedded Valkey runs as a child"
    first.processes[0].kill()
    assert await asyncio.to_thread(all_gone, children)

    again = start_site()
    async with http.post(f"{again.api}/sessions", json={"username": username, "password": password}) as answer:
        assert answer.status == 201
        token = (await answer.json())["token"]
    async with http.get(f"{again.api}/feed", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert len((await answer.json())["items"]) >= 6


def test_ctrl_c_ends_it_with_exit_code_0(start_site):
    site = start_site("--no-demo")
    site.processes[0].send(signal.SIGINT)
    assert site.processes[0].wait() == 0


def test_a_busy_port_a_folder_in_use_and_a_wrong_folder_are_refused_in_one_sentence(start_site, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = refusal("up", "--port", port, "--data", str(tmp_path / "other"))
    assert (code, said.count("\n")) == (1, 1)
    assert port in said
    start_site("--no-demo")
    code, said = refusal("up", "--port", "0", "--data", str(tmp_path / "data"))
    assert (code, said.count("\n")) == (1, 1)
    (tmp_path / "file").write_text("not a folder")
    code, said = refusal("up", "--port", "0", "--data", str(tmp_path / "file" / "data"))
    assert (code, said.count("\n")) == (1, 1)


def test_unknown_settings_and_missing_stores_are_named(tmp_path):
    code, said = refusal("up", SOCIAL_PROT="8080")
    assert code == 1
    assert "SOCIAL_PROT" in said
    settings = tmp_path / "social.toml"
    settings.write_text('redis = "redis://localhost"')
    code, said = refusal("web", "--config", str(settings))
    assert code == 1
    assert "redis" in said
    code, said = refusal("worker")
    assert code == 1
    assert "SOCIAL_DATABASE_URL" in said


def test_doctor_names_the_ill_store_and_what_to_do(mariadb_database, redis_url):
    stores = {
        "SOCIAL_DATABASE_URL": mariadb_database(),
        "SOCIAL_REDIS_URL": redis_url,
        "SOCIAL_S3_ENDPOINT": "http://127.0.0.1:9",
    }
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    code, said = refusal("doctor", **stores, **keys)
    assert code == 1
    assert "social migrate" in said
    assert refusal("migrate", **stores)[0] == 0
    code, said = refusal("doctor", **stores, **keys)
    lines = {line.split()[1]: line.split()[0] for line in said.splitlines() if line.startswith(("ok", "ILL"))}
    assert (lines["mysql"], lines["s3"]) == ("ok", "ILL")


def test_a_parked_task_is_listed_with_its_fault_and_can_be_retried_or_dropped(mariadb_database):
    url = mariadb_database()
    store = {"SOCIAL_DATABASE_URL": url}
    assert refusal("migrate", **store)[0] == 0
    statement = (
        "INSERT INTO outbox (id, `partition`, aggregate, job, payload, state, attempts, due_at, created_at, fault) "
        "VALUES "
        "(1, 3, 'post:1', 'fan_out_post', '{}', 'parked', 10, NOW(3), NOW(3), 'KeyError: gone'), "
        "(2, 3, 'post:2', 'fan_out_post', '{}', 'parked', 10, NOW(3), NOW(3), 'KeyError: gone too')"
    )
    parts = make_url(url)
    with pymysql.connect(host=parts.host, port=parts.port, user=parts.username, database=parts.database) as connection:
        connection.cursor().execute(statement)
        connection.commit()
    code, said = refusal("outbox", "list", **store)
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == ["1", "2"]
    assert "KeyError: gone" in said
    assert refusal("outbox", "retry", "1", **store)[0] == 0
    assert refusal("outbox", "drop", "2", **store)[0] == 0
    assert "Nothing is parked" in refusal("outbox", "list", **store)[1]
    assert refusal("outbox", "list", "--state", "pending", **store)[1].split()[0] == "1"
    code, said = refusal("outbox", "retry", "2", **store)
    assert (code, said.count("\n")) == (1, 1)
