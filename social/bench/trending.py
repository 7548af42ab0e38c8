"""A million interactions of two days in private engines: what trends, worked out cold and an hour later.

Filled by INSERT ... SELECT over a sequence, skewed like real talk: few posts get most of it, and more lately.
"""

# ruff: noqa: S608 - the statements are made of this file's own numbers
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import trending as statements
from db.migrate import migrate
from db.settings import load
from feed import trending
from feed.stores import Stores
from social.bench.figures import Line, machine, table
from social.bench.site import NOWHERE
from social.chaos.engines import MariaDB, RedisServer

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
PART = 25_000  # rows of one transaction
PEOPLE = 4 * PART  # at least PART: see `_filling`
POSTS_SHARE = 20  # interactions per post
TAGS = 2_000
SHARES = (0.70, 0.25, 0.05)  # of likes, comments and shares among the interactions
TARGET = "< 5 s for 1,000,000"


async def run(*, interactions: int) -> str:
    """Fills, refreshes, and tells the seconds as a table."""
    with _engines() as (database_url, redis_url):
        settings = load({"database_url": database_url, "redis_url": redis_url, "s3_endpoint": NOWHERE})
        await migrate(database_url)
        now = NOW
        stores = replace(Stores.open(settings), clock=lambda: now)
        try:
            started = time.perf_counter()
            for statement in _filling(interactions):
                await stores.sql.write(lambda c, statement=statement: c.execute(text(statement)))  # type: ignore[misc]
            filled = time.perf_counter() - started
            cpu = time.process_time()
            cold = await _timed(stores)
            cpu = time.process_time() - cpu
            bare_cold = await _bare(stores, trending.hours_of(now))
            again = await _timed(stores)
            bare_again = await _bare(stores, trending.hours_of(now)[-1:])
            now = NOW + trending.HOUR
            later = await _timed(stores)
            found = await _rows(stores)
            listed = await trending.stored(stores)
            memory = await stores.redis.about()
        finally:
            await stores.close()
    size = f"{len(listed.posts)} posts, {len(listed.tags)} tags" if listed else "none"
    return table(
        f"trending over {found:,} interactions ({machine()}, MariaDB, Redis)",
        [
            Line("filled in", f"{filled:.1f} s"),
            Line("every hour read (cold)", _seconds(cold, bare_cold), TARGET),
            Line("the bare SQL, hour by hour", f"{bare_cold:.2f} s"),
            Line("the refresh's own CPU", f"{cpu:.2f} s"),
            Line("present hour only", _seconds(again, bare_again)),
            Line("an hour later", f"{later:.2f} s"),
            Line("the list", size),
            Line("Redis holds", memory["memory"]),
            Line("the machine's load", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"),
        ],
    )


def _seconds(seconds: float, bare: float) -> str:
    return f"{seconds:.2f} s = {seconds / bare:.1f} x bare SQL"


async def _rows(stores: Stores) -> int:
    """How many interactions there are: of those asked for, some pairs were drawn twice."""
    async with stores.sql.read() as sql:
        counted = [await sql.scalar(text(f"SELECT count(*) FROM {name}")) for name in ("likes", "comments", "shares")]
    return sum(counted)


async def _timed(stores: Stores) -> float:
    started = time.perf_counter()
    await trending.refresh(stores)
    return time.perf_counter() - started


async def _bare(stores: Stores, hours: list[datetime]) -> float:
    """The same statements and nothing else."""
    started = time.perf_counter()
    async with stores.sql.read() as sql:
        for hour in hours:
            for kind in statements.QUERIES:
                await _count(sql, kind, hour)
    return time.perf_counter() - started


async def _count(sql: AsyncConnection, kind: str, hour: datetime) -> None:
    since = trending.since_of(hour)
    await statements.people(sql, kind, hour, hour + trending.HOUR, since=since, limit=trending.OF_AN_HOUR)


def _filling(interactions: int) -> Iterator[str]:
    """Statements that fill an empty schema. MariaDB's sequence tables count; md5 scatters, the same in every run."""
    posts = interactions // POSTS_SHARE
    start = (NOW - trending.WINDOW + timedelta(minutes=31)).strftime("'%Y-%m-%d %H:%M:%S'")
    span = int((trending.WINDOW - timedelta(minutes=31)).total_seconds())
    likes, comments, shares = (int(interactions * share) for share in SHARES)
    # A number from 0 to 1 out of a row's number: squared it favours low ids, its root late moments.
    chance = "(conv(left(md5(concat('{salt}', seq)), 8), 16, 10) / 4294967296)"
    post = f"1 + floor({posts} * pow({chance.format(salt='p')}, 2))"
    moment = f"{start} + interval floor({span} * sqrt({chance.format(salt='t')})) second"
    person = f"1 + floor({PEOPLE} * {chance.format(salt='u')})"
    for first, last in _parts(PEOPLE):
        yield (
            "INSERT INTO users (id, version, username, name, bio, password_hash, locale, timezone, state, created_at) "
            f"SELECT seq, 1, concat('u', seq), 'x', '', 'x', 'en', 'UTC', 'active', {start} FROM seq_{first}_to_{last}"
        )
    for first, last in _parts(posts + shares):
        yield (
            "INSERT INTO posts (id, version, author_id, text, visibility, created_at) "
            f"SELECT seq, 1, {person}, 'words', if(seq % 10 = 0, 'friends', 'public'), "
            f"{start} + interval floor({span} * {chance.format(salt='c')}) second FROM seq_{first}_to_{last}"
        )
        yield (
            "INSERT INTO post_counts (post_id, version, likes, comments, shares) "
            f"SELECT seq, 1, 0, 0, 0 FROM seq_{first}_to_{last}"
        )
    for first, last in _parts(posts):
        yield (
            "INSERT INTO post_tags (tag, post_id) "
            f"SELECT concat('tag', floor({TAGS} * pow({chance.format(salt='g')}, 3))), seq FROM seq_{first}_to_{last}"
        )
    parts = list(_parts(likes))
    for number, (first, last) in enumerate(parts):
        # A person likes a post once: within a part nobody comes twice, and each part has posts of its own.
        liked = f"1 + {number} + {len(parts)} * floor({posts // len(parts)} * pow({chance.format(salt='p')}, 2))"
        yield (
            "INSERT INTO likes (post_id, user_id, active, changed_at) "
            f"SELECT {liked}, 1 + seq % {PEOPLE}, 1, {moment} FROM seq_{first}_to_{last} ORDER BY 4"
        )
    for first, last in _parts(comments):
        yield (
            "INSERT INTO comments (version, post_id, author_id, text, created_at) "
            f"SELECT 1, {post}, {person}, 'words', {moment} FROM seq_{first}_to_{last} ORDER BY 5"
        )
    for first, last in _parts(shares):
        yield (
            "INSERT INTO shares (post_id, shared_id, created_at) "
            f"SELECT {posts} + seq, {post}, {moment} FROM seq_{first}_to_{last}"
        )
    yield "ANALYZE TABLE likes, comments, shares, posts, post_tags"


def _parts(rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of row numbers, each for one transaction: those of the product may not take longer."""
    for first in range(1, rows + 1, PART):
        yield first, min(first + PART - 1, rows)


@contextmanager
def _engines() -> Iterator[tuple[str, str]]:
    """(database URL, Redis URL) of engines that are gone afterwards."""
    with TemporaryDirectory(prefix="social-bench-") as name:
        mariadb, redis = MariaDB(Path(name) / "mariadb"), RedisServer(Path(name) / "redis")
        try:
            for engine in (mariadb, redis):
                engine.folder.mkdir()
                engine.start()
            yield mariadb.create("bench"), redis.url
        finally:
            redis.stop()
            mariadb.stop()
