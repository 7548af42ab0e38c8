"""What waits in the outbox, as a number: on SQLite and MariaDB, and while the store does not answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import update

from db import outbox, schema
from db.migrate import migrate
from db.redis import MEMORY
from db.settings import Settings
from feed import metrics, outbox_age
from feed.stores import Stores

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest_asyncio.fixture(params=["sqlite", "mariadb"])
async def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('outbox_age') / 'social.db'}"
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        url = make()
    await migrate(url)
    opened = Stores.open(Settings(database_url=url, redis_url=MEMORY))
    yield dataclasses.replace(opened, clock=lambda: NOW)
    await opened.close()


def shown() -> tuple[float | None, ...]:
    """(age of the oldest, pending, parked)."""
    names = ("social_outbox_oldest_seconds", "social_outbox_pending", "social_outbox_parked")
    return tuple(metrics.REGISTRY.get_sample_value(name) for name in names)


async def promise(stores: Stores, age: float, count: int) -> None:
    made = NOW - timedelta(seconds=age)
    await stores.sql.write(lambda c: outbox.add(c, "post:1", [("note", {})] * count, made))


async def mark(stores: Stores, state: str, *, oldest: int) -> None:
    """Gives the oldest pending rows a state."""

    async def work(connection) -> None:
        rows = await outbox.waiting(connection, state="pending", limit=oldest)
        ids = [row.id for row in rows]
        await connection.execute(update(schema.outbox).where(schema.outbox.c.id.in_(ids)).values(state=state))

    await stores.sql.write(work)


async def test_the_oldest_pending_row_and_the_counts_are_shown(stores: Stores) -> None:
    await outbox_age.look(stores)
    assert shown() == (0, 0, 0)
    await promise(stores, 90, 2)
    await promise(stores, 30, 3)
    await outbox_age.look(stores)
    assert shown() == (90, 5, 0)
    await mark(stores, "done", oldest=1)
    await mark(stores, "parked", oldest=1)
    await outbox_age.look(stores)
    assert shown() == (30, 3, 1)


async def test_while_the_store_does_not_answer_nothing_is_claimed(stores: Stores) -> None:
    await promise(stores, 90, 2)
    await outbox_age.look(stores)
    gone = Stores.open(Settings(database_url="mysql+aiomysql://nobody@127.0.0.1:9/none", redis_url=MEMORY))
    await outbox_age.look(gone)
    await gone.close()
    assert [math.isnan(value) for value in shown() if value is not None] == [True] * 3
    await outbox_age.look(stores)
    assert shown() == (90, 2, 0)
