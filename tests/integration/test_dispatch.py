"""The dispatcher on SQLite and MariaDB: order inside an aggregate, patience, leases, and no effect twice.

Jobs and the clock are the test's own. Every test begins with an empty outbox and without any lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from db import outbox, posts, schema, users
from db.errors import StoreUnavailable
from db.migrate import migrate
from db.redis import MEMORY
from db.settings import Settings
from feed.stores import Stores
from workers import dispatch, refresh_counts
from workers.dispatch import BACKOFF, BATCH, LEASE, PARK_AFTER, Dispatcher
from workers.jobs import Job, Task
from workers.refresh_counts import PAUSE

START = datetime(2026, 11, 21, 3, tzinfo=UTC)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Desk:
    """An outbox, the jobs of the test, and what they did."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self.stores = stores
        self.clock = clock
        self.jobs: dict[str, Job] = {}
        self.done: list[tuple[str, int]] = []
        self.faults: dict[str, Exception] = {}

    def job(self, name: str = "note") -> str:
        """A job that notes (aggregate, number) and fails while `faults` names its aggregate."""

        async def each(_stores: Stores, task: Task) -> None:
            if task.aggregate in self.faults:
                raise self.faults[task.aggregate]
            self.done.append((task.aggregate, task.payload["n"]))

        self.jobs[name] = Job(each=each)
        return name

    async def promise(self, aggregate: str, *numbers: int, job: str = "note", **payload: Any) -> None:
        """One row per number."""
        tasks = [(job, {"n": number, **payload}) for number in numbers]
        await self.stores.sql.write(lambda c: outbox.add(c, aggregate, tasks, self.clock()))

    async def rows(self, *columns: Any) -> list[Any]:
        async with self.stores.sql.read() as connection:
            return list(await connection.execute(select(*(columns or (schema.outbox,))).order_by(schema.outbox.c.id)))

    async def states(self, aggregate: str) -> list[str]:
        return [row.state for row in await self.rows() if row.aggregate == aggregate]

    async def change(self, statement: Any) -> None:
        await self.stores.sql.write(lambda connection: connection.execute(statement))

    async def steal(self, owner: str = "somebody else") -> None:
        """Another worker takes every lease, as it may once they have expired."""
        await self.change(update(schema.outbox_leases).values(owner=owner, fence=schema.outbox_leases.c.fence + 1))


async def look(dispatcher: Dispatcher, times: int = 1) -> int:
    """Looks with leases that are renewed now, as after a third of their life."""
    attempted = 0
    for _ in range(times):
        await dispatcher.hold_leases()
        attempted += await dispatcher.step()
    return attempted


@pytest_asyncio.fixture(scope="module", params=["sqlite", "mariadb"])
async def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Stores on a migrated database."""
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('dispatch') / 'social.db'}"
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        url = make()
    await migrate(url)
    stores = Stores.open(Settings(database_url=url, redis_url=MEMORY))
    yield stores
    await stores.close()


@pytest_asyncio.fixture
async def desk(opened: Stores, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    for table in (schema.outbox, schema.outbox_workers):
        await opened.sql.write(lambda c, table=table: c.execute(delete(table)))
    long_ago = datetime(1970, 1, 2, tzinfo=UTC)
    free = update(schema.outbox_leases).values(owner="", fence=0, expires_at=long_ago)
    await opened.sql.write(lambda c: c.execute(free))
    clock = Clock()
    desk = Desk(replace(opened, clock=clock), clock)
    monkeypatch.setattr(dispatch, "table", lambda: desk.jobs)
    with capture_logs():  # a failing task is logged with its stack: half a second of rendering each
        yield desk


# --- order -----------------------------------------------------------------------------------------------------------


async def test_tasks_of_an_aggregate_are_done_in_the_order_of_their_commits(desk: Desk) -> None:
    desk.job()
    for number in range(5):
        await desk.promise("post:1", number)
        await desk.promise("post:2", number)
    assert await look(Dispatcher(desk.stores)) == 10
    assert [n for aggregate, n in desk.done if aggregate == "post:1"] == [0, 1, 2, 3, 4]
    assert [n for aggregate, n in desk.done if aggregate == "post:2"] == [0, 1, 2, 3, 4]
    assert {row.state for row in await desk.rows()} == {"done"}


async def test_inside_an_aggregate_one_task_ends_before_the_next_begins(desk: Desk) -> None:
    inside: dict[str, int] = {}
    most: dict[str, int] = {}

    async def each(_stores: Stores, task: Task) -> None:
        inside[task.aggregate] = inside.get(task.aggregate, 0) + 1
        everyone = sum(inside.values())
        most["together"] = max(most.get("together", 0), everyone)
        most[task.aggregate] = max(most.get(task.aggregate, 0), inside[task.aggregate])
        await asyncio.sleep(0)
        inside[task.aggregate] -= 1

    desk.jobs["note"] = Job(each=each)
    for aggregate in ("post:1", "post:2", "post:3"):
        await desk.promise(aggregate, *range(4))
    await look(Dispatcher(desk.stores))
    assert (most["post:1"], most["post:2"], most["post:3"]) == (1, 1, 1)
    assert most["together"] > 1


async def test_what_is_done_is_not_done_again(desk: Desk) -> None:
    desk.job()
    await desk.promise("post:1", 1)
    dispatcher = Dispatcher(desk.stores)
    assert await look(dispatcher) == 1
    assert await look(dispatcher) == 0
    assert desk.done == [("post:1", 1)]


async def test_a_failing_task_holds_back_its_own_aggregate_and_no_other(desk: Desk) -> None:
    desk.job()
    desk.faults["post:1"] = ValueError("broken")
    await desk.promise("post:1", 1, 2)
    await desk.promise("post:2", 1)
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher, 3)
    assert desk.done == [("post:2", 1)]
    assert await desk.states("post:1") == ["pending", "pending"]
    desk.faults.clear()
    desk.clock.forward(BACKOFF[1])
    await look(dispatcher)
    assert desk.done == [("post:2", 1), ("post:1", 1), ("post:1", 2)]


@pytest.mark.parametrize("job", ["note", "of_tomorrow"])
async def test_a_crowd_that_is_held_back_does_not_hold_back_other_aggregates(desk: Desk, job: str) -> None:
    desk.job()
    desk.faults["post:1"] = ValueError("broken")
    await desk.promise("post:1", *range(BATCH + 10), job=job)
    await desk.promise("post:2", 1)
    await look(Dispatcher(desk.stores), 3)
    assert desk.done == [("post:2", 1)]


async def test_a_task_that_waits_for_its_time_waits_with_all_behind_it(desk: Desk) -> None:
    desk.job()
    await desk.promise("post:1", 1, 2)
    first = (await desk.rows())[0]
    later = START + timedelta(seconds=30)
    await desk.change(update(schema.outbox).where(schema.outbox.c.id == first.id).values(due_at=later))
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher)
    assert desk.done == []
    desk.clock.forward(30)
    await look(dispatcher)
    assert desk.done == [("post:1", 1), ("post:1", 2)]


# --- patience --------------------------------------------------------------------------------------------------------


async def test_pauses_double_until_the_task_is_parked_with_its_fault(desk: Desk) -> None:
    desk.job()
    desk.faults["post:1"] = ValueError("the fault, in words")
    await desk.promise("post:1", 1, 2)
    dispatcher = Dispatcher(desk.stores)
    pauses: list[float] = []
    for attempt in range(1, PARK_AFTER + 1):
        assert await look(dispatcher) == 2
        first = (await desk.rows())[0]
        assert first.attempts == attempt
        pauses.append((first.due_at - desk.clock()).total_seconds())
        assert await look(dispatcher) == 0  # not before its time
        desk.clock.forward(pauses[-1])
    assert pauses == [min(BACKOFF[0] * 2**n, BACKOFF[1]) for n in range(PARK_AFTER)]
    first, second = await desk.rows()
    assert (first.state, first.fault) == ("parked", "ValueError: the fault, in words")
    assert (second.state, second.attempts) == ("pending", 0)
    desk.faults.clear()
    desk.clock.forward(3600)
    await desk.promise("post:2", 1)
    await look(dispatcher)
    assert desk.done == [("post:2", 1)]


async def test_a_passing_fault_is_tried_for_ever(desk: Desk) -> None:
    desk.job()
    desk.faults["post:1"] = StoreUnavailable("redis", "gone")
    await desk.promise("post:1", 1)
    dispatcher = Dispatcher(desk.stores)
    for _ in range(PARK_AFTER + 5):
        await look(dispatcher)
        desk.clock.forward(BACKOFF[1])
    assert await desk.states("post:1") == ["pending"]
    desk.faults.clear()
    await look(dispatcher)
    assert desk.done == [("post:1", 1)]


async def test_a_fault_of_any_length_is_kept_as_far_as_it_fits(desk: Desk) -> None:
    desk.job()
    desk.faults["post:1"] = ValueError("\U0001f600" * 2000)
    await desk.promise("post:1", 1)
    await look(Dispatcher(desk.stores))
    [row] = await desk.rows()
    assert len(row.fault) == 500


async def test_a_task_that_says_more_is_called_again_and_what_is_behind_it_waits(desk: Desk) -> None:
    slices: list[int] = []

    async def long(_stores: Stores, task: Task) -> bool:
        slices.append(task.payload["n"])
        return len(slices) < 3

    desk.jobs["long"] = Job(each=long)
    desk.job()
    await desk.promise("user:1", 7, job="long")
    await desk.promise("user:1", 8)
    await desk.promise("user:2", 9)
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher)
    assert (slices, desk.done) == ([7], [("user:2", 9)])
    await look(dispatcher, 2)
    assert (slices, desk.done) == ([7, 7, 7], [("user:2", 9), ("user:1", 8)])
    assert await desk.states("user:1") == ["done", "done"]


async def test_a_job_of_a_newer_release_is_left_alone_with_its_aggregate(desk: Desk) -> None:
    desk.job()
    await desk.promise("post:1", 1)
    await desk.promise("post:1", 2, job="of_tomorrow")
    await desk.promise("post:1", 3)
    await desk.promise("post:2", 4)
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher, 2)
    assert desk.done == [("post:1", 1), ("post:2", 4)]
    left = [row for row in await desk.rows() if row.state != "done"]
    assert [(row.state, row.attempts, row.fault) for row in left] == [("pending", 0, None)] * 2
    desk.job("of_tomorrow")
    await look(dispatcher)
    assert desk.done[2:] == [("post:1", 2), ("post:1", 3)]


# --- batches ---------------------------------------------------------------------------------------------------------


async def a_post(stores: Stores) -> int:
    async def work(connection: AsyncConnection) -> int:
        name = f"d{datetime.now(UTC).timestamp()}".replace(".", "")[:30]
        author = await users.add(connection, username=name, name="x", email=None, password_hash="x", now=START)
        return await posts.add(connection, author_id=author, text="x", visibility="public", now=START)

    return await stores.sql.write(work)


async def counts(stores: Stores, post_id: int) -> tuple[int, int]:
    """(likes, version)."""
    async with stores.sql.read() as connection:
        row = (await posts.counts(connection, [post_id]))[post_id]
    return row.likes, row.version


@pytest.fixture
def real_counts(desk: Desk) -> None:
    desk.jobs["refresh_counts"] = Job(within=refresh_counts.write, after=refresh_counts.announce, pause=PAUSE)


async def like(desk: Desk, post_id: int, times: int, change: int = 1) -> None:
    tasks = [("refresh_counts", {"post_id": post_id, "likes": change})] * times
    await desk.stores.sql.write(lambda c: outbox.add(c, f"post:{post_id}", tasks, desk.clock()))


@pytest.mark.usefixtures("real_counts")
async def test_three_hundred_likes_are_one_step_of_the_counter(desk: Desk) -> None:
    first, second = await a_post(desk.stores), await a_post(desk.stores)
    await like(desk, first, 300)
    await like(desk, second, 3)
    await like(desk, second, 3, change=-1)
    before, untouched = await counts(desk.stores, first), await counts(desk.stores, second)
    assert await look(Dispatcher(desk.stores)) == 306
    assert await counts(desk.stores, first) == (300, before[1] + 1)
    assert await counts(desk.stores, second) == untouched
    assert {row.state for row in await desk.rows()} == {"done"}


@pytest.mark.usefixtures("real_counts")
async def test_the_announcement_follows_the_commit_and_its_loss_costs_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_id = await a_post(desk.stores)
    await like(desk, post_id, 2)
    seen: list[tuple[int, int]] = []

    async def after(stores: Stores, _tasks: Sequence[Task]) -> None:
        seen.append(await counts(stores, post_id))
        raise StoreUnavailable("redis", "gone")

    desk.jobs["refresh_counts"] = Job(within=refresh_counts.write, after=after)
    dispatcher = Dispatcher(desk.stores)
    assert await look(dispatcher, 2) == 2
    assert [likes for likes, _ in seen] == [2]
    assert (await counts(desk.stores, post_id))[0] == 2


async def test_a_batch_that_fails_is_taken_apart_and_only_the_faulty_aggregate_waits(desk: Desk) -> None:
    together: list[int] = []

    async def within(_connection: AsyncConnection, tasks: Sequence[Task]) -> None:
        if any(task.aggregate == "post:2" for task in tasks):
            raise ValueError("post 2 is broken")
        together.append(len(tasks))

    desk.jobs["sum"] = Job(within=within)
    for aggregate in ("post:1", "post:2", "post:3"):
        await desk.promise(aggregate, 1, 2, job="sum")
    await look(Dispatcher(desk.stores))
    assert together == [2, 2]
    assert await desk.states("post:1") == await desk.states("post:3") == ["done", "done"]
    assert await desk.states("post:2") == ["pending", "pending"]
    assert {row.attempts for row in await desk.rows() if row.aggregate == "post:2"} == {1}


@pytest.mark.usefixtures("real_counts")
async def test_a_counter_that_its_constraint_refuses_stops_neither_others_nor_the_worker(desk: Desk) -> None:
    bad, good = await a_post(desk.stores), await a_post(desk.stores)
    await like(desk, bad, 1, change=-1)
    await like(desk, good, 1)
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher)
    assert (await counts(desk.stores, good))[0] == 1
    assert (await counts(desk.stores, bad))[0] == 0
    assert await desk.states(f"post:{bad}") == ["pending"]
    assert (await desk.rows())[0].attempts == 1


# --- rest ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real_counts")
async def test_a_counter_rests_between_two_updates_and_then_takes_all_that_waits(desk: Desk) -> None:
    post_id = await a_post(desk.stores)
    dispatcher = Dispatcher(desk.stores)
    version = (await counts(desk.stores, post_id))[1]
    await like(desk, post_id, 1)
    await look(dispatcher)
    assert await counts(desk.stores, post_id) == (1, version + 1)
    many = BATCH + outbox.NAMED + 1  # more than one look used to take, and than one statement names
    await like(desk, post_id, many)
    desk.clock.forward(PAUSE * 0.9)
    assert await look(dispatcher, 3) == 0
    assert await counts(desk.stores, post_id) == (1, version + 1)
    desk.clock.forward(PAUSE * 0.1)
    assert await look(dispatcher) == many
    assert await counts(desk.stores, post_id) == (1 + many, version + 2)


@pytest.mark.usefixtures("real_counts")
async def test_a_storm_of_likes_is_at_most_ten_updates_a_second(desk: Desk) -> None:
    post_id = await a_post(desk.stores)
    dispatcher = Dispatcher(desk.stores)
    version = (await counts(desk.stores, post_id))[1]
    for _ in range(50):
        await like(desk, post_id, 20)
        await dispatcher.hold_leases()
        await dispatcher.step()
        desk.clock.forward(0.02)
    assert 5 <= (await counts(desk.stores, post_id))[1] - version <= 10
    desk.clock.forward(PAUSE)
    await look(dispatcher)
    assert (await counts(desk.stores, post_id))[0] == 1000


@pytest.mark.usefixtures("real_counts")
async def test_a_resting_crowd_fills_nobodys_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "TOGETHER", 5)
    monkeypatch.setattr(dispatch, "BATCH", 5)
    desk.job()
    hot, other = await a_post(desk.stores), await a_post(desk.stores)
    dispatcher = Dispatcher(desk.stores)
    await like(desk, hot, 1)
    await look(dispatcher)
    await like(desk, hot, 20)
    await like(desk, other, 2)
    await desk.promise(f"post:{hot}", 1)
    await desk.promise("post:0", 2)
    assert await look(dispatcher) == 4
    assert desk.done == [(f"post:{hot}", 1), ("post:0", 2)]
    assert [(await counts(desk.stores, post_id))[0] for post_id in (hot, other)] == [1, 2]


@pytest.mark.usefixtures("real_counts")
async def test_what_waits_for_the_end_of_a_rest_outlives_the_worker(desk: Desk) -> None:
    post_id = await a_post(desk.stores)
    killed, heir = Dispatcher(desk.stores), Dispatcher(desk.stores)
    await like(desk, post_id, 1)
    await look(killed)
    await like(desk, post_id, 30)
    assert await look(killed) == 0
    desk.clock.forward(LEASE + 1)  # it does nothing more, and gives nothing back
    await look(heir)
    assert (await counts(desk.stores, post_id))[0] == 31


@pytest.mark.usefixtures("real_counts")
async def test_the_end_of_a_rest_wakes_the_dispatcher(
    opened: Stores, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a poll nor a nudge comes: only the end of the rest is left to wake it."""
    monkeypatch.setattr(dispatch, "POLL", 3600.0)
    post_id = await a_post(desk.stores)
    dispatcher = Dispatcher(opened)  # on real time
    await dispatcher.hold_leases()
    dispatcher._rest("refresh_counts", [f"post:{post_id}"])
    await like(desk, post_id, 3)
    counted = asyncio.Event()

    async def after(_stores: Stores, _tasks: Sequence[Task]) -> None:
        counted.set()

    dispatcher._jobs["refresh_counts"] = replace(desk.jobs["refresh_counts"], after=after)
    running = asyncio.create_task(dispatcher.run())
    try:
        async with asyncio.timeout(10):
            await counted.wait()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert (await counts(desk.stores, post_id))[0] == 3


# --- leases ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real_counts")
async def test_a_batch_whose_lease_was_lost_leaves_no_trace(desk: Desk) -> None:
    post_id = await a_post(desk.stores)
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher)
    await like(desk, post_id, 3)
    before = await counts(desk.stores, post_id)
    await desk.steal()
    await dispatcher.step()
    assert await counts(desk.stores, post_id) == before
    assert await desk.states(f"post:{post_id}") == ["pending"] * 3


@pytest.mark.usefixtures("real_counts")
async def test_a_lease_of_the_same_owner_with_another_fence_is_lost_too(desk: Desk) -> None:
    post_id = await a_post(desk.stores)
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher)
    await like(desk, post_id, 1)
    await desk.steal(dispatcher.owner)
    await dispatcher.step()
    assert await desk.states(f"post:{post_id}") == ["pending"]
    await look(dispatcher)
    assert (await counts(desk.stores, post_id))[0] == 1


async def test_a_task_that_is_done_under_a_lost_lease_is_done_again_by_the_owner(desk: Desk) -> None:
    desk.job()
    dispatcher = Dispatcher(desk.stores)
    await look(dispatcher)
    await desk.promise("post:1", 1)
    await desk.steal()
    await dispatcher.step()
    assert desk.done == [("post:1", 1)]
    assert await desk.states("post:1") == ["pending"]


async def test_a_late_failure_does_not_reopen_what_the_new_owner_has_done(desk: Desk) -> None:
    """A worker sleeps through its lease inside a task; another one does it; then the first one's attempt fails."""

    async def each(_stores: Stores, task: Task) -> None:
        await desk.steal()
        await desk.change(update(schema.outbox).where(schema.outbox.c.id == task.id).values(state="done"))
        raise ValueError("woke up too late")

    desk.jobs["note"] = Job(each=each)
    await desk.promise("post:1", 1)
    await look(Dispatcher(desk.stores))
    assert await desk.states("post:1") == ["done"]


async def test_two_workers_share_the_partitions_and_do_everything_once(desk: Desk) -> None:
    desk.job()
    first, second = Dispatcher(desk.stores), Dispatcher(desk.stores)
    await look(first)
    assert len(first._fences) == outbox.PARTITIONS
    await look(second)
    await look(first)
    await look(second)
    assert len(first._fences) == len(second._fences) == outbox.PARTITIONS // 2
    assert not set(first._fences) & set(second._fences)
    promised = [(f"post:{number}", n) for number in range(60) for n in (1, 2)]
    for aggregate, n in promised:
        await desk.promise(aggregate, n)
    attempted = await asyncio.gather(look(first), look(second))
    assert all(attempted)
    assert sorted(desk.done) == sorted(promised)
    assert {row.state for row in await desk.rows()} == {"done"}


async def test_two_workers_that_start_at_the_same_moment_both_live(desk: Desk) -> None:
    desk.job()
    for number in range(20):
        await desk.promise(f"post:{number}", 1)
    workers = [Dispatcher(desk.stores) for _ in range(4)]
    await asyncio.gather(*(look(worker) for worker in workers))
    for _ in range(2):
        await asyncio.gather(*(look(worker) for worker in workers))
    held = [partition for worker in workers for partition in worker._fences]
    assert sorted(held) == list(range(outbox.PARTITIONS))
    assert {n for _, n in desk.done} == {1}
    assert {aggregate for aggregate, _ in desk.done} == {f"post:{number}" for number in range(20)}


@pytest.mark.usefixtures("real_counts")
async def test_effects_happen_once_while_leases_move_from_hand_to_hand(desk: Desk) -> None:
    post_ids = [await a_post(desk.stores) for _ in range(6)]
    workers = [Dispatcher(desk.stores) for _ in range(3)]
    for worker in workers:
        await look(worker)
    for round_ in range(8):
        for post_id in post_ids:
            await like(desk, post_id, 2)
        await asyncio.gather(*(worker.step() for worker in workers))
        desk.clock.forward(PAUSE)
        if round_ % 3 == 2:
            desk.clock.forward(LEASE + 1)  # everybody's leases run out; whoever looks first takes over
            for worker in reversed(workers):
                await look(worker)
    for _ in range(6):
        await asyncio.gather(*(look(worker) for worker in workers))
        desk.clock.forward(PAUSE)
    assert [(await counts(desk.stores, post_id))[0] for post_id in post_ids] == [16] * 6
    assert {row.state for row in await desk.rows()} == {"done"}


async def test_the_partitions_of_a_killed_worker_are_taken_over_when_its_lease_ends(desk: Desk) -> None:
    desk.job()
    killed, heir = Dispatcher(desk.stores), Dispatcher(desk.stores)
    await look(killed)
    killed._fences = {}  # it does nothing more, and gives nothing back
    await desk.promise("post:1", 1)
    desk.clock.forward(LEASE - 0.1)
    assert await look(heir) == 0
    desk.clock.forward(0.2)
    assert await look(heir) == 1
    assert desk.done == [("post:1", 1)]
    assert len(heir._fences) == outbox.PARTITIONS
    assert set(heir._fences.values()) == {2}


async def test_a_worker_that_stops_hands_its_partitions_on_at_once(desk: Desk) -> None:
    desk.job()
    going, staying = Dispatcher(desk.stores), Dispatcher(desk.stores)
    await look(going)
    await going.stop()
    await desk.promise("post:1", 1)
    assert await look(staying) == 1
    assert len(staying._fences) == outbox.PARTITIONS


async def test_a_lease_is_renewed_before_it_ends(desk: Desk) -> None:
    worker, waiting = Dispatcher(desk.stores), Dispatcher(desk.stores)
    await look(worker)
    fences = dict(worker._fences)
    for _ in range(5):
        desk.clock.forward(LEASE / 3)
        await look(worker)
    await look(waiting)
    assert worker._fences == fences
    assert waiting._fences == {}


# --- whoever has promised much ---------------------------------------------------------------------------------------


async def test_a_lane_that_fills_the_batch_does_not_stand_before_everybody_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "BATCH", 4)
    desk.job()

    async def slowly(_stores: Stores, task: Task) -> bool:
        desk.done.append((task.aggregate, task.payload["n"]))
        return True  # there is always more to do

    desk.jobs["slow"] = Job(each=slowly, lane=lambda _task: "author:1")
    for number in range(10):
        await desk.promise(f"post:{number}", number, job="slow")
    await desk.promise("post:other", 1)
    await look(Dispatcher(desk.stores))
    assert ("post:other", 1) in desk.done
    assert [n for aggregate, n in desk.done if aggregate != "post:other"] == [0], "one slice of the lane, in its order"


async def test_what_is_read_behind_a_full_batch_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "BATCH", 2)
    monkeypatch.setattr(dispatch, "BATCHES", 3)
    desk.job()
    await desk.promise("post:1", *range(20))
    await look(Dispatcher(desk.stores))
    assert [n for _, n in desk.done] == list(range(6))
