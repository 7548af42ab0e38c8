"""What trends: public posts and tags, by how many different people did something lately.

For every hour of WINDOW and each kind of act, Redis holds how many different people did it to each post (an author's
own acts do not count), read from MySQL once the hour is over and again in every run until then. The score of a post is

    sum over hours and kinds of   people * WEIGHTS[kind] * 2 ** -(age of the hour / HALF_LIFE)

an exponential decay fixed to the landmark of the acts themselves, not of the run ("forward decay": Cormode,
Shkapenyuk, Srivastava, Xu, Forward Decay: A Practical Time Decay Model for Streaming Systems, ICDE 2009). So nothing
has to be updated as it ages: one ZUNIONSTORE with a weight per hour gives all scores of the present, and equal input
gives an equal list. It is made beside the old one and takes its place by one SET: a crash anywhere leaves the old list.

What is taken back (a like, a comment) after its hour was read for good still counts until the hour leaves the window.
What may be shown is asked of the audience at every read, never taken from the list.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts, users
from db import trending as statements
from db.engine import Record
from feed import streams, views
from feed.events import REFRESHED, event
from feed.objects import Because, Post, Refreshed, Timestamp, Trend, timestamp
from feed.stores import Stores

Kind = Literal["likes", "comments", "shares", "posts"]

HOUR = timedelta(hours=1)
HOURS = 48  # the window, the present hour included: with HALF_LIFE what is older would count less than 1/256
WINDOW = HOURS * HOUR
HALF_LIFE = 6.0  # hours: yesterday evening's talk of the town is an eighth of this afternoon's
# A like is a touch, a comment is words, a share puts one's own name to it.
WEIGHTS: dict[Kind, float] = {"likes": 1.0, "comments": 2.0, "shares": 3.0}
TAG_WEIGHTS: dict[Kind, float] = {"posts": 1.0}
# The statement that counts each kind; `posts` are the public posts in which people used a tag.
COUNTED: dict[Kind, str] = {"likes": "likes", "comments": "comments", "shares": "shares", "posts": "tags"}
# After the end of an hour, until it is read for good: a commit may come as late as its transaction may last
# (`db.engine.TRANSACTION_WITHIN`), and clocks of edges differ a little.
SETTLED = timedelta(seconds=60)
HOURS_AT_ONCE = 2  # read side by side after an outage: requests need SQL connections too
# Posts or tags kept of an hour and kind, the largest: six times the list. Bounds what Redis adds up in one call, while
# others wait, to 43,200 members (seen: 130 to 300 ms on a machine with four times the work that it has cores for).
OF_AN_HOUR = 300
LISTED = 50  # posts of the list
TAGS = 10  # tags of the list
LOOKED_AT = 100  # candidates of one look; most lists need one
LOOKS = 10  # at most: when one author or deleted posts fill the top, the list may be shorter
DIGITS = 6  # of a score: far finer than any difference that means something


class Ranked(msgspec.Struct, frozen=True):
    """A post of the list."""

    id: int
    trend: Trend


class TrendingTag(msgspec.Struct, frozen=True):
    """A tag that trends."""

    tag: str
    score: float
    because: list[Because]


class Trends(msgspec.Struct, frozen=True):
    """The list as Redis holds it."""

    refreshed_at: Timestamp
    posts: list[Ranked]
    tags: list[TrendingTag]


class Trending(msgspec.Struct, frozen=True):
    """What trends, as the viewer may see it; `refreshed_at` is null while no list is there."""

    items: list[Post]
    tags: list[TrendingTag]
    refreshed_at: Timestamp | None


# --- rules -----------------------------------------------------------------------------------------------------------


def hours_of(now: datetime) -> list[datetime]:
    """The starts of the window's hours, oldest first; the last one is the present hour."""
    present = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [present - n * HOUR for n in reversed(range(HOURS))]


def is_settled(hour: datetime, now: datetime) -> bool:
    """True when nothing more can be committed that belongs to an hour."""
    return hour + HOUR + SETTLED <= now


def since_of(hour: datetime) -> datetime:
    """Before this no post was written that counts in an hour: it left the window."""
    return hour - WINDOW + HOUR


def decay(hour: datetime, present: datetime) -> float:
    """What an act of an hour is worth in the present one: 1 now, half after HALF_LIFE hours."""
    return float(2 ** -((present - hour) / HOUR / HALF_LIFE))


def trend(people: Mapping[tuple[Kind, datetime], int], weights: Mapping[Kind, float], present: datetime) -> Trend:
    """The score of {(kind, hour): people} and its terms, newest hour first."""
    order = list(weights)
    counted = sorted(
        ((k, h) for (k, h), n in people.items() if n), key=lambda kh: (-kh[1].timestamp(), order.index(kh[0]))
    )
    because = [
        Because(kind, timestamp(hour), people[kind, hour], people[kind, hour] * weights[kind] * decay(hour, present))
        for kind, hour in counted
    ]
    return Trend(round(math.fsum(term.points for term in because), DIGITS), because)


def one_per_author(ranked: Sequence[Ranked], author_of: Mapping[int, int], taken: Collection[int] = ()) -> list[Ranked]:
    """Each author's best post, in order; those without an author here, or with one that is `taken`, are left out."""
    authors = set(taken)
    kept = []
    for one in ranked:
        author = author_of.get(one.id)
        if author is not None and author not in authors:
            authors.add(author)
            kept.append(one)
    return kept


# --- refreshing ------------------------------------------------------------------------------------------------------


async def refresh(stores: Stores) -> datetime:
    """Works the list out anew and returns when. May run twice at once, and again after any crash."""
    now = stores.clock()
    hours = hours_of(now)
    run = secrets.token_hex(8)  # names what this run writes beside; in no result
    await _read_hours(stores, hours, now, run)
    found = Trends(timestamp(now), await _best_posts(stores, hours, run), await _best_tags(stores, hours, run))
    await stores.redis.set_many([(_list_key(stores), msgspec.json.encode(found))], seconds=WINDOW.total_seconds())
    return now


async def announce(stores: Stores, event_id: str, refreshed_at: datetime) -> None:
    """Tells whoever follows trending; once per event id."""
    data = Refreshed(timestamp(refreshed_at))
    happened = event(event_id, REFRESHED, at=refreshed_at, actor=0, about=0, version=0, data=data)
    await stores.streams.append(happened, [streams.TRENDING])


async def stored(stores: Stores) -> Trends | None:
    """The list as it stands; None when it was lost with what Redis held, or never made."""
    [found] = await stores.redis.get_many([_list_key(stores)])
    return None if found is None else msgspec.json.decode(found, type=Trends)


async def _read_hours(stores: Stores, hours: Sequence[datetime], now: datetime, run: str) -> None:
    """Reads from MySQL the hours that are not in Redis for good, and puts them there."""
    marks = await stores.redis.get_many([_whole_key(stores, hour) for hour in hours])
    waiting = iter([hour for hour, mark in zip(hours, marks, strict=True) if mark is None])

    async def work() -> None:
        for hour in waiting:
            await _read_hour(stores, hour, now, run)

    workers = [asyncio.create_task(work()) for _ in range(HOURS_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


async def _read_hour(stores: Stores, hour: datetime, now: datetime, run: str) -> None:
    settled = is_settled(hour, now)
    seconds = (hour + WINDOW + HOUR - now).total_seconds()
    for kind, counted in COUNTED.items():
        # A replica may lag behind where the hour is read again; not where it is read for the last time.
        async with stores.sql.read(stale=not settled) as sql:
            people = await statements.people(sql, counted, hour, hour + HOUR, since=since_of(hour), limit=OF_AN_HOUR)
        place = _hour_key(stores, kind, hour)
        await stores.redis.fill(f"{place}:{run}", place, people, seconds=seconds)
    if settled:
        await stores.redis.set_many([(_whole_key(stores, hour), b"1")], seconds=seconds)


async def _best_posts(stores: Stores, hours: Sequence[datetime], run: str) -> list[Ranked]:
    """The list: public posts of the window by active authors, one each, best first; the newer of two equal ones."""
    names = await _top(stores, WEIGHTS, hours, run, most=LOOKED_AT * LOOKS)
    best: list[Ranked] = []
    authors: set[int] = set()
    for start in range(0, len(names), LOOKED_AT):
        trends = await _trends(stores, WEIGHTS, hours, names[start : start + LOOKED_AT])
        ranked = sorted((Ranked(int(n), t) for n, t in trends.items()), key=lambda r: (-r.trend.score, -r.id))
        async with stores.sql.read(stale=True) as sql:  # who may see what is asked again at every read
            author_of = await _authors(sql, [one.id for one in ranked], hours[0])
        kept = one_per_author(ranked, author_of, authors)[: LISTED - len(best)]
        authors.update(author_of[one.id] for one in kept)
        best += kept
        if len(best) == LISTED:
            break
    return best


async def _best_tags(stores: Stores, hours: Sequence[datetime], run: str) -> list[TrendingTag]:
    """The tags that most people used, best first, then by name."""
    names = await _top(stores, TAG_WEIGHTS, hours, run, most=LOOKED_AT)
    async with stores.sql.read(stale=True) as sql:
        used = await statements.tags_in_use(sql, names, hours[0])
    trends = await _trends(stores, TAG_WEIGHTS, hours, [name for name in names if name in used])
    ranked = sorted(trends.items(), key=lambda named: (-named[1].score, named[0]))
    return [TrendingTag(tag, one.score, one.because) for tag, one in ranked[:TAGS]]


async def _top(
    stores: Stores, weights: Mapping[Kind, float], hours: Sequence[datetime], run: str, *, most: int
) -> list[str]:
    weighted = {
        _hour_key(stores, kind, hour): weight * decay(hour, hours[-1])
        for kind, weight in weights.items()
        for hour in hours
    }
    return await stores.redis.top(stores.redis.keys.trending("top", run), weighted, most=most)


async def _trends(
    stores: Stores, weights: Mapping[Kind, float], hours: Sequence[datetime], names: Sequence[str]
) -> dict[str, Trend]:
    """name -> its score and terms, from the same sets that the best were found in."""
    terms = [(kind, hour) for kind in weights for hour in hours]
    scores = await stores.redis.scores([_hour_key(stores, kind, hour) for kind, hour in terms], names)
    return {
        name: trend({term: int(of[i] or 0) for term, of in zip(terms, scores, strict=True)}, weights, hours[-1])
        for i, name in enumerate(names)
    }


async def _authors(connection: AsyncConnection, ids: Collection[int], since: datetime) -> dict[int, int]:
    """post id -> author, of the posts that may be listed."""
    rows = {i: row for i, row in (await posts.by_ids(connection, ids)).items() if _may_trend(row, since)}
    people = await users.profiles(connection, {row.author_id for row in rows.values()})
    active = {user_id for user_id, person in people.items() if person.state == "active"}
    return {post_id: row.author_id for post_id, row in rows.items() if row.author_id in active}


def _may_trend(row: Record, since: datetime) -> bool:
    """True for a post that everybody might see, written within the window."""
    shown: Any = row.visibility == "public" and row.deleted_at is None and row.created_at >= since
    return bool(shown)


def _name(hour: datetime) -> str:
    return str(int(hour.timestamp()))


def _hour_key(stores: Stores, kind: Kind, hour: datetime) -> str:
    return stores.redis.keys.trending(kind, _name(hour))


def _whole_key(stores: Stores, hour: datetime) -> str:
    return stores.redis.keys.trending("whole", _name(hour))


def _list_key(stores: Stores) -> str:
    return stores.redis.keys.trending("list")


# --- reading ---------------------------------------------------------------------------------------------------------


async def read(stores: Stores, viewer_id: int, *, limit: int) -> Trending:
    """The first `limit` posts of the list that the viewer may see now, and the tags.

    An empty Redis is answered with an empty list: a worker notices within seconds and works it out anew.
    """
    found = await stored(stores)
    if found is None:
        return Trending([], [], None)
    since = hours_of(stores.clock())[0]
    async with stores.sql.read() as sql:  # not a replica: a block or a deletion holds from the next read on
        rows = await posts.by_ids(sql, [one.id for one in found.posts])
        listed = [one.id for one in found.posts if one.id in rows and _may_trend(rows[one.id], since)]
        seen = await views.visible_posts(sql, viewer_id, listed, cache=stores.post_cache)
        names = [one.tag for one in found.tags]
        used = await statements.tags_in_use(sql, names, since, viewer_id=viewer_id)
    trends = {str(one.id): one.trend for one in found.posts}
    items = [msgspec.structs.replace(post, trend=trends[post.id]) for post in seen[:limit]]
    return Trending(items, [one for one in found.tags if one.tag in used], found.refreshed_at)
