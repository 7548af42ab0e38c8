"""What differs between SQLite and MySQL/MariaDB: column types, connection settings, the reading of driver errors."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from pymysql.err import MySQLError
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.compiler import DDLCompiler

from db.errors import DuplicateKey, MissingParent, OutcomeUnknown, SocialError, StoreRefused, StoreUnavailable

# Seconds that an InnoDB statement waits for a row lock, and SQLite for its one writer, before giving up.
LOCK_WAIT = 3

CAME_BACK = "came_back"
# Seconds for which a connection that was just in use needs no ping: below what a server takes to be back, and a ping
# costs a busy process as much as a short statement.
TRUSTED = 0.5

# Ids stay below 2^53 (JSON numbers, Redis scores); BIGINT leaves room and SQLite needs plain INTEGER for autoincrement.
Id = BigInteger().with_variant(mysql.BIGINT(unsigned=True), "mysql", "mariadb").with_variant(Integer(), "sqlite")


# Names, keys and tokens compare byte by byte; folding is done in code, the same on every engine.
def Key(length: int) -> Any:  # noqa: N802 - reads as a column type in the schema
    """A string that compares by its bytes: usernames, idempotency keys, aggregate names."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


LongText = Text().with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
# Words for a full-text index; longer than TEXT: each word of a post of 5,000 code points is spelled out in ASCII.
Words = Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
Digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
Document = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


class Moment(TypeDecorator[datetime]):
    """A point in time: aware UTC in Python, naive UTC with milliseconds in the store."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """DATETIME(3) on MySQL and MariaDB, ISO text on SQLite."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=3))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Truncates to milliseconds, so that what is compared is what was stored."""
        if value is None:
            return None
        value = value.astimezone(UTC).replace(tzinfo=None)
        return value.replace(microsecond=value.microsecond // 1000 * 1000)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Gives the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


@compiles(CreateTable, "sqlite")
def _create_table(create: CreateTable, compiler: DDLCompiler, **options: Any) -> str:
    """A table with `info={"fts5": "its columns and options"}` is a full-text index on SQLite, its key the rowid."""
    content = create.element.info.get("fts5")
    if content is None:
        return str(compiler.visit_create_table(create, **options))  # type: ignore[no-untyped-call]
    return f"CREATE VIRTUAL TABLE {create.element.name} USING fts5({content})"


def on_sqlite_connect(connection: Any, _record: Any) -> None:
    """Settings of every SQLite connection. FULL: an acknowledged post survives a power cut, as on MySQL."""
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={LOCK_WAIT * 1000}",
        "case_sensitive_like=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
DEADLOCK, LOCK_TIMEOUT = 1213, 1205
DUPLICATE, NO_PARENT, HAS_CHILD = 1062, 1452, 1451
CHECK_FAILED = {3819, 4025}  # MySQL, MariaDB: drivers call these operational
LOST = {1053, 1927, 2006, 2013, 2014, 4031}  # shut down, killed, gone, broken off, out of step, idle
READ_ONLY = {1290, 1792, 1836}  # a demoted primary: the connection must not go back to the pool


def code_of(error: DBAPIError) -> int:
    """The engine's own error number, 0 when there is none (SQLite, lost connections without one)."""
    args = getattr(error.orig, "args", ())
    return args[0] if args and isinstance(args[0], int) else 0


def is_contention(error: BaseException) -> bool:
    """True when the same transaction may simply be run again: deadlock, lock wait, a busy SQLite writer."""
    if not isinstance(error, DBAPIError):
        return False
    return code_of(error) in (DEADLOCK, LOCK_TIMEOUT) or "database is locked" in str(error.orig)


def is_closed(error: BaseException) -> bool:
    """True when a driver wrote to a socket that is gone: uvloop says so with an error of its own."""
    return isinstance(error, RuntimeError) and "handler is closed" in str(error)


def ping_mysql(connection: Any, record: Any, _proxy: Any) -> None:
    """At checkout of a pooled connection: a dead one is replaced, and so are all that are older than this moment.

    The pool's own ping does not know the errors of `is_closed`. One that came back a moment ago is taken at its word.
    """
    if time.monotonic() - record.info.get(CAME_BACK, 0.0) < TRUSTED:
        return
    try:
        connection.ping(False)
    except (DBAPIError, MySQLError, OSError, RuntimeError) as error:
        raise InvalidatePoolError from error


def note_return(_connection: Any, record: Any) -> None:
    """At checkin of a pooled connection: when that was."""
    record.info[CAME_BACK] = time.monotonic()


def is_read_only(error: BaseException) -> bool:
    """True when the server takes no writes: it is no primary any more."""
    return isinstance(error, DBAPIError) and code_of(error) in READ_ONLY


def translate(error: BaseException, *, committing: bool = False) -> SocialError:
    """Maps whatever SQLAlchemy or a driver raises to an error of ours."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable("sql", "no free connection in time")
    if not isinstance(error, DBAPIError):
        return StoreRefused("sql", f"{type(error).__name__}: {error}")
    number, text = code_of(error), str(error.orig)
    if isinstance(error, IntegrityError):
        if number == DUPLICATE or "UNIQUE constraint" in text:
            return DuplicateKey(_constraint(text))
        if number in (NO_PARENT, HAS_CHILD) or "FOREIGN KEY" in text:
            return MissingParent()
        return StoreRefused("sql", text)
    lost = error.connection_invalidated or isinstance(error, InterfaceError) or number in LOST
    if number in CHECK_FAILED:
        return StoreRefused("sql", text)
    if lost and committing:
        return OutcomeUnknown("sql", text)
    if lost or isinstance(error, OperationalError) or number in READ_ONLY or is_contention(error):
        return StoreUnavailable("sql", text)
    return StoreRefused("sql", text)


def _constraint(text: str) -> str:
    """The name of the violated constraint (MySQL: its key; SQLite: table.column, table.column)."""
    match = re.search(r"for key '([^']+)'", text) or re.search(r"constraint failed: (.+)$", text)
    return match.group(1) if match else ""
