"""SQLite and Valkey for a hundred thousand steps: the same statements and scripts, asked in this thread.

aiosqlite hands every statement to a thread and redis-py's asyncio client parses in Python tasks: most of a step's time.
Both stand-ins here answer at once; what waits is the gate before the question.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import redis

Gate = Callable[[str], Awaitable[None]]


class Cursor:
    """What SQLAlchemy asks of a cursor of aiosqlite."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.sqlite.cursor()

    async def __aenter__(self) -> Cursor:
        return self

    def __getattr__(self, name: str) -> Any:  # description, rowcount, lastrowid, arraysize
        return getattr(self._cursor, name)

    async def execute(self, statement: str, parameters: Any = ()) -> None:
        await self._connection.ask(statement)
        self._cursor.execute(statement, parameters)

    async def executemany(self, statement: str, parameters: Any) -> None:
        await self._connection.ask(statement)
        self._cursor.executemany(statement, parameters)

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


class Connection:
    """One of many views of the one database in memory. The writer's statements pass no gate: it waits before BEGIN."""

    def __init__(self, sqlite: sqlite3.Connection, gate: Gate) -> None:
        self.sqlite = sqlite
        self._gate = gate
        self._connection = True  # SQLAlchemy's adapter looks whether it is open
        self._conn = SimpleNamespace(isolation_level=None)
        self._tx = SimpleNamespace(put_nowait=lambda order: order[0].set_result(order[1]()))
        self.isolation_level = None

    def cursor(self) -> Cursor:
        return Cursor(self)

    async def ask(self, statement: str) -> None:
        if not self.sqlite.in_transaction and statement.startswith("SELECT"):
            await self._gate("sql")

    async def create_function(self, *_: Any, **__: Any) -> None:
        return None

    async def commit(self) -> None:
        self.sqlite.commit()

    async def rollback(self) -> None:
        self.sqlite.rollback()

    async def close(self) -> None:
        return None

    def stop(self) -> None:
        return None


class RedisClient:
    """What `db.redis.Redis` asks of redis-py's asyncio client."""

    def __init__(self, url: str, gate: Gate) -> None:
        self.now = redis.Redis.from_url(url)  # for whoever looks from outside: no gate
        self._gate = gate
        self.asked: Callable[[str, tuple[Any, ...]], None] = lambda _digest, _arguments: None

    async def evalsha(self, digest: str, *arguments: Any) -> Any:
        await self._gate("redis")
        answer = self.now.evalsha(digest, *arguments)
        self.asked(digest, arguments)
        return answer

    async def eval(self, text: str, *arguments: Any) -> Any:
        self.now.script_load(text)
        return self.now.eval(text, *arguments)

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert not transaction
        return Pipeline(self.now, self._gate)

    async def publish(self, channel: str, message: bytes) -> None:
        await self._gate("redis")

    async def aclose(self) -> None:
        self.now.close()


class Pipeline:
    """Commands that go out together."""

    def __init__(self, client: redis.Redis, gate: Gate) -> None:
        self._pipe = client.pipeline(transaction=False)
        self._gate = gate

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pipe.reset()

    def execute_command(self, *command: Any) -> None:
        self._pipe.execute_command(*command)

    async def execute(self) -> list[Any]:
        await self._gate("redis")
        return self._pipe.execute()
