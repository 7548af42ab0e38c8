"""Counters, on SQLite and MariaDB: exact answers that do not count, likes that do not wait for each other, and the
auditor, who finds every drift and never one that is none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count

import pytest
import pytest_asyncio
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from db import erasure, outbox, posts, relations, samples, schema, users
from db.errors import StoreRefused
from db.migrate import migrate
from db.redis import MEMORY
from db.settings import Settings
from feed import comments, friends, likes, metrics
from feed import posts as written
from feed.audit import KINDS, Audited, Kind, audit
from feed.clock import utc_now
from feed.stores import Stores
from social import audit as command
from workers.dispatch import Dispatcher
from workers.refresh_counts import PAUSE

_names = count(1)


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('counts') / 'social.db'}"
    make: Callable[[], str] = request.getfixturevalue("mariadb_database")
    return make()


@pytest_asyncio.fixture(scope="module")
async def stores(url: str) -> AsyncIterator[Stores]:
    """Stores on a migrated database."""
    await migrate(url)
    opened = Stores.open(Settings(database_url=url, redis_url=MEMORY))
    yield opened
    await opened.close()


async def newcomers(stores: Stores, number: int) -> list[int]:
    async def work(connection: AsyncConnection) -> list[int]:
        return [
            await users.add(
                connection, username=f"counted{next(_names)}", name="x", email=None, password_hash="x", now=utc_now()
            )
            for _ in range(number)
        ]

    return await stores.sql.write(work)


async def a_post(stores: Stores, author: int) -> int:
    made = await written.create(stores, author, words="x", visibility="public", media=[], key=None)
    return int(made.id)


async def stored(stores: Stores, post_id: int) -> dict[str, int]:
    async with stores.sql.read() as connection:
        row = (await posts.counts(connection, [post_id]))[post_id]
    return {name: getattr(row, name) for name in posts.COUNTED}


async def rows(stores: Stores, post_id: int) -> dict[str, int]:
    async with stores.sql.read() as connection:
        return await posts.count_rows(connection, post_id)


async def settle(stores: Stores) -> None:
    """Does all the work that commits promised."""
    dispatcher = Dispatcher(stores)
    await dispatcher.hold_leases()
    for _ in range(200):
        if not await dispatcher.step():
            async with stores.sql.read() as connection:
                if not await outbox.waiting(connection, state="pending", limit=1):
                    return await dispatcher.stop()
            await asyncio.sleep(PAUSE / 4)  # what rests is looked at again, until nothing is pending
    raise AssertionError("the outbox is not done")


async def spoil(stores: Stores, post_id: int, **by: int) -> None:
    """Makes a counter wrong, as a fault of ours would."""
    await stores.sql.write(lambda c: posts.add_counts(c, post_id, by))


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_a_like_is_answered_exactly_whatever_part_of_it_is_in_the_counter_yet(stores: Stores) -> None:
    ada, *fans = await newcomers(stores, 8)
    post_id = await a_post(stores, ada)
    for number, fan in enumerate(fans[:4], 1):
        assert await likes.set_like(stores, fan, post_id, active=True) == likes.Liked(number, True)
    await settle(stores)
    assert (await stored(stores, post_id))["likes"] == 4
    for fan in fans:
        await likes.set_like(stores, fan, post_id, active=True)
    assert await likes.set_like(stores, fans[0], post_id, active=True) == likes.Liked(7, True)
    assert await likes.set_like(stores, fans[0], post_id, active=False) == likes.Liked(6, False)
    assert await likes.set_like(stores, fans[0], post_id, active=False) == likes.Liked(6, False)
    assert (await stored(stores, post_id))["likes"] == 4  # nobody has worked on the outbox meanwhile
    await settle(stores)
    assert await stored(stores, post_id) == await rows(stores, post_id) == {"likes": 6, "comments": 0, "shares": 0}
    assert await likes.set_like(stores, fans[0], post_id, active=False) == likes.Liked(6, False)


async def test_answers_are_exact_while_the_counter_is_brought_up_to_date(stores: Stores) -> None:
    """Each like comes after the answer to the one before: n likes are told as n, whatever a worker does beside."""
    ada, *fans = await newcomers(stores, 25)
    post_id = await a_post(stores, ada)
    working = asyncio.create_task(_work(stores))
    try:
        for number, fan in enumerate(fans, 1):
            assert (await likes.set_like(stores, fan, post_id, active=True)).likes == number
    finally:
        working.cancel()
        await asyncio.wait([working])
    await settle(stores)


async def _work(stores: Stores) -> None:
    dispatcher = Dispatcher(stores)
    await dispatcher.hold_leases()
    try:
        while True:
            dispatcher._resting.clear()  # as often as it can: that is when an answer might be wrong
            await dispatcher.step()
            await asyncio.sleep(0)
    finally:
        await dispatcher.stop()


async def test_likes_of_one_post_do_not_wait_for_each_other(stores: Stores) -> None:
    """Several likes are open at once, none committed: on a row that they share the second would wait for the first."""
    if stores.sql.dialect == "sqlite":
        return  # has one writer by nature
    ada, *fans = await newcomers(stores, 5)
    post_id = await a_post(stores, ada)
    all_there = asyncio.Barrier(len(fans))

    async def like(fan: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            assert await posts.set_like(connection, post_id, fan, active=True, now=utc_now())
            change = {"post_id": post_id, "likes": 1}
            await outbox.add(connection, written.aggregate(post_id), [("refresh_counts", change)], utc_now())
            assert await posts.settled_likes(connection, post_id) == 1  # the own one; nobody else's is committed
            await all_there.wait()

        await stores.sql.write(work)

    await asyncio.gather(*map(like, fans))
    await settle(stores)
    assert (await stored(stores, post_id))["likes"] == len(fans)


# --- the auditor -----------------------------------------------------------------------------------------------------


async def everything(stores: Stores) -> dict[str, Audited]:
    return {result.kind: result for result in await audit(stores, 1.0)}


def only(**ids: list[int]) -> list[Kind]:
    """The kinds, with samples that are the test's own."""

    def of(name: str) -> Callable[[Stores, float], AsyncIterator[int]]:
        async def sample(_stores: Stores, _share: float) -> AsyncIterator[int]:
            for one in ids[name]:
                yield one

        return sample

    return [replace(kind, sample=of(kind.name)) for kind in KINDS if kind.name in ids]


async def test_a_counter_that_is_wrong_is_found_named_counted_and_set_right(stores: Stores) -> None:
    ada, bela, cleo = await newcomers(stores, 3)
    good, bad = await a_post(stores, ada), await a_post(stores, ada)
    await friends.ask(stores, ada, bela)
    await friends.ask(stores, bela, ada)
    for post_id in (good, bad):
        await likes.set_like(stores, bela, post_id, active=True)
        await comments.create(stores, cleo, post_id, words="x", key=None)
    await settle(stores)
    await everything(stores)  # what other tests left behind
    versions = {}
    async with stores.sql.read() as connection:
        versions = {post_id: row.version for post_id, row in (await posts.counts(connection, [good, bad])).items()}
    await spoil(stores, bad, likes=2, comments=-1)
    await stores.sql.write(lambda c: relations.change_meta(c, [cleo], friends=5))
    await likes.set_like(stores, cleo, bad, active=True)  # promised, and not in the counter yet
    before = {kind: metrics.AUDIT_DRIFT.labels(kind)._value.get() for kind in ("counts", "friends")}
    with capture_logs() as logs:
        found = await everything(stores)
    wrong = {kind: (one.drifted, one.repaired) for kind, one in found.items() if one.drifted}
    assert wrong == {"counts": (1, 1), "friends": (1, 1)}
    assert found["counts"].checked >= 2
    assert found["friends"].checked >= 3
    after = {kind: metrics.AUDIT_DRIFT.labels(kind)._value.get() for kind in ("counts", "friends")}
    assert after == {kind: value + 1 for kind, value in before.items()}
    assert [(one["kind"], one["id"], one["fault"]) for one in logs if one["event"] == "drift"] == [
        ("counts", bad, "likes: 4 instead of 2, comments: 0 instead of 1"),
        ("friends", cleo, "friends: 5 instead of 0"),
    ]
    await settle(stores)
    assert await stored(stores, bad) == await rows(stores, bad) == {"likes": 2, "comments": 1, "shares": 0}
    async with stores.sql.read() as connection:
        now = await posts.counts(connection, [good, bad])
        assert await relations.compare_friends(connection, cleo) == (0, 0)
    assert now[bad].version > versions[bad] + 1
    assert now[good].version == versions[good]
    assert all(one.drifted == 0 for one in (await everything(stores)).values())


async def test_what_was_parked_is_settled_by_the_repair_and_cannot_count_twice(stores: Stores) -> None:
    ada, bela = await newcomers(stores, 2)
    post_id = await a_post(stores, ada)
    await settle(stores)
    await likes.set_like(stores, bela, post_id, active=True)
    of_post = schema.outbox.c.aggregate == written.aggregate(post_id)
    waits = (of_post, schema.outbox.c.state == "pending")
    await stores.sql.write(lambda c: c.execute(update(schema.outbox).where(*waits).values(state="parked")))
    result = (await everything(stores))["counts"]
    assert (result.drifted, result.repaired) == (1, 1)
    assert (await stored(stores, post_id))["likes"] == 1
    async with stores.sql.read() as connection:
        states = {row.state for row in await connection.execute(select(schema.outbox.c.state).where(of_post))}
    assert states == {"done"}


async def test_auditors_that_find_the_same_drift_repair_it_once(stores: Stores) -> None:
    [ada] = await newcomers(stores, 1)
    post_id = await a_post(stores, ada)
    await spoil(stores, post_id, likes=3)
    await stores.sql.write(lambda c: relations.change_meta(c, [ada], friends=2))
    for repair in (
        lambda c: posts.repair_counts(c, post_id, utc_now()),
        lambda c: relations.repair_friends(c, ada),
    ):
        late: list[asyncio.Task[bool]] = []

        async def first(connection: AsyncConnection, repair=repair, late=late) -> bool:
            late.clear()
            repaired = await repair(connection)
            late.append(asyncio.create_task(stores.sql.write(repair)))
            await asyncio.wait(late, timeout=0.3)  # it comes as far as it can before this one commits
            return repaired

        assert await stores.sql.write(first) is True
        assert await late[0] is False
    assert await stored(stores, post_id) == await rows(stores, post_id)
    async with stores.sql.read() as connection:
        assert await relations.compare_friends(connection, ada) == (0, 0)


async def test_nothing_drifts_and_nothing_is_repaired_while_everybody_writes(stores: Stores) -> None:
    """Likes, comments, friendships and the counters' updates go on while all of it is audited again and again."""
    await settle(stores)
    await everything(stores)
    ada, *fans = await newcomers(stores, 6)
    post_ids = [await a_post(stores, ada) for _ in range(2)]
    stop = asyncio.Event()
    rng = random.Random(4)  # noqa: S311 - the same each time

    async def act(fan: int) -> None:
        said = None
        while not stop.is_set():
            post_id, other = rng.choice(post_ids), rng.choice([one for one in fans if one != fan])
            await likes.set_like(stores, fan, post_id, active=rng.random() < 0.5)
            if said is None:
                said = int((await comments.create(stores, fan, post_id, words="x", key=None)).id)
            else:
                await comments.delete(stores, fan, said)
                said = None
            await (friends.ask if rng.random() < 0.6 else friends.remove)(stores, fan, other)

    writing = [asyncio.create_task(act(fan)) for fan in fans]
    working = asyncio.create_task(_work(stores))
    try:
        mine = only(counts=post_ids, friends=fans)
        audited = [await audit(stores, 1.0, mine) for _ in range(8)]
        repairs = [
            await stores.sql.write(lambda c, post_id=post_id: posts.repair_counts(c, post_id, utc_now()))
            for _ in range(3)
            for post_id in post_ids
        ]
        repairs += [await stores.sql.write(lambda c, fan=fan: relations.repair_friends(c, fan)) for fan in fans]
        # A drift that is there is repaired to what is right, in the middle of it all.
        for post_id in post_ids:
            await spoil(stores, post_id, likes=7, comments=3)
        found = {one.kind: (one.drifted, one.repaired) for one in await audit(stores, 1.0, mine)}
    finally:
        stop.set()
        await asyncio.gather(*writing)
        working.cancel()
        await asyncio.wait([working])
    assert [(one.drifted, one.repaired) for results in audited for one in results] == [(0, 0)] * 16
    assert not any(repairs)
    assert found == {"counts": (2, 2), "friends": (0, 0)}
    await settle(stores)
    for post_id in post_ids:
        assert await stored(stores, post_id) == await rows(stores, post_id)
    assert all(one.drifted == 0 for one in (await everything(stores)).values())


async def test_a_person_who_is_being_erased_is_no_drift_and_takes_shares_back(stores: Stores) -> None:
    ada, bela, cleo = await newcomers(stores, 3)
    shared = await a_post(stores, ada)
    now = utc_now()
    for author in (bela, cleo):
        sharing = await a_post(stores, author)
        share = insert(schema.shares).values(post_id=sharing, shared_id=shared, created_at=now)
        change = {"post_id": shared, "shares": 1}
        await stores.sql.write(lambda c, share=share: c.execute(share))
        await stores.sql.write(
            lambda c, change=change: outbox.add(c, written.aggregate(shared), [("refresh_counts", change)], utc_now())
        )
    mine = await a_post(stores, bela)
    await likes.set_like(stores, cleo, mine, active=True)
    await settle(stores)
    assert (await stored(stores, shared))["shares"] == 2
    erasing = update(schema.users).where(schema.users.c.id == bela).values(state="erasing")
    await stores.sql.write(lambda c: c.execute(erasing))
    for step in erasure.STEPS:
        while await stores.sql.write(lambda c, step=step: step(c, bela, utc_now())):
            assert all(one.drifted == 0 for one in (await everything(stores)).values())
    await settle(stores)
    assert (await stored(stores, shared))["shares"] == (await rows(stores, shared))["shares"] == 1
    assert all(one.drifted == 0 for one in (await everything(stores)).values())


async def test_a_kind_is_an_entry_and_one_that_cannot_be_repaired_stops_nobody(stores: Stores) -> None:
    async def sample(_stores: Stores, _share: float) -> AsyncIterator[int]:
        for one in (1, 2, 3):
            yield one

    async def compare(_stores: Stores, one: int) -> str | None:
        return "wrong" if one > 1 else None

    async def repair(_stores: Stores, one: int) -> bool:
        if one == 2:
            raise StoreRefused("sql", "a constraint says no")
        return True

    with capture_logs():
        [result] = await audit(stores, 0.5, [Kind("letters", sample, compare, repair)])
    assert result == Audited("letters", checked=3, drifted=2, repaired=1)
    assert [kind.name for kind in KINDS][:2] == ["counts", "friends"]


async def test_every_row_is_sampled_as_often_as_every_other(stores: Stores) -> None:
    ids = await newcomers(stores, 40)
    rng = random.Random(1)  # noqa: S311 - the same each time
    assert [one async for one in samples.sample(stores.sql, "people", 1.0, rng)][-40:] == ids
    times = dict.fromkeys(ids, 0)
    for _ in range(100):
        seen = [one async for one in samples.sample(stores.sql, "people", 0.1, rng)]
        assert len(seen) == len(set(seen))
        for one in set(seen) & set(ids):
            times[one] += 1
    assert 250 <= sum(times.values()) <= 550
    assert min(times.values()) > 0
    assert max(times.values()) < 30


async def test_the_command_says_what_it_found(stores: Stores, url: str) -> None:
    ada, bela = await newcomers(stores, 2)
    await everything(stores)
    await stores.sql.write(lambda c: relations.change_meta(c, [ada, bela], friends=2))
    with capture_logs():
        first, second, _ = await command.report(Settings(database_url=url, redis_url=MEMORY), 1.0)
    assert first.startswith("counts ")
    assert "drifted 0 · repaired 0" in first
    assert "drifted 2 · repaired 2" in second
