"""Brings a database to the newest schema, and tells whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db import dialect
from db.errors import StoreUnavailable
from db.schema import metadata


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(url: str, revision: str = "head") -> None:
    """Upgrades the database at `url` to `revision`; nothing to do is fine. Raises StoreUnavailable."""
    await _run(url, lambda connection: command.upgrade(_config(connection), revision))


async def drift(url: str) -> list[str]:
    """Differences between the database at `url` and `db.schema`, as text; empty = none (what `alembic check` tells)."""
    found: list[str] = []

    def compare(connection: Connection) -> None:
        options: dict[str, Any] = {"compare_type": True}
        if connection.dialect.name == "sqlite":
            options["include_object"] = _is_plain
        context = MigrationContext.configure(connection, opts=options)
        found.extend(repr(difference) for difference in compare_metadata(context, metadata))

    await _run(url, compare)
    return found


def _is_plain(_thing: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """False for a full-text index of SQLite: a virtual table has neither types nor a key, and shadow tables beside."""
    virtual = [table.name for table in metadata.tables.values() if "fts5" in table.info]
    return kind != "table" or not any(f"{name}_".startswith(f"{table}_") for table in virtual)


async def revision(url: str) -> tuple[str | None, str | None]:
    """(revision of the database, newest revision of the code)."""
    current: list[str | None] = []
    await _run(url, lambda c: current.append(MigrationContext.configure(c).get_current_revision()))
    return current[0], ScriptDirectory.from_config(_config()).get_current_head()


async def _run(url: str, work: object) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(work)  # type: ignore[arg-type]
            await connection.commit()
    except (SQLAlchemyError, OSError) as error:
        fault = dialect.translate(error) if isinstance(error, SQLAlchemyError) else StoreUnavailable("sql", str(error))
        raise fault from error
    finally:
        await engine.dispose()
