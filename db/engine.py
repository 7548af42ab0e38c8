"""One writer and one reader, and the only way to run statements on them.

`Database.write` runs a whole transaction and runs it again when the engine reports contention; `Database.read` runs
SELECTs in autocommit, on the replica only where the caller says that stale is fine. No driver error leaves this file
unmapped (`db.errors`).
READ COMMITTED everywhere: under REPEATABLE READ a scan of the outbox gap-locks its tail and posting stops.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import structlog
from sqlalchemy import CursorResult, Row, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from db import dialect
from db.errors import OutcomeUnknown, SocialError, StoreUnavailable
from db.settings import Settings

log = structlog.get_logger(__name__)
T = TypeVar("T")

POOL_WAIT = 5.0  # seconds for a free connection; longer and the client's own patience ends: 503 is more honest
CONNECT_TIMEOUT = 5  # seconds to open a connection; a failover closes ports quickly, a blackhole never answers
TRANSACTION_WITHIN = 15.0  # seconds: lock waits included; the driver itself would wait for a silent server for ever
READ_WITHIN = 30.0  # seconds: exports read a lot
RECYCLE = 1800  # seconds; below every usual wait_timeout and firewall idle limit
ATTEMPTS = 3  # runs of a transaction that meets contention
BACKOFF = 0.05  # seconds, times 2^attempt, with full jitter

# A row of any shape: its columns are attributes.
Record: TypeAlias = Row[*tuple[Any, ...]]
Work = Callable[[AsyncConnection], Awaitable[T]]


class Database:
    """The relational store. `dialect` is 'sqlite' or 'mysql' (MariaDB included)."""

    def __init__(self, writer: AsyncEngine, fresh: AsyncEngine, replica: AsyncEngine, reserved: AsyncEngine) -> None:
        self._writer = writer
        self._fresh = fresh
        self._replica = replica
        self._reserved = reserved
        self.dialect = "sqlite" if writer.dialect.name == "sqlite" else "mysql"

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Builds the engines; nothing connects before the first statement."""
        url = settings.database_url.get_secret_value()
        replica_url = settings.replica_url.get_secret_value()
        size = settings.database_pool
        if make_url(url).get_backend_name() == "sqlite":
            fresh = _sqlite(url, pool=size)
            return cls(_sqlite(url, pool=1, begin="BEGIN IMMEDIATE"), fresh, fresh, _sqlite(url, pool=1))
        fresh = _mysql(url, size, autocommit=True)
        replica = _mysql(replica_url, size, autocommit=True) if replica_url else fresh
        return cls(_mysql(url, size), fresh, replica, _mysql(url, 1, autocommit=True))

    async def write(self, work: Work[T]) -> T:
        """Runs `work(connection)` in one transaction on the writer and returns its result after COMMIT.

        Deadlocks and lock waits roll back and run the whole of `work` again, ATTEMPTS times at most: `work` must have
        no effect outside of the transaction. Raises DuplicateKey, MissingParent, StoreUnavailable, OutcomeUnknown
        (COMMIT went out, no answer came), StoreRefused, or whatever `work` raises.
        """
        for attempt in range(1, ATTEMPTS + 1):
            committing = False
            try:
                async with asyncio.timeout(TRANSACTION_WITHIN), self._writer.connect() as connection:
                    transaction = await connection.begin()
                    try:
                        result = await work(connection)
                        committing = True
                        await transaction.commit()
                    except BaseException as error:
                        if dialect.is_read_only(error):
                            await connection.invalidate()  # a demoted primary answers pings, and refuses every write
                        elif transaction.is_active:
                            await transaction.rollback()
                        raise
                    return result
            except SocialError:
                raise
            except SQLAlchemyError as error:
                if not dialect.is_contention(error) or attempt == ATTEMPTS:
                    raise dialect.translate(error, committing=committing) from error
                log.info("transaction_retried", attempt=attempt, cause=str(error.__cause__))
            except (TimeoutError, OSError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not dialect.is_closed(error):
                    raise
                lost = OutcomeUnknown if committing else StoreUnavailable
                raise lost("sql", str(error) or "no answer in time") from error
            await asyncio.sleep(random.uniform(0, BACKOFF * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def read(self, *, stale: bool = False, reserved: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in autocommit for SELECTs: the newest committed state, or with `stale` perhaps the replica's.

        `reserved` takes a connection beside the pool, for the one reader that must not wait behind requests.
        """
        engine = self._reserved if reserved else self._replica if stale else self._fresh
        try:
            async with asyncio.timeout(READ_WITHIN):
                async with engine.connect() as connection:
                    yield connection
        except SQLAlchemyError as error:
            raise dialect.translate(error) from error
        except (TimeoutError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not dialect.is_closed(error):
                raise
            raise StoreUnavailable("sql", str(error)) from error

    async def check(self) -> None:
        """Raises StoreUnavailable unless the writer answers."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Closes every pooled connection."""
        for engine in {self._writer, self._fresh, self._replica, self._reserved}:
            await engine.dispose()


def new_id(result: CursorResult[Any]) -> int:
    """The id that an INSERT of one row was given."""
    key = result.inserted_primary_key
    assert key is not None  # noqa: S101 - every table that is asked has an id
    return int(key[0])


def _sqlite(url: str, *, pool: int, begin: str | None = None) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=POOL_WAIT,
        isolation_level=None if begin else "AUTOCOMMIT",
    )
    event.listen(engine.sync_engine, "connect", dialect.on_sqlite_connect)
    if begin:
        # A writer that begins as a reader meets SQLITE_BUSY when it upgrades; so it begins as what it is.
        @event.listens_for(engine.sync_engine, "connect")
        def _no_implicit_begin(connection: Any, _record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql(begin)

    return engine


def _mysql(url: str, pool: int, *, autocommit: bool = False) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=POOL_WAIT,
        pool_recycle=RECYCLE,
        isolation_level="AUTOCOMMIT" if autocommit else "READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "charset": "utf8mb4",
            "init_command": f"SET SESSION innodb_lock_wait_timeout={dialect.LOCK_WAIT}, time_zone='+00:00'",
        },
    )
    event.listen(engine.sync_engine, "checkout", dialect.ping_mysql)
    if autocommit:  # reads; a write that met a dead connection would be refused for nothing
        event.listen(engine.sync_engine, "checkin", dialect.note_return)
    return engine
