"""Stores of a unit test: a SQLite file of its own and a Redis in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from db.redis import MEMORY
from db.schema import metadata
from db.settings import Settings
from feed.stores import Stores


@pytest_asyncio.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    """Empty stores with today's schema."""
    opened = Stores.open(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'unit.db'}", redis_url=MEMORY))
    try:
        await opened.sql.write(lambda connection: connection.run_sync(metadata.create_all))
        yield opened
    finally:
        await opened.close()
