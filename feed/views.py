"""From rows to the objects of the contract. No rule here: callers ask `feed.audience` first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from db import post_texts, posts, users
from db.engine import Record
from feed import text
from feed.audience import Audience
from feed.objects import Comment, Counts, Gone, GonePost, Mention, Post, PostVersion, Relation, User, timestamp
from feed.post_cache import PostCache

LOOKS = 3  # at posts that are edited between the look at their rights and that at their text


def user(row: Record, relation: Relation | UnsetType = UNSET, *, online: bool | UnsetType = UNSET) -> User:
    """A profile row as the viewer sees it; without `relation` as an event carries it."""
    return User(
        id=str(row.id),
        version=row.version,
        username=row.username,
        name=row.name,
        bio=row.bio,
        relation=relation,
        online=online,
    )


def hidden(user_id: int) -> User:
    """Somebody who is on the viewer's own list but does not want to be seen: an id to act on, nothing else."""
    return User(id=str(user_id), version=0, username="", name="Hidden person", bio="", relation="none")


def post(row: Record, author: User) -> Post:
    """A post row as an event carries it. Its version covers the text only; counts have their own (live `counts`)."""
    return Post(
        id=str(row.id),
        version=row.version,
        author=author,
        text=row.text,
        tags=text.tags(row.text),
        visibility=row.visibility,
        media=[],
        shared=None if row.shared_id is None else Gone(str(row.shared_id)),
        created_at=timestamp(row.created_at),
        edited_at=None if row.edited_at is None else timestamp(row.edited_at),
        counts=counts(row),
    )


def counts(row: Record) -> Counts:
    """The numbers of a post row."""
    return Counts(row.counts_version, row.likes, row.comments, row.shares)


def version(row: Record) -> PostVersion:
    """A row of what an edit replaced."""
    return PostVersion(row.version, row.text, row.visibility, timestamp(row.replaced_at))


def comment(row: Record, author: User) -> Comment:
    """A comment row."""
    return Comment(
        id=str(row.id),
        version=row.version,
        post_id=str(row.post_id),
        author=author,
        text=row.text,
        created_at=timestamp(row.created_at),
        edited_at=None if row.edited_at is None else timestamp(row.edited_at),
    )


def person(audience: Audience, user_id: int, *, online: bool | UnsetType = UNSET) -> User:
    """A person whom the audience was loaded for, with the viewer's relation."""
    return user(audience.people[user_id], audience.relation(user_id), online=online)


async def visible_posts(
    connection: AsyncConnection, viewer_id: int, ids: Collection[int], *, cache: PostCache | None = None
) -> list[Post]:
    """Those of the posts `ids` that the viewer may see, in their order, with the viewer's bits.

    Rights and passing state are read now, in one statement; what a version of a post says comes from `cache`. A
    transaction that has written must not pass one: what it sees may never be committed.
    """
    for _ in range(LOOKS):
        rows = await posts.as_seen_by(connection, viewer_id, ids)
        shared = {row.shared_id for row in rows.values() if row.shared_id is not None}
        rows |= await posts.as_seen_by(connection, viewer_id, shared - rows.keys())
        audience = Audience.of_authors(viewer_id, rows.values())
        seen = {post_id: row for post_id, row in rows.items() if audience.sees_post(row)}
        contents = await _contents(connection, seen.values(), cache)
        if len(contents) == len(seen):
            break
    people = await _named(connection, viewer_id, contents.values())
    return [_shown(audience, people, seen, contents, post_id) for post_id in ids if post_id in contents]


async def visible_post(
    connection: AsyncConnection, viewer_id: int, post_id: int, *, cache: PostCache | None = None
) -> Post | None:
    """One post, None when the viewer may not see it."""
    found = await visible_posts(connection, viewer_id, [post_id], cache=cache)
    return found[0] if found else None


async def _named(connection: AsyncConnection, viewer_id: int, contents: Iterable[Post]) -> Audience:
    """What the viewer may see of those whom posts name; most name nobody."""
    named = {int(mention.id) for content in contents for mention in content.mentions or ()}
    return await Audience.load(connection, viewer_id, named) if named else Audience(viewer_id, {}, {})


def _shown(audience: Audience, people: Audience, seen: dict[int, Any], contents: dict[int, Post], post_id: int) -> Post:
    """A post with the viewer's bits, and with what it shares as the viewer sees that."""
    row, content = seen[post_id], contents[post_id]
    shared: Post | GonePost | None = None
    if row.shared_id is not None:
        there = row.shared_id in contents
        shared = _shown(audience, people, seen, contents, row.shared_id) if there else GonePost(str(row.shared_id))
    return msgspec.structs.replace(
        content,
        author=msgspec.structs.replace(content.author, relation=audience.relation(row.author_id)),
        shared=shared,
        counts=counts(row),
        liked=bool(row.liked),
        mentions=[mention for mention in content.mentions or () if people.sees_person(int(mention.id))],
    )


async def _contents(connection: AsyncConnection, rows: Iterable[Record], cache: PostCache | None) -> dict[int, Post]:
    """id -> what a version of a post says, of those that still have the version of their row.

    A newer version may be for fewer people than the row that was looked at allows.
    """
    wanted = {row.id: (row.id, row.version, row.author_version) for row in rows}
    found = {post_id: kept for post_id, key in wanted.items() if cache is not None and (kept := cache.get(key))}
    missing = wanted.keys() - found.keys()
    if missing:
        read = await posts.by_ids(connection, missing)
        authors = await users.profiles(connection, {row.author_id for row in read.values()})
        mentions = await _mentions(connection, read.values())
        for row in read.values():
            author = authors.get(row.author_id)
            if author is None or row.version != wanted[row.id][1]:
                continue
            found[row.id] = msgspec.structs.replace(post(row, user(author)), mentions=mentions.get(row.id, []))
            if cache is not None:
                cache.put((row.id, row.version, author.version), found[row.id])
    return found


async def _mentions(connection: AsyncConnection, rows: Iterable[Record]) -> dict[int, list[Mention]]:
    """post id -> all whom its text names, in its order, whoever may see them.

    Of a newer version than that of the row only those are taken whom the row's own text names.
    """
    orders = {row.id: {name: at for at, name in enumerate(text.mentions(row.text))} for row in rows if "@" in row.text}
    found: dict[int, list[Mention]] = {post_id: [] for post_id, order in orders.items() if order}
    if found:
        for row in await post_texts.named_in(connection, found.keys()):
            if row.username in orders[row.post_id]:
                found[row.post_id].append(Mention(str(row.id), row.username))
    for post_id, named in found.items():
        named.sort(key=lambda mention, order=orders[post_id]: order[mention.username])  # type: ignore[misc]
    return found


async def event_user(connection: AsyncConnection, user_id: int) -> User | None:
    """A person as an event carries it; None when the account is gone."""
    row = (await users.profiles(connection, [user_id])).get(user_id)
    return user(row) if row is not None and row.state == "active" else None
