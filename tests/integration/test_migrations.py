"""The schema by its migrations, on SQLite and MariaDB: there and back, without losing a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db import migrate
from db.errors import StoreUnavailable
from db.schema import metadata

SEEDED = {"users", "friendships", "posts", "comments", "likes"}


@pytest.fixture(params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'social.db'}"
    make: Callable[[], str] = request.getfixturevalue("mariadb_database")
    return make()


async def tables(url: str) -> set[str]:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return set(await connection.run_sync(lambda c: inspect(c).get_table_names()))
    finally:
        await engine.dispose()


async def run(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()


def down(connection: Connection) -> None:
    command.downgrade(migrate._config(connection), "base")


async def test_a_new_database_gets_every_table_and_differs_in_nothing(url: str) -> None:
    before, newest = await migrate.revision(url)
    assert before is None
    await migrate.migrate(url)
    shadows = {name for name in await tables(url) if name.startswith("post_words_")}  # of the full-text index of SQLite
    assert await tables(url) - shadows == {*metadata.tables, "alembic_version"}
    assert await tables(url) >= SEEDED
    assert await migrate.drift(url) == []
    assert await migrate.revision(url) == (newest, newest)


async def test_drift_is_noticed(url: str) -> None:
    await migrate.migrate(url)
    await run(url, "ALTER TABLE users ADD COLUMN shoe_size INTEGER")
    assert any("shoe_size" in difference for difference in await migrate.drift(url))


async def test_a_second_migration_changes_nothing_and_keeps_the_rows(url: str) -> None:
    await migrate.migrate(url)
    await run(
        url,
        "INSERT INTO users (version, username, name, bio, password_hash, locale, timezone, state, created_at)"
        " VALUES (1, 'ada', 'Ada \u00c9 \U0001f600', '', 'x', 'en', 'UTC', 'active', '2026-11-21 03:00:00.123')",
    )
    await run(
        url,
        "INSERT INTO posts (version, author_id, text, visibility, created_at)"
        " SELECT 1, id, 'first', 'public', '2026-11-21 03:00:00.123' FROM users",
    )
    await migrate.migrate(url)
    assert await run(url, "SELECT username, name FROM users") == [("ada", "Ada \u00c9 \U0001f600")]
    assert await run(url, "SELECT text FROM posts") == [("first",)]
    assert await migrate.drift(url) == []


async def test_every_migration_can_be_taken_back_and_made_again(url: str) -> None:
    await migrate.migrate(url)
    await migrate._run(url, down)
    assert await tables(url) <= {"alembic_version", "sqlite_sequence"}
    assert (await migrate.revision(url))[0] is None
    await migrate.migrate(url)
    assert await migrate.drift(url) == []


async def test_a_database_that_does_not_answer_is_a_store_out_of_reach() -> None:
    with pytest.raises(StoreUnavailable):
        await migrate.migrate("mysql+aiomysql://root@127.0.0.1:1/nothing")


async def test_ids_are_never_given_out_twice(url: str) -> None:
    await migrate.migrate(url)
    insert = (
        "INSERT INTO users (version, username, name, bio, password_hash, locale, timezone, state, created_at)"
        " VALUES (1, '{}', 'x', '', 'x', 'en', 'UTC', 'active', '2026-11-21 03:00:00')"
    )
    await run(url, insert.format("first"))
    [(first,)] = await run(url, "SELECT id FROM users")
    await run(url, "DELETE FROM users")
    await run(url, insert.format("second"))
    [(second,)] = await run(url, "SELECT id FROM users")
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert second > first
