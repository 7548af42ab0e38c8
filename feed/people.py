"""Profiles and people search."""

from __future__ import annotations

from db import users
from feed import text, views
from feed.audience import Audience
from feed.errors import NotFound
from feed.objects import User
from feed.pages import Page, decode, encode
from feed.stores import Stores


async def person(stores: Stores, viewer_id: int, user_id: int) -> User:
    """A person with the viewer's relation. Raises NotFound."""
    async with stores.sql.read() as connection:
        audience = await Audience.load(connection, viewer_id, [user_id])
    if not audience.sees_person(user_id):
        raise NotFound("person")
    return views.person(audience, user_id)


async def search(stores: Stores, viewer_id: int, query: str, *, cursor: str | None, limit: int) -> Page[User]:
    """People whose name or username has a word beginning with each word of `query`; none for an empty query."""
    after = decode("people", cursor, 0)
    words = text.terms(query)[: text.SEARCH_WORDS]
    if not words:
        return Page([], None)
    async with stores.sql.read(stale=True) as connection:
        ids = await users.search(connection, words, after=after, limit=limit + 1)
    async with stores.sql.read() as connection:  # who may be seen is asked of the writer
        audience = await Audience.load(connection, viewer_id, ids)
    found = [views.person(audience, user_id) for user_id in ids[:limit] if audience.sees_person(user_id)]
    return Page(found, encode("people", ids[limit - 1]) if len(ids) > limit else None)
