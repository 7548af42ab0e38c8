"""The scripts of timelines through `feed.timelines` and `feed.streams`, on Valkey, Redis, a cluster and fakeredis."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from db.redis import MEMORY, Redis
from db.settings import Settings
from feed.streams import TIMELINE_KEEPS, Event, Streams, me
from feed.timelines import ACTIVE, BUILD_WITHIN, Slice, Timelines

SLACK = 32  # of append.lua
_numbers = itertools.count(1)


class Store:
    """Timelines on one engine, with a look below them."""

    def __init__(self, redis: Redis) -> None:
        self.client = redis._client
        self.keys = redis.keys
        self.timelines = Timelines(redis)
        self.streams = Streams(redis, keep=8, window=600.0)

    async def ids(self, user: int) -> list[int]:
        return [int(post) for post in await self.client.zrange(self.keys.timeline(me(user)), 0, -1)]

    async def floor(self, user: int, field: str = "floor") -> str | None:
        value = await self.client.hget(self.keys.floor(me(user)), field)
        return value.decode() if value is not None else None

    async def lives(self, user: int) -> tuple[float, float]:
        """Seconds until floor and timeline expire."""
        keys = (self.keys.floor(me(user)), self.keys.timeline(me(user)))
        floor, timeline = [int(await self.client.pttl(key)) / 1000 for key in keys]
        return floor, timeline

    async def warm(self, user: int, ids: list[int], relations: int = 1) -> None:
        token = await self.timelines.build(user, relations=0)
        assert token is not None
        assert await self.timelines.built(user, token, ids, relations=relations)

    async def fan_out(self, post: int, *users: int, act: str = "put") -> None:
        happened = Event(f"o{secrets.token_hex(6)}", "post.created", 7, post, 1, b"{}")
        await self.streams.append(happened, list(map(me, users)), act)


@pytest_asyncio.fixture(scope="module", params=["valkey", "redis", "fakeredis", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    redis = Redis.open(
        Settings(redis_url=MEMORY if request.param == "fakeredis" else request.getfixturevalue(f"{request.param}_url"))
    )
    yield Store(redis)
    await redis.close()


@pytest.fixture
def user() -> int:
    return next(_numbers) * 10**6 + secrets.randbelow(10**6)


async def test_what_nobody_built_is_cold_and_takes_nothing(store: Store, user: int) -> None:
    assert await store.timelines.page(user, before=100, limit=5) is None
    await store.fan_out(7, user)
    assert await store.ids(user) == []
    assert await store.lives(user) == (-0.002, -0.002)


async def test_a_page_is_descending_below_its_cursor(store: Store, user: int) -> None:
    await store.warm(user, [9, 7, 5, 3], relations=4)
    assert await store.timelines.page(user, before=2**53, limit=3) == Slice([9, 7, 5], 4, 0)
    assert await store.timelines.page(user, before=7, limit=3) == Slice([5, 3], 4, 0)
    assert await store.timelines.page(user, before=3, limit=3) == Slice([], 4, 0)


async def test_ids_up_to_two_to_the_53_keep_their_order(store: Store, user: int) -> None:
    ids = [2**53 - n for n in range(1, 40)]
    await store.warm(user, ids[3:])
    for post in ids[:3]:
        await store.fan_out(post, user)
    found = await store.timelines.page(user, before=2**53, limit=50)
    assert found is not None
    assert found.ids == ids
    assert (await store.timelines.page(user, before=ids[10], limit=2)).ids == ids[11:13]


async def test_who_builds_gets_what_is_fanned_out_meanwhile(store: Store, user: int) -> None:
    token = await store.timelines.build(user, relations=0)
    assert await store.timelines.page(user, before=100, limit=5) is None, "not complete yet"
    await store.fan_out(50, user)
    assert await store.timelines.built(user, token, [40, 30], relations=1)
    assert await store.timelines.page(user, before=100, limit=5) == Slice([50, 40, 30], 1, 0)


async def test_one_builds_at_a_time_and_a_lost_lease_builds_nothing(store: Store, user: int) -> None:
    first = await store.timelines.build(user, relations=0)
    assert await store.timelines.build(user, relations=0) is None
    await store.client.hset(store.keys.floor(me(user)), "until", 1)
    second = await store.timelines.build(user, relations=0)
    assert second not in (None, first)
    assert not await store.timelines.built(user, first, [1], relations=1)
    assert await store.timelines.page(user, before=100, limit=5) is None
    assert await store.timelines.built(user, second, [2], relations=1)
    assert (await store.timelines.page(user, before=100, limit=5)).ids == [2]


async def test_putting_twice_changes_nothing_and_taking_takes(store: Store, user: int) -> None:
    await store.warm(user, [3])
    for post in (5, 4, 5, 4):
        await store.fan_out(post, user)
    assert await store.ids(user) == [5, 4, 3]
    await store.fan_out(4, user, act="take")
    await store.fan_out(99, user, act="take")
    await store.fan_out(6, user, act="")
    assert await store.ids(user) == [5, 3]


async def test_the_floor_rises_with_what_is_cut_off(store: Store, user: int) -> None:
    await store.warm(user, list(range(TIMELINE_KEEPS, 0, -1)))
    assert await store.floor(user) == "1"
    for post in range(TIMELINE_KEEPS + 1, TIMELINE_KEEPS + SLACK + 1):
        await store.fan_out(post, user)
    assert len(await store.ids(user)) == TIMELINE_KEEPS + SLACK
    await store.fan_out(TIMELINE_KEEPS + SLACK + 1, user)
    ids = await store.ids(user)
    assert (len(ids), ids[-1]) == (TIMELINE_KEEPS, SLACK + 2)
    assert await store.floor(user) == str(SLACK + 2)


async def test_what_comes_late_below_the_floor_closes_no_hole_in_show(store: Store, user: int) -> None:
    await store.warm(user, [*range(2000, 2000 - TIMELINE_KEEPS, -1)])
    floor = 2000 - TIMELINE_KEEPS + 1
    await store.fan_out(floor - 1, user)
    assert (await store.ids(user))[-1] == floor
    for post in range(1900, 1990):
        await store.fan_out(post, user, act="take")
    await store.fan_out(5, user)
    page = await store.timelines.page(user, before=floor + 1, limit=5)
    assert page == Slice([floor], 1, floor)


async def test_a_timeline_that_was_cut_while_it_was_built_is_complete_down_to_where_it_says(
    store: Store, user: int
) -> None:
    token = await store.timelines.build(user, relations=0)
    for post in range(3000, 3000 + TIMELINE_KEEPS + SLACK + 1):
        await store.fan_out(post, user)
    assert await store.timelines.built(user, token, [2500, 2400], relations=1)
    ids = await store.ids(user)
    assert len(ids) == TIMELINE_KEEPS
    assert (ids[-1], await store.floor(user)) == (3000 + SLACK + 1, str(3000 + SLACK + 1))


async def test_another_life_of_the_store_makes_it_cold(store: Store, user: int) -> None:
    await store.warm(user, [3])
    await store.client.hset(store.keys.floor(me(user)), "run_id", "0" * 40)
    assert await store.timelines.page(user, before=100, limit=5) is None
    await store.fan_out(4, user)
    assert await store.ids(user) == [3], "not even touched"
    await store.warm(user, [4, 3])
    assert await store.ids(user) == [4, 3]


async def test_every_key_expires_and_reading_keeps_both_alive(store: Store, user: int) -> None:
    token = await store.timelines.build(user, relations=0)
    await store.fan_out(9, user)
    assert all(0 < left <= BUILD_WITHIN for left in await store.lives(user))
    await store.timelines.built(user, token, [], relations=1)
    await store.fan_out(9, user, act="take")
    await store.fan_out(11, user)
    assert all(ACTIVE - 60 < left <= ACTIVE for left in await store.lives(user))
    for key in (store.keys.floor(me(user)), store.keys.timeline(me(user))):
        await store.client.pexpire(key, 60_000)
    await store.timelines.look(user, before=100, limit=5)
    assert all(0 < left <= 60 for left in await store.lives(user))
    await store.timelines.page(user, before=100, limit=5)
    assert all(ACTIVE - 60 < left <= ACTIVE for left in await store.lives(user))


async def test_one_call_serves_many_users_in_each_state(store: Store, user: int) -> None:
    users = [user + n for n in range(450)]
    for warm in users[::3]:
        await store.warm(warm, [1])
    await store.fan_out(2, *users)
    assert [await store.ids(one) for one in users] == [[2, 1] if n % 3 == 0 else [] for n in range(450)]


async def test_a_dropped_timeline_is_cold(store: Store, user: int) -> None:
    await store.warm(user, [3])
    await store.timelines.drop(user)
    assert await store.timelines.page(user, before=100, limit=5) is None
