"""Statements on people: accounts, the words they are found by, their sign-ins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record, new_id
from db.schema import relation_meta, sessions, user_terms, users

PROFILE = (users.c.id, users.c.version, users.c.username, users.c.name, users.c.bio, users.c.state)
_PROFILES = select(*PROFILE).where(users.c.id.in_(bindparam("ids", expanding=True)))


async def add(
    connection: AsyncConnection, *, username: str, name: str, email: str | None, password_hash: str, now: datetime
) -> int:
    """Inserts an account with its relation meta; returns its id. Raises DuplicateKey for a taken username."""
    result = await connection.execute(
        insert(users).values(
            username=username,
            name=name,
            email=email,
            password_hash=password_hash,
            bio="",
            locale="en",
            timezone="UTC",
            state="active",
            version=1,
            created_at=now,
        )
    )
    user_id = new_id(result)
    await connection.execute(insert(relation_meta).values(user_id=user_id, friends=0, version=1))
    return user_id


async def profiles(connection: AsyncConnection, ids: Collection[int]) -> dict[int, Record]:
    """id -> row of PROFILE for those of `ids` that exist, in whatever state."""
    if not ids:
        return {}
    rows = await connection.execute(_PROFILES, {"ids": list(ids)})
    return {row.id: row for row in rows}


async def account(connection: AsyncConnection, user_id: int) -> Record | None:
    """Every column of one account."""
    return (await connection.execute(select(users).where(users.c.id == user_id))).one_or_none()


async def lock(connection: AsyncConnection, user_id: int) -> Record | None:
    """Every column of one account, the row locked until the transaction ends."""
    return (await connection.execute(select(users).where(users.c.id == user_id).with_for_update())).one_or_none()


async def by_username(connection: AsyncConnection, username: str) -> Record | None:
    """The account with this folded username."""
    return (await connection.execute(select(users).where(users.c.username == username))).one_or_none()


async def by_usernames(connection: AsyncConnection, names: Collection[str]) -> list[int]:
    """Ids of the accounts with these folded usernames, in whatever state."""
    if not names:
        return []
    return [row.id for row in await connection.execute(select(users.c.id).where(users.c.username.in_(names)))]


async def change(connection: AsyncConnection, user_id: int, **values: Any) -> None:
    """Sets columns of an account and raises its version."""
    await connection.execute(update(users).where(users.c.id == user_id).values(version=users.c.version + 1, **values))


async def set_terms(connection: AsyncConnection, user_id: int, terms: Iterable[str]) -> None:
    """Replaces the folded words that people search finds this user by."""
    await connection.execute(delete(user_terms).where(user_terms.c.user_id == user_id))
    rows = [{"term": term, "user_id": user_id} for term in sorted(set(terms))]
    if rows:
        await connection.execute(insert(user_terms), rows)


async def search(connection: AsyncConnection, words: list[str], *, after: int, limit: int) -> list[int]:
    """Ids of active users, ascending from `after`, each of whose terms cover every word as a prefix."""
    query = select(users.c.id).where(users.c.state == "active", users.c.id > after)
    for word in words:
        terms = user_terms.alias()
        prefix = terms.c.term.startswith(word, autoescape=True)
        query = query.where(select(1).where(and_(terms.c.user_id == users.c.id, prefix)).exists())
    rows = await connection.execute(query.order_by(users.c.id).limit(limit))
    return [row.id for row in rows]


# --- sign-ins --------------------------------------------------------------------------------------------------------


async def add_session(
    connection: AsyncConnection,
    *,
    user_id: int,
    token_hash: bytes,
    device: str,
    address: str,
    now: datetime,
    expires_at: datetime,
) -> int:
    """Inserts a sign-in; returns its id."""
    result = await connection.execute(
        insert(sessions).values(
            user_id=user_id,
            token_hash=token_hash,
            device=device,
            address=address,
            created_at=now,
            used_at=now,
            expires_at=expires_at,
        )
    )
    return new_id(result)


async def sessions_by_token(connection: AsyncConnection, hashes: Collection[bytes]) -> dict[bytes, Record]:
    """token hash -> sign-in, with the account's state as `state`, for those that exist."""
    query = (
        select(sessions, users.c.state)
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.token_hash.in_(hashes))
    )
    return {row.token_hash: row for row in await connection.execute(query)}


async def sessions_of(connection: AsyncConnection, user_id: int, now: datetime) -> list[Record]:
    """The sign-ins of a user that have not expired, newest first."""
    query = (
        select(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
        .order_by(sessions.c.id.desc())
    )
    return list(await connection.execute(query))


async def touch_session(connection: AsyncConnection, session_id: int, now: datetime) -> None:
    """Notes that a sign-in was used, unless a later use is noted already."""
    await connection.execute(
        update(sessions).where(sessions.c.id == session_id, sessions.c.used_at < now).values(used_at=now)
    )


async def end_sessions(
    connection: AsyncConnection, user_id: int, *, only: int | None = None, but: int | None = None
) -> list[int]:
    """Deletes sign-ins of a user (one, all, or all but one) and returns their ids."""
    condition = sessions.c.user_id == user_id
    if only is not None:
        condition = and_(condition, sessions.c.id == only)
    if but is not None:
        condition = and_(condition, sessions.c.id != but)
    ids = [row.id for row in await connection.execute(select(sessions.c.id).where(condition).with_for_update())]
    if ids:
        await connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    return ids


async def drop_expired_sessions(connection: AsyncConnection, now: datetime, *, limit: int) -> int:
    """Deletes up to `limit` expired sign-ins; returns how many."""
    ids = [
        r.id for r in await connection.execute(select(sessions.c.id).where(sessions.c.expires_at <= now).limit(limit))
    ]
    if ids:
        await connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    return len(ids)
