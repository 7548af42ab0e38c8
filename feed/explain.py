"""Why a post is, or is not, in somebody's feed: for operators, from the same rules and the same places as the feed.

Nothing is changed by asking: a cold timeline stays cold, and none is kept alive.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, posts, relations, users
from db.engine import Record
from db.errors import SocialError
from feed import feed_page
from feed.audience import Audience, friends_of
from feed.objects import Relation, timestamp
from feed.pages import NEWEST
from feed.posts import aggregate
from feed.stores import Stores
from feed.timelines import Cold, Slice

DEEP = 5000  # posts above it that are counted for a position: 250 pages
AT_ONCE = 500  # posts of one statement

Place = Literal["timeline", "outbox", "database", "nowhere"]


class Person(msgspec.Struct, frozen=True):
    """Somebody the answer hangs on."""

    id: int
    username: str
    state: str

    def __str__(self) -> str:
        return f"@{self.username}"


class Waiting(msgspec.Struct, frozen=True):
    """A task of the post that is not done; `age` in seconds."""

    job: str
    kind: str
    state: str
    age: float
    attempts: int
    fault: str | None

    def __str__(self) -> str:
        text = f"{self.job}{f' ({self.kind})' if self.kind else ''} {self.state} for {self.age:.0f} s"
        return f"{text}, {self.attempts} attempts" + (f": {self.fault}" if self.fault else "")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All that the answer hangs on.

    `friends` = the author is among those whose posts the reader's feed holds; `version` = of the reader's relations;
    `timeline` = of the reader, from the post downwards, or why it is cold; `in_database` = a rebuild would find it;
    `above` = posts of the feed that the reader sees before it, DEEP when there are more.
    """

    reader: Person
    author: Person
    post_id: int
    visibility: str
    created_at: str
    deleted_at: str | None
    relation: Relation
    blocks: bool
    blocked: bool
    sees: bool
    shared_id: int | None
    sees_shared: bool
    version: int
    timeline: Slice | Cold
    in_database: bool
    behind: bool
    waiting: tuple[Waiting, ...]
    above: int


async def explain(stores: Stores, user: str, post_id: int) -> Known:
    """Reads what there is to know about a post and a user, named by username or id. Raises SocialError without them."""
    async with stores.sql.read() as connection:
        reader = await _reader(connection, user)
        row = (await posts.by_ids(connection, [post_id])).get(post_id)
        if row is None:
            raise SocialError(f"There is no post {post_id}, and there is no trace of one.")
        author = _person(await users.account(connection, row.author_id), row.author_id)
        waiting = await _waiting(connection, stores, post_id)
        tasks = await outbox.unfinished(connection, feed_page.FAN_OUT, "post.created", limit=feed_page.UNFINISHED + 1)
        timeline = await stores.timelines.look(reader.id, before=post_id + 1, limit=1)
        version, friends = await friends_of(stores, connection, reader.id)
        mine = [reader.id, *friends]
        newest = await feed_page.newest_by(connection, reader.id, mine, before=post_id + 1, limit=1)
        rows = await posts.as_seen_by(connection, reader.id, [post_id, *([row.shared_id] if row.shared_id else [])])
        audience = Audience.of_authors(reader.id, rows.values())
        return Known(
            reader=reader,
            author=author,
            post_id=post_id,
            visibility=row.visibility,
            created_at=timestamp(row.created_at),
            deleted_at=None if row.deleted_at is None else timestamp(row.deleted_at),
            relation=audience.relation(author.id),
            blocks=await relations.has_block(connection, reader.id, author.id),
            blocked=await relations.has_block(connection, author.id, reader.id),
            sees=post_id in rows and audience.sees_post(rows[post_id]),
            shared_id=row.shared_id,
            sees_shared=row.shared_id in rows and audience.sees_post(rows[row.shared_id]),
            version=version,
            timeline=timeline,
            in_database=newest == [post_id],
            behind=len(tasks) > feed_page.UNFINISHED,
            waiting=waiting,
            above=await _above(connection, reader.id, mine, post_id),
        )


def place(known: Known) -> Place:
    """Where the reader's next page takes the post from, if rights allow it. The rules of `feed_page`."""
    at = known.timeline
    if known.behind or not isinstance(at, Slice) or at.relations != known.version or known.post_id < at.floor:
        return "database" if known.in_database else "nowhere"
    if at.ids == [known.post_id]:
        return "timeline"
    on_its_way = any(task.kind == "post.created" for task in known.waiting)
    return "outbox" if on_its_way and known.in_database else "nowhere"


def verdict(known: Known) -> str:
    """One sentence that begins with Yes or No."""
    reader, author, post = known.reader, known.author, f"post {known.post_id}"
    if reader.state != "active":
        return f"No: the account of {reader} is {reader.state}, so nobody reads that feed."
    if known.deleted_at is not None:
        return f"No: {post} was deleted at {known.deleted_at}."
    if author.state != "active":
        return f"No: the account of its author {author} is {author.state}, so nobody sees {post}."
    if known.blocks or known.blocked:
        pairs = [(reader, author)] * known.blocks + [(author, reader)] * known.blocked
        return f"No: {' and '.join(f'{one} blocks {other}' for one, other in pairs)}."
    if known.relation not in ("self", "friends"):
        what = {"requested": f"{reader} has only asked", "asked": f"{author} has only asked"}
        reason = what.get(known.relation, f"{reader} and {author} are no friends")
        elsewhere = f", though {reader} may see {post} elsewhere" if known.sees else ""
        return f"No: {reason}, and a feed holds what friends write{elsewhere}."
    if not known.sees:
        return f"No: {post} is for its author {author} alone."
    return _placed(known, f"Yes: {post} is in the feed of {reader}, {_position(known)}")


def _placed(known: Known, yes: str) -> str:
    """The verdict on a post that belongs into the feed."""
    match place(known):
        case "timeline":
            return f"{yes}, from the timeline."
        case "outbox":
            return f"{yes}, from the outbox: the fan-out that puts it into the timeline is not done."
        case "database":
            return f"{yes}, from the database: {_why_database(known)}."
        case _:
            return (
                f"No, though it should be: the timeline of {known.reader} says that it is complete down to "
                f"{_floor(known.timeline)} and lacks post {known.post_id}, which no task is about to put there."
            )


def facts(known: Known) -> list[tuple[str, str]]:
    """(name, what is known), in the order of the rules."""
    share = "of nothing"
    if known.shared_id is not None:
        seen = "the reader sees it" if known.sees_shared else "a tombstone stands in its place: the reader must not see"
        share = f"of post {known.shared_id}; {seen}"
    directions = [f"{known.reader} blocks {known.author}"] * known.blocks
    directions += [f"{known.author} blocks {known.reader}"] * known.blocked
    ended = f", deleted {known.deleted_at}" if known.deleted_at is not None else ""
    return [
        ("post", f"{known.post_id}, visibility {known.visibility}, written {known.created_at}{ended}"),
        ("author", f"{known.author}, id {known.author.id}, {known.author.state}"),
        ("reader", f"{known.reader}, id {known.reader.id}, {known.reader.state}"),
        ("relation", f"{known.relation}, version {known.version} of the reader's relations"),
        ("blocks", " and ".join(directions) or "none"),
        ("rights", f"the reader {'may' if known.sees else 'must not'} see it"),
        ("share", share),
        ("timeline", _timeline(known)),
        ("database", f"{'holds' if known.in_database else 'does not hold'} it among what the feed is made of"),
        *(("outbox", str(task)) for task in known.waiting),
        *([] if known.waiting else [("outbox", "no task of the post waits")]),
        ("position", _position(known) if verdict(known).startswith("Yes") else "none"),
    ]


def _why_database(known: Known) -> str:
    at = known.timeline
    if known.behind:
        return f"more than {feed_page.UNFINISHED:,} posts are on their way into timelines"
    if not isinstance(at, Slice):
        return f"the timeline is cold ({COLD[at]})"
    if at.relations != known.version:
        return f"the timeline was built for relations of version {at.relations}, and they are at {known.version}"
    return f"the timeline is complete down to {at.floor} only"


def _timeline(known: Known) -> str:
    at = known.timeline
    if not isinstance(at, Slice):
        return f"cold: {COLD[at]}"
    holds = "holds it" if at.ids == [known.post_id] else "does not hold it"
    age = "warm" if at.relations == known.version else "out of date"
    return f"{age}: built for relations of version {at.relations}, complete down to {_floor(at)}, {holds}"


COLD: dict[Cold, str] = {
    "absent": "nobody has read that feed for long, or the store was emptied",
    "another life": "it is of another life of the store",
    "being built": "somebody builds it at this moment",
}


def _floor(timeline: Slice | Cold) -> str:
    return f"post {timeline.floor}" if isinstance(timeline, Slice) and timeline.floor else "the first post"


def _position(known: Known) -> str:
    return f"below more than {DEEP:,} others" if known.above >= DEEP else f"at position {known.above + 1:,}"


def _person(row: Record | None, user_id: int) -> Person:
    return Person(user_id, "erased", "erased") if row is None else Person(row.id, row.username, row.state)


async def _reader(connection: AsyncConnection, user: str) -> Person:
    """A username first, then an id: both may be digits."""
    row = await users.by_username(connection, user.removeprefix("@").casefold())
    if row is None and user.isascii() and user.isdigit() and int(user) < NEWEST:
        row = await users.account(connection, int(user))
    if row is None:
        raise SocialError(f"There is no user `{user}`, neither by username nor by id.")
    return _person(row, row.id)


async def _waiting(connection: AsyncConnection, stores: Stores, post_id: int) -> tuple[Waiting, ...]:
    rows = await outbox.of_aggregate(connection, aggregate(post_id))
    now = stores.clock()
    return tuple(
        Waiting(
            row.job,
            outbox.payload(row).get("kind", ""),
            row.state,
            (now - row.created_at).total_seconds(),
            row.attempts,
            row.fault,
        )
        for row in rows
    )


async def _above(connection: AsyncConnection, reader_id: int, mine: list[int], post_id: int) -> int:
    """How many posts of the feed the reader sees before this one, DEEP at most."""
    ids = await feed_page.newest_by(connection, reader_id, mine, before=NEWEST, limit=DEEP)
    newer = [one for one in ids if one > post_id]
    seen = 0
    for start in range(0, len(newer), AT_ONCE):
        rows = await posts.as_seen_by(connection, reader_id, newer[start : start + AT_ONCE])
        audience = Audience.of_authors(reader_id, rows.values())
        seen += sum(map(audience.sees_post, rows.values()))
    return DEEP if len(newer) >= DEEP else seen
