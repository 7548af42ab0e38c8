"""Tasks with an owner: a death is noticed, shown, and followed by a new life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from db.errors import StoreUnavailable
from feed import background as module
from feed.background import Background


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest pause of each restart; none of them is really slept."""
    asked: list[float] = []

    def uniform(_low: float, high: float) -> float:
        asked.append(high)
        return 0.0

    monkeypatch.setattr(module.random, "uniform", uniform)
    return asked


@pytest_asyncio.fixture
async def background() -> AsyncIterator[Background]:
    owner = Background()
    with capture_logs():  # a stack takes long to render
        yield owner
        await owner.stop()


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("fault", [ValueError("broken"), StoreUnavailable("redis", "gone"), None])
async def test_a_task_that_dies_or_ends_is_started_again(background: Background, fault: Exception | None) -> None:
    lives = 0
    alive = asyncio.Event()

    async def work() -> None:
        nonlocal lives
        lives += 1
        if lives < 3:
            if fault is not None:
                raise fault
            return
        alive.set()
        await forever()

    background.keep("work", work)
    async with asyncio.timeout(5):
        await alive.wait()
    assert lives == 3


async def test_a_task_that_is_cancelled_by_what_it_waited_for_is_started_again(background: Background) -> None:
    """A library may cancel a future that the task awaits; nobody has asked the task itself to stop."""
    lives = 0
    alive = asyncio.Event()

    async def work() -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        alive.set()
        await forever()

    background.keep("work", work)
    async with asyncio.timeout(1):
        await alive.wait()


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (ValueError("broken"), "ValueError('broken')"),
        (StoreUnavailable("redis", "gone"), "redis: gone"),
        (None, "ended"),
    ],
)
async def test_a_fault_is_shown_while_the_task_pauses_and_no_longer(
    background: Background, monkeypatch: pytest.MonkeyPatch, fault: Exception | None, shown: str
) -> None:
    paused, go_on, alive = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def pause(_seconds: float) -> None:
        paused.set()
        await go_on.wait()

    monkeypatch.setattr(module, "asyncio", _WithSleep(pause))
    first = True

    async def work() -> None:
        nonlocal first
        if first:
            first = False
            if fault is not None:
                raise fault
            return
        alive.set()
        await forever()

    background.keep("work", work)
    background.keep("other", forever)
    await paused.wait()
    assert background.faults == {"work": shown}
    go_on.set()
    await alive.wait()
    assert background.faults == {}


class _WithSleep:
    """asyncio with another sleep, for the module under test alone."""

    def __init__(self, sleep: object) -> None:
        self.sleep = sleep

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)


async def test_pauses_double_up_to_the_longest(background: Background, pauses: list[float]) -> None:
    enough = asyncio.Event()

    async def work() -> None:
        if len(pauses) >= 8:
            enough.set()
            await forever()
        raise ValueError

    background.keep("work", work)
    async with asyncio.timeout(5):
        await enough.wait()
    shortest, longest = module.RESTART
    assert pauses == [min(shortest * 2**number, longest) for number in range(8)]


async def test_a_task_that_lived_long_pauses_shortly(
    background: Background, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEADY", -1.0)  # every life counts as a long one
    enough = asyncio.Event()

    async def work() -> None:
        if len(pauses) >= 4:
            enough.set()
            await forever()
        raise ValueError

    background.keep("work", work)
    async with asyncio.timeout(5):
        await enough.wait()
    assert set(pauses) == {module.RESTART[0]}


async def test_stopping_waits_for_the_cleaning_up(background: Background) -> None:
    cleaned: list[str] = []

    async def work(name: str) -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append(name)

    background.keep("kept", lambda: work("kept"))
    background.spawn("once", work, "once")
    await asyncio.sleep(0)
    await background.stop()
    assert sorted(cleaned) == ["kept", "once"]


async def test_stopping_does_not_wait_for_ever(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP", 0.01)
    go = asyncio.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await go.wait()

    background.keep("stubborn", stubborn)
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await background.stop()
    go.set()


async def test_stopping_with_nothing_to_stop_is_fine() -> None:
    await Background().stop()


@pytest.mark.parametrize("fault", [ValueError("broken"), StoreUnavailable("redis", "gone")])
async def test_a_task_of_one_run_is_not_repeated_and_its_fault_disturbs_nobody(
    background: Background, fault: Exception
) -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        raise fault

    background.spawn("once", work)
    for _ in range(5):
        await asyncio.sleep(0)
    assert runs == 1
    assert background.faults == {}
