"""The bare operations that the feed is measured against: the same rows by the same driver, the same keys by the same
client, with nothing of the product around them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiomysql  # type: ignore[import-untyped, unused-ignore]
from redis.asyncio import Redis
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from db.settings import Settings

ROWS = "SELECT id, version, author_id, text, visibility, created_at FROM posts WHERE id IN (%s)"
BATCH = 1000  # commands of one pipeline


class Bare:
    """One connection to MariaDB and one to Redis."""

    def __init__(self, sql: Any, redis: Redis) -> None:
        self._sql = sql
        self.redis = redis

    async def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """The rows of a statement."""
        async with self._sql.cursor() as cursor:
            await cursor.execute(statement)
            rows: Sequence[tuple[Any, ...]] = await cursor.fetchall()
            return rows

    async def all(self, statements: Sequence[str]) -> None:
        """Runs statements one after the other."""
        for statement in statements:
            await self.query(statement)

    async def rows(self, ids: Sequence[int]) -> None:
        """Reads posts by primary key."""
        await self.query(ROWS % ",".join(map(str, ids)))

    async def pipelined(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Sends commands in batches and reads their replies."""
        for start in range(0, len(commands), BATCH):
            async with self.redis.pipeline(transaction=False) as pipe:
                for command in commands[start : start + BATCH]:
                    pipe.execute_command(*command)
                await pipe.execute()

    async def cpu(self) -> float:
        """CPU seconds of the Redis server so far."""
        info = await self.redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


@asynccontextmanager
async def bare(settings: Settings) -> AsyncIterator[Bare]:
    """Connects to the stores that the settings name."""
    url = make_url(settings.database_url.get_secret_value())
    sql = await aiomysql.connect(
        host=url.host, port=url.port, user=url.username, db=url.database, charset="utf8mb4", autocommit=True
    )
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    try:
        yield Bare(sql, redis)
    finally:
        sql.close()
        await asyncio.shield(redis.aclose())


class Recorded:
    """The texts of the statements that this process sends while it is entered."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(Engine, "before_cursor_execute", self._one)
        return self.statements

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._one)

    def _one(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)
