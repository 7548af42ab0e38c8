"""The feed page over its timeline: cold, built once, lost, behind; and the auditor who looks after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import UNSET

from db import users
from db.migrate import migrate
from db.settings import Settings
from feed import audit, feed_page, friends, metrics, posts, timelines
from feed.clock import utc_now
from feed.feed_page import lacking, recent, top
from feed.stores import Stores
from feed.streams import me
from workers.dispatch import Dispatcher

_names = count(1)


@pytest_asyncio.fixture
async def stores(tmp_path: Path, valkey_url: str) -> AsyncIterator[Stores]:
    """A new database, and an empty store."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'social.db'}"
    await migrate(url)
    opened = Stores.open(Settings(database_url=url, redis_url=valkey_url))
    await opened.redis._client.flushall()
    yield opened
    await opened.close()


async def somebody(stores: Stores) -> int:
    name = f"paged{next(_names)}"
    return await stores.sql.write(
        lambda c: users.add(c, username=name, name="x", email=None, password_hash="x", now=utc_now())
    )


async def befriend(stores: Stores, one: int, other: int) -> None:
    await friends.ask(stores, one, other)
    await friends.ask(stores, other, one)


async def a_post(stores: Stores, author: int) -> int:
    return int((await posts.create(stores, author, words="x", visibility="friends", media=[], key=None)).id)


async def work_off(stores: Stores) -> None:
    dispatcher = Dispatcher(stores)
    await dispatcher.hold_leases()
    while await dispatcher.step():
        pass
    await dispatcher.stop()


async def ids(stores: Stores, user: int, **options: object) -> list[int]:
    page = await recent(stores, user, **{"cursor": None, "limit": 20, **options})  # type: ignore[arg-type]
    return [int(post.id) for post in page.items]


async def friends_with_posts(stores: Stores, number: int) -> tuple[int, int, list[int]]:
    """(reader, author, the author's posts, newest first), all of it fanned out."""
    reader, author = await somebody(stores), await somebody(stores)
    await befriend(stores, reader, author)
    made = [await a_post(stores, author) for _ in range(number)]
    await work_off(stores)
    return reader, author, made[::-1]


def reads(kind: str) -> float:
    return metrics.FEED_READS.labels(kind)._value.get()  # type: ignore[no-any-return]


async def test_of_many_readers_of_a_cold_timeline_one_builds_and_none_gets_an_empty_page(stores: Stores) -> None:
    reader, _, made = await friends_with_posts(stores, 5)
    built = reads("built")
    pages = await asyncio.gather(*(ids(stores, reader) for _ in range(12)))
    assert pages == [made] * 12
    assert reads("built") == built + 1
    warm = reads("warm")
    assert await ids(stores, reader) == made
    assert reads("warm") == warm + 1


async def test_beside_a_builder_the_database_is_read(stores: Stores) -> None:
    reader, author, made = await friends_with_posts(stores, 3)
    assert await stores.timelines.build(reader, relations=1) is not None
    assert await ids(stores, reader) == made
    await a_post(stores, author)
    assert len(await ids(stores, reader)) == 4


async def test_an_emptied_store_is_filled_again(stores: Stores) -> None:
    reader, author, made = await friends_with_posts(stores, 4)
    assert await ids(stores, reader) == made
    await stores.redis._client.flushall()
    newest = await a_post(stores, author)
    assert await ids(stores, reader) == [newest, *made]
    await work_off(stores)
    assert await ids(stores, reader) == [newest, *made]


async def test_below_the_floor_the_database_answers_without_hole_or_double(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in (feed_page, timelines):
        monkeypatch.setattr(where, "TIMELINE_KEEPS", 6)
    reader, _, made = await friends_with_posts(stores, 15)
    for limit in (1, 4, 6, 7, 20):
        found: list[int] = []
        cursor = None
        while True:
            page = await recent(stores, reader, cursor=cursor, limit=limit)
            found += [int(post.id) for post in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert found == made, limit
    slice_ = await stores.timelines.page(reader, before=2**53, limit=100)
    assert slice_ is not None
    assert (slice_.ids, slice_.floor) == (made[:6], made[5])


async def test_workers_far_behind_leave_it_to_the_database(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_page, "UNFINISHED", 2)
    reader, author, made = await friends_with_posts(stores, 2)
    assert await ids(stores, reader) == made
    late = [await a_post(stores, author) for _ in range(5)][::-1]
    behind = reads("behind")
    assert await ids(stores, reader) == [*late, *made]
    assert reads("behind") == behind + 1


async def test_a_friend_more_or_less_is_in_the_next_page(stores: Stores) -> None:
    reader, author, made = await friends_with_posts(stores, 2)
    other = await somebody(stores)
    theirs = await a_post(stores, other)
    assert await ids(stores, reader) == made
    await befriend(stores, reader, other)
    assert await ids(stores, reader) == [theirs, *made]
    await friends.remove(stores, author, reader)
    assert await ids(stores, reader) == [theirs]
    slice_ = await stores.timelines.page(reader, before=2**53, limit=100)
    assert slice_ is not None
    assert slice_.ids == [theirs], "built anew, not only filtered"


async def test_the_auditor_drops_a_timeline_that_lacks_something(stores: Stores) -> None:
    reader, author, made = await friends_with_posts(stores, 5)
    await ids(stores, reader)
    key = stores.redis.keys.timeline(me(reader))
    await stores.redis._client.zrem(key, made[1], made[3])
    assert await lacking(stores, reader) == [made[1], made[3]]
    kinds = [kind for kind in audit.KINDS if kind.name == "timelines"]
    [first] = await audit.audit(stores, 1.0, kinds)
    [second] = await audit.audit(stores, 1.0, kinds)
    assert (first.drifted, first.repaired, second.drifted) == (1, 1, 0)
    assert await ids(stores, reader) == made
    assert author != reader


async def test_what_is_late_cold_too_old_or_too_much_is_no_fault(stores: Stores) -> None:
    reader, author, made = await friends_with_posts(stores, 3)
    assert await lacking(stores, reader) == [], "cold"
    await ids(stores, reader)
    await a_post(stores, author)
    assert await lacking(stores, reader) == [], "not fanned out yet"
    await work_off(stores)
    await stores.redis._client.zadd(stores.redis.keys.timeline(me(reader)), {"99": -99})
    assert await lacking(stores, reader) == [], "an id too many"
    other = await somebody(stores)
    await a_post(stores, other)
    await work_off(stores)
    await befriend(stores, reader, other)
    assert await lacking(stores, reader) == [], "of other relations"
    assert made


async def test_a_post_whose_author_was_away_while_it_went_out_is_there_when_the_author_is_back(stores: Stores) -> None:
    reader, author, made = await friends_with_posts(stores, 1)
    assert await ids(stores, reader) == made
    late = await a_post(stores, author)
    await stores.sql.write(lambda c: users.change(c, author, state="disabled"))
    await work_off(stores)
    assert await ids(stores, reader) == []
    await stores.sql.write(lambda c: users.change(c, author, state="active"))
    assert await ids(stores, reader) == [late, *made]
    assert await lacking(stores, reader) == []


async def test_edits_that_wait_do_not_send_readers_to_the_database(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_page, "UNFINISHED", 2)
    reader, author, made = await friends_with_posts(stores, 1)
    assert await ids(stores, reader) == made
    for n in range(5):
        await posts.edit(stores, author, made[0], words=f"again {n}", visibility=UNSET)
    behind = reads("behind")
    assert await ids(stores, reader) == made
    assert reads("behind") == behind


async def test_asking_for_rankings_again_and_again_keeps_a_few(stores: Stores) -> None:
    reader, _, made = await friends_with_posts(stores, 3)
    for _ in range(40):
        page = await top(stores, reader, cursor=None, limit=2)
    keys = [key async for key in stores.redis._client.scan_iter("ranking:*")]
    assert 1 < len(keys) <= feed_page.RANKINGS
    rest = await top(stores, reader, cursor=page.next, limit=2)
    assert [int(post.id) for post in (*page.items, *rest.items)] == made
