"""`social audit`: what is derived, compared with its rows now and set right."""

from __future__ import annotations

from db.settings import Settings
from feed.audit import audit
from feed.stores import Stores
from social.process import require_stores


async def report(settings: Settings, share: float) -> list[str]:
    """One line per kind: checked, drifted, repaired. Raises StoreUnavailable."""
    require_stores(settings, "database_url", "redis_url")
    stores = Stores.open(settings)
    try:
        results = await audit(stores, share)
    finally:
        await stores.close()
    return [
        f"{one.kind:<10} checked {one.checked:,} · drifted {one.drifted:,} · repaired {one.repaired:,}"
        for one in results
    ]
