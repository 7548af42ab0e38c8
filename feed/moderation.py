"""What operators do to accounts: switch them off, and on again."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from db import users
from feed.errors import NotFound
from feed.revocations import Revocation
from feed.stores import Stores


async def disable(stores: Stores, username: str) -> None:
    """Switches an account off: hidden from everybody, its sockets closed (4501) within a second. Raises NotFound."""
    await _set(stores, username, "active", "disabled")


async def enable(stores: Stores, username: str) -> None:
    """Switches a disabled account on again. Raises NotFound."""
    await _set(stores, username, "disabled", "active")


async def _set(stores: Stores, username: str, before: str, after: str) -> None:
    async def work(connection: AsyncConnection) -> Revocation:
        row = await users.by_username(connection, username.casefold())
        row = None if row is None else await users.lock(connection, row.id)
        if row is None or row.state != before:
            raise NotFound(f"{before} account")
        await users.change(connection, row.id, state=after)
        return await stores.revoke(connection, "account", row.id, int(after == "active"))

    stores.tell_edges(await stores.sql.write(work))
