"""What an engine's error means to us: the row was there, the parent was not, try again, or our own mistake."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import pymysql
import pytest
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.dialect import Moment, is_contention, translate
from db.errors import DuplicateKey, MissingParent, OutcomeUnknown, SocialError, StoreRefused, StoreUnavailable


def wrapped(original: Exception, kind: type[DBAPIError] | None = None, *, lost: bool = False) -> DBAPIError:
    """A driver's error as SQLAlchemy hands it on."""
    known: dict[str, type[DBAPIError]] = {
        "IntegrityError": IntegrityError,
        "OperationalError": OperationalError,
        "InterfaceError": InterfaceError,
        "ProgrammingError": ProgrammingError,
    }
    kind = kind or known.get(type(original).__name__, DBAPIError)
    return kind("INSERT", {}, original, connection_invalidated=lost)


def mariadb(number: int, text: str = "what the server said") -> DBAPIError:
    """An error of the server with the class that the driver gives it."""
    kind = pymysql.err.error_map.get(number, pymysql.err.OperationalError)
    return wrapped(kind(number, text))


@pytest.mark.parametrize(
    ("error", "constraint"),
    [
        (mariadb(1062, "Duplicate entry 'ada' for key 'uq_users_username'"), "uq_users_username"),
        (mariadb(1062, "Duplicate entry 'ada' for key 'users.uq_users_username'"), "users.uq_users_username"),
        (wrapped(sqlite3.IntegrityError("UNIQUE constraint failed: users.username")), "users.username"),
        (mariadb(1062, "Duplicate entry"), ""),
    ],
)
def test_a_unique_key_that_was_taken(error: DBAPIError, constraint: str) -> None:
    answer = translate(error)
    assert type(answer) is DuplicateKey
    assert answer.constraint == constraint


@pytest.mark.parametrize(
    "error", [mariadb(1452), mariadb(1451), wrapped(sqlite3.IntegrityError("FOREIGN KEY constraint failed"))]
)
def test_a_parent_that_is_not_there(error: DBAPIError) -> None:
    assert type(translate(error)) is MissingParent


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(mariadb(1213, "Deadlock found"), id="deadlock"),
        pytest.param(mariadb(1205, "Lock wait timeout exceeded"), id="lock wait"),
        pytest.param(wrapped(sqlite3.OperationalError("database is locked")), id="sqlite busy"),
    ],
)
def test_contention_may_be_tried_again(error: DBAPIError) -> None:
    assert is_contention(error)
    assert type(translate(error)) is StoreUnavailable


@pytest.mark.parametrize(
    "error", [mariadb(1062), mariadb(2013), wrapped(sqlite3.IntegrityError("UNIQUE")), PoolTimeout(), ValueError()]
)
def test_other_errors_are_no_contention(error: Exception) -> None:
    assert not is_contention(error)


LOST = [
    pytest.param(mariadb(2006), id="gone away"),
    pytest.param(mariadb(2013), id="lost during query"),
    pytest.param(mariadb(2014), id="out of sync"),
    pytest.param(wrapped(pymysql.err.InterfaceError(0, "")), id="interface"),
    pytest.param(wrapped(pymysql.err.OperationalError(1, ""), lost=True), id="invalidated"),
]


@pytest.mark.parametrize("error", LOST)
def test_a_lost_connection_is_a_store_out_of_reach(error: DBAPIError) -> None:
    assert type(translate(error)) is StoreUnavailable


@pytest.mark.parametrize("error", LOST)
def test_a_connection_lost_at_commit_leaves_the_outcome_open(error: DBAPIError) -> None:
    assert type(translate(error, committing=True)) is OutcomeUnknown


@pytest.mark.parametrize("number", [1927, 1053])
def test_a_commit_that_the_server_killed_leaves_the_outcome_open(number: int) -> None:
    """MariaDB: 'Connection was killed' (1927), 'Server shutdown in progress' (1053)."""
    assert type(translate(mariadb(number), committing=True)) is OutcomeUnknown


@pytest.mark.parametrize("number", [1290, 1792, 1836, 1040, 2003])
def test_a_demoted_or_crowded_server_is_out_of_reach(number: int) -> None:
    assert type(translate(mariadb(number))) is StoreUnavailable


def test_no_free_connection_is_a_store_out_of_reach() -> None:
    assert type(translate(PoolTimeout())) is StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(mariadb(4025, "CONSTRAINT `ck_blocks_not_self` failed"), id="MariaDB check"),
        pytest.param(mariadb(3819, "Check constraint 'ck_blocks_not_self' is violated."), id="MySQL check"),
        pytest.param(wrapped(sqlite3.IntegrityError("CHECK constraint failed: not_self")), id="SQLite check"),
        pytest.param(mariadb(1048, "Column 'text' cannot be null"), id="MariaDB null"),
        pytest.param(wrapped(sqlite3.IntegrityError("NOT NULL constraint failed: posts.text")), id="SQLite null"),
        pytest.param(mariadb(1406, "Data too long"), id="too long"),
        pytest.param(mariadb(1064, "You have an error in your SQL syntax"), id="syntax"),
        pytest.param(mariadb(1146, "Table 'x' doesn't exist"), id="no table"),
        pytest.param(ValueError("anything"), id="not of the driver"),
    ],
)
def test_our_own_mistake_is_not_called_a_passing_fault(error: Exception) -> None:
    answer = translate(error)
    assert type(answer) is StoreRefused
    assert not answer.temporary


@pytest.mark.parametrize("committing", [False, True])
def test_what_a_driver_says_is_kept_for_the_log_and_not_for_people(committing: bool) -> None:
    answer: SocialError = translate(mariadb(2013, "root@10.0.0.1"), committing=committing)
    assert "10.0.0.1" in str(answer)
    assert "10.0.0.1" not in answer.detail


# --- moments ---------------------------------------------------------------------------------------------------------

DIALECTS = [sqlite.dialect(), mysql.dialect()]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_moment_is_stored_in_utc_with_milliseconds_and_comes_back_aware(dialect: object) -> None:
    zone = timezone(timedelta(hours=2))
    moment = datetime(2026, 11, 21, 3, 0, 0, 123_987, zone)
    stored = Moment().process_bind_param(moment, dialect)  # type: ignore[arg-type]
    assert stored == datetime(2026, 11, 21, 1, 0, 0, 123_000)  # noqa: DTZ001 - what the store holds has no zone
    back = Moment().process_result_value(stored, dialect)  # type: ignore[arg-type]
    assert back == datetime(2026, 11, 21, 1, 0, 0, 123_000, UTC)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_moment_stays_none(dialect: object) -> None:
    assert Moment().process_bind_param(None, dialect) is None  # type: ignore[arg-type]
    assert Moment().process_result_value(None, dialect) is None  # type: ignore[arg-type]
