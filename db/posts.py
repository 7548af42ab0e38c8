"""Statements on posts, their counts, comments and likes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    ScalarSelect,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox
from db.dialect import translate
from db.engine import Record, new_id
from db.errors import DuplicateKey
from db.schema import blocks, comments, friendships, likes, post_counts, posts, relation_meta, shares, users

# Of one statement; SQLite takes 500 parts of a compound SELECT.
AUTHORS_AT_ONCE = 250
NEWEST_OF = (
    "SELECT * FROM (SELECT author_id, id FROM posts WHERE author_id = %d AND id < %d AND deleted_at IS NULL%s"
    " ORDER BY id DESC LIMIT %d) a"
)
NOT_ALONE = " AND visibility <> 'only_me'"

VISIBILITIES = ("public", "friends", "only_me")

COUNTS = (
    post_counts.c.likes,
    post_counts.c.comments,
    post_counts.c.shares,
    post_counts.c.version.label("counts_version"),
)
POST = (
    select(posts, shares.c.shared_id, *COUNTS)
    .join(post_counts, post_counts.c.post_id == posts.c.id)
    .outerjoin(shares, shares.c.post_id == posts.c.id)
)

_BY_IDS = POST.where(posts.c.id.in_(bindparam("ids", expanding=True)))

_VIEWER: BindParameter[int] = bindparam("viewer")


def pair_of(author: ColumnElement[int]) -> ColumnElement[bool]:
    """Joins `friendships` to an author's column: the row of the author and the parameter `viewer`."""
    return and_(
        friendships.c.low_id == case((author < _VIEWER, author), else_=_VIEWER),
        friendships.c.high_id == case((author < _VIEWER, _VIEWER), else_=author),
    )


_BLOCKS, _BLOCKED = blocks.alias("blocks_author"), blocks.alias("blocked_by_author")
_AS_SEEN = (
    select(
        posts.c.id,
        posts.c.version,
        posts.c.author_id,
        posts.c.visibility,
        posts.c.created_at,
        posts.c.deleted_at,
        shares.c.shared_id,
        *COUNTS,
        users.c.version.label("author_version"),
        users.c.state.label("author_state"),
        friendships.c.state.label("pair_state"),
        friendships.c.asked_by,
        or_(_BLOCKS.c.blocker_id.is_not(None), _BLOCKED.c.blocker_id.is_not(None)).label("blocked"),
        likes.c.active.label("liked"),
    )
    .join(post_counts, post_counts.c.post_id == posts.c.id)
    .join(users, users.c.id == posts.c.author_id)
    .outerjoin(shares, shares.c.post_id == posts.c.id)
    .outerjoin(friendships, pair_of(posts.c.author_id))
    .outerjoin(_BLOCKS, and_(_BLOCKS.c.blocker_id == _VIEWER, _BLOCKS.c.blocked_id == posts.c.author_id))
    .outerjoin(_BLOCKED, and_(_BLOCKED.c.blocker_id == posts.c.author_id, _BLOCKED.c.blocked_id == _VIEWER))
    .outerjoin(likes, and_(likes.c.post_id == posts.c.id, likes.c.user_id == _VIEWER))
    .where(posts.c.id.in_(bindparam("ids", expanding=True)))
)


class Stamp(NamedTuple):
    """As long as it is the same, a post says the same to the same people."""

    version: int
    author_version: int
    author_state: str
    relations: int


_STAMP = (
    select(posts.c.version, users.c.version, users.c.state, relation_meta.c.version)
    .join(users, users.c.id == posts.c.author_id)
    .join(relation_meta, relation_meta.c.user_id == posts.c.author_id)
    .where(posts.c.id == bindparam("post"))
)

COUNTED = ("likes", "comments", "shares")


def _promised(name: str) -> ScalarSelect[Any]:
    """What the outbox still owes a counter of the post `:post`, whose aggregate is `:aggregate`."""
    return outbox.promised(bindparam("aggregate"), "refresh_counts", name)


# One statement, so that a counter that is brought up to date meanwhile is not added up twice; built once, because
# building it costs more than running it.
SETTLED_LIKES = select(post_counts.c.likes + _promised("likes")).where(post_counts.c.post_id == bindparam("post"))


# --- posts -----------------------------------------------------------------------------------------------------------


async def add(connection: AsyncConnection, *, author_id: int, text: str, visibility: str, now: datetime) -> int:
    """Inserts a post with zero counts; returns its id."""
    result = await connection.execute(
        insert(posts).values(author_id=author_id, text=text, visibility=visibility, version=1, created_at=now)
    )
    post_id = new_id(result)
    await connection.execute(insert(post_counts).values(post_id=post_id, version=1, likes=0, comments=0, shares=0))
    return post_id


async def by_ids(connection: AsyncConnection, ids: Collection[int]) -> dict[int, Record]:
    """id -> post row with counts; tombstones included."""
    if not ids:
        return {}
    return {row.id: row for row in await connection.execute(_BY_IDS, {"ids": list(ids)})}


async def lock(connection: AsyncConnection, post_id: int) -> Record | None:
    """A post's row, locked until the transaction ends."""
    return (await connection.execute(select(posts).where(posts.c.id == post_id).with_for_update())).one_or_none()


async def change(connection: AsyncConnection, post_id: int, **values: Any) -> None:
    """Sets columns of a post and raises its version."""
    await connection.execute(update(posts).where(posts.c.id == post_id).values(version=posts.c.version + 1, **values))


async def as_seen_by(connection: AsyncConnection, viewer_id: int, ids: Collection[int]) -> dict[int, Record]:
    """id -> all that a viewer's right to a post and its passing state hang on, in one statement; tombstones included.

    A row has the post without its text, its counts, `author_version`, `author_state`, the pair of viewer and author as
    `pair_state`, `asked_by` and `blocked` (in either direction), and `liked`.
    """
    if not ids:
        return {}
    found = await connection.execute(_AS_SEEN, {"viewer": viewer_id, "ids": list(ids)})
    return {row.id: row for row in found}


async def stamp(connection: AsyncConnection, post_id: int) -> Stamp | None:
    """What the event of a post and its recipients hang on, in one light statement; None when there is no such post."""
    row = (await connection.execute(_STAMP, {"post": post_id})).first()
    return None if row is None else Stamp(*row)


async def newest_of(
    connection: AsyncConnection,
    author_id: int,
    *,
    before: int,
    limit: int,
    visibilities: Collection[str] = VISIBILITIES,
) -> list[int]:
    """Ids of an author's posts that are not deleted, newest first, below `before`; the audience is not asked."""
    query = select(posts.c.id).where(
        posts.c.author_id == author_id,
        posts.c.id < before,
        posts.c.deleted_at.is_(None),
        posts.c.visibility.in_(visibilities),
    )
    return [row.id for row in await connection.execute(query.order_by(posts.c.id.desc()).limit(limit))]


async def newest_of_each(
    connection: AsyncConnection, befores: Mapping[int, int], *, viewer_id: int, limit: int
) -> dict[int, list[int]]:
    """author -> ids of the newest `limit` posts below `befores[author]`, descending: of the viewer all that are not
    deleted, of others those that are not for themselves alone.

    One range of the index (author, id) for each author, whatever they have written before. The text is built here of
    numbers only: SQLAlchemy would take longer to compile a thousand subqueries than the engine to answer them.
    """
    found: dict[int, list[int]] = {author: [] for author in befores}
    authors = list(befores)
    for start in range(0, len(authors), AUTHORS_AT_ONCE):
        parts = [
            NEWEST_OF % (author, befores[author], "" if author == viewer_id else NOT_ALONE, limit)
            for author in authors[start : start + AUTHORS_AT_ONCE]
        ]
        for row in await connection.exec_driver_sql(" UNION ALL ".join(parts)):
            found[row.author_id].append(row.id)
    return found


async def add_counts(connection: AsyncConnection, post_id: int, deltas: Mapping[str, int]) -> None:
    """Adds to a post's counters (`likes`, `comments`, `shares`) and raises their version."""
    values: dict[str, Any] = {name: post_counts.c[name] + delta for name, delta in deltas.items()}
    await connection.execute(
        update(post_counts).where(post_counts.c.post_id == post_id).values(version=post_counts.c.version + 1, **values)
    )


async def counts(connection: AsyncConnection, ids: Collection[int]) -> dict[int, Record]:
    """post id -> (post_id, version, likes, comments, shares)."""
    if not ids:
        return {}
    return {
        row.post_id: row for row in await connection.execute(select(post_counts).where(post_counts.c.post_id.in_(ids)))
    }


# --- shares ----------------------------------------------------------------------------------------------------------


async def add_share(connection: AsyncConnection, post_id: int, shared_id: int, now: datetime) -> None:
    """Makes a post a share of another one."""
    await connection.execute(insert(shares).values(post_id=post_id, shared_id=shared_id, created_at=now))


async def remove_share(connection: AsyncConnection, post_id: int) -> None:
    """Ends what a locked post shares."""
    await connection.execute(delete(shares).where(shares.c.post_id == post_id))


async def shared_by(connection: AsyncConnection, post_id: int) -> int | None:
    """The id of what a post shares, None when it shares nothing."""
    query = select(shares.c.shared_id).where(shares.c.post_id == post_id)
    found: int | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def lock_shares_of(connection: AsyncConnection, shared_id: int, *, limit: int) -> list[Record]:
    """The newest posts that share a post and are not deleted, locked until the transaction ends."""
    edges = select(shares.c.post_id).where(shares.c.shared_id == shared_id)
    ids = [row.post_id for row in await connection.execute(edges.order_by(shares.c.post_id.desc()).limit(limit))]
    # The posts alone, ascending: who deletes a share locks its post before the edge.
    query = select(posts).where(posts.c.id.in_(ids), posts.c.deleted_at.is_(None)).order_by(posts.c.id)
    return list(await connection.execute(query.with_for_update()))


# --- comments --------------------------------------------------------------------------------------------------------


async def add_comment(connection: AsyncConnection, *, post_id: int, author_id: int, text: str, now: datetime) -> int:
    """Inserts a comment; returns its id."""
    result = await connection.execute(
        insert(comments).values(post_id=post_id, author_id=author_id, text=text, version=1, created_at=now)
    )
    return new_id(result)


async def comment(connection: AsyncConnection, comment_id: int, *, lock: bool = False) -> Record | None:
    """A comment's row, tombstone included; with `lock` held until the transaction ends."""
    query = select(comments).where(comments.c.id == comment_id)
    found: Record | None = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return found


async def living_comments(connection: AsyncConnection, ids: Collection[int]) -> set[int]:
    """Those of `ids` that are there and not deleted."""
    if not ids:
        return set()
    query = select(comments.c.id).where(comments.c.id.in_(ids), comments.c.deleted_at.is_(None))
    return {row.id for row in await connection.execute(query)}


async def comments_of(connection: AsyncConnection, post_id: int, *, after: int, limit: int) -> list[Record]:
    """Comments of a post that are not deleted, oldest first, ids above `after`."""
    query = select(comments).where(
        comments.c.post_id == post_id, comments.c.id > after, comments.c.deleted_at.is_(None)
    )
    return list(await connection.execute(query.order_by(comments.c.id).limit(limit)))


async def change_comment(connection: AsyncConnection, comment_id: int, **values: Any) -> None:
    """Sets columns of a comment and raises its version."""
    await connection.execute(
        update(comments).where(comments.c.id == comment_id).values(version=comments.c.version + 1, **values)
    )


# --- likes -----------------------------------------------------------------------------------------------------------


async def set_like(connection: AsyncConnection, post_id: int, user_id: int, *, active: bool, now: datetime) -> bool:
    """Turns a like on or off; True when that changed anything.

    The condition stands in the WHERE and the row is locked by it, so of many equal requests exactly one says True.
    """
    where = and_(likes.c.post_id == post_id, likes.c.user_id == user_id)
    current = select(likes.c.id, likes.c.active).where(where).with_for_update()
    row = (await connection.execute(current)).first()
    if row is None:
        if not active:
            return False
        try:
            await connection.execute(
                insert(likes).values(post_id=post_id, user_id=user_id, active=True, changed_at=now)
            )
            return True
        except IntegrityError as error:
            # Another request of the same user was first: its row decides. Anything else (no such post) is not ours.
            if not isinstance(translate(error), DuplicateKey):
                raise
            row = (await connection.execute(current)).one()
    if row.active == active:
        return False
    await connection.execute(update(likes).where(likes.c.id == row.id).values(active=active, changed_at=now))
    return True


async def liked(connection: AsyncConnection, user_id: int, ids: Collection[int]) -> set[int]:
    """Those of the posts `ids` that a user likes."""
    if not ids:
        return set()
    query = select(likes.c.post_id).where(
        likes.c.user_id == user_id, likes.c.post_id.in_(ids), likes.c.active.is_(True)
    )
    return {row.post_id for row in await connection.execute(query)}


async def likers(connection: AsyncConnection, post_id: int, *, before: int, limit: int) -> list[Record]:
    """(id, user_id) of active likes of a post, newest first, like ids below `before`."""
    query = select(likes.c.id, likes.c.user_id).where(
        likes.c.post_id == post_id, likes.c.id < before, likes.c.active.is_(True)
    )
    return list(await connection.execute(query.order_by(likes.c.id.desc()).limit(limit)))


async def acts_given(
    connection: AsyncConnection, user_id: int, authors: Collection[int], *, since: datetime, comment_counts: int
) -> dict[int, int]:
    """author -> how often a user has liked (one each) or commented on that author's posts since a moment."""
    given: dict[int, int] = {}
    if not authors:
        return given
    liked_at = and_(likes.c.user_id == user_id, likes.c.active.is_(True), likes.c.changed_at >= since)
    wrote_at = and_(comments.c.author_id == user_id, comments.c.deleted_at.is_(None), comments.c.created_at >= since)
    for edge, where, weight in ((likes, liked_at, 1), (comments, wrote_at, comment_counts)):
        query = (
            select(posts.c.author_id, func.count().label("acts"))
            .join(edge, edge.c.post_id == posts.c.id)
            .where(where, posts.c.author_id.in_(authors))
            .group_by(posts.c.author_id)
        )
        for row in await connection.execute(query):
            given[row.author_id] = given.get(row.author_id, 0) + weight * row.acts
    return given


async def settled_likes(connection: AsyncConnection, post_id: int) -> int:
    """The likes of a post: its counter and all that is still promised to it. Costs what is promised, not the likes."""
    result = await connection.execute(SETTLED_LIKES, {"post": post_id, "aggregate": f"post:{post_id}"})
    return int(result.scalar_one())


# --- counters compared with the rows ---------------------------------------------------------------------------------


def _rows(table: FromClause, *where: ColumnElement[bool]) -> ScalarSelect[Any]:
    return select(func.count()).select_from(table).where(*where).scalar_subquery()


# What each counter has to tell. A share counts while the post that shares is there.
ROWS = {
    "likes": _rows(likes, likes.c.post_id == bindparam("post"), likes.c.active.is_(True)),
    "comments": _rows(comments, comments.c.post_id == bindparam("post"), comments.c.deleted_at.is_(None)),
    "shares": _rows(
        shares.join(posts, posts.c.id == shares.c.post_id),
        shares.c.shared_id == bindparam("post"),
        posts.c.deleted_at.is_(None),
    ),
}
# Of a person who is being erased the rows go without being taken back: so do the counters, a little later.
COMPARED = (
    select(
        *(post_counts.c[name].label(f"stored_{name}") for name in COUNTED),
        *(_promised(name).label(f"promised_{name}") for name in COUNTED),
        *(rows.label(f"rows_{name}") for name, rows in ROWS.items()),
    )
    .select_from(
        post_counts.join(posts, posts.c.id == post_counts.c.post_id).join(users, users.c.id == posts.c.author_id)
    )
    .where(post_counts.c.post_id == bindparam("post"), users.c.state != "erasing")
)


async def compare_counts(connection: AsyncConnection, post_id: int) -> dict[str, tuple[int, int]] | None:
    """counter -> (it with all that is still promised to it, the rows it has to tell), both of one moment.

    None when there is no such post, or its author is being erased.
    """
    found = await connection.execute(COMPARED, {"post": post_id, "aggregate": f"post:{post_id}"})
    row = found.mappings().first()
    if row is None:
        return None
    return {
        name: (int(row[f"stored_{name}"]) + int(row[f"promised_{name}"]), int(row[f"rows_{name}"])) for name in COUNTED
    }


async def repair_counts(connection: AsyncConnection, post_id: int, now: datetime) -> bool:
    """Brings a post's counters to its rows, whatever is promised besides; False when nothing was wrong.

    What is parked of them counts as done: it is among the rows. The lock keeps two auditors from repairing the same
    difference; whoever likes meanwhile changes rows and promise alike, and the difference stays what it is.
    """
    await outbox.settle_parked(connection, f"post:{post_id}", "refresh_counts", now)
    await connection.execute(select(post_counts.c.post_id).where(post_counts.c.post_id == post_id).with_for_update())
    compared = await compare_counts(connection, post_id) or {}
    wrong = {name: counted - told for name, (told, counted) in compared.items() if counted != told}
    if wrong:
        await add_counts(connection, post_id, wrong)
    return bool(wrong)


async def count_rows(connection: AsyncConnection, post_id: int) -> dict[str, int]:
    """What a post's counters must say once nothing is promised to them: {likes, comments, shares}."""
    query = select(*(rows.label(name) for name, rows in ROWS.items()))
    return dict((await connection.execute(query, {"post": post_id})).mappings().one())


# --- everything of one person ----------------------------------------------------------------------------------------


async def all_comments_by(connection: AsyncConnection, user_id: int) -> list[Record]:
    """Every comment of a person that is not deleted."""
    query = select(comments).where(comments.c.author_id == user_id, comments.c.deleted_at.is_(None))
    return list(await connection.execute(query.order_by(comments.c.id)))


async def all_likes_by(connection: AsyncConnection, user_id: int) -> list[int]:
    """Ids of every post that a person likes."""
    query = select(likes.c.post_id).where(likes.c.user_id == user_id, likes.c.active.is_(True))
    return [row.post_id for row in await connection.execute(query)]
