"""Accounts by the thousand, made in the database: 5,000 sign-ups would measure the hashing of passwords."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from db import relations, users
from feed.accounts import TOKEN_PREFIX
from feed.stores import Stores

AT_ONCE = 250  # people of one transaction: far below the time that one may take
LIFETIME = timedelta(days=1)  # of a sign-in: longer than any benchmark


@dataclass(frozen=True, slots=True)
class Person:
    """An account with one open sign-in."""

    id: int
    token: str


async def make(stores: Stores, prefix: str, count: int) -> list[Person]:
    """`count` people named `prefix` and a number; no password fits them."""
    made: list[Person] = []
    for start in range(0, count, AT_ONCE):
        names = [f"{prefix}{number}" for number in range(start, min(count, start + AT_ONCE))]

        async def work(connection: AsyncConnection, names: list[str] = names) -> list[Person]:
            return [await _add(connection, stores, name) for name in names]

        made.extend(await stores.sql.write(work))
    return made


async def befriend(stores: Stores, hub: Person, others: Sequence[Person]) -> None:
    """Makes everybody a friend of one person, without the events that asking and accepting would bring."""
    for start in range(0, len(others), AT_ONCE):
        part = others[start : start + AT_ONCE]

        async def work(connection: AsyncConnection, part: Sequence[Person] = part) -> None:
            now = stores.clock()
            for other in part:
                await relations.lock_pair(connection, hub.id, other.id, now)
                await relations.set_pair(connection, hub.id, other.id, state="friends", asked_by=None, now=now)
                await relations.change_meta(connection, (hub.id, other.id), friends=1)

        await stores.sql.write(work)


async def sign_in(stores: Stores, user_id: int) -> Person:
    """Opens a sign-in of somebody who is there."""
    return await stores.sql.write(lambda connection: _sign_in(connection, stores, user_id))


async def _add(connection: AsyncConnection, stores: Stores, name: str) -> Person:
    now = stores.clock()
    user_id = await users.add(connection, username=name, name=name, email=None, password_hash="!", now=now)  # noqa: S106
    return await _sign_in(connection, stores, user_id)


async def _sign_in(connection: AsyncConnection, stores: Stores, user_id: int) -> Person:
    now = stores.clock()
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    await users.add_session(
        connection,
        user_id=user_id,
        token_hash=hashlib.sha256(token.encode()).digest(),
        device="benchmark",
        address="127.0.0.1",
        now=now,
        expires_at=now + LIFETIME,
    )
    return Person(user_id, token)
