"""All clients of one node are cut at once and come back with their positions: how long, and what it costs the node.

`distinct`: each client's own `me`, fed by hubs who are friends of a thousand clients each. `shared`: everybody
follows one public post besides, and the missed items are its comments.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from feed import comments, posts
from social.bench import people
from social.bench.client import Reader, Return, come_back, connect_all
from social.bench.figures import Line, Load, machine, megabytes, spread, table
from social.bench.site import Cost, Site, cost, site

FRIENDS = 1000  # clients of one hub
SEEN = 3  # items that everybody receives before the cut
HEARD_POLL = 0.1  # seconds between two looks at whether everybody has received them
AWAY = 4.0  # seconds without anybody at least: the node has left every stream by then
PATIENCE = 60.0  # seconds beyond `within` until a client counts as lost
WORDS = "While you were away, the kettle boiled twice and nobody made tea. "


@dataclass(frozen=True, slots=True)
class Came:
    """What was measured."""

    readers: list[Reader]
    returns: list[Return]
    items: list[int]
    took: float
    load: str
    cost: Cost
    worker_cpu: float
    rss: int | None
    peak: int | None
    complaints: str


async def run(
    *, clients: int, streams: str, within: float, behind: int, engines: str, profile: Path | None = None
) -> str:
    """Measures and returns the table, with the profile behind it when a file was named."""
    async with site(engines, sockets=clients + 100, profile=profile) as measured:
        readers, write = await _prepare(measured, clients, streams)
        await connect_all(readers, measured.port)
        for number in range(SEEN):
            await write(number)
        await _heard(measured, readers, SEEN)
        came = await _cut_and_return(measured, readers, write, within=within, behind=behind)
        title = (
            f"resume · {streams} · {clients:,} clients · back within {within:g} s · {behind} items missed · "
            f"{engines} · {machine()}" + (" · profiled" if profile else "")
        )
        return table(title, _lines(came, within, behind)) + ("\n\n" + measured.profile_text() if profile else "")


async def _prepare(measured: Site, clients: int, streams: str) -> tuple[list[Reader], Callable[[int], Awaitable[None]]]:
    """The readers, and what appends one item to the stream of each."""
    stores = measured.stores
    crowd = await people.make(stores, "reader", clients)
    hubs = await people.make(stores, "hub", -(-clients // FRIENDS))
    if streams == "shared":
        post = await posts.create(stores, hubs[0].id, words=WORDS, visibility="public", media=[], key=None)

        async def comment(number: int) -> None:
            await comments.create(stores, hubs[0].id, int(post.id), words=f"{number} {WORDS}", key=None)

        return [Reader(person.token, (f"post:{post.id}",)) for person in crowd], comment
    for index, hub in enumerate(hubs):
        await people.befriend(stores, hub, crowd[index * FRIENDS : (index + 1) * FRIENDS])

    async def publish(number: int) -> None:
        for hub in hubs:
            await posts.create(stores, hub.id, words=f"{number} {WORDS}", visibility="friends", media=[], key=None)

    return [Reader(person.token) for person in crowd], publish


async def _heard(measured: Site, readers: list[Reader], items: int) -> None:
    await measured.settled()
    async with asyncio.timeout(PATIENCE):
        while any(reader.items < items for reader in readers):  # noqa: ASYNC110 - one look at all, not 5,000 events
            await asyncio.sleep(HEARD_POLL)


async def _cut_and_return(
    measured: Site,
    readers: list[Reader],
    write: Callable[[int], Awaitable[None]],
    *,
    within: float,
    behind: int,
) -> Came:
    rss = measured.web.memory()
    for reader in readers:
        reader.cut()
    away = asyncio.create_task(asyncio.sleep(AWAY))
    for number in range(behind):
        await write(SEEN + number)
    await measured.settled()
    await away
    items = [reader.items for reader in readers]
    gc.collect()
    gc.freeze()  # a collection over all readers would be a pause of ours in the node's figures
    measured.web.forget_peak()
    before, worker_before = await measured.counted(), measured.worker.cpu() or 0.0
    measured.start_profile()
    load = Load()
    load.start()
    began = time.perf_counter()
    returns = await _return(measured, readers, within)
    took = time.perf_counter() - began
    said = await load.stop()
    await measured.end_profile()
    after, worker_after = await measured.counted(), measured.worker.cpu() or 0.0
    return Came(
        readers,
        returns,
        [reader.items - had for reader, had in zip(readers, items, strict=True)],
        took,
        said,
        cost(before, after),
        worker_after - worker_before,
        rss,
        measured.web.memory("VmHWM"),
        ", ".join(f"{event} {times}" for event, times in measured.web.complaints().most_common()),
    )


async def _return(measured: Site, readers: list[Reader], within: float) -> list[Return]:
    """Everybody at a random moment of `within` seconds; who is not back after PATIENCE more is given up."""

    stories = [Return() for _ in readers]

    async def one(reader: Reader, story: Return) -> None:
        await asyncio.sleep(random.uniform(0, within))  # noqa: S311 - a schedule
        await come_back(reader, measured.port, story)

    tasks = [asyncio.create_task(one(reader, story)) for reader, story in zip(readers, stories, strict=True)]
    done, late = await asyncio.wait(tasks, timeout=within + PATIENCE)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
    for task in done:
        task.result()
    return stories


def _lines(came: Came, within: float, behind: int) -> list[Line]:
    clients = len(came.readers)
    back = [story for story in came.returns if story.done]
    recovered = sum(
        bool(story.done) and reader.unrecovered == 0 == reader.resyncs
        for reader, story in zip(came.readers, came.returns, strict=True)
    )
    refused = [story.refused for story in came.returns if story.refused]
    lost = sum((story.lost for story in came.returns), Counter[str]())
    statements = sum(came.cost.statements.values())
    exact = sum(items == behind for items in came.items)
    return [
        Line("back with every item", f"{recovered:,} of {clients:,}", f"{clients:,}"),
        Line("connect -> last item", spread(s.done - s.began for s in back), "p99 < 1,000 ms"),
        Line("  the last attempt alone", spread(s.done - s.last for s in back)),
        Line("all were back after", f"{came.took:.1f} s", f"about {within:g} s"),
        Line("SQL statements of the node", f"{statements:,} ({statements / clients:.2f} per client)", "0"),
        *(Line(f"  {kind}", f"{times:,}") for kind, times in came.cost.statements.most_common(12)),
        Line("refused with 503", f"{len(refused):,} clients, {sum(refused):,} times"),
        Line("connections lost on the way", f"{lost.total():,}", "0"),
        *(Line(f"  {code}", f"{times:,}") for code, times in lost.most_common(5)),
        Line("given up", f"{clients - len(back):,}", "0"),
        Line(f"got exactly {behind} items", f"{exact:,} of {clients:,}", f"{clients:,}"),
        Line("gaps seen", f"{sum(reader.gaps for reader in came.readers):,}", "0"),
        Line(
            "node CPU",
            f"{came.cost.cpu:.1f} s ({came.cost.loop_cpu:.1f} s in the loop's thread), "
            f"{came.cost.cpu / clients * 1000:.2f} ms per client",
        ),
        Line("node memory", f"{megabytes(came.rss)} with all connected, peak {megabytes(came.peak)}"),
        Line("worker CPU", f"{came.worker_cpu:.1f} s"),
        Line("node complained", came.complaints or "of nothing"),
        Line("this client", came.load),
    ]
