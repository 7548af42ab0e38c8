"""Statements on what is made from the texts of posts: mentions, tags, the words of search, and what edits replaced.

The full-text index is one table with two faces: FULLTEXT on MySQL and MariaDB, FTS5 on SQLite, where its key is the
rowid. Both would drop words or cut them in their own ways: short ones, the stop words of English, letters beyond the
Basic Multilingual Plane. So a word is stored spelled out in hexadecimal digits behind a letter, at most as long as
InnoDB takes it (innodb_ft_max_token_size, 84). A beginning of a word is spelled as the beginning of its spelling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, insert, literal_column, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.engine import Record
from db.posts import pair_of
from db.relations import apart
from db.schema import friendships, mentions, post_tags, post_versions, post_words, posts, users

SPELLED_BYTES = 40  # of a word in UTF-8; of longer words the beginning is found
ROWID: ColumnElement[int] = literal_column("post_words.rowid")


def spelled(word: str) -> str:
    """A word as the index knows it: ASCII, 3 to 81 characters."""
    kept = word.encode()[:SPELLED_BYTES].decode(errors="ignore")  # no half of a code point: it begins no other word
    return f"w{kept.encode().hex()}"


# --- written with the post ------------------------------------------------------------------------------------------


async def add(
    connection: AsyncConnection,
    post_id: int,
    *,
    named: Collection[int],
    tags: Collection[str],
    words: Collection[str],
) -> None:
    """Inserts what a text holds, of a post that has none of it yet."""
    if named:
        await connection.execute(insert(mentions), [{"post_id": post_id, "user_id": user_id} for user_id in named])
    if tags:
        await connection.execute(insert(post_tags), [{"post_id": post_id, "tag": tag} for tag in tags])
    if words:
        key = "rowid" if _is_sqlite(connection) else "post_id"
        spelling = " ".join(dict.fromkeys(map(spelled, words)))
        await connection.execute(
            text(f"INSERT INTO post_words ({key}, words) VALUES (:post_id, :words)"),  # noqa: S608 - two constants
            {"post_id": post_id, "words": spelling},
        )


async def forget(connection: AsyncConnection, ids: Collection[int]) -> None:
    """Removes what the texts of these posts hold."""
    for table in (mentions, post_tags):
        await connection.execute(delete(table).where(table.c.post_id.in_(ids)))
    await connection.execute(delete(post_words).where(_key(connection).in_(ids)))


async def keep_version(connection: AsyncConnection, row: Record, now: datetime) -> None:
    """Keeps the text and visibility of a locked post that are about to be replaced."""
    await connection.execute(
        insert(post_versions).values(
            post_id=row.id, version=row.version, text=row.text, visibility=row.visibility, replaced_at=now
        )
    )


async def forget_versions(connection: AsyncConnection, ids: Collection[int]) -> None:
    """Removes the history of these posts."""
    await connection.execute(delete(post_versions).where(post_versions.c.post_id.in_(ids)))


# --- read -----------------------------------------------------------------------------------------------------------


async def named_in(connection: AsyncConnection, ids: Collection[int]) -> list[Record]:
    """(post_id, id, username) of everybody whom the posts `ids` name."""
    query = (
        select(mentions.c.post_id, users.c.id, users.c.username)
        .join(users, users.c.id == mentions.c.user_id)
        .where(mentions.c.post_id.in_(ids))
    )
    return list(await connection.execute(query))


async def versions(
    connection: AsyncConnection, ids: Collection[int], *, before: int, limit: int | None = None
) -> list[Record]:
    """What was replaced of the posts `ids`, newest first of each, versions below `before`."""
    query = (
        select(post_versions)
        .where(post_versions.c.post_id.in_(ids), post_versions.c.version < before)
        .order_by(post_versions.c.post_id, post_versions.c.version.desc())
    )
    return list(await connection.execute(query.limit(limit)))


async def tagged(connection: AsyncConnection, *, viewer_id: int, tag: str, before: int, limit: int) -> list[int]:
    """Candidates: ids of posts with a folded tag, newest first, below `before`."""
    key: ColumnElement[int] = post_tags.c.post_id
    query = select(key).select_from(post_tags.join(posts, posts.c.id == key)).where(post_tags.c.tag == tag)
    return await _newest(connection, viewer_id, query, key, before=before, limit=limit)


async def with_words(
    connection: AsyncConnection, *, viewer_id: int, terms: Iterable[tuple[str, bool]], before: int, limit: int
) -> list[int]:
    """Candidates: ids of posts that have all `terms` ((word, is it a prefix)), newest first, below `before`."""
    sign = "" if _is_sqlite(connection) else "+"
    wanted = " ".join(f"{sign}{spelled(word)}{'*' if prefix else ''}" for word, prefix in terms)
    key = _key(connection)
    query = select(key).select_from(post_words.join(posts, posts.c.id == key)).where(post_words.c.words.match(wanted))
    return await _newest(connection, viewer_id, query, key, before=before, limit=limit)


async def _newest(
    connection: AsyncConnection,
    viewer_id: int,
    query: Select[Any],
    key: ColumnElement[int],
    *,
    before: int,
    limit: int,
) -> list[int]:
    """The newest of a query on posts. Not the audience's answer, which the caller has still to ask for: posts that
    are not meant for the viewer are left out here, so that neither the length of a page nor its cursor tells of them.
    """
    meant = or_(
        posts.c.visibility == "public",
        posts.c.author_id == viewer_id,
        and_(posts.c.visibility == "friends", friendships.c.state == "friends"),
    )
    there = select(users.c.id).where(users.c.id == posts.c.author_id, users.c.state == "active").exists()
    query = query.outerjoin(friendships, pair_of(posts.c.author_id)).where(
        key < before, posts.c.deleted_at.is_(None), meant, there, ~apart(viewer_id, posts.c.author_id)
    )
    found = await connection.execute(query.order_by(key.desc()).limit(limit), {"viewer": viewer_id})
    return [row[0] for row in found]


def _is_sqlite(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "sqlite"


def _key(connection: AsyncConnection) -> ColumnElement[int]:
    return ROWID if _is_sqlite(connection) else post_words.c.post_id
