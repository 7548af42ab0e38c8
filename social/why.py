"""`social why`: prints why a post is, or is not, in somebody's feed."""

from __future__ import annotations

from db.settings import Settings
from feed.explain import explain, facts, verdict
from feed.stores import Stores
from social.process import require_stores


async def why(settings: Settings, user: str, post_id: int) -> list[str]:
    """The verdict, then one fact per line. Raises SocialError when there is no such user or post."""
    require_stores(settings, "database_url", "redis_url")
    stores = Stores.open(settings)
    try:
        known = await explain(stores, user, post_id)
    finally:
        await stores.close()
    return [verdict(known), *(f"  {name:<10} {text}" for name, text in facts(known))]
