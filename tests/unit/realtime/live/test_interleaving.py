"""The scheduler itself: it tries every order, each once, and tells the same story for the same choices."""

from __future__ import annotations

import asyncio
import math

import pytest

from tests.unit.realtime.live.interleaving import Choices, Scheduler, every, some


def orders(hops: bool = False) -> list[str]:
    """The orders in which three steps of one task and two of another can happen."""
    found = []
    for choices in every():
        loop = Scheduler(choices, hops=hops)
        said: list[str] = []

        async def speak(words: str, loop: Scheduler = loop, said: list[str] = said) -> None:
            for word in words:
                await loop.point(word)
                said.append(word)

        loop.start(speak("abc"))
        loop.start(speak("xy"))
        loop.run()
        found.append("".join(said))
    return found


def test_every_interleaving_is_tried_once() -> None:
    found = orders()
    assert len(found) == len(set(found)) == math.comb(5, 2)


def test_hops_add_no_order_that_the_points_do_not_allow() -> None:
    assert set(orders(hops=True)) == set(orders())


def test_the_same_seed_tells_the_same_story() -> None:
    def stories() -> list[list[int]]:
        return [[choices.pick(1000) for _ in range(5)] for choices in some(3, seed=7)]

    assert stories() == stories()
    assert len({tuple(story) for story in stories()}) == 3


def test_a_lost_update_is_found() -> None:
    """Two tasks read, wait and write: some order must lose one of the two."""
    ends = set()
    for choices in every():
        loop = Scheduler(choices)
        cell = [0]

        async def add(loop: Scheduler = loop, cell: list[int] = cell) -> None:
            await loop.point("read")
            value = cell[0]
            await loop.point("write")
            cell[0] = value + 1

        loop.start(add())
        loop.start(add())
        loop.run()
        ends.add(cell[0])
    assert ends == {1, 2}


def test_what_asyncio_brings_along_works_on_it() -> None:
    loop = Scheduler(Choices([]))
    said: list[str] = []

    async def work() -> None:
        room = asyncio.Semaphore(1)
        async with room, asyncio.timeout(None):
            await asyncio.sleep(5.0)
            said.append("slept")
        inner = asyncio.create_task(loop.point("inner"))
        await asyncio.shield(inner)
        await asyncio.wait([asyncio.create_task(loop.point(str(n))) for n in range(3)])
        said.extend(loop.trace)

    loop.start(work())
    loop.run()
    assert said == ["slept", "timer", "inner", "0", "1", "2"]


def test_a_timer_that_was_cancelled_cannot_fire() -> None:
    loop = Scheduler(Choices([]))
    loop.call_later(1.0, pytest.fail).cancel()
    loop.run()
    assert loop.trace == []


def test_a_run_that_does_not_end_is_told() -> None:
    loop = Scheduler(Choices([]), actions=lambda: [("again", lambda: None), ("and again", lambda: None)])
    with pytest.raises(AssertionError, match="does not end"):
        loop.run()
