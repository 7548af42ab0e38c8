"""Posts: written, read, edited, deleted. Each write leaves its work in the outbox, in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, post_texts, posts, users
from db.engine import Record
from feed import idempotency, search, text, views
from feed.audience import Audience
from feed.errors import Fault, Forbidden, Invalid, NotFound
from feed.objects import Post, PostVersion, Visibility
from feed.pages import NEWEST, REFILLS, Page, decode, encode
from feed.revocations import Revocation
from feed.stores import Stores

TEXT_LENGTH = 5000  # code points
# Ids of posts, newest first: newest(before=, limit=); and those of them that are shown.
Newest: TypeAlias = Callable[..., Awaitable[list[int]]]
Show: TypeAlias = Callable[[list[int]], Awaitable[list[Post]]]
NOTHING = "A post needs text or media."
# relation of the viewer -> visibilities of what is meant for them, of everybody else the public ones
MEANT = {"self": ("public", "friends", "only_me"), "friends": ("public", "friends")}
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
        raise Invalid([Fault("/text", NOTHING)])

    async def work(connection: AsyncConnection) -> tuple[int, Post]:
        post_id = await _write(stores, connection, author_id, words=words, visibility=visibility)
        return post_id, await _show(connection, author_id, post_id)

    return await idempotency.once(stores, key, work, lambda post_id: read(stores, author_id, post_id))


async def share(
    stores: Stores, author_id: int, post_id: int, *, words: str, visibility: Visibility, key: idempotency.Key | None
) -> Post:
    """Writes a post that shares another one, or what that one shares, and returns it.

    Its audience is its own; what it shares is shown to each viewer who may see that, and to others a tombstone.
    Raises NotFound (nothing there that the author may see), Invalid, idempotency.Reused.
    """
    words = _words(words)

    async def work(connection: AsyncConnection) -> tuple[int, Post]:
        await visible(connection, author_id, post_id)
        original = await posts.shared_by(connection, post_id)
        if original is None:
            original = post_id
        else:
            await visible(connection, author_id, original)
        share_id = await _write(stores, connection, author_id, words=words, visibility=visibility)
        now = stores.clock()
        await posts.add_share(connection, share_id, original, now)
        await outbox.add(connection, aggregate(original), [_count_share(original, 1)], now)
        return share_id, await _show(connection, author_id, share_id)

    return await idempotency.once(stores, key, work, lambda share_id: read(stores, author_id, share_id))


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
    """Changes one's own post, keeping what it replaces. Raises NotFound, Forbidden (another author's), Invalid."""
    new_words = _words(words) if words is not UNSET else None

    async def work(connection: AsyncConnection) -> tuple[Post, list[Revocation]]:
        row = await _own(connection, viewer_id, post_id)
        if new_words == "" and await posts.shared_by(connection, post_id) is None:
            raise Invalid([Fault("/text", NOTHING)])
        now = stores.clock()
        ended: list[Revocation] = []
        values: dict[str, Any] = {}
        if new_words is not None and new_words != row.text:
            values.update(text=new_words, edited_at=now)
        if visibility is not UNSET and visibility != row.visibility:
            values.update(visibility=visibility)
        if values:
            await post_texts.keep_version(connection, row, now)
            await posts.change(connection, post_id, **values)
            if "text" in values:
                await post_texts.forget(connection, [post_id])
                await _take_apart(connection, row.author_id, post_id, values["text"])
            await outbox.add(connection, aggregate(post_id), [*_jobs_of_edit(row, values), tell_shares(post_id)], now)
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
        await post_texts.forget(connection, [post_id])
        await post_texts.forget_versions(connection, [post_id])
        jobs = [fan_out(row, "post.deleted", audience=row.visibility), tell_shares(post_id)]
        await outbox.add(connection, aggregate(post_id), jobs, now)
        original = await posts.shared_by(connection, post_id)
        if original is not None:
            await posts.remove_share(connection, post_id)
            await outbox.add(connection, aggregate(original), [_count_share(original, -1)], now)
        return await stores.revoke(connection, "post", post_id, row.version + 1)

    stores.tell_edges(await stores.commit(work))


async def history(stores: Stores, viewer_id: int, post_id: int, *, cursor: str | None, limit: int) -> Page[PostVersion]:
    """What the edits of one's own post replaced, newest first. Raises NotFound, Forbidden.

    For nobody else: an earlier version may have been for fewer people, or taken back for a reason.
    """
    before = decode("versions", cursor, NEWEST)
    async with stores.sql.read() as connection:
        if (await visible(connection, viewer_id, post_id)).author_id != viewer_id:
            raise Forbidden("Only the author can read the earlier versions of a post.")
        rows = await post_texts.versions(connection, [post_id], before=before, limit=limit + 1)
    items = [views.version(row) for row in rows[:limit]]
    return Page(items, encode("versions", rows[limit - 1].version) if len(rows) > limit else None)


async def with_tag(stores: Stores, viewer_id: int, tag: str, *, cursor: str | None, limit: int) -> Page[Post]:
    """Visible posts with a hashtag, given with its sign or without, newest first."""
    folded = text.tag(tag)
    find = partial(post_texts.tagged, viewer_id=viewer_id, tag=folded) if folded else None
    return await _find(stores, viewer_id, find, lambda post: folded in post.tags, "tagged", cursor, limit)


async def with_words(stores: Stores, viewer_id: int, query: str, *, cursor: str | None, limit: int) -> Page[Post]:
    """Visible posts that have all words of a query, the last one perhaps unfinished; none without words."""
    wanted = search.query(query)
    find = partial(post_texts.with_words, viewer_id=viewer_id, terms=wanted.terms) if wanted.words else None
    return await _find(stores, viewer_id, find, lambda post: wanted.found_in(post.text), "found", cursor, limit)


async def of_person(stores: Stores, viewer_id: int, user_id: int, *, cursor: str | None, limit: int) -> Page[Post]:
    """The posts of a person that the viewer may see, newest first. Raises NotFound when the person is not visible."""
    before = decode("posts", cursor, NEWEST)
    async with stores.sql.read() as connection:
        audience = await visible_person(connection, viewer_id, user_id)
        # Neither the length of a page nor its cursor tells of posts that are for others.
        meant = MEANT.get(audience.relation(user_id), ("public",))
        newest = partial(posts.newest_of, connection, user_id, visibilities=meant)
        return await fill(stores, connection, viewer_id, newest, name="posts", before=before, limit=limit)


async def visible_person(connection: AsyncConnection, viewer_id: int, user_id: int) -> Audience:
    """What the viewer may see of the person. Raises NotFound."""
    audience = await Audience.load(connection, viewer_id, [user_id])
    if not audience.sees_person(user_id):
        raise NotFound("person")
    return audience


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
    newest: Newest,
    *,
    name: str,
    before: int,
    limit: int,
) -> Page[Post]:
    """A page of the posts that `newest` finds and that the viewer may see, all read on one connection."""
    show = partial(views.visible_posts, connection, viewer_id, cache=stores.post_cache)
    return await _fill(newest, show, name, before, limit)


async def _fill(newest: Newest, show: Show, name: str, before: int, limit: int) -> Page[Post]:
    """Reads on while `show` leaves gaps, REFILLS times."""
    found: list[Post] = []
    for _ in range(REFILLS):
        wanted = limit - len(found)
        ids = await newest(before=before, limit=wanted + 1)
        found.extend(await show(ids[:wanted]))
        if len(ids) <= wanted:
            return Page(found, None)
        before = ids[wanted - 1]
        if len(found) >= limit:
            break
    return Page(found, encode(name, before))


async def _find(
    stores: Stores,
    viewer_id: int,
    find: Newest | None,
    fits: Callable[[Post], bool],
    name: str,
    cursor: str | None,
    limit: int,
) -> Page[Post]:
    """A page of the candidates of `find`, of which a replica that lags may tell; none without it.

    What the viewer may see and whether it still fits is read from the writer: a text from before an edit is not to be
    guessed at by searching. The two take turns with their connections: requests that held one while waiting for
    another would wait for each other.
    """
    before = decode(name, cursor, NEWEST)
    if find is None:
        return Page([], None)

    async def newest(*, before: int, limit: int) -> list[int]:
        async with stores.sql.read(stale=True) as connection:
            return await find(connection, before=before, limit=limit)

    async def show(ids: list[int]) -> list[Post]:
        async with stores.sql.read() as connection:
            found = await views.visible_posts(connection, viewer_id, ids, cache=stores.post_cache)
        fitting = []
        for post in found:
            await asyncio.sleep(0)  # long texts in scripts that fold to more take some ms each: others come between
            if fits(post):
                fitting.append(post)
        return fitting

    return await _fill(newest, show, name, before, limit)


async def _write(
    stores: Stores, connection: AsyncConnection, author_id: int, *, words: str, visibility: Visibility
) -> int:
    """Inserts a post and the promise to fan it out; returns its id."""
    now = stores.clock()
    post_id = await posts.add(connection, author_id=author_id, text=words, visibility=visibility, now=now)
    await _take_apart(connection, author_id, post_id, words)
    job = ("fan_out_post", {"post_id": post_id, "kind": "post.created", "author_id": author_id, "version": 1})
    await outbox.add(connection, aggregate(post_id), [job], now)
    return post_id


async def _take_apart(connection: AsyncConnection, author_id: int, post_id: int, words: str) -> None:
    """Writes whom a text names, of those whom its author may see, its tags and the words it is found by."""
    named = await users.by_usernames(connection, text.mentions(words))
    if named:
        audience = await Audience.load(connection, author_id, named)
        named = [user_id for user_id in named if audience.sees_person(user_id)]
    await post_texts.add(connection, post_id, named=named, tags=text.tags(words), words=search.index(words))


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
        jobs.append(fan_out(row, "post.hidden", audience=row.visibility))
        jobs.append(fan_out(row, "post.edited", narrowed=True))
    elif WIDTH[new] > WIDTH[row.visibility]:
        jobs.append(fan_out(row, "post.created"))
    else:
        jobs.append(fan_out(row, "post.edited"))
    return jobs


def _count_share(original: int, change: int) -> tuple[str, dict[str, Any]]:
    return ("refresh_counts", {"post_id": original, "shares": change})


def tell_shares(post_id: int) -> tuple[str, dict[str, Any]]:
    """The job that makes those who hold the shares of a changed post read them again."""
    return ("tell_shares", {"post_id": post_id})


def fan_out(row: Record, kind: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """The job that tells of the next version of a locked post."""
    payload = {"post_id": row.id, "kind": kind, "author_id": row.author_id, "version": row.version + 1, **more}
    return ("fan_out_post", payload)


def _words(words: str) -> str:
    try:
        words = text.clean(words, "/text", most=TEXT_LENGTH, lines=True)
    except Fault as fault:
        raise Invalid([fault]) from fault
    return words if text.is_visible(words) else ""
