"""Statements on idempotency keys: one unique row per user and key, written with the object that it names."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record
from db.schema import idempotency_keys


async def find(connection: AsyncConnection, user_id: int, key: str) -> Record | None:
    """(request_hash, object_id) of a key that was used."""
    query = select(idempotency_keys.c.request_hash, idempotency_keys.c.object_id).where(
        idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key
    )
    return (await connection.execute(query)).one_or_none()


async def keep(
    connection: AsyncConnection, user_id: int, key: str, *, request_hash: bytes, object_id: int, now: datetime
) -> None:
    """Inserts the row; raises a duplicate-key error for a key that was used meanwhile."""
    await connection.execute(
        insert(idempotency_keys).values(
            user_id=user_id, key=key, request_hash=request_hash, object_id=object_id, created_at=now
        )
    )


async def drop_older(connection: AsyncConnection, before: datetime, *, limit: int) -> int:
    """Deletes up to `limit` keys made before a moment; returns how many."""
    table = idempotency_keys
    query = select(table.c.user_id, table.c.key).where(table.c.created_at < before).limit(limit)
    rows = list(await connection.execute(query))
    for row in rows:
        await connection.execute(delete(table).where(table.c.user_id == row.user_id, table.c.key == row.key))
    return len(rows)
