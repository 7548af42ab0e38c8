"""The dispatcher: does what commits promised, in order inside each aggregate, however often it is killed.

    lease      partitions are leased for LEASE seconds and renewed at a third of it; a fence grows with every owner
    choose     the oldest rows that are not done; of each aggregate the leading ones that are due
    do         jobs that commute: all their tasks at once; others: one task per aggregate at a time
    rest       an aggregate whose job wants a pause is left alone for it: its rows wait in the outbox and hold up nobody
    mark       one transaction: the batch's MySQL effects, the check of the fences, the done-marks of what is pending
    fail       the task waits longer each time, its aggregate behind it; after PARK_AFTER attempts it is parked

A lost nudge costs one poll. A worker that dies loses its leases after LEASE seconds; what it had begun runs again.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox
from db import redis as keys
from db.engine import Record
from db.errors import SocialError, StoreUnavailable
from feed.background import Background
from feed.stores import Stores
from workers.jobs import Job, Task, table

log = structlog.get_logger(__name__)

LEASE = 10.0  # seconds; also the longest that a dead worker's partitions stand still
POLL = 0.25  # seconds between looks at the outbox when no nudge comes, jittered
BATCH = 500  # rows of one look that are done one by one
TOGETHER = 5000  # rows of one look that are done together: all that a hot post gets in a pause, and some arrears
LOOK_PAUSE = 0.01  # seconds after a look that found nothing while counts rest: each of their nudges would make a look
BATCHES = 6  # of one look at most, while they are of fewer lanes than can be worked on at a time
BATCH_WITHIN = 3.0  # seconds after which a batch begins nothing new: new arrivals must not wait for a long tail
AT_ONCE = 16  # tasks that run side by side
PARK_AFTER = 10  # attempts at a task whose fault is not a passing one
BACKOFF = (0.2, 60.0)  # seconds: first and longest pause after a failed attempt, doubling
PASSING = 1.0  # seconds before a task is tried again that met a store which did not answer
NUDGE_WAIT = 5.0  # seconds that one wait for a nudge lasts; only bounds how long a stop takes


class Dispatcher:
    """One worker on the outbox."""

    def __init__(self, stores: Stores) -> None:
        self.owner = secrets.token_hex(8)
        self._stores = stores
        self._jobs = table()
        self._commuting = [name for name, job in self._jobs.items() if job.within is not None]
        self._nudged = asyncio.Event()
        self._fences: dict[int, int] = {}
        self._resting: dict[tuple[str, str], datetime] = {}  # (job, aggregate) -> until when
        self._done: list[Task] = []
        self._lost: set[int] = set()
        self._marking = asyncio.Lock()

    @property
    def part(self) -> float:
        """Which part of all partitions this worker holds, 0 to 1."""
        return len(self._fences) / outbox.PARTITIONS

    def start(self, background: Background) -> None:
        """Starts the loops, owned by `background`."""
        background.keep("leases", self._keep_leases)
        background.keep("dispatch", self.run)
        background.keep("nudges", self._hear_nudges)

    async def run(self) -> None:
        """Dispatches for ever. Raises StoreUnavailable; its owner starts it again."""
        while True:
            self._nudged.clear()
            if not await self.step():
                wait = POLL * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                if self._resting:
                    await asyncio.sleep(LOOK_PAUSE)
                    wait = min(wait, self._rest_left())
                try:
                    await asyncio.wait_for(self._nudged.wait(), wait)
                except TimeoutError:
                    continue

    async def step(self) -> int:
        """One look at the outbox; returns how many tasks were attempted."""
        # What is picked up under these fences is marked under these: a lease lost and won again is another one.
        fences = dict(self._fences)
        self._done.clear()
        self._lost.clear()
        if not fences:
            return 0
        now = self._stores.clock()
        self._resting = {one: until for one, until in self._resting.items() if until > now}
        async with self._stores.sql.read() as connection:
            together = await outbox.pending_together(
                connection, sorted(fences), commuting=self._commuting, resting=self._resting, now=now, limit=TOGETHER
            )
            ordered = await self._pending(connection, fences, now)
        commuting: dict[str, list[Task]] = defaultdict(list)
        for row in together:
            commuting[row.job].append(Task.of(row))
        for job, tasks in commuting.items():
            await self._do_together(job, tasks, fences)
        if ordered:
            await self._do_each([(row.job, Task.of(row)) for row in ordered], fences)
        return len(together) + len(ordered)

    async def _pending(self, connection: AsyncConnection, fences: dict[int, int], now: datetime) -> list[Record]:
        """The oldest rows of jobs that are done in order. Where few lanes have filled the batch, also those behind it:
        whoever has promised a thousand things must not stand before everybody else."""
        found: list[Record] = []
        for _ in range(BATCHES):
            rows = await outbox.pending(
                connection,
                sorted(fences),
                known=self._jobs,
                commuting=self._commuting,
                now=now,
                limit=BATCH,
                after=found[-1].id if found else 0,
            )
            found += rows
            lanes = {lane for lane, _ in self._with_lanes([(row.job, Task.of(row)) for row in found])}
            if len(rows) < BATCH or len(lanes) >= AT_ONCE:
                break
        return found

    async def hold_leases(self) -> None:
        """Renews the leases, takes free ones, gives back what is above this worker's share."""
        now = self._stores.clock()
        until = now + timedelta(seconds=LEASE)
        self._fences = await self._stores.sql.write(lambda c: outbox.lease(c, self.owner, now=now, until=until))

    async def stop(self) -> None:
        """Gives the leases back, so that another worker goes on at once."""
        try:
            await self._stores.sql.write(lambda c: outbox.release(c, self.owner, self._stores.clock()))
        except StoreUnavailable as error:
            log.warning("leases_not_released", cause=str(error))

    def _rest_left(self) -> float:
        """Seconds until the first resting aggregate may be looked at again."""
        return max(0.0, (min(self._resting.values()) - self._stores.clock()).total_seconds())

    def _rest(self, name: str, aggregates: Iterable[str]) -> None:
        """Leaves aggregates alone for the pause of the job that has just been done."""
        if self._jobs[name].pause:
            until = self._stores.clock() + timedelta(seconds=self._jobs[name].pause)
            self._resting.update(((name, aggregate), until) for aggregate in aggregates)

    async def _do_together(self, name: str, tasks: list[Task], fences: dict[int, int]) -> None:
        """A batch whose effects are one transaction; when it fails, aggregate by aggregate, to find the faulty one."""
        try:
            lost = await self._finish(self._jobs[name], tasks, fences)
            self._rest(name, {task.aggregate for task in tasks if task.id not in lost})
        except StoreUnavailable:
            raise
        except Exception as error:
            groups: dict[str, list[Task]] = defaultdict(list)
            for task in tasks:
                groups[task.aggregate].append(task)
            if len(groups) == 1:
                await self._fail(tasks, error, fences)
                return
            for group in groups.values():
                await self._do_together(name, group, fences)

    async def _do_each(self, ordered: list[tuple[str, Task]], fences: dict[int, int]) -> None:
        """Tasks side by side over lanes, one after the other inside each; a lane holds whole aggregates."""
        lanes: dict[str, list[tuple[str, Task]]] = defaultdict(list)
        for name, task in self._with_lanes(ordered):
            lanes[name].append(task)
        room = asyncio.Semaphore(AT_ONCE)
        until = asyncio.get_running_loop().time() + BATCH_WITHIN

        async def follow(lane: list[tuple[str, Task]]) -> None:
            held: set[str] = set()
            async with room:
                for name, task in lane:
                    if asyncio.get_running_loop().time() > until:
                        return  # the next look begins with it
                    if task.aggregate in held:
                        continue
                    job = self._jobs[name]
                    assert job.each is not None  # noqa: S101 - a job without `within` has `each`
                    try:
                        if await job.each(self._stores, task):
                            return  # more to do: the next look finds it again, and behind it the rest of its lane
                    except Exception as error:
                        held.add(task.aggregate)
                        await self._fail([task], error, fences)
                        continue
                    if not await self._mark(task, fences):
                        return  # another worker has the lease

        results = await asyncio.gather(*map(follow, lanes.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _with_lanes(self, ordered: list[tuple[str, Task]]) -> Iterator[tuple[str, tuple[str, Task]]]:
        """(lane, (job, task)): an aggregate goes with the first of its tasks that names a lane, else by itself."""
        lane_of: dict[str, str] = {}
        for name, task in ordered:
            lane = self._jobs[name].lane
            if lane is not None:
                lane_of.setdefault(task.aggregate, lane(task))
        for name, task in ordered:
            yield lane_of.get(task.aggregate, task.aggregate), (name, task)

    async def _mark(self, task: Task, fences: dict[int, int]) -> bool:
        """Marks a task done; False when its lease is lost. While one transaction runs, others' tasks gather for the
        next one: the first of them to get its turn marks them all."""
        self._done.append(task)
        async with self._marking:
            if task in self._done:
                group, self._done = self._done, []
                self._lost.update(await self._finish(Job(), group, fences))
        return task.id not in self._lost

    async def _finish(self, job: Job, tasks: Sequence[Task], fences: dict[int, int]) -> set[int]:
        """MySQL effects, fences and done-marks in one transaction; returns the ids of those whose lease is lost."""
        partitions = {task.id: outbox.partition_of(task.aggregate) for task in tasks}
        needed = {p: fences[p] for p in set(partitions.values())}

        async def work(connection: AsyncConnection) -> tuple[list[Task], set[int]]:
            held = await outbox.held(connection, self.owner, needed)
            pending = await outbox.still_pending(connection, [task.id for task in tasks])
            mine = [task for task in tasks if partitions[task.id] in held and task.id in pending]
            if mine and job.within is not None:
                await job.within(connection, mine)
            if mine:
                await outbox.mark_done(connection, [task.id for task in mine], self._stores.clock())
            return mine, {task.id for task in tasks if partitions[task.id] not in held}

        done, lost = await self._stores.sql.write(work)
        if lost:
            log.warning("lease_lost", tasks=len(lost))
            self._fences = {}  # until the next renewal tells what is left
        if done and job.after is not None:
            try:
                await job.after(self._stores, done)
            except Exception as error:
                # It has happened; only the telling failed. A viewer's next page or resync has the truth.
                log.warning("announcement_lost", cause=repr(error))
        return lost

    async def _fail(self, tasks: Sequence[Task], error: Exception, fences: dict[int, int]) -> None:
        """Puts tasks off, or parks them: only faults that are not passing ones count as attempts."""
        passing = isinstance(error, SocialError) and error.temporary
        attempts = max(task.attempts for task in tasks) + (not passing)
        park = not passing and attempts >= PARK_AFTER
        pause = PASSING if passing else min(BACKOFF[0] * 2 ** (attempts - 1), BACKOFF[1])
        ids = [task.id for task in tasks]
        if passing:
            log.warning("task_waits", tasks=ids, seconds=pause, cause=str(error))
        else:
            log.error("task_failed", tasks=ids, attempts=attempts, parked=park, exc_info=error)
        due_at = self._stores.clock() + timedelta(seconds=pause)
        fault = f"{type(error).__name__}: {error}"
        needed = {p: fences[p] for p in {outbox.partition_of(task.aggregate) for task in tasks}}

        async def work(connection: AsyncConnection) -> None:
            if await outbox.held(connection, self.owner, needed) == set(needed):
                await outbox.mark_failed(connection, ids, due_at=due_at, fault=fault, counts=not passing, park=park)

        await self._stores.sql.write(work)

    async def _keep_leases(self) -> None:
        """Renews for ever, also while a batch runs."""
        while True:
            await self.hold_leases()
            self._nudged.set()
            await asyncio.sleep(LEASE / 3)

    async def _hear_nudges(self) -> None:
        async with self._stores.redis.subscription(keys.NUDGE) as subscription:
            while True:
                if await subscription.next(NUDGE_WAIT) is not None:
                    self._nudged.set()
