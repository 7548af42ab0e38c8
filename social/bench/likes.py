"""Many people like one post as fast as they can, over HTTP: what one hot post costs, and when its counter is exact."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import aiohttp
import orjson

from db import posts as stored
from feed import posts
from social.bench import people
from social.bench.figures import Line, Load, machine, spread, table
from social.bench.people import Person
from social.bench.site import Site, cost, site
from social.embedded import StartupRefused

LOOK_EVERY = 0.005  # seconds between two looks at the counter: far below the pause between two of its updates
EXACT_WITHIN = 120.0  # seconds after the last answer for the counter to be exact
SECOND = 1.0


async def run(*, count: int, at_once: int, engines: str) -> str:
    """Measures and returns the table: `count` people, `at_once` requests on their way at any time."""
    async with site(engines, sockets=at_once) as measured:
        stores = measured.stores
        crowd = await people.make(stores, "fan", count)
        [author] = await people.make(stores, "author", 1)
        post = await posts.create(
            stores, author.id, words="Everybody likes this post.", visibility="public", media=[], key=None
        )
        await measured.settled()
        watch = Watch(measured, int(post.id))
        watching = asyncio.create_task(watch.run())
        load = Load()
        load.start()
        before, began = await measured.counted(), time.perf_counter()
        took, refused = await _like(measured, crowd, post.id, at_once)
        lasted = time.perf_counter() - began
        after = await measured.counted()
        exact = await _exact(watch, count)
        said = await load.stop()
        watching.cancel()
        async with stores.sql.read() as connection:
            rows = (await stored.count_rows(connection, int(post.id)))["likes"]
        spent = cost(before, after)
        statements = sum(spent.statements.values()) / count
        return table(
            f"likes · {count:,} people like one post, {at_once} requests at once · {engines} · {machine()}",
            [
                Line("likes", f"{count / lasted:,.0f}/s"),
                Line("answer", spread(took)),
                Line("refused", f"{refused:,} times by 503, and asked again"),
                Line("counter updates", f"at most {watch.busiest()} in one second", "10"),
                Line("final counter", f"{watch.likes:,} of {rows:,} rows", "equal"),
                Line("exact", f"{exact:.2f} s after the last answer"),
                Line("node", f"{statements:.1f} statements and {spent.cpu / count * 1000:.2f} ms of CPU for a like"),
                Line("complaints", _complaints(measured)),
                Line("this client", said),
            ],
        )


class Watch:
    """Looks at a post's counter while people like it."""

    def __init__(self, measured: Site, post_id: int) -> None:
        self._measured = measured
        self._post_id = post_id
        self.likes = 0
        self.updates: list[float] = []  # when each version was first seen

    async def run(self) -> None:
        """Looks until it is cancelled."""
        version = None
        while True:
            async with self._measured.stores.sql.read() as connection:
                row = (await stored.counts(connection, [self._post_id]))[self._post_id]
            self.likes = row.likes
            if version is not None:
                self.updates.extend([time.perf_counter()] * (row.version - version))
            version = row.version
            await asyncio.sleep(LOOK_EVERY)

    def busiest(self) -> int:
        """The most updates within one second, wherever it begins."""
        most = first = 0
        for last, moment in enumerate(self.updates):
            while moment - self.updates[first] >= SECOND:
                first += 1
            most = max(most, last - first + 1)
        return most


async def _like(measured: Site, crowd: list[Person], post_id: str, at_once: int) -> tuple[list[float], int]:
    """Everybody likes the post once; returns the seconds that each answer took, and how many were a 503.

    Raises StartupRefused for any other answer.
    """
    url = f"http://127.0.0.1:{measured.port}/api/v1/posts/{post_id}/like"
    took: list[float] = []
    refused = 0
    waiting = iter(crowd)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as http:

        async def like(person: Person) -> bool:
            began = time.perf_counter()
            async with http.put(url, headers={"Authorization": f"Bearer {person.token}"}) as answer:
                said = orjson.loads(await answer.read())
                if answer.status not in (200, 503):
                    raise StartupRefused(f"A like was answered by {answer.status}: {said}")
            took.append(time.perf_counter() - began)
            return answer.status == 200

        async def work(mine: Iterator[Person]) -> None:
            nonlocal refused
            for person in mine:
                while not await like(person):
                    refused += 1

        await asyncio.gather(*(work(waiting) for _ in range(at_once)))
    return took, refused


async def _exact(watch: Watch, wanted: int) -> float:
    """Seconds until the counter says what is wanted. Raises StartupRefused when it does not."""
    began = time.perf_counter()
    while watch.likes != wanted:
        if time.perf_counter() - began > EXACT_WITHIN:
            raise StartupRefused(f"The counter says {watch.likes:,} instead of {wanted:,}.")
        await asyncio.sleep(LOOK_EVERY)
    return time.perf_counter() - began


def _complaints(measured: Site) -> str:
    found: Counter[str] = measured.web.complaints() + measured.worker.complaints()
    return ", ".join(f"{event} {times}" for event, times in found.items()) or "none"
