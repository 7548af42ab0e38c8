"""`social people`: accounts, switched off and on by operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from db.settings import Settings
from feed import moderation
from feed.stores import Stores
from social.process import require_stores


async def disable(settings: Settings, username: str) -> None:
    """Switches an account off. Raises NotFound."""
    await _change(settings, lambda stores: moderation.disable(stores, username))


async def enable(settings: Settings, username: str) -> None:
    """Switches a disabled account on again. Raises NotFound."""
    await _change(settings, lambda stores: moderation.enable(stores, username))


async def _change(settings: Settings, act: Callable[[Stores], Awaitable[None]]) -> None:
    require_stores(settings, "database_url", "redis_url")
    stores = Stores.open(settings)
    try:
        await act(stores)
        await stores.orders.send()
    finally:
        await stores.close()
