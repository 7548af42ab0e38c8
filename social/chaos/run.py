"""A run from the first process to the verdict."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from social.chaos import report
from social.chaos.checker import Verdict, check
from social.chaos.ledger import Books, Clock, Final, Reading
from social.chaos.nemesis import Nemesis
from social.chaos.people import Person, gather_people
from social.chaos.proxy import Proxy
from social.chaos.readers import Reader
from social.chaos.resp import Line, Publish
from social.chaos.schedule import Fault, schedule
from social.chaos.site import EmbeddedSite, Site, SystemSite
from social.chaos.writers import Writer

PEOPLE = 7  # the last one knows one other only
CLIENTS_PER_PERSON = 2
PACE = 1.0  # mean seconds between two acts of one person
FOLLOWED = 2  # posts that a client follows, of those that its person may see
PING_SECONDS = 25.0  # the product's default; nothing is tuned for the run
START_WITHIN = 30.0  # seconds for every client's first welcome
SETTLE_WITHIN = PING_SECONDS + 45.0  # seconds at most for the last things to be seen: a ping, a backoff, a re-read
SETTLE_POLL = 0.25  # seconds between two looks whether everything has been seen
FINISH_WITHIN = 40.0  # seconds for writers to have an answer to what they began


class Plan(msgspec.Struct, frozen=True):
    """What to run. `entry` is the module that stands for `social`, with its first words; `settle` seconds at most for
    the last things to be seen."""

    seed: int
    minutes: float
    engines: str
    only: tuple[str, ...] = ()
    entry: tuple[str, ...] = ("social.cli",)
    settle: float = SETTLE_WITHIN

    @property
    def seconds(self) -> float:
        """How long faults strike and people write."""
        return self.minutes * 60

    @property
    def faults(self) -> list[Fault]:
        """The schedule. Raises UnknownFault."""
        return schedule(self.seed, self.seconds, self.engines, self.only)


def execute(plan: Plan, say: Callable[[str], None], *, keep: Path | None = None) -> Verdict:
    """Runs a plan and says what happens; logs and ledger stay in `keep`, else in a temporary folder if it failed.

    Raises EngineMissing, EngineFailed, Unanswered, UnknownFault. Belongs to the main thread (see guard).
    """
    faults = plan.faults
    say(f"chaos --seed {plan.seed} --minutes {plan.minutes:g} --engines {plan.engines}: {len(faults)} faults")
    say(report.planned(faults))
    folder = keep or Path(tempfile.mkdtemp(prefix="social-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    passed = False
    try:
        books = asyncio.run(_run(plan, faults, folder, say))
        verdict = check(books)
        passed = verdict.passed
        (folder / "ledger.json").write_bytes(msgspec.json.encode(books))
        say(report.told(books, verdict))
        if not passed:
            say(f"Logs and ledger: {folder}")
        return verdict
    finally:
        if passed and keep is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _run(plan: Plan, faults: Sequence[Fault], folder: Path, say: Callable[[str], None]) -> Books:
    dice = random.Random(plan.seed)  # noqa: S311 - the seed is the point
    kind = {"system": SystemSite, "embedded": EmbeddedSite}[plan.engines]
    site = kind(folder, random.Random(dice.random()), plan.entry)  # noqa: S311
    async with AsyncExitStack() as stack:
        stack.push_async_callback(site.stop)
        await site.start()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0))
        )
        return await _Run(site, http, dice, plan, say).run(faults)


class _Run:
    """People, clients and faults on a site that runs."""

    def __init__(
        self, site: Site, http: aiohttp.ClientSession, dice: random.Random, plan: Plan, say: Callable[[str], None]
    ) -> None:
        self._site = site
        self._http = http
        self._dice = dice
        self._plan = plan
        self._say = say
        self._clock = Clock()
        self._books = Books({}, PING_SECONDS)
        self._people: list[Person] = []
        self._places: dict[str, str] = {}  # person -> the post of theirs that others follow

    async def run(self, faults: Sequence[Fault]) -> Books:
        """Sets up, strikes, settles, reads for the last time."""
        await self._set_up()
        readers = self._make_readers()
        async with _running(*(reader.run() for reader in readers)):
            async with asyncio.timeout(START_WITHIN):
                await asyncio.gather(*(reader.connected.wait() for reader in readers))
            self._start_clock()
            await self._disturb(faults)
            await self._settle(readers)
        self._books.ended = self._clock()
        self._books.final = await self._read_all()
        return self._books

    async def _set_up(self) -> None:
        self._people, self._books.friends = await gather_people(
            self._http,
            self._site.urls,
            PEOPLE,
            random.Random(self._dice.random()),  # noqa: S311 - which edge
        )
        for person in self._people:
            body = {"text": f"the place of {person.id}", "visibility": "friends"}
            self._places[person.id] = (await person.must("POST", "/posts", body))["id"]
        for proxy in self._site.redis_links.values():
            proxy.on_publish = self._noter(proxy)

    def _noter(self, proxy: Proxy) -> Callable[[str, tuple[Line, ...]], None]:
        def note(fate: str, lines: tuple[Line, ...]) -> None:
            if lines:
                self._books.publishes.append(Publish(self._clock(), proxy.name, fate, lines))

        return note

    def _start_clock(self) -> None:
        """The faults' times count from here; whatever the readers noted before is before zero."""
        shift = self._clock()
        self._clock.begin()
        for reading in self._books.readings:
            reading.entries[:] = [msgspec.structs.replace(entry, at=entry.at - shift) for entry in reading.entries]

    def _visible_places(self, person: Person) -> list[str]:
        return [self._places[name] for name in (person.id, *sorted(self._books.friends[person.id]))]

    def _make_readers(self) -> list[Reader]:
        edges = [(edge.name, url) for edge, url in zip(self._site.edges, self._site.urls, strict=True)]
        readers = []
        for number, person in enumerate(self._people):
            for client in range(CLIENTS_PER_PERSON):
                home = (number + client) % len(edges)
                follows = tuple(self._dice.sample(self._visible_places(person), FOLLOWED))
                reading = Reading(f"client {number}.{client}", person.id, follows)
                self._books.readings.append(reading)
                dice = random.Random(self._dice.random())  # noqa: S311 - jitter
                readers.append(Reader(reading, person, edges[home:] + edges[:home], self._clock, dice))
        return readers

    async def _disturb(self, faults: Sequence[Fault]) -> None:
        """Writers write and faults strike until the time is over."""
        stop = asyncio.Event()
        writers = [
            Writer(
                person,
                self._books,
                self._clock,
                pace=PACE,
                places=self._visible_places(person),
                dice=random.Random(self._dice.random()),  # noqa: S311 - what they write
            )
            for person in self._people
        ]
        async with _running(*(writer.run(stop) for writer in writers)) as tasks:
            await Nemesis(self._site, self._books, self._clock, self._say).run(faults)
            await asyncio.sleep(max(0.0, self._plan.seconds - self._clock()))
            stop.set()
            await asyncio.wait(tasks, timeout=FINISH_WITHIN)

    async def _settle(self, readers: Sequence[Reader]) -> None:
        """Nothing is broken any more: waits until everybody has seen everything, or nobody can wait longer."""
        until = self._clock() + self._plan.settle
        while self._clock() < until:
            if all(reader.connected.is_set() for reader in readers) and not self._missing():
                return
            await asyncio.sleep(SETTLE_POLL)

    def _missing(self) -> bool:
        sights = self._books.sights()
        return any(
            write.thing not in sights[reading.name]
            for write in self._books.writes
            if write.attempts and write.acknowledged is not None
            for reading, _ in self._books.entitled(write)
        )

    async def _read_all(self) -> Final:
        """The API's last word, minus what was there before the first write."""
        final = Final()
        texts: dict[str, set[str]] = {}
        for person in self._people:
            posts = await person.pages("/feed")
            final.feeds[person.id] = {post["id"] for post in posts}
            place = self._places[person.id]
            comments = await person.pages(f"/posts/{place}/comments")
            final.comments[place] = {comment["id"] for comment in comments}
            final.likes[place] = {liker["id"] for liker in await person.pages(f"/posts/{place}/likes")}
            for thing in [*posts, *comments]:
                texts.setdefault(thing["text"], set()).add(thing["id"])
        places = set(self._places.values())
        final.texts = {text: sorted(ids) for text, ids in texts.items() if not ids <= places}
        return final


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that live as long as the block; a failure, which would be the harness's own, is raised at its end."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result
