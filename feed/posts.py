"""Posts: written, read, edited, deleted. Each write leaves its work in the outbox, in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts
from db.engine import Record
from db.errors import StoreUnavailable
from feed import idempotency, text, views
from feed.audience import Audience
from feed.errors import Fault, Forbidden, Invalid, NotFound
from feed.objects import Post, Visibility
from feed.pages import NEWEST, REFILLS, Page, decode, encode
from feed.revocations import Revocation
from feed.stores import Stores

log = structlog.get_logger(__name__)

OWN_WITHIN = 0.25  # seconds that a write waits for the author's timeline; what is committed is answered
TEXT_LENGTH = 5000  # code points
# Who sees more: a change to a smaller number hides the post from somebody.
WIDTH = {"only_me": 0, "friends": 1, "public": 2}


def aggregate(post_id: int) -> str:
    """The outbox aggregate of a post, its comments and its likes."""
    return f"post:{post_id}"


async def create(
    stores: Stores,
    author_id: int,
    *,
    words: str,
    visibility: Visibility,
    media: list[str],
    key: idempotency.Key | None,
) -> Post:
    """Writes a post and returns it. Raises Invalid, NotFound (unknown media), idempotency.Reused."""
    words = _words(words)
    if media:
        raise NotFound("media")  # nobody has any yet, so every id is somebody else's or unknown
    if not words:
        raise Invalid([Fault("/text", "A post needs text or media.")])

    async def work(connection: AsyncConnection) -> tuple[int, Post]:
        now = stores.clock()
        post_id = await posts.add(connection, author_id=author_id, text=words, visibility=visibility, now=now)
        job = ("fan_out_post", {"post_id": post_id, "kind": "post.created", "author_id": author_id, "version": 1})
        await outbox.add(connection, aggregate(post_id), [job], now)
        return post_id, await _show(connection, author_id, post_id)

    post = await idempotency.once(stores, key, work, lambda post_id: read(stores, author_id, post_id))
    await _put_own(stores, author_id, int(post.id))
    return post


async def _put_own(stores: Stores, author_id: int, post_id: int) -> None:
    """Into the author's own feed before the answer; where the store does not answer, the fan-out does it."""
    try:
        async with asyncio.timeout(OWN_WITHIN):
            await stores.timelines.put(author_id, post_id)
    except (StoreUnavailable, TimeoutError) as error:
        log.warning("own_timeline_waits", post=post_id, cause=str(error))


async def read(stores: Stores, viewer_id: int, post_id: int) -> Post:
    """A post with the viewer's bits. Raises NotFound."""
    async with stores.sql.read() as connection:
        post = await views.visible_post(connection, viewer_id, post_id, cache=stores.post_cache)
    if post is None:
        raise NotFound("post")
    return post


async def edit(
    stores: Stores, viewer_id: int, post_id: int, *, words: str | UnsetType, visibility: Visibility | UnsetType
) -> Post:
    """Changes one's own post. Raises NotFound, Forbidden (another author's), Invalid."""
    new_words = _words(words) if words is not UNSET else None
    if new_words == "":
        raise Invalid([Fault("/text", "A post needs text or media.")])

    async def work(connection: AsyncConnection) -> tuple[Post, list[Revocation]]:
        row = await _own(connection, viewer_id, post_id)
        now = stores.clock()
        ended: list[Revocation] = []
        values: dict[str, Any] = {}
        if new_words is not None and new_words != row.text:
            values.update(text=new_words, edited_at=now)
        if visibility is not UNSET and visibility != row.visibility:
            values.update(visibility=visibility)
        if values:
            await posts.change(connection, post_id, **values)
            await outbox.add(connection, aggregate(post_id), _jobs_of_edit(row, values), now)
            if WIDTH[values.get("visibility", row.visibility)] < WIDTH[row.visibility]:
                ended.append(await stores.revoke(connection, "post", post_id, row.version + 1))
        return await _show(connection, viewer_id, post_id), ended

    edited, ended = await stores.commit(work)
    stores.tell_edges(*ended)
    return edited


async def delete(stores: Stores, viewer_id: int, post_id: int) -> None:
    """Deletes one's own post: gone from the next read on. Raises NotFound, Forbidden."""

    async def work(connection: AsyncConnection) -> Revocation:
        row = await _own(connection, viewer_id, post_id)
        now = stores.clock()
        await posts.change(connection, post_id, deleted_at=now, text="")
        job = _fan_out(row, "post.deleted", audience=row.visibility)
        await outbox.add(connection, aggregate(post_id), [job], now)
        return await stores.revoke(connection, "post", post_id, row.version + 1)

    stores.tell_edges(await stores.commit(work))


async def of_person(stores: Stores, viewer_id: int, user_id: int, *, cursor: str | None, limit: int) -> Page[Post]:
    """The posts of a person that the viewer may see, newest first. Raises NotFound when the person is not visible."""
    before = decode("posts", cursor, NEWEST)
    async with stores.sql.read() as connection:
        await visible_person(connection, viewer_id, user_id)
        newest = partial(posts.newest_of, connection, user_id)
        return await fill(stores, connection, viewer_id, newest, name="posts", before=before, limit=limit)


async def visible_person(connection: AsyncConnection, viewer_id: int, user_id: int) -> None:
    """Raises NotFound unless the viewer may see the person."""
    if not (await Audience.load(connection, viewer_id, [user_id])).sees_person(user_id):
        raise NotFound("person")


async def visible(connection: AsyncConnection, viewer_id: int, post_id: int) -> Record:
    """The row of a post that the viewer may see. Raises NotFound."""
    row = (await posts.by_ids(connection, [post_id])).get(post_id)
    if row is None or not (await Audience.load(connection, viewer_id, [row.author_id])).sees_post(row):
        raise NotFound("post")
    return row


async def fill(
    stores: Stores,
    connection: AsyncConnection,
    viewer_id: int,
    newest: Callable[..., Awaitable[list[int]]],
    *,
    name: str,
    before: int,
    limit: int,
) -> Page[Post]:
    """A page of the posts that `newest(before=, limit=)` finds, newest ids first, and that the viewer may see.

    Reads on while the filter leaves gaps, REFILLS times.
    """
    found: list[Post] = []
    for _ in range(REFILLS):
        wanted = limit - len(found)
        ids = await newest(before=before, limit=wanted + 1)
        found.extend(await views.visible_posts(connection, viewer_id, ids[:wanted], cache=stores.post_cache))
        if len(ids) <= wanted:
            return Page(found, None)
        before = ids[wanted - 1]
        if len(found) >= limit:
            break
    return Page(found, encode(name, before))


async def _show(connection: AsyncConnection, viewer_id: int, post_id: int) -> Post:
    """A post as a transaction that may have written it sees it. Raises NotFound."""
    post = await views.visible_post(connection, viewer_id, post_id)
    if post is None:
        raise NotFound("post")
    return post


async def _own(connection: AsyncConnection, viewer_id: int, post_id: int) -> Record:
    """The locked row of one's own post; another's is NotFound or, where it is visible, Forbidden."""
    await visible(connection, viewer_id, post_id)
    row = await posts.lock(connection, post_id)
    if row is None or row.deleted_at is not None:
        raise NotFound("post")
    if row.author_id != viewer_id:
        raise Forbidden("Only the author can change a post.")
    return row


def _jobs_of_edit(row: Record, values: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """An edit reaches those who had the post; hidden first for those who lose it, new for those who gain it."""
    new = values.get("visibility", row.visibility)
    jobs = []
    if WIDTH[new] < WIDTH[row.visibility]:
        jobs.append(_fan_out(row, "post.hidden", audience=row.visibility))
        jobs.append(_fan_out(row, "post.edited", narrowed=True))
    elif WIDTH[new] > WIDTH[row.visibility]:
        jobs.append(_fan_out(row, "post.created"))
    else:
        jobs.append(_fan_out(row, "post.edited"))
    return jobs


def _fan_out(row: Record, kind: str, **more: Any) -> tuple[str, dict[str, Any]]:
    payload = {"post_id": row.id, "kind": kind, "author_id": row.author_id, "version": row.version + 1, **more}
    return ("fan_out_post", payload)


def _words(words: str) -> str:
    try:
        words = text.clean(words, "/text", most=TEXT_LENGTH, lines=True)
    except Fault as fault:
        raise Invalid([fault]) from fault
    return words if text.is_visible(words) else ""
