"""What the relational side promises on SQLite and MariaDB alike: under concurrency, at its constraints, after a kill.

Each test makes people of its own; the database is shared by the tests of a module and an engine.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from db import dialect, posts, relations, schema, users
from db.errors import DuplicateKey, MissingParent, OutcomeUnknown, StoreRefused, StoreUnavailable
from db.migrate import migrate
from db.redis import MEMORY
from db.settings import Settings
from feed import friends, idempotency, likes
from feed import posts as feed_posts
from feed.errors import Conflict, NotFound
from feed.idempotency import Key, Reused
from feed.stores import Stores
from workers.dispatch import Dispatcher

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", params=["sqlite", "mariadb"])
async def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database."""
    if request.param == "sqlite":
        made = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('stores') / 'social.db'}"
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        made = make()
    await migrate(made)
    return made


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Stores]:
    stores = Stores.open(Settings(database_url=url, redis_url=MEMORY, **settings))
    try:
        yield stores
    finally:
        await stores.close()


@pytest_asyncio.fixture(scope="module")
async def stores(url: str) -> AsyncIterator[Stores]:
    async with opened(url) as one:
        yield one


async def person(stores: Stores) -> int:
    name = f"u{next(_numbers)}"

    async def work(connection: AsyncConnection) -> int:
        return await users.add(connection, username=name, name=name, email=None, password_hash="x", now=NOW)

    return await stores.sql.write(work)


async def post(stores: Stores, author: int, visibility: Any = "public") -> int:
    made = await feed_posts.create(stores, author, words="words", visibility=visibility, media=[], key=None)
    return int(made.id)


async def rows(stores: Stores, query: Any) -> list[Any]:
    async with stores.sql.read() as connection:
        return list(await connection.execute(query))


async def metas(stores: Stores, *ids: int) -> dict[int, Any]:
    found = await rows(stores, select(schema.relation_meta).where(schema.relation_meta.c.user_id.in_(ids)))
    return {row.user_id: row for row in found}


async def dispatch_all(stores: Stores) -> None:
    """Does everything that the outbox holds, and gives the leases back."""
    dispatcher = Dispatcher(stores)
    await dispatcher.hold_leases()
    while await dispatcher.step():
        pass
    await dispatcher.stop()


# --- friendship ------------------------------------------------------------------------------------------------------


async def act(stores: Stores, deed: str, one: int, other: int) -> None:
    """One deed of one side; what the state of the moment refuses is refused in words."""
    try:
        await getattr(friends, deed)(stores, one, other)
    except (NotFound, Conflict):
        return


@pytest.mark.parametrize("seed", range(4))
async def test_a_friendship_that_both_sides_pull_at_ends_in_one_legal_state(stores: Stores, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    low, high = await person(stores), await person(stores)
    for _ in range(4):
        deeds = [chance.choice(["ask", "ask", "ask", "remove", "block", "unblock"]) for _ in range(10)]
        sides = [chance.choice([(low, high), (high, low)]) for _ in deeds]
        await asyncio.gather(*(act(stores, deed, *side) for deed, side in zip(deeds, sides, strict=True)))
        [pair] = await rows(stores, select(schema.friendships).where(schema.friendships.c.low_id == low))
        blocked = await rows(stores, select(schema.blocks).where(schema.blocks.c.blocker_id.in_((low, high))))
        assert pair.state in ("none", "requested", "friends")
        assert (pair.asked_by in (low, high)) == (pair.state == "requested")
        assert not (blocked and pair.state != "none")
        for meta in (await metas(stores, low, high)).values():
            assert meta.friends == (1 if pair.state == "friends" else 0)


async def test_asking_from_both_sides_at_once_makes_friends_once(stores: Stores) -> None:
    for _ in range(8):
        one, other = await person(stores), await person(stores)
        answers = await asyncio.gather(
            *(friends.ask(stores, one, other) for _ in range(3)), *(friends.ask(stores, other, one) for _ in range(3))
        )
        assert {answer.state for answer in answers} <= {"requested", "friends"}
        assert {meta.friends for meta in (await metas(stores, one, other)).values()} == {1}
        pair = f"pair:{one}:{other}"
        jobs = await rows(stores, select(schema.outbox.c.payload).where(schema.outbox.c.aggregate == pair))
        kinds = sorted(row.payload.split(b'"kind":"')[1].split(b'"')[0] for row in jobs)
        assert kinds == [b"friend.accepted", b"friend.accepted", b"friend.requested"]


async def test_a_ring_of_people_who_all_befriend_each_other_ends_with_everyone_counted(stores: Stores) -> None:
    people = [await person(stores) for _ in range(5)]
    couples = list(itertools.permutations(people, 2))
    await asyncio.gather(*(friends.ask(stores, one, other) for one, other in couples))
    assert {meta.friends for meta in (await metas(stores, *people)).values()} == {4}
    await asyncio.gather(*(friends.remove(stores, one, other) for one, other in couples))
    assert {meta.friends for meta in (await metas(stores, *people)).values()} == {0}


async def test_every_change_between_two_people_raises_both_versions(stores: Stores) -> None:
    one, other = await person(stores), await person(stores)
    before = {user: meta.version for user, meta in (await metas(stores, one, other)).items()}
    await friends.ask(stores, one, other)
    await friends.ask(stores, other, one)
    await friends.block(stores, one, other)
    after = {user: meta.version for user, meta in (await metas(stores, one, other)).items()}
    assert all(after[user] >= before[user] + 2 for user in (one, other))


async def test_blocks_from_both_sides_at_once_end_the_friendship_and_hide_both(stores: Stores) -> None:
    """Who is blocked meanwhile is told that there is nobody to block."""
    one, other = await person(stores), await person(stores)
    await friends.ask(stores, one, other)
    await friends.ask(stores, other, one)
    await asyncio.gather(act(stores, "block", one, other), act(stores, "block", other, one))
    assert await rows(stores, select(schema.blocks).where(schema.blocks.c.blocker_id.in_((one, other))))
    assert {meta.friends for meta in (await metas(stores, one, other)).values()} == {0}
    for asking, asked in ((one, other), (other, one)):
        with pytest.raises(NotFound):
            await friends.ask(stores, asking, asked)


async def test_the_friend_cap_is_checked_where_it_cannot_be_overtaken(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(friends, "MOST_FRIENDS", 2)
    popular, fans = await person(stores), [await person(stores) for _ in range(6)]
    for fan in fans:
        await friends.ask(stores, fan, popular)
    answers = await asyncio.gather(*(friends.ask(stores, popular, fan) for fan in fans), return_exceptions=True)
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4
    assert sum(isinstance(answer, friends.Friendship) for answer in answers) == 2
    assert (await metas(stores, popular))[popular].friends == 2


# --- likes -----------------------------------------------------------------------------------------------------------


async def test_likes_that_are_toggled_in_parallel_are_counted_as_the_rows_say(stores: Stores) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable
    author = await person(stores)
    liked, fans = await post(stores, author), [await person(stores) for _ in range(8)]
    for _ in range(3):
        toggles = [(fan, chance.random() < 0.6) for fan in fans for _ in range(3)]
        chance.shuffle(toggles)
        await asyncio.gather(*(likes.set_like(stores, fan, liked, active=active) for fan, active in toggles))
        await dispatch_all(stores)
        async with stores.sql.read() as connection:
            counted = (await posts.counts(connection, [liked]))[liked]
            exact = await posts.count_rows(connection, liked)
        assert counted.likes == exact["likes"]


async def test_one_person_who_likes_many_times_at_once_likes_once(stores: Stores) -> None:
    author, fan = await person(stores), await person(stores)
    for _ in range(4):
        liked = await post(stores, author)
        answers = await asyncio.gather(*(likes.set_like(stores, fan, liked, active=True) for _ in range(8)))
        assert {answer.liked for answer in answers} == {True}
        assert {answer.likes for answer in answers} == {1}
        jobs = select(func.count()).where(
            schema.outbox.c.aggregate == f"post:{liked}", schema.outbox.c.job == "refresh_counts"
        )
        assert (await rows(stores, jobs))[0][0] == 1


# --- idempotency -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _no_queue(_key: Key) -> AsyncIterator[None]:
    yield


async def test_one_key_in_two_processes_is_one_row(url: str, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the queue inside a process, which two processes do not share: only the unique row decides."""
    monkeypatch.setattr(idempotency, "_single_flight", _no_queue)
    author = await person(stores)
    async with opened(url) as second:
        for number in range(3):
            key = Key(author, f"key-{number}", b"h" * 32)
            made = await asyncio.gather(
                *(
                    feed_posts.create(process, author, words="once", visibility="friends", media=[], key=key)
                    for process in (stores, second) * 4
                )
            )
            assert len({one.id for one in made}) == 1
    found = await rows(stores, select(schema.posts.c.id).where(schema.posts.c.author_id == author))
    assert len(found) == 3
    jobs = schema.outbox.c.aggregate.in_([f"post:{row.id}" for row in found])
    assert len(await rows(stores, select(schema.outbox.c.id).where(jobs))) == 3


async def test_a_key_that_is_used_for_something_else_is_refused_and_writes_nothing(stores: Stores) -> None:
    author = await person(stores)
    options: dict[str, Any] = {"words": "x", "visibility": "friends", "media": []}
    await feed_posts.create(stores, author, key=Key(author, "k", b"a" * 32), **options)
    with pytest.raises(Reused):
        await feed_posts.create(stores, author, key=Key(author, "k", b"b" * 32), **options)
    assert len(await rows(stores, select(schema.posts.c.id).where(schema.posts.c.author_id == author))) == 1


async def test_keys_of_two_people_and_of_other_letters_do_not_meet(stores: Stores) -> None:
    one, other = await person(stores), await person(stores)
    made = [
        await feed_posts.create(
            stores, author, words="x", visibility="friends", media=[], key=Key(author, name, b"a" * 32)
        )
        for author, name in ((one, "key"), (one, "KEY"), (one, "k\u00e9y"), (other, "key"))
    ]
    assert len({post.id for post in made}) == 4


async def test_nothing_waits_for_a_key_once_its_requests_are_over(stores: Stores) -> None:
    author = await person(stores)
    key = Key(author, "k", b"a" * 32)
    await asyncio.gather(
        *(feed_posts.create(stores, author, words="x", visibility="friends", media=[], key=key) for _ in range(5))
    )
    assert (author, "k") not in idempotency._waiting


# --- constraints -----------------------------------------------------------------------------------------------------


class Given(SimpleNamespace):
    """Two people and a post, and rows that only their ids make wrong."""

    low: int
    high: int
    post: int


@pytest_asyncio.fixture
async def given(stores: Stores) -> Given:
    low, high = await person(stores), await person(stores)
    return Given(low=low, high=high, post=await post(stores, low))


def friendship(low: int, high: int, **values: Any) -> Any:
    row = {"low_id": low, "high_id": high, "state": "none", "version": 1, "changed_at": NOW, **values}
    return insert(schema.friendships).values(**row)


REFUSED: dict[str, Callable[[Given], Any]] = {
    "the pair in the other order": lambda g: friendship(g.high, g.low),
    "a friend of oneself": lambda g: friendship(g.low, g.low),
    "a state that is none": lambda g: friendship(g.low, g.high, state="married"),
    "asked by a third person": lambda g: friendship(g.low, g.high, state="requested", asked_by=g.high + 1_000),
    "a block of oneself": lambda g: insert(schema.blocks).values(blocker_id=g.low, blocked_id=g.low, created_at=NOW),
    "a visibility that is none": lambda g: insert(schema.posts).values(
        author_id=g.low, text="x", visibility="secret", version=1, created_at=NOW
    ),
    "fewer likes than none": lambda g: (
        schema.post_counts.update().where(schema.post_counts.c.post_id == g.post).values(likes=-1)
    ),
    "fewer friends than none": lambda g: (
        schema.relation_meta.update().where(schema.relation_meta.c.user_id == g.low).values(friends=-1)
    ),
    "a share of itself": lambda g: insert(schema.shares).values(post_id=g.post, shared_id=g.post, created_at=NOW),
    "an account in no state": lambda g: schema.users.update().where(schema.users.c.id == g.low).values(state="odd"),
    "a post without text": lambda g: insert(schema.posts).values(
        author_id=g.low, text=None, visibility="public", version=1, created_at=NOW
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_row_that_cannot_be_is_refused_as_our_own_mistake(stores: Stores, given: Given, what: str) -> None:
    statement = REFUSED[what](given)
    with pytest.raises(StoreRefused):
        await stores.sql.write(lambda connection: connection.execute(statement))


ORPHANS: dict[str, Callable[[Given], Any]] = {
    "a post of nobody": lambda g: insert(schema.posts).values(
        author_id=g.high + 1_000, text="x", visibility="public", version=1, created_at=NOW
    ),
    "a comment on nothing": lambda g: insert(schema.comments).values(
        post_id=g.post + 1_000, author_id=g.low, text="x", version=1, created_at=NOW
    ),
    "a like of nothing": lambda g: insert(schema.likes).values(
        post_id=g.post + 1_000, user_id=g.low, active=True, changed_at=NOW
    ),
    "a friend who is not there": lambda g: friendship(g.low, g.high + 1_000),
    "a block of nobody": lambda g: insert(schema.blocks).values(
        blocker_id=g.low, blocked_id=g.high + 1_000, created_at=NOW
    ),
    "an author with posts removed": lambda g: schema.users.delete().where(schema.users.c.id == g.low),
}


@pytest.mark.parametrize("what", ORPHANS)
async def test_a_row_without_its_parent_is_refused(stores: Stores, given: Given, what: str) -> None:
    statement = ORPHANS[what](given)
    with pytest.raises(MissingParent):
        await stores.sql.write(lambda connection: connection.execute(statement))


TWICE: dict[str, tuple[Callable[[Given], Any], str]] = {
    "a pair": (lambda g: friendship(g.low, g.high), ""),
    "a block": (
        lambda g: insert(schema.blocks).values(blocker_id=g.low, blocked_id=g.high, created_at=NOW),
        "",
    ),
    "a like": (
        lambda g: insert(schema.likes).values(post_id=g.post, user_id=g.high, active=True, changed_at=NOW),
        "",
    ),
    "a username": (
        lambda g: insert(schema.users).values(
            username=f"twice{g.low}",
            name="x",
            bio="",
            password_hash="x",
            locale="en",
            timezone="UTC",
            state="active",
            version=1,
            created_at=NOW,
        ),
        "username",
    ),
}


@pytest.mark.parametrize("what", TWICE)
async def test_what_is_unique_is_refused_the_second_time(stores: Stores, given: Given, what: str) -> None:
    make, constraint = TWICE[what]
    statement = make(given)
    await stores.sql.write(lambda connection: connection.execute(statement))
    with pytest.raises(DuplicateKey) as caught:
        await stores.sql.write(lambda connection: connection.execute(statement))
    assert caught.value.constraint
    assert constraint in caught.value.constraint


async def test_a_refused_statement_takes_its_whole_transaction_back(stores: Stores, given: Given) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(schema.users.update().where(schema.users.c.id == given.low).values(bio="changed"))
        await connection.execute(ORPHANS["a post of nobody"](given))

    with pytest.raises(MissingParent):
        await stores.sql.write(work)
    [row] = await rows(stores, select(schema.users.c.bio).where(schema.users.c.id == given.low))
    assert row.bio == ""


async def test_an_error_of_the_work_itself_takes_its_transaction_back_and_comes_out_as_it_is(
    stores: Stores, given: Given
) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(schema.users.update().where(schema.users.c.id == given.low).values(bio="changed"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stores.sql.write(work)
    [row] = await rows(stores, select(schema.users.c.bio).where(schema.users.c.id == given.low))
    assert row.bio == ""


async def test_opposite_lock_orders_end_in_two_commits(stores: Stores) -> None:
    """A deadlock is run again by `Database.write`; on SQLite there is one writer and nothing to run again."""
    one, other = await person(stores), await person(stores)
    runs = 0
    table = schema.relation_meta

    async def cross(first: int, second: int, mine: asyncio.Event, theirs: asyncio.Event) -> None:
        async def work(connection: AsyncConnection) -> None:
            nonlocal runs
            runs += 1
            await connection.execute(table.update().where(table.c.user_id == first).values(version=table.c.version + 1))
            mine.set()
            if stores.sql.dialect == "mysql":
                await theirs.wait()
            await connection.execute(
                table.update().where(table.c.user_id == second).values(version=table.c.version + 1)
            )

        await stores.sql.write(work)

    here, there = asyncio.Event(), asyncio.Event()
    await asyncio.gather(cross(one, other, here, there), cross(other, one, there, here))
    assert {meta.version for meta in (await metas(stores, one, other)).values()} == {3}
    assert runs == (3 if stores.sql.dialect == "mysql" else 2)


# --- a killed connection ---------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def mariadb(mariadb_database: Callable[[], str]) -> str:
    """A migrated MariaDB database for the tests that kill."""
    made = mariadb_database()
    await migrate(made)
    return made


async def kill(url: str, connection_id: int) -> None:
    async with opened(url, database_pool=1) as other:
        await other.sql.write(lambda connection: connection.execute(text(f"KILL {connection_id}")))


async def own_id(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT CONNECTION_ID()"))).scalar_one())


async def test_an_idle_connection_that_was_killed_is_replaced_before_anyone_notices(
    mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "TRUSTED", 0.0)  # as if the reader's had been idle for longer
    async with opened(mariadb, database_pool=1) as stores:
        writer = await stores.sql.write(own_id)
        async with stores.sql.read() as connection:
            reader = await own_id(connection)
        await kill(mariadb, writer)
        await kill(mariadb, reader)
        assert await stores.sql.write(own_id) != writer
        async with stores.sql.read() as connection:
            assert await own_id(connection) != reader


async def test_a_connection_that_was_just_read_with_is_not_asked_whether_it_lives(
    mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "TRUSTED", 3600.0)
    async with opened(mariadb, database_pool=1) as stores:
        writer = await stores.sql.write(own_id)
        async with stores.sql.read() as connection:
            reader = await own_id(connection)
        await kill(mariadb, writer)
        await kill(mariadb, reader)
        assert await stores.sql.write(own_id) != writer, "a writing one is always asked"
        with pytest.raises(StoreUnavailable):
            async with stores.sql.read() as connection:
                await own_id(connection)
        async with stores.sql.read() as connection:
            assert await own_id(connection) != reader


async def refused_kill(
    mariadb: str,
    before: Callable[[AsyncConnection], Awaitable[None]],
    after: Callable[[AsyncConnection], Awaitable[Any]],
) -> tuple[Exception, int]:
    """(what a write raises whose connection is killed half-way, rows that it left)."""
    async with opened(mariadb, database_pool=1) as stores:
        user = await person(stores)
        users_before = len(await rows(stores, select(schema.users.c.id)))

        async def work(connection: AsyncConnection) -> None:
            await users.change(connection, user, bio="changed")
            await users.add(connection, username=f"k{next(_numbers)}", name="x", email=None, password_hash="x", now=NOW)
            await before(connection)
            await after(connection)

        with pytest.raises(StoreUnavailable) as caught:
            await stores.sql.write(work)
        return caught.value, len(await rows(stores, select(schema.users.c.id))) - users_before


async def test_a_connection_that_is_killed_in_a_transaction_leaves_nothing_behind(mariadb: str) -> None:
    async def before(connection: AsyncConnection) -> None:
        await kill(mariadb, await own_id(connection))

    async def after(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))

    error, left = await refused_kill(mariadb, before, after)
    assert type(error) is StoreUnavailable
    assert left == 0


async def test_a_connection_that_is_killed_at_commit_leaves_the_outcome_open(mariadb: str) -> None:
    async def before(connection: AsyncConnection) -> None:
        await kill(mariadb, await own_id(connection))

    async def after(_connection: AsyncConnection) -> None:
        return

    error, left = await refused_kill(mariadb, before, after)
    assert type(error) is OutcomeUnknown
    assert left == 0


async def test_a_commit_that_is_not_answered_in_time_leaves_the_outcome_open(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await person(stores)

    async def silent(_transaction: AsyncTransaction) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr("db.engine.TRANSACTION_WITHIN", 0.3)
        patch.setattr(AsyncTransaction, "commit", silent)
        with pytest.raises(StoreUnavailable) as caught:
            await stores.sql.write(lambda connection: users.change(connection, user, bio="changed"))
    assert type(caught.value) is OutcomeUnknown


async def test_a_lock_that_is_never_given_back_is_a_store_out_of_reach_and_not_a_hang(
    mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.dialect.LOCK_WAIT", 1)
    monkeypatch.setattr("db.engine.ATTEMPTS", 1)
    async with opened(mariadb) as stores:
        user = await person(stores)

        async def hold(connection: AsyncConnection) -> None:
            await users.lock(connection, user)
            with pytest.raises(StoreUnavailable):
                await stores.sql.write(lambda other: users.lock(other, user))

        async with asyncio.timeout(10):
            await stores.sql.write(hold)


async def test_a_pair_is_locked_by_whoever_comes_first(mariadb: str) -> None:
    async with opened(mariadb) as stores:
        one, other = await person(stores), await person(stores)
        order: list[str] = []
        locked, go = asyncio.Event(), asyncio.Event()

        async def first(connection: AsyncConnection) -> None:
            await relations.lock_pair(connection, one, other, NOW)
            locked.set()
            await go.wait()
            order.append("first")

        async def second(connection: AsyncConnection) -> None:
            await relations.lock_pair(connection, other, one, NOW)
            order.append("second")

        holding = asyncio.create_task(stores.sql.write(first))
        await locked.wait()
        waiting = asyncio.create_task(stores.sql.write(second))
        await asyncio.sleep(0.1)
        go.set()
        await asyncio.gather(holding, waiting)
        assert order == ["first", "second"]
