"""Idempotency keys: the same key and body give the same object, one row, one event, also when fifty arrive at once.

The key is a unique row written in the transaction of the object that it names. Inside a process equal requests also
queue up in front of the store, so that a double click does not cost a rolled-back transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import idempotency
from db.errors import DuplicateKey
from feed.errors import Conflict, Fault, Invalid
from feed.stores import Stores

T = TypeVar("T")
KEPT_HOURS = 24


class Key(msgspec.Struct, frozen=True):
    """A client's key with the hash of what was asked (operation and body)."""

    user_id: int
    key: str
    request_hash: bytes


class Reused(Invalid):
    """The key came before, with another body."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        detail = "This Idempotency-Key was used for a different request. Send a new key."
        super().__init__([Fault("/Idempotency-Key", detail)], detail)


_waiting: dict[tuple[int, str], tuple[asyncio.Lock, int]] = {}


async def once(
    stores: Stores,
    key: Key | None,
    create: Callable[[AsyncConnection], Awaitable[tuple[int, T]]],
    read: Callable[[int], Awaitable[T]],
) -> T:
    """Runs `create` (-> the new object's id and the answer) in a transaction with its key; returns the answer.

    The answer is built inside the transaction: what is committed is answered, whatever happens after. A key that was
    used for the same request answers with `read(id of then)`. Raises Reused for another request, and whatever
    `create` and `read` raise.
    """
    if key is None:
        return (await stores.commit(create))[1]

    async def work(connection: AsyncConnection) -> T:
        object_id, answer = await create(connection)
        await idempotency.keep(
            connection,
            key.user_id,
            key.key,
            request_hash=key.request_hash,
            object_id=object_id,
            now=stores.clock(),
        )
        return answer

    async with _single_flight(key):
        known = await _find(stores, key)
        if known is not None:
            return await read(known)
        try:
            return await stores.commit(work)
        except DuplicateKey as error:
            known = await _find(stores, key)
            if known is None:
                raise Conflict("The same request is being handled. Try again in a moment.") from error
            return await read(known)


async def _find(stores: Stores, key: Key) -> int | None:
    async with stores.sql.read() as connection:
        row = await idempotency.find(connection, key.user_id, key.key)
    if row is None:
        return None
    if row.request_hash != key.request_hash:
        raise Reused
    return int(row.object_id)


@asynccontextmanager
async def _single_flight(key: Key) -> AsyncIterator[None]:
    """One request at a time per user and key; the entry goes when the last one has passed."""
    name = (key.user_id, key.key)
    lock, count = _waiting.get(name, (asyncio.Lock(), 0))
    _waiting[name] = (lock, count + 1)
    try:
        async with lock:
            yield
    finally:
        lock, count = _waiting[name]
        if count == 1:
            del _waiting[name]
        else:
            _waiting[name] = (lock, count - 1)
