"""Many askers, one question: who waits for whom, and who hears of a failure."""

from __future__ import annotations

import asyncio

import pytest

from db.errors import StoreUnavailable
from feed import batches as module
from feed.batches import Batches


class Desk:
    """Answers a key with its square, when it is told to. None for negative keys."""

    def __init__(self) -> None:
        self.questions: list[list[int]] = []
        self.answered = asyncio.Semaphore(0)
        self.fault: Exception | None = None
        self.batches = Batches(self._ask)

    async def _ask(self, keys: list[int]) -> dict[int, int]:
        self.questions.append(keys)
        await self.answered.acquire()
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return {key: key * key for key in keys if key >= 0}

    def ask(self, *keys: int) -> list[asyncio.Task[int | None]]:
        return [asyncio.create_task(self.batches.get(key)) for key in keys]

    def answer(self, questions: int = 1) -> None:
        for _ in range(questions):
            self.answered.release()


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def settle() -> None:
    """Lets every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_asker_waits_for_nobody(desk: Desk) -> None:
    [one] = desk.ask(3)
    await settle()
    assert desk.questions == [[3]]
    desk.answer()
    assert await one == 9


async def test_what_is_asked_at_once_is_one_question(desk: Desk) -> None:
    tasks = desk.ask(1, 2, 3, 2)
    desk.answer()
    assert await asyncio.gather(*tasks) == [1, 4, 9, 4]
    assert desk.questions == [[1, 2, 3]]


async def test_what_is_asked_while_a_question_runs_gathers_for_the_next_one(desk: Desk) -> None:
    first = desk.ask(1)
    await settle()
    later = desk.ask(2, 3)
    await settle()
    later += desk.ask(4)
    await settle()
    assert desk.questions == [[1]]
    desk.answer()
    await settle()
    assert desk.questions == [[1], [2, 3, 4]]
    assert first[0].done()
    desk.answer()
    assert await asyncio.gather(*later) == [4, 9, 16]


async def test_a_key_that_is_being_asked_for_is_asked_again_for_who_came_later(desk: Desk) -> None:
    """The running question may have read before what the later asker knows of was committed."""
    [early] = desk.ask(1)
    await settle()
    [late] = desk.ask(1)
    await settle()
    desk.answer()
    assert await early == 1
    assert not late.done()
    desk.answer()
    assert await late == 1
    assert desk.questions == [[1], [1]]


async def test_a_key_without_an_answer_is_none(desk: Desk) -> None:
    tasks = desk.ask(-1, 2)
    desk.answer()
    assert await asyncio.gather(*tasks) == [None, 4]


async def test_a_failure_reaches_all_who_asked_and_nobody_else(desk: Desk) -> None:
    asked = desk.ask(1, 2, 2)
    await settle()
    later = desk.ask(3)
    await settle()
    desk.fault = StoreUnavailable("sql", "gone")
    desk.answer(2)
    answers = await asyncio.gather(*asked, *later, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3 + [int]
    assert desk.questions == [[1, 2], [3]]


async def test_an_asker_that_goes_away_harms_nobody(desk: Desk) -> None:
    gone, stays = desk.ask(1, 2)
    same, also = desk.ask(5, 5)
    await settle()
    gone.cancel()
    same.cancel()
    await settle()
    desk.answer()
    assert await asyncio.gather(stays, also) == [4, 25]
    assert gone.cancelled()
    assert same.cancelled()


@pytest.mark.parametrize("fault", [None, StoreUnavailable("sql", "gone")])
async def test_a_question_whose_askers_have_all_gone_leaves_nothing_behind(desk: Desk, fault: Exception | None) -> None:
    """Warnings are errors here: also a failure that nobody waits for any more is one that was seen."""
    tasks = desk.ask(1, 2)
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    desk.fault = fault
    desk.answer()
    await settle()
    [again] = desk.ask(1)
    desk.answer()
    assert await again == 1


async def test_a_question_has_at_most_so_many_keys_and_the_rest_follows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    tasks = desk.ask(*range(8))
    desk.answer(3)
    assert await asyncio.gather(*tasks) == [key * key for key in range(8)]
    assert desk.questions == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_one_question_is_on_its_way_at_a_time(desk: Desk) -> None:
    tasks: list[asyncio.Task[int | None]] = []
    for key in range(5):
        tasks += desk.ask(key)
        await settle()
    assert len(desk.questions) == 1
    desk.answer(2)
    await asyncio.gather(*tasks)
    assert desk.questions == [[0], [1, 2, 3, 4]]
