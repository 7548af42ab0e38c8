"""Five thousand people with posts and friends, made by a dozen statements, and their timelines in Redis.

    authors  1 .. 5,000: their posts are what everybody reads; they receive what hubs write
    readers  friends of 500 of the 600 authors who have written most
    hubs     friends of the last 10, 1,000 or 5,000 authors: of many sizes the same person comes last in a fan-out

The statements are MariaDB's, whose `seq_1_to_n` is a table of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from feed.stores import Stores

AUTHORS = 5000  # the most friends that one may have
PROLIFIC = 600
FRIENDS = 500  # of a reader
PROLIFIC_SHARE = 60  # percent of all posts that the prolific ones wrote
CHUNK = 25_000  # rows of one statement: a second or so, far below what a transaction may take

USERS = (
    "INSERT INTO users (version, username, name, bio, password_hash, locale, timezone, state, created_at)"
    " SELECT 1, CONCAT('person', seq), CONCAT('Person ', seq), '', '!', 'en', 'UTC', 'active', UTC_TIMESTAMP(3)"
    " FROM seq_1_to_{count}"
)
META = "INSERT INTO relation_meta (user_id, friends, version) SELECT id, 0, 1 FROM users"
# The hash spreads authors over the ids, so that a feed's posts lie far apart, as they do where many write.
POSTS = (
    "INSERT INTO posts (id, version, author_id, text, visibility, created_at)"
    " SELECT seq, 1, IF(CRC32(seq) % 100 < {share}, 1 + CRC32(CONCAT('a', seq)) % {prolific},"
    " {prolific} + 1 + CRC32(CONCAT('a', seq)) % {others}),"
    " REPEAT('The kettle boiled. ', 1 + seq % 12), 'public', UTC_TIMESTAMP(3) FROM seq_{first}_to_{last}"
)
COUNTS = (
    "INSERT INTO post_counts (post_id, version, likes, comments, shares)"
    " SELECT seq, 1, 0, 0, 0 FROM seq_{first}_to_{last}"
)
FRIENDSHIPS = (
    "INSERT INTO friendships (low_id, high_id, state, version, changed_at)"
    " SELECT 1 + (seq + {shift}) % {modulo}, {person}, 'friends', 1, UTC_TIMESTAMP(3) FROM seq_{first}_to_{last}"
)


@dataclass(frozen=True, slots=True)
class Society:
    """Who is there, by ids."""

    readers: Sequence[int]
    hubs: dict[int, list[int]]  # number of friends -> people with so many
    posts: int


async def found(stores: Stores, *, readers: int, hubs: dict[int, int], posts: int) -> Society:
    """Fills an empty database; `hubs` says how many people of each number of friends there are."""
    count = AUTHORS + readers + sum(hubs.values())
    society = Society(range(AUTHORS + 1, AUTHORS + readers + 1), {}, posts)
    await _run(stores, USERS.format(count=count), META)
    for first in range(1, posts + 1, CHUNK):
        last = min(posts, first + CHUNK - 1)
        numbers = {"share": PROLIFIC_SHARE, "prolific": PROLIFIC, "others": AUTHORS - PROLIFIC}
        await _run(
            stores,
            POSTS.format(first=first, last=last, **numbers),
            COUNTS.format(first=first, last=last),
        )
    for reader in society.readers:
        await _run(stores, FRIENDSHIPS.format(person=reader, first=1, last=FRIENDS, shift=7 * reader, modulo=PROLIFIC))
    person = AUTHORS + readers
    for friends, number in hubs.items():
        society.hubs[friends] = list(range(person + 1, person + number + 1))
        person += number
        for hub in society.hubs[friends]:
            first = AUTHORS - friends
            await _run(stores, FRIENDSHIPS.format(person=hub, first=first, last=AUTHORS - 1, shift=0, modulo=AUTHORS))
    await _run(stores, "ANALYZE TABLE posts, post_counts, friendships")  # as the server does by itself, later
    return society


async def _run(stores: Stores, *statements: str) -> None:
    async def work(connection: AsyncConnection) -> None:
        for statement in statements:
            await connection.exec_driver_sql(statement.replace("%", "%%"))

    await stores.sql.write(work)
