"""Whatever people, workers and stores do, and in whatever order: nobody is told what is not theirs, no feed has a hole.

`world.World` does it to the product on a real Valkey and SQLite, `truth.Truth` knows what is true. A step is a question
that something under way asks of a store. A run has RUN steps; after it everything is drained and every feed, warm and
cold, is compared with the truth. A failure is shrunk, and its seed and story are printed.

    SOCIAL_TEST_FEED_STEPS    steps of all runs together (10000; CI takes 100000, a night a million)
    SOCIAL_TEST_FEED_SEED     the first run's seed (0): one that failed can be had again
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
import structlog
from msgspec import UNSET

from feed import posts
from feed.streams import me
from tests.model.world import World, Wrong
from workers.dispatch import LEASE

STEPS = int(os.environ.get("SOCIAL_TEST_FEED_STEPS", "10000"))
SEED = int(os.environ.get("SOCIAL_TEST_FEED_SEED", "0"))
RUN = 800  # steps of one run
SHRINK_WITHIN = 30.0  # seconds
LONG = 1800.0  # seconds: 10^5 steps on a busy machine


@pytest_asyncio.fixture
async def world(valkey_url: str) -> AsyncIterator[World]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    made = World(valkey_url)
    await made.open()
    try:
        yield made
    finally:
        await made.close()
        structlog.reset_defaults()


async def run(world: World, seed: int, deeds: list[int]) -> None:
    """A run of `deeds`, each of which is the seed of its own choices. Raises what went wrong."""
    await world.begin(calm=seed % 2 == 1)
    for deed in deeds:
        await world.step(random.Random(deed))  # noqa: S311 - to be had again
        if world.stage.steps >= RUN:
            break
    await world.end()


async def fault(world: World, seed: int, deeds: list[int]) -> str:
    """What a run says that went wrong, '' when nothing did."""
    try:
        await run(world, seed, deeds)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def shrink(world: World, seed: int, deeds: list[int]) -> list[int]:
    """Takes pieces out, ever smaller ones, for as long as something still goes wrong and there is time."""
    until = time.monotonic() + SHRINK_WITHIN
    size = len(deeds) // 2
    while size and time.monotonic() < until:
        for start in range(len(deeds) - size, -1, -size):
            fewer = deeds[:start] + deeds[start + size :]
            if time.monotonic() < until and await fault(world, seed, fewer):
                deeds = fewer
        size //= 2
    return deeds


@pytest.mark.timeout(LONG)
async def test_nobody_is_told_what_is_not_theirs_and_no_feed_has_a_hole(world: World) -> None:
    done, seed = 0, SEED
    while done < STEPS:
        choices = random.Random(seed)  # noqa: S311 - to be had again
        deeds = [choices.getrandbits(32) for _ in range(RUN)]
        wrong = await fault(world, seed, deeds)
        if wrong:
            deeds = await shrink(world, seed, deeds)
            again = await fault(world, seed, deeds)
            story = "\n".join(world.trace)
            pytest.fail(f"seed {seed}: {wrong}\nshrunk to {len(deeds)} deeds: {again}\n{story}", pytrace=False)
        done, seed = done + world.stage.steps, seed + 1


async def change(world: World, post_id: int, text: str | None, visibility: str) -> None:
    """The author's edit, when nothing else happens."""
    author = world.truth.posts[post_id].author
    await posts.edit(world.stores, author, post_id, words=text or UNSET, visibility=visibility)  # type: ignore[arg-type]
    world.truth.edit(post_id, text, visibility)


async def write(world: World, author: int, text: str) -> int:
    post = await posts.create(world.stores, author, words=text, visibility="friends", media=[], key=None)
    world.truth.write(int(post.id), author, text, "friends")
    return int(post.id)


async def begin(world: World) -> None:
    """A site where everything is told, and where 3, a friend of 1, has read the feed."""
    await world.begin(calm=True)
    while await world.workers[0].step():
        pass
    await world.read_feed(3)


async def hand_over(world: World) -> None:
    """Worker 1 takes the leases, and does what waits."""
    world.pass_time(timedelta(seconds=LEASE + 1))
    await world.lease(1)
    while await world.workers[1].step():
        pass


@pytest.mark.parametrize("asked", range(12))
async def test_a_worker_that_wakes_late_makes_no_hole(world: World, asked: int) -> None:
    """It has begun to hide a post that is shown again before it goes on."""
    await begin(world)
    post_id = await write(world, 1, "shown, hidden, shown")
    await world.workers[0].step()
    await change(world, post_id, None, "only_me")
    late = await world.look(0)
    for _ in range(asked):
        if not late.done:
            await world.stage.advance(late)
    await hand_over(world)
    await change(world, post_id, None, "friends")
    await hand_over(world)
    await world.stage.finish()
    world.check_timeline(3)
    await world.read_feed(3)


async def test_a_body_that_is_written_again_tells_nobody_what_was_never_theirs(world: World) -> None:
    """A worker has told a post to two friends when it dies; the post becomes private, and is shown with other words."""
    await begin(world)
    post_id = await write(world, 1, "first")
    await world.workers[0].step()
    await change(world, post_id, "for myself alone", "only_me")
    await hand_over(world)
    await change(world, post_id, "last", "only_me")
    await change(world, post_id, None, "friends")
    await hand_over(world)
    told = await world.replayed(3, me(3), world.positions[me(3)][0])
    assert [data["text"] for kind, data in told if kind in ("post.created", "post.edited")] == ["last", "last"]
    with pytest.raises(Wrong):  # the model would have seen it
        world.judge_event(3, "post.created", {"id": str(post_id), "text": "for myself alone"})
