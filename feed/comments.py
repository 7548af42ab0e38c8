"""Comments: visible to whoever sees both the post and the person who wrote them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts
from db.engine import Record
from feed import idempotency, text, views
from feed.audience import Audience
from feed.errors import Fault, Forbidden, Invalid, NotFound
from feed.objects import Comment
from feed.pages import Page, decode, encode
from feed.posts import aggregate, visible
from feed.revocations import Revocation
from feed.stores import Stores

TEXT_LENGTH = 2000  # code points


async def create(stores: Stores, author_id: int, post_id: int, *, words: str, key: idempotency.Key | None) -> Comment:
    """Writes a comment and returns it. Raises NotFound (post absent or not visible), Invalid, idempotency.Reused."""
    words = _words(words)

    async def work(connection: AsyncConnection) -> tuple[int, Comment]:
        await visible(connection, author_id, post_id)
        now = stores.clock()
        comment_id = await posts.add_comment(connection, post_id=post_id, author_id=author_id, text=words, now=now)
        await outbox.add(
            connection, aggregate(post_id), _jobs(comment_id, post_id, author_id, "comment.created", 1), now
        )
        return comment_id, await _show(connection, author_id, comment_id)

    return await idempotency.once(stores, key, work, lambda comment_id: _read(stores, author_id, comment_id))


async def of_post(stores: Stores, viewer_id: int, post_id: int, *, cursor: str | None, limit: int) -> Page[Comment]:
    """Comments of a post, oldest first. Raises NotFound."""
    after = decode("comments", cursor, 0)
    async with stores.sql.read() as connection:
        await visible(connection, viewer_id, post_id)
        rows = await posts.comments_of(connection, post_id, after=after, limit=limit + 1)
        audience = await Audience.load(connection, viewer_id, {row.author_id for row in rows})
    items = [
        views.comment(row, views.person(audience, row.author_id))
        for row in rows[:limit]
        if audience.sees_person(row.author_id)
    ]
    return Page(items, encode("comments", rows[limit - 1].id) if len(rows) > limit else None)


async def edit(stores: Stores, viewer_id: int, comment_id: int, *, words: str) -> Comment:
    """Changes one's own comment. Raises NotFound, Forbidden, Invalid."""
    words = _words(words)

    async def work(connection: AsyncConnection) -> Comment:
        row = await _visible_comment(connection, viewer_id, comment_id, lock=True)
        if row.author_id != viewer_id:
            raise Forbidden("Only its author can change a comment.")
        if words != row.text:
            now = stores.clock()
            await posts.change_comment(connection, comment_id, text=words, edited_at=now)
            jobs = _jobs(comment_id, row.post_id, row.author_id, "comment.edited", row.version + 1)
            await outbox.add(connection, aggregate(row.post_id), jobs, now)
        return await _show(connection, viewer_id, comment_id)

    return await stores.commit(work)


async def delete(stores: Stores, viewer_id: int, comment_id: int) -> None:
    """Deletes a comment: its author may, and the post's author. Raises NotFound, Forbidden."""

    async def work(connection: AsyncConnection) -> Revocation:
        row = await _visible_comment(connection, viewer_id, comment_id, lock=True)
        post = (await posts.by_ids(connection, [row.post_id]))[row.post_id]
        if viewer_id not in (row.author_id, post.author_id):
            raise Forbidden("Only its author or the post's author can delete a comment.")
        now = stores.clock()
        await posts.change_comment(connection, comment_id, deleted_at=now, text="")
        jobs = _jobs(comment_id, row.post_id, row.author_id, "comment.deleted", row.version + 1)
        await outbox.add(connection, aggregate(row.post_id), jobs, now)
        return await stores.revoke(connection, "comment", comment_id, row.version + 1)

    stores.tell_edges(await stores.commit(work))


async def _read(stores: Stores, viewer_id: int, comment_id: int) -> Comment:
    async with stores.sql.read() as connection:
        return await _show(connection, viewer_id, comment_id)


async def _show(connection: AsyncConnection, viewer_id: int, comment_id: int) -> Comment:
    row = await _visible_comment(connection, viewer_id, comment_id)
    audience = await Audience.load(connection, viewer_id, [row.author_id])
    return views.comment(row, views.person(audience, row.author_id))


async def _visible_comment(
    connection: AsyncConnection, viewer_id: int, comment_id: int, *, lock: bool = False
) -> Record:
    row = await posts.comment(connection, comment_id, lock=lock)
    if row is None or row.deleted_at is not None:
        raise NotFound("comment")
    await visible(connection, viewer_id, row.post_id)
    if not (await Audience.load(connection, viewer_id, [row.author_id])).sees_person(row.author_id):
        raise NotFound("comment")
    return row


def _jobs(comment_id: int, post_id: int, author_id: int, kind: str, version: int) -> list[tuple[str, dict[str, Any]]]:
    told = {"comment_id": comment_id, "post_id": post_id, "author_id": author_id, "kind": kind, "version": version}
    jobs: list[tuple[str, dict[str, Any]]] = [("publish_comment", told)]
    change = {"comment.created": 1, "comment.deleted": -1}.get(kind)
    if change:
        jobs.append(("refresh_counts", {"post_id": post_id, "comments": change}))
    return jobs


def _words(words: str) -> str:
    try:
        return text.clean(words, "/text", least=1, most=TEXT_LENGTH, lines=True)
    except Fault as fault:
        raise Invalid([fault]) from fault
