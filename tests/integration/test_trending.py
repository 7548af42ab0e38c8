"""Trending and the schedule on real engines: MariaDB with Redis, and the pair that `social up` brings along.

Time is the test's own. Every test begins with empty tables and an empty Redis.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, event, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from db import schema, ticks
from db.errors import StoreUnavailable
from db.migrate import migrate
from db.settings import Settings
from feed import analytics, streams, trending
from feed.stores import Stores
from feed.trending import HOUR, Trends
from feed.usage import Usage
from workers import clean_up, schedule
from workers.schedule import Schedule, Scheduled

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
PRESENT = NOW.replace(minute=0)


class Site:
    """Stores, a clock that stands still, and rows as the product would have written them."""

    def __init__(self, stores: Stores, engine: AsyncEngine) -> None:
        self.now = NOW
        self.stores = dataclasses.replace(stores, clock=lambda: self.now)
        self.engine = engine
        self._ids = 0

    async def add(self, table: Any, *rows: dict[str, Any], **values: Any) -> None:
        await self.stores.sql.write(lambda c: c.execute(insert(table), list(rows) or [values]))

    async def change(self, statement: Any) -> None:
        await self.stores.sql.write(lambda c: c.execute(statement))

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    async def person(self) -> int:
        return (await self.people(1))[0]

    async def people(self, number: int) -> list[int]:
        made = [self.next_id() for _ in range(number)]
        at = NOW - timedelta(days=9)
        rows = [{"id": n, "username": f"u{n}", "name": "x", "password_hash": "x", "created_at": at} for n in made]
        await self.add(schema.users, *rows)
        return made

    async def post(self, author: int, *, age: float = 1.0, visibility: str = "public", tags: Sequence[str] = ()) -> int:
        post = self.next_id()
        at = self.now - timedelta(hours=age)
        await self.add(schema.posts, id=post, author_id=author, text="words", visibility=visibility, created_at=at)
        await self.add(schema.post_counts, post_id=post)
        if tags:
            await self.add(schema.post_tags, *({"tag": tag, "post_id": post} for tag in tags))
        return post

    async def like(self, post: int, *people: int, age: float = 0.0, active: bool = True) -> None:
        at = self.now - timedelta(hours=age)
        rows = [{"post_id": post, "user_id": person, "active": active, "changed_at": at} for person in people]
        await self.add(schema.likes, *rows)

    async def comment(self, post: int, *people: int, age: float = 0.0) -> None:
        at = self.now - timedelta(hours=age)
        rows = [{"post_id": post, "author_id": person, "text": "words", "created_at": at} for person in people]
        await self.add(schema.comments, *rows)

    async def share(self, post: int, person: int, *, age: float = 0.0) -> int:
        sharing = await self.post(person, age=age)
        await self.add(schema.shares, post_id=sharing, shared_id=post, created_at=self.now - timedelta(hours=age))
        return sharing

    async def refresh(self) -> Trends:
        await trending.refresh(self.stores)
        found = await trending.stored(self.stores)
        assert found is not None
        return found

    async def stored_bytes(self) -> bytes:
        [found] = await self.stores.redis.get_many([self.stores.redis.keys.trending("list")])
        assert found is not None
        return found

    async def flush(self) -> None:
        await self.stores.redis._ask(lambda: self.stores.redis._client.flushall())

    async def rows(self, query: Any) -> list[Any]:
        async with self.stores.sql.read() as sql:
            return list(await sql.execute(query))


async def migrated(url: str, redis_url: str) -> AsyncIterator[Site]:
    await migrate(url)
    stores = Stores.open(Settings(database_url=url, redis_url=redis_url))
    try:
        yield Site(stores, stores.sql._fresh)
    finally:
        await stores.close()


@pytest_asyncio.fixture(scope="module", params=["embedded", "system"])
async def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    if request.param == "embedded":
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('trending') / 'social.db'}"
        redis_url = request.getfixturevalue("valkey_url")
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        url, redis_url = make(), request.getfixturevalue("redis_url")
    async for site in migrated(url, redis_url):
        yield site


@pytest_asyncio.fixture
async def site(opened: Site) -> Site:
    kept = ("outbox_leases", "outbox_workers")
    tables = [table for table in reversed(schema.metadata.sorted_tables) if table.name not in kept]

    async def empty(connection: Any) -> None:
        for table in tables:
            await connection.execute(delete(table))

    await opened.stores.sql.write(empty)
    await opened.flush()
    opened.now = NOW
    return opened


def ids(found: Trends) -> list[int]:
    return [one.id for one in found.posts]


# --- what counts -----------------------------------------------------------------------------------------------------


async def test_each_person_counts_once_per_hour_post_and_kind_and_authors_do_not(site: Site) -> None:
    author, ada, bela, eve = await site.people(4)
    post = await site.post(author, age=3)
    await site.like(post, ada, bela, author)
    await site.like(post, eve, active=False)
    await site.comment(post, ada, ada, ada, author, age=0.1)
    await site.comment(post, ada, age=1)
    await site.share(post, bela)
    await site.share(post, bela)
    await site.share(post, author)
    found = await site.refresh()
    terms = {(term.kind, term.hour[11:13]): (term.people, term.points) for term in found.posts[0].trend.because}
    assert terms.pop(("comments", "11"))[0] == 1
    assert terms == {("likes", "12"): (2, 2.0), ("comments", "12"): (1, 2.0), ("shares", "12"): (1, 3.0)}
    assert found.posts[0].trend.score == round(2 + 2 + 3 + 2 * 2 ** (-1 / 6), 6)


async def test_only_public_posts_of_active_authors_within_the_window_one_each(site: Site) -> None:
    first, second, gone, *crowd = await site.people(9)
    best = await site.post(first)
    lesser = await site.post(first)
    private = await site.post(second, visibility="friends")
    deleted, old, quiet = await site.post(second), await site.post(second, age=49), await site.post(second)
    of_gone = await site.post(gone)
    await site.like(best, *crowd)
    for post in (lesser, private, deleted, old, of_gone):
        await site.like(post, *crowd[:3])
    await site.like(quiet, crowd[0])
    await site.change(update(schema.posts).where(schema.posts.c.id == deleted).values(deleted_at=NOW))
    await site.change(update(schema.users).where(schema.users.c.id == gone).values(state="disabled"))
    assert ids(await site.refresh()) == [best, quiet]


async def test_a_post_that_was_narrowed_or_deleted_since_its_hour_was_read_leaves_with_the_next_refresh(
    site: Site,
) -> None:
    authors = await site.people(3)
    ada = await site.person()
    posts = [await site.post(author, age=4) for author in authors]
    for post in posts:
        await site.like(post, ada, age=3)
    assert set(ids(await site.refresh())) == set(posts)
    await site.change(update(schema.posts).where(schema.posts.c.id == posts[0]).values(visibility="only_me"))
    await site.change(update(schema.posts).where(schema.posts.c.id == posts[1]).values(deleted_at=NOW))
    await site.change(update(schema.users).where(schema.users.c.id == authors[2]).values(state="erasing"))
    assert ids(await site.refresh()) == []


async def test_the_fresher_and_the_weightier_act_comes_first_and_equal_ones_by_id(site: Site) -> None:
    *authors, ada = await site.people(6)
    old, liked, also, talked, shared = [await site.post(author, age=20) for author in authors]
    await site.like(old, ada, age=12)
    await site.like(liked, ada)
    await site.like(also, ada)
    await site.comment(talked, ada)
    await site.share(shared, ada)
    assert ids(await site.refresh()) == [shared, talked, also, liked, old]


async def test_the_list_is_capped(site: Site) -> None:
    reader = await site.person()
    authors = await site.people(trending.LISTED + 5)
    posts = [{"id": a, "author_id": a, "text": "", "visibility": "public", "created_at": NOW} for a in authors]
    await site.add(schema.posts, *posts)
    await site.add(schema.post_counts, *({"post_id": author} for author in authors))
    for author in authors:
        await site.like(author, reader)
    assert len((await site.refresh()).posts) == trending.LISTED


async def test_tags_count_the_different_people_who_used_them_in_public(site: Site) -> None:
    ada, bela, eve = await site.people(3)
    for author in (ada, bela):
        await site.post(author, tags=["sea"], age=0.1)
    for _ in range(4):
        await site.post(ada, tags=["Sky", "sky"], age=0.1)
    await site.post(eve, tags=["secret"], visibility="friends", age=0.1)
    found = await site.refresh()
    assert [(tag.tag, tag.score) for tag in found.tags] == [("sea", 2), ("Sky", 1), ("sky", 1)]
    assert found.tags[0].because[0].kind == "posts"
    await site.change(update(schema.posts).where(schema.posts.c.author_id == ada).values(visibility="friends"))
    assert [tag.tag for tag in (await site.refresh()).tags] == ["sea"]


# --- runs ------------------------------------------------------------------------------------------------------------


async def busy(site: Site) -> list[int]:
    """Posts of ten people with acts in many hours."""
    people = await site.people(10)
    posts = [await site.post(person, age=40, tags=["all", f"t{person}"]) for person in people]
    for number, post in enumerate(posts):
        for person in people[: number + 1]:
            await site.like(post, person, age=(number * 7 + person) % 39)
        await site.comment(post, people[number - 1], age=number * 3.0)
    await site.share(posts[3], people[5], age=10)
    return posts


async def test_equal_input_makes_equal_bytes_whatever_redis_still_had(site: Site) -> None:
    await busy(site)
    await site.refresh()
    first = await site.stored_bytes()
    await site.refresh()
    assert await site.stored_bytes() == first
    await site.flush()
    await site.refresh()
    assert await site.stored_bytes() == first


async def test_an_hour_later_from_what_is_there_and_from_nothing_is_the_same(site: Site) -> None:
    await busy(site)
    await site.refresh()
    site.now += 5 * HOUR  # the runs between were missed
    await site.refresh()
    kept = await site.stored_bytes()
    await site.flush()
    await site.refresh()
    assert await site.stored_bytes() == kept


async def test_hours_that_are_over_are_read_once(site: Site) -> None:
    await busy(site)
    read: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        read.append(statement)

    event.listen(site.engine.sync_engine, "before_cursor_execute", note)
    try:
        for wanted in (48, 1, 1):
            read.clear()
            await site.refresh()
            assert sum("likes.changed_at >=" in statement for statement in read) == wanted
        site.now += 3 * HOUR
        read.clear()
        await site.refresh()  # the one that was the present one, two missed ones, the present one
        assert sum("likes.changed_at >=" in statement for statement in read) == 4
    finally:
        event.remove(site.engine.sync_engine, "before_cursor_execute", note)


async def test_every_key_expires(site: Site) -> None:
    await busy(site)
    await site.refresh()
    redis = site.stores.redis
    names = await redis.sample("trending*", 10_000)
    assert len(names) > 50
    lives = await redis._pipeline([("PTTL", name) for name in names])
    assert all(0 < life <= 49 * 3_600_000 for life in lives)
    assert not [name for name in names if ":top:" in name or name.count(":") > 3]  # nothing is left beside


class Cut(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", [1, 3, 8, 14, 18])
async def test_a_crash_at_any_step_leaves_the_old_list_and_the_next_run_makes_the_right_one(
    site: Site, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    *authors, ada = await site.people(4)
    posts = [await site.post(author, age=5, tags=["sea"]) for author in authors]
    await site.like(posts[0], ada, age=3)
    await site.refresh()
    old = await site.stored_bytes()
    site.now += 2 * HOUR
    await site.like(posts[1], ada)
    await site.comment(posts[2], ada, age=1.6)
    redis = site.stores.redis
    calls = 0

    def cutting(work: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                raise Cut
            return await work(*arguments, **options)

        return counted

    with monkeypatch.context() as patched:
        for name in ("run", "set_many", "get_many", "scores"):
            patched.setattr(redis, name, cutting(getattr(redis, name)))
        with pytest.raises(Cut):
            await trending.refresh(site.stores)
    assert await site.stored_bytes() == old
    assert ids(await site.refresh()) == [posts[2], posts[1], posts[0]]


# --- the schedule ----------------------------------------------------------------------------------------------------


class Job:
    """A job of the test that notes its runs."""

    def __init__(self, cron: str = "0 * * * *", catch_up: int = 1) -> None:
        self.ran: list[datetime] = []
        self.fault: Exception | None = None
        self.lost = False
        self.at_work = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.scheduled = Scheduled("note", cron, self.run, catch_up, self.is_lost)

    async def run(self, _stores: Stores, tick: datetime) -> None:
        self.ran.append(tick)
        self.at_work.set()
        await self.may_end.wait()
        if self.fault is not None:
            raise self.fault
        self.lost = False

    async def is_lost(self, _stores: Stores) -> bool:
        return self.lost

    def worker(self, site: Site) -> Schedule:
        return Schedule(site.stores, (self.scheduled,))


async def test_two_workers_run_a_tick_once(site: Site) -> None:
    job = Job()
    workers = [job.worker(site) for _ in range(4)]
    for _ in range(3):
        await asyncio.gather(*(worker.step() for worker in workers))
    assert job.ran == [PRESENT]
    site.now += HOUR
    await asyncio.gather(*(worker.step() for worker in workers))
    assert job.ran == [PRESENT, PRESENT + HOUR]


async def test_a_crashed_workers_tick_is_taken_over_when_its_lease_has_ended(site: Site) -> None:
    job = Job()
    job.may_end.clear()
    dies = asyncio.create_task(job.worker(site).step())
    await job.at_work.wait()
    dies.cancel()  # as kill -9: nothing is given back
    await asyncio.wait([dies])
    job.may_end.set()
    other = job.worker(site)
    site.now += timedelta(seconds=schedule.LEASE - 1)
    await other.step()
    assert job.ran == [PRESENT]
    site.now += timedelta(seconds=1)
    await other.step()
    await other.step()
    assert job.ran == [PRESENT, PRESENT]


async def test_who_comes_back_after_the_takeover_marks_nothing(site: Site) -> None:
    job = Job()
    job.may_end.clear()
    slow = asyncio.create_task(job.worker(site).step())
    await job.at_work.wait()
    site.now += timedelta(seconds=schedule.LEASE)
    job.fault = ValueError("the second one fails")
    job.at_work.clear()
    second = asyncio.create_task(job.worker(site).step())
    await job.at_work.wait()
    job.fault = None
    job.may_end.set()
    await slow
    await second
    [row] = await site.rows(select(schema.ticks))
    assert row.done_at is not None  # of the second run, which has the lease
    assert len(job.ran) == 2


@pytest.mark.parametrize("fault", [StoreUnavailable("redis", "away"), ValueError("broken")])
async def test_a_run_that_fails_is_run_again_after_its_lease_and_holds_back_nothing(
    site: Site, fault: Exception
) -> None:
    job, other = Job(), Job()
    job.fault = fault
    worker = Schedule(site.stores, (job.scheduled, dataclasses.replace(other.scheduled, name="other")))
    await worker.step()
    await worker.step()
    assert (len(job.ran), len(other.ran)) == (1, 1)
    site.now += timedelta(seconds=schedule.LEASE)
    job.fault = None
    await worker.step()
    await worker.step()
    assert (len(job.ran), len(other.ran)) == (2, 1)


async def test_missed_ticks_are_made_up_for_oldest_first_and_no_more_than_wanted(site: Site) -> None:
    hourly, daily = Job(), Job("0 2 * * *", catch_up=5)
    jobs = (hourly.scheduled, dataclasses.replace(daily.scheduled, name="daily"))
    await Schedule(site.stores, jobs).step()
    first = PRESENT.replace(hour=2)
    assert (hourly.ran, daily.ran) == ([PRESENT], [first])  # nothing was missed before the first one
    site.now += timedelta(days=3)
    await Schedule(site.stores, jobs).step()
    assert hourly.ran[1:] == [PRESENT + timedelta(days=3)]
    assert daily.ran[1:] == [first + timedelta(days=n) for n in (1, 2, 3)]
    site.now += timedelta(days=30)
    await clean_up.clean_up(site.stores)
    await Schedule(site.stores, jobs).step()
    assert daily.ran[4:] == [first + timedelta(days=n) for n in (29, 30, 31, 32, 33)]


async def test_what_is_cleaned_up_is_not_run_again(site: Site) -> None:
    job = Job("0 2 * * *", catch_up=31)
    await job.worker(site).step()
    site.now += timedelta(days=100)
    await clean_up.clean_up(site.stores)
    assert len(await site.rows(select(schema.ticks))) == 1  # the newest of its job stays
    await job.worker(site).step()
    await clean_up.clean_up(site.stores)
    assert len(await site.rows(select(schema.ticks))) == 31
    await job.worker(site).step()
    assert len(job.ran) == 32


async def test_a_result_that_the_store_has_lost_is_made_again_by_one_worker(site: Site) -> None:
    job = Job()
    workers = [job.worker(site) for _ in range(3)]
    await workers[0].step()
    job.lost = True
    job.may_end.clear()
    steps = [asyncio.create_task(worker.step()) for worker in workers]
    await job.at_work.wait()
    job.may_end.set()
    await asyncio.gather(*steps)
    assert job.ran == [PRESENT, PRESENT]


async def test_a_result_that_was_made_again_meanwhile_is_not_made_a_third_time(site: Site) -> None:
    def claim(owner: str, redo: datetime | None) -> Any:
        until = site.now + timedelta(seconds=schedule.LEASE)
        return site.stores.sql.write(
            lambda c: ticks.claim(c, "note", PRESENT, owner, now=site.now, until=until, redo=redo)
        )

    assert await claim("first", None)
    assert not await claim("second", None)
    await site.stores.sql.write(lambda c: ticks.finish(c, "note", PRESENT, "first", NOW))
    assert not await claim("second", None)
    site.now += timedelta(seconds=1)
    assert await claim("second", NOW)
    await site.stores.sql.write(lambda c: ticks.finish(c, "note", PRESENT, "first", site.now))  # has it no more
    assert not await claim("third", NOW)
    await site.stores.sql.write(lambda c: ticks.finish(c, "note", PRESENT, "second", site.now))
    assert not await claim("third", NOW)


async def test_the_list_is_back_after_redis_was_emptied(site: Site) -> None:
    await busy(site)
    workers = [Schedule(site.stores) for _ in range(2)]
    await workers[0].step()
    before = await site.stored_bytes()
    await site.flush()
    assert (await trending.read(site.stores, 1, limit=20)).refreshed_at is None
    await asyncio.gather(*(worker.step() for worker in workers))
    assert await site.stored_bytes() == before
    days = await site.rows(select(func.count()).select_from(schema.daily_figures))
    assert days[0][0] > 0  # the other job ran as well


async def test_followers_hear_of_a_tick_once(site: Site) -> None:
    await busy(site)
    top = await site.stores.streams.join(streams.TRENDING, "node")
    await Schedule(site.stores).step()
    await site.change(update(schema.ticks).values(done_at=None, expires_at=NOW))  # as if its end had been lost
    await Schedule(site.stores).step()
    reading = await site.stores.streams.read(streams.TRENDING, top.epoch, top.offset)
    assert reading.items is not None
    assert [(item.kind, item.event_id) for item in reading.items] == [
        ("trending.refreshed", f"trending:{int(PRESENT.timestamp())}")
    ]


# --- days ------------------------------------------------------------------------------------------------------------

DAY = date(2026, 11, 20)


async def figures(site: Site, day: date = DAY) -> dict[str, float]:
    return (await analytics.read(site.stores, day, day)).days[0].figures


async def test_a_day_is_counted_from_its_first_to_its_last_millisecond_and_any_number_of_times(site: Site) -> None:
    ada, bela, eve = await site.people(3)
    start = datetime(2026, 11, 20, tzinfo=UTC)
    for moment in (start - timedelta(milliseconds=1), start, start + timedelta(days=1, milliseconds=-1), NOW):
        site.now = moment
        await site.post(ada, age=0)
    site.now = start
    post = await site.post(ada, age=-1)
    await site.like(post, bela, age=-2)
    await site.like(post, eve, age=-2, active=False)
    await site.comment(post, bela, bela, age=-2)
    await site.share(post, eve, age=-3)
    await site.add(schema.friendships, low_id=ada, high_id=bela, state="friends", version=1, changed_at=start)
    await site.add(schema.friendships, low_id=ada, high_id=eve, state="requested", version=1, changed_at=start)
    site.now = NOW
    wanted = {
        "daily_active_users": 0, "sign_ups": 0, "posts": 4, "comments": 2, "likes": 1, "shares": 1, "friendships": 1,
        "deliveries": 0,
    }  # fmt: skip
    for _ in range(2):
        await analytics.refresh(site.stores, DAY)
        assert await figures(site) == wanted
    await site.comment(post, eve, age=20)
    await analytics.refresh(site.stores, DAY)
    assert await figures(site) == {**wanted, "comments": 3}
    assert await figures(site, DAY - timedelta(days=1)) == {}


async def test_who_was_there_and_how_long_deliveries_took_is_added_up_over_edges(site: Site) -> None:
    ada, bela, eve = await site.people(3)
    site.now = datetime(2026, 11, 20, 23, tzinfo=UTC)
    one, other = Usage(site.stores), Usage(site.stores)
    for edge, people in ((one, (ada, bela, ada, 999_999)), (other, (bela, eve))):
        for person in people:
            edge.seen(person)
        edge.delivered(0.007, 60)
        edge.delivered(0.02, 39)
        edge.delivered(99.0, 1)
        await edge.write()
    one.seen(ada)
    await one.write()
    site.now = NOW
    one.seen(ada)  # another day
    await one.write()
    await analytics.refresh(site.stores, DAY)
    found = await figures(site)
    assert (found["daily_active_users"], found["deliveries"]) == (3, 200)
    assert found["commit_to_frame_p50_seconds"] == pytest.approx(0.005 + 0.005 * 100 / 120)
    assert found["commit_to_frame_p99_seconds"] == pytest.approx(0.025)


async def test_two_edges_that_write_at_once_lose_nothing(site: Site) -> None:
    people = await site.people(20)
    edges = [Usage(site.stores) for _ in range(4)]
    for edge in edges:
        for person in people:
            edge.seen(person)
        edge.delivered(0.001, 1)
        edge.delivered(4.0, 1)
    await asyncio.gather(*(edge.write() for edge in edges))
    for edge in edges:
        await edge.write()  # what met another's row waited
    await analytics.refresh(site.stores, NOW.date())
    found = await figures(site, NOW.date())
    assert (found["daily_active_users"], found["deliveries"]) == (20, 8)


async def test_a_store_that_was_away_gets_what_was_seen_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await site.person()
    usage = Usage(site.stores)
    usage.seen(ada)
    usage.delivered(0.001, 5)

    async def away(*_arguments: Any) -> None:
        raise StoreUnavailable("sql", "away")

    with monkeypatch.context() as patched:
        patched.setattr(site.stores.sql, "write", away)
        await usage.write()
    await usage.write()
    await analytics.refresh(site.stores, NOW.date())
    found = await figures(site, NOW.date())
    assert (found["daily_active_users"], found["deliveries"]) == (1, 5)


async def test_who_was_there_is_forgotten_and_the_number_stays(site: Site) -> None:
    ada = await site.person()
    site.now = datetime(2026, 11, 20, 23, tzinfo=UTC)
    usage = Usage(site.stores)
    usage.seen(ada)
    await usage.write()
    await analytics.refresh(site.stores, DAY)
    site.now = NOW + analytics.COUNTABLE
    await clean_up.clean_up(site.stores)
    assert await site.rows(select(schema.active_days)) == []
    await analytics.refresh(site.stores, DAY)
    assert (await figures(site))["daily_active_users"] == 1
