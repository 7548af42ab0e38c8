"""The feed on MariaDB and Redis: a page, a rebuild, a fan-out, commit -> visible, and what a timeline takes.

Each is measured in turns with the bare operation that it cannot do without (`bare`), because a shared machine is never
the same twice: of all figures the ratios say most.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from db import posts as posts_sql
from feed import feed_page, posts
from feed.pages import NEWEST
from feed.stores import Stores
from feed.streams import TIMELINE_KEEPS, Event, me
from realtime.endpoint import ENCODER
from social.bench import people
from social.bench.bare import Bare, Recorded, bare
from social.bench.client import Reader, connect_all
from social.bench.figures import Line, machine, milliseconds, quantile, spread, table
from social.bench.people import Person
from social.bench.sampler import Sampler
from social.bench.site import Site, site
from social.bench.society import AUTHORS, FRIENDS, Society, found

PAGE = 20
READERS = 100
WARM_UP = 5  # operations that count for nothing: statements compile, scripts load
FAN_OUT_HUBS = 4  # authors whose posts go out together: lanes of one worker
POSTS_OF_A_ROUND = 5  # of each of them
LIVE_EVERY = 10  # every tenth recipient is live
SIZES = (10, 1000, AUTHORS)  # friends of those whose posts are waited for
SMALL_PAUSE = 0.02  # seconds between two small posts, so that they do not queue behind each other
SETTLE = 1.0  # seconds before a phase counts: what the last one left behind is done by then
VISIBLE_WITHIN = 30.0  # seconds for one post before the benchmark gives up
LOOKS = 5  # posts of a page that is looked at for a new one
WORDS = "The kettle boiled twice and nobody made tea. "
MOST_ID = 2**53 - 1
MERGE = posts_sql.NEWEST_OF.partition("%")[0]
SPACED = 1000  # between two of the largest ids
TEST_ID = 2**40  # above every post that is there: what is put goes to the head of a timeline, as new posts do
IDS_OF_A_ROUND = FAN_OUT_HUBS * POSTS_OF_A_ROUND
EVENT_BYTES = 400  # of an event's body: a short post


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    parts: Sequence[str]
    posts: int
    pages: int
    rounds: int
    samples: int
    profile: Path | None


@dataclass(slots=True)
class World:
    """What the parts measure."""

    plan: Plan
    site: Site
    bare: Bare
    society: Society
    template: int  # somebody whose timeline is full
    signed_in: dict[int, Person] = field(default_factory=dict)

    async def person(self, user_id: int) -> Person:
        """Somebody with a sign-in."""
        if user_id not in self.signed_in:
            self.signed_in[user_id] = await people.sign_in(self.site.stores, user_id)
        return self.signed_in[user_id]

    async def warm_authors(self) -> None:
        """Gives every author a full timeline: a copy of one that was built."""
        keys = self.site.stores.redis.keys
        await self.bare.pipelined(
            [
                ("COPY", key(me(self.template)), key(me(author)), "REPLACE")
                for author in range(1, AUTHORS + 1)
                for key in (keys.floor, keys.timeline)
            ]
        )


async def run(plan: Plan, say: Callable[[str], None]) -> str:
    """Measures the parts that the plan names; says the table of each but the last, with its profile behind it, and
    returns that of the last."""
    small, middle, large = SIZES
    async with site("system", sockets=10, profile=plan.profile, of="worker") as measured:
        society = await found(
            measured.stores,
            readers=READERS,
            hubs={small: 1, middle: 1, large: 1 + FAN_OUT_HUBS},
            posts=plan.posts,
        )
        async with bare(measured.settings) as below:
            world = World(plan, measured, below, society, society.hubs[large][0])
            await _first(measured.stores, world.template)
            for name in plan.parts[:-1]:
                say(f"{await _part(world, name)}\n")
            return await _part(world, plan.parts[-1])


async def _part(world: World, name: str) -> str:
    before = os.getloadavg()[0]
    lines = await PARTS[name](world)
    title = f"feed · {name} · MariaDB, Redis · {machine()} · load {before:.1f} -> {os.getloadavg()[0]:.1f}"
    if world.plan.profile is None:
        return table(title, lines)
    return f"{table(f'{title} · profiled', lines)}\n\n{world.site.profile_text()}"


# --- pages -----------------------------------------------------------------------------------------------------------


async def _page(world: World) -> list[Line]:
    stores, readers = world.site.stores, world.society.readers
    first = {reader: await _first(stores, reader) for reader in readers}
    for reader in readers[:WARM_UP]:
        await _answer(world, reader)
    profile = _Profile(world.plan.profile)
    page, rows, zrange, cpu = [], [], [], 0.0
    for reader in itertools.islice(itertools.cycle(readers), world.plan.pages):
        cpu -= time.process_time()
        page.append(await _timed(_answer(world, reader)))
        cpu += time.process_time()
        rows.append(await _timed(world.bare.rows(first[reader])))
        zrange.append(await _timed(world.bare.redis.zrange(stores.redis.keys.timeline(me(reader)), 0, PAGE)))
    profile.end()
    return [
        Line(f"page of {PAGE}, warm", spread(page), "p50 < 5 ms, p99 < 25 ms"),
        Line("  of which CPU of this process", f"mean {milliseconds(cpu / len(page))}"),
        Line("  bare SELECT of its rows", _against(page, rows)),
        Line("  bare ZRANGE of its ids", _against(page, zrange)),
    ]


async def _first(stores: Stores, reader: int) -> list[int]:
    """Ids of a reader's first page, from a timeline that is warm then."""
    async with stores.sql.read() as connection:
        return (await feed_page.newest(stores, connection, reader, before=NEWEST, limit=PAGE))[0]


async def _answer(world: World, reader: int) -> None:
    """As the handler does it."""
    page = await feed_page.recent(world.site.stores, reader, cursor=None, limit=PAGE)
    ENCODER.encode(page)


async def _rebuild(world: World) -> list[Line]:
    few = itertools.islice(itertools.cycle(world.society.readers), world.plan.pages // 2)
    many = itertools.islice(itertools.cycle(world.society.hubs[AUTHORS]), world.plan.samples)
    profile = _Profile(world.plan.profile)
    lines = [
        *await _rebuild_of(world, few, f"rebuild and page, {FRIENDS} friends", "p99 < 200 ms"),
        *await _rebuild_of(world, many, f"rebuild and page, {AUTHORS:,} friends", ""),
    ]
    profile.end()
    return lines


async def _rebuild_of(world: World, users: Iterable[int], name: str, target: str) -> list[Line]:
    stores = world.site.stores
    took, below, statements = [], [], Counter[int]()
    for user in users:
        await stores.timelines.drop(user)
        await stores.redis.delete(stores.redis.keys.friends(user))  # kept for a day: who has been away has none
        with Recorded() as sent:
            took.append(await _timed(_answer(world, user)))
        merge = [statement for statement in sent if statement.startswith(MERGE)]
        statements[len(merge)] += 1
        below.append(await _timed(world.bare.all(merge)))
    return [
        Line(name, spread(took), target),
        Line(f"  bare SQL of the merge, {statements.most_common(1)[0][0]} statements", _against(took, below)),
    ]


# --- fan-out ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Round:
    """Fan-outs of one way in one round: seconds, and CPU seconds of the two processes."""

    recipients: int
    seconds: float
    redis: float
    worker: float


Act = Callable[[], Awaitable[Any]]


async def _fan_out(world: World) -> list[Line]:
    rounds: dict[str, list[Round]] = defaultdict(list)
    await world.warm_authors()
    for number in range(world.plan.rounds + 1):
        if number == 1:
            rounds.clear()
            world.site.start_profile()
        for name, prepare in WAYS.items():
            await _be_alike(world)
            rounds[name].append(await _round(world, await prepare(world)))
    await world.site.end_profile()
    reference = _rate(rounds[ZADD])
    return [
        Line(name, _rates(each, reference), "100,000/s per worker and Redis core" if name == WORKER else "")
        for name, each in rounds.items()
    ]


def _rates(rounds: Sequence[Round], reference: float) -> str:
    recipients = sum(one.recipients for one in rounds)
    redis, worker = (sum(cpus) / recipients for cpus in zip(*((one.redis, one.worker) for one in rounds), strict=True))
    rate = _rate(rounds)
    text = f"{rate:,.0f}/s, {rate / reference:.2f} of bare ZADD; per recipient Redis {redis * 1e6:.1f} us of CPU"
    if worker * 1e6 >= 1:
        text += f", worker {worker * 1e6:.1f} us"
    return f"{text} ({1 / redis:,.0f}/s per core of Redis)"


def _rate(rounds: Sequence[Round]) -> float:
    return statistics.median(one.recipients / one.seconds for one in rounds)


async def _round(world: World, act: Act) -> Round:
    worker = world.site.worker.cpu() or 0.0
    redis = await world.bare.cpu()
    seconds = await _timed(act())
    redis = await world.bare.cpu() - redis
    return Round(AUTHORS * IDS_OF_A_ROUND, seconds, redis, (world.site.worker.cpu() or 0.0) - worker)


async def _be_alike(world: World) -> None:
    """Every tenth author is live, and nobody has what the last round put."""
    for author in range(LIVE_EVERY, AUTHORS + 1, LIVE_EVERY):
        await world.site.stores.streams.join(me(author), "bench")
    await world.bare.pipelined([("ZREM", key, *_test_ids()) for key in _timelines(world)])


def _test_ids() -> range:
    """Of posts that are not there, newer than any that is."""
    return range(TEST_ID, TEST_ID + IDS_OF_A_ROUND)


def _timelines(world: World) -> list[str]:
    return [world.site.stores.redis.keys.timeline(me(author)) for author in range(1, AUTHORS + 1)]


async def _by_worker(world: World) -> Act:
    """Posts that were committed while the worker stood still; it goes on, until all are with everybody."""
    world.site.worker.signal(signal.SIGSTOP)
    for _ in range(POSTS_OF_A_ROUND):
        for hub in world.society.hubs[AUTHORS][-FAN_OUT_HUBS:]:
            await posts.create(world.site.stores, hub, words=WORDS, visibility="friends", media=[], key=None)

    async def act() -> None:
        world.site.worker.signal(signal.SIGCONT)
        await world.site.settled()

    return act


async def _by_call(world: World) -> Act:
    """What a worker calls, without its statements."""
    streams = [me(author) for author in range(1, AUTHORS + 1)]
    body = b'{"data":"' + b"x" * EVENT_BYTES + b'"}'
    run = f"{time.time_ns():x}"

    async def act() -> None:
        for post_id in _test_ids():
            event = Event(f"b{run}-{post_id}", "post.created", world.template, post_id, 1, body)
            await world.site.stores.streams.append(event, streams, "put")

    return act


async def _by_zadd(world: World, *more: tuple[Any, ...]) -> Act:
    keys = _timelines(world)

    async def act() -> None:
        for post_id in _test_ids():
            await world.bare.pipelined([("ZADD", key, -post_id, post_id) for key in keys])

    return act


async def _by_zadd_and_trim(world: World) -> Act:
    keys = _timelines(world)

    async def act() -> None:
        for post_id in _test_ids():
            await world.bare.pipelined(
                [
                    command
                    for key in keys
                    for command in (("ZADD", key, -post_id, post_id), ("ZREMRANGEBYRANK", key, TIMELINE_KEEPS, -1))
                ]
            )

    return act


WORKER, ZADD = "one worker", "bare pipelined ZADD"
WAYS: dict[str, Callable[[World], Awaitable[Act]]] = {
    WORKER: _by_worker,
    "its call, without SQL": _by_call,
    ZADD: _by_zadd,
    "bare ZADD and ZREMRANGEBYRANK": _by_zadd_and_trim,
}


# --- commit -> visible -----------------------------------------------------------------------------------------------


class Watcher:
    """A friend with an open connection, who also looks at the feed."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.reader = Reader(person.token, heard=self._hear)
        self._heard: dict[str, asyncio.Future[float]] = defaultdict(asyncio.get_running_loop().create_future)

    def frame(self, post_id: str) -> asyncio.Future[float]:
        """When the post was told here."""
        return self._heard[post_id]

    def _hear(self, message: dict[str, Any], now: float) -> None:
        if message["event"] == "post.created" and not (told := self._heard[message["data"]["id"]]).done():
            told.set_result(now)


@dataclass(slots=True)
class Seen:
    """Seconds from the answer to the author until a friend has the post."""

    feed: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Street:
    """HTTP to the node, and the friends who watch: the last one of every fan-out, and one somewhere before."""

    world: World
    http: aiohttp.ClientSession
    watchers: dict[int, list[Watcher]]  # friends of the author -> who watches

    async def publish(self, friends: int) -> tuple[str, float]:
        """Writes a post for so many friends; (id, when it was answered)."""
        hub = await self.world.person(self.world.society.hubs[friends][0])
        body = {"text": WORDS, "visibility": "friends"}
        async with self.http.post(self._url("posts"), json=body, headers=_bearer(hub)) as answer:
            answer.raise_for_status()
            post = await answer.json()
        return post["id"], time.perf_counter()

    async def see(self, friends: int, seen: Seen) -> None:
        """Writes a post and waits until those who watch have it in their feeds and on their screens."""
        post_id, answered = await self.publish(friends)
        watchers = self.watchers[friends]
        async with asyncio.timeout(VISIBLE_WITHIN):
            feed = await asyncio.gather(*(self._in_feed(watcher, post_id) for watcher in watchers))
            live = await asyncio.gather(*(watcher.frame(post_id) for watcher in watchers))
        seen.feed.append(max(feed) - answered)
        seen.live.append(max(0.0, max(live) - answered))  # a frame may be quicker than the answer

    async def _in_feed(self, watcher: Watcher, post_id: str) -> float:
        url = self._url(f"feed?limit={LOOKS}")
        while True:
            async with self.http.get(url, headers=_bearer(watcher.person)) as answer:
                answer.raise_for_status()
                page = await answer.json()
            if any(item["id"] == post_id for item in page["items"]):
                return time.perf_counter()

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.world.site.port}/api/v1/{path}"


def _bearer(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}


@asynccontextmanager
async def _street(world: World) -> AsyncIterator[Street]:
    await world.warm_authors()
    known: dict[int, Watcher] = {}
    watchers: dict[int, list[Watcher]] = {}
    for friends in SIZES:
        sample = (AUTHORS - friends // 2, AUTHORS)
        for author in sample:
            if author not in known:
                known[author] = Watcher(await world.person(author))
        watchers[friends] = [known[author] for author in sample]
    readers = [watcher.reader for watcher in known.values()]
    await connect_all(readers, world.site.port)
    try:
        async with aiohttp.ClientSession() as http:
            yield Street(world, http, watchers)
    finally:
        for reader in readers:
            reader.cut()


async def _visible(world: World) -> list[Line]:
    lines = []
    async with _street(world) as street:
        by_size = {friends: Seen() for friends in SIZES}
        for number in range(world.plan.samples + WARM_UP):
            if number == WARM_UP:
                by_size = {friends: Seen() for friends in SIZES}
                world.site.start_profile()
            for friends, seen in by_size.items():
                await street.see(friends, seen)
        await world.site.end_profile()
    for friends, seen in by_size.items():
        lines += [
            Line(f"answer -> in the feed, {friends:,} friends", spread(seen.feed), TARGETS.get(friends, "")),
            Line(f"answer -> frame, {friends:,} friends", spread(seen.live), TARGETS.get(friends, "")),
        ]
    return lines


TARGETS = {1000: "p99 < 250 ms", AUTHORS: "p99 < 1,000 ms"}


async def _beside(world: World) -> list[Line]:
    """Small posts alone, and while large ones run one after another, in turns."""
    small, idle, busy = SIZES[0], Seen(), Seen()
    large: list[float] = []  # seconds that each large post took to its last friend
    async with _street(world) as street:
        for _ in range(WARM_UP):
            await street.see(small, Seen())
        world.site.start_profile()
        for _ in range(world.plan.rounds):
            await _small_posts(street, small, idle)
            crowd = asyncio.create_task(_large_posts(street, large))
            await _small_posts(street, small, busy)
            crowd.cancel()
            await asyncio.wait([crowd])
            await world.site.settled()
        await world.site.end_profile()
    return [
        Line(
            "samples", f"{len(idle.feed):,} and {len(busy.feed):,}, beside {len(large):,} posts for {AUTHORS:,} friends"
        ),
        Line("  each of which took", spread(large)),
        Line("small posts alone, in the feed", spread(idle.feed)),
        Line("small posts beside large ones, in the feed", spread(busy.feed)),
        Line("  ratio of p99", _ratio(busy.feed, idle.feed), "at most 1.5"),
        Line("small posts alone, frame", spread(idle.live)),
        Line("small posts beside large ones, frame", spread(busy.live)),
        Line("  ratio of p99", _ratio(busy.live, idle.live), "at most 1.5"),
    ]


async def _small_posts(street: Street, friends: int, seen: Seen) -> None:
    await asyncio.sleep(SETTLE)
    for _ in range(street.world.plan.samples):
        await street.see(friends, seen)
        await asyncio.sleep(SMALL_PAUSE)


async def _large_posts(street: Street, took: list[float]) -> None:
    """One after another, until it is cancelled."""
    last = street.watchers[AUTHORS][-1]
    while True:
        post_id, answered = await street.publish(AUTHORS)
        took.append(max(0.0, await last.frame(post_id) - answered))


# --- memory ----------------------------------------------------------------------------------------------------------


async def _memory(world: World) -> list[Line]:
    redis, keys = world.bare.redis, world.site.stores.redis.keys
    await _first(world.site.stores, world.template)
    small, large = keys.timeline(me(world.template)), "timeline:largest"
    largest = range(MOST_ID - SPACED * TIMELINE_KEEPS, MOST_ID, SPACED)
    await redis.zadd(large, {str(post_id): -post_id for post_id in largest})
    lines = []
    for name, key in ((f"ids up to {world.plan.posts:,}", small), ("ids of 53 bits", large)):
        entries, size = await redis.zcard(key), await redis.memory_usage(key) or 0
        encoding = (await redis.object("ENCODING", key)).decode()
        text = f"{size / entries:.1f} B per entry ({size:,} B, {entries} entries, {encoding})"
        lines.append(Line(f"full timeline, {name}", text, "20.6 B"))
    await redis.delete(large)
    return lines


# --- figures ---------------------------------------------------------------------------------------------------------


class _Profile:
    """A profile of this process, where one was asked for."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._sampler = Sampler()
        if file is not None:
            self._sampler.start()

    def end(self) -> None:
        """Ends it, and writes it."""
        if self._file is not None:
            self._sampler.stop(self._file)


async def _timed(work: Awaitable[Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def _against(product: Sequence[float], below: Sequence[float]) -> str:
    ratio = statistics.median(product) / statistics.median(below)
    return f"{spread(below)} · the product takes {ratio:.1f} times as long"


def _ratio(values: Sequence[float], reference: Sequence[float]) -> str:
    tail, alone = (quantile(sorted(each), 0.99) for each in (values, reference))
    return f"{tail / alone:.2f}"


PARTS: dict[str, Callable[[World], Awaitable[list[Line]]]] = {
    "page": _page,
    "rebuild": _rebuild,
    "fan-out": _fan_out,
    "visible": _visible,
    "beside": _beside,
    "memory": _memory,
}
