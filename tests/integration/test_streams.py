"""The Lua scripts through `feed.streams`, on the embedded Valkey, the system's Redis, a cluster and fakeredis alike.

Every test names streams and nodes of its own. Time is the store's: what must have expired is written as expired.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from db.errors import StoreUnavailable
from db.redis import MEMORY, Redis, Subscription
from db.settings import Settings
from feed.streams import LISTEN, RECIPIENTS_PER_CALL, Event, Reading, Streams, Top

KEEP = 8
WINDOW = 600.0
_numbers = itertools.count(1)


class Store:
    """Streams on one engine, with a look below them for what a test must arrange."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.client = redis._client
        self.keys = redis.keys
        self.streams = Streams(redis, keep=KEEP, window=WINDOW)

    async def fields(self, stream: str) -> dict[str, str]:
        found = await self.client.hgetall(self.keys.meta(stream))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def set(self, stream: str, field: str, value: str | int) -> None:
        await self.client.hset(self.keys.meta(stream), field, value)

    async def age(self, stream: str, seconds: int) -> None:
        """Makes every item of a log so much older."""
        entries = await self.client.xrange(self.keys.log(stream))
        await self.client.delete(self.keys.log(stream))
        for entry, fields in entries:
            offset, at = entry.decode().split("-")
            await self.client.xadd(self.keys.log(stream), fields, id=f"{offset}-{int(at) - seconds * 1000}")
        offset, at = (await self.fields(stream))["head"].split("-")
        await self.set(stream, "head", f"{offset}-{int(at) - seconds * 1000}")

    async def offsets(self, stream: str) -> list[int]:
        """The offsets that a log has."""
        return [int(entry.split(b"-")[0]) for entry, _ in await self.client.xrange(self.keys.log(stream))]

    async def live_for(self, key: str) -> float:
        """Seconds until a key expires; negative = never, or absent."""
        return int(await self.client.pttl(key)) / 1000

    async def forget_run(self, *streams: str) -> None:
        """The store as another life of it would find these streams."""
        for stream in streams:
            await self.set(stream, "run_id", "0" * 40)


@pytest_asyncio.fixture(scope="module", params=["valkey", "redis", "fakeredis", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    url = MEMORY if request.param == "fakeredis" else request.getfixturevalue(f"{request.param}_url")
    redis = Redis.open(Settings(redis_url=url))
    yield Store(redis)
    await redis.close()


def fresh(count: int = 1) -> list[str]:
    """Stream names that nobody has had."""
    return [f"me:{next(_numbers)}{secrets.randbelow(10**6):06d}" for _ in range(count)]


def neighbours(store: Store) -> tuple[str, str]:
    """Two names of one bucket."""
    [first] = fresh()
    others = (fresh()[0] for _ in itertools.count())
    return first, next(name for name in others if store.keys.bucket(name) == store.keys.bucket(first))


def node() -> str:
    return secrets.token_hex(4)


def event(event_id: str | None = None, body: bytes = b'{"event":"post.created"}') -> Event:
    return Event(event_id or f"o{next(_numbers)}{secrets.token_hex(4)}", "post.created", 7, 8, 1, body)


async def messages(subscription: Subscription, *, wait: float = 0.25) -> list[bytes]:
    """All that has come; the first one may take a while, the others were published together with it."""
    found: list[bytes] = []
    while (message := await subscription.next(2.0 if not found else wait)) is not None:
        found.append(message[1])
    return found


async def silence(subscription: Subscription) -> bool:
    return await subscription.next(0.05) is None


def parsed(message: bytes) -> tuple[str, str, list[tuple[str, str, int]], bytes]:
    """(event id, reference, [(stream, epoch, offset)], body) of an item message."""
    head, _, body = message.partition(b"\n\n")
    kind, event_id, reference, *lines = head.decode().split("\n")
    assert kind == "item"
    places = [line.split(" ") for line in lines]
    return event_id, reference, [(name, epoch, int(offset)) for name, epoch, offset in places], body


# --- append ----------------------------------------------------------------------------------------------------------


async def test_an_event_reaches_450_streams_with_one_message_per_slice_and_node(store: Store) -> None:
    names, here = fresh(450), node()
    tops = {name: await store.streams.join(name, here) for name in names}
    happened = event(body=b'{"event":"x","data":{"text":"a\\n\\nb"}}')
    async with store.redis.subscription(inbox=here) as subscription:
        assert await store.streams.append(happened, names) == 450
        heard = [parsed(message) for message in await messages(subscription)]
    in_buckets = Counter(store.keys.bucket(name) for name in names).values()
    slices = [min(RECIPIENTS_PER_CALL, count - start) for count in in_buckets for start in range(0, count, 200)]
    assert sorted(len(lines) for _, _, lines, _ in heard) == sorted(slices)
    assert RECIPIENTS_PER_CALL == 200
    assert {(event_id, reference, body) for event_id, reference, _, body in heard} == {
        (happened.id, happened.reference, happened.body)
    }
    places = [place for _, _, lines, _ in heard for place in lines]
    assert sorted(places) == sorted((name, tops[name].epoch, 1) for name in names)


async def test_offsets_grow_by_one_in_each_stream_of_its_own(store: Store) -> None:
    busy, calm = fresh(2)
    for name in (busy, calm):
        await store.streams.join(name)
    first, second, third = event(), event(), event()
    await store.streams.append(first, [busy])
    await store.streams.append(second, [busy, calm])
    await store.streams.append(third, [busy])
    epoch = (await store.streams.join(busy)).epoch
    reading = await store.streams.read(busy, epoch, 0)
    assert reading.items is not None
    assert [(item.offset, item.event_id) for item in reading.items] == [
        (1, first.id),
        (2, second.id),
        (3, third.id),
    ]
    assert (await store.streams.join(calm)).offset == 1


async def test_each_node_gets_the_lines_of_its_own_streams_only(store: Store) -> None:
    first, second, both = fresh(3)
    here, there = node(), node()
    for name, who in ((first, here), (second, there), (both, here), (both, there)):
        await store.streams.join(name, who)
    async with (
        store.redis.subscription(inbox=here) as at_here,
        store.redis.subscription(inbox=there) as at_there,
    ):
        await store.streams.append(event(), [first, second, both])
        for_here = [parsed(message) for message in await messages(at_here)]
        for_there = [parsed(message) for message in await messages(at_there)]
    assert sorted(name for _, _, lines, _ in for_here for name, _, _ in lines) == sorted([first, both])
    assert sorted(name for _, _, lines, _ in for_there for name, _, _ in lines) == sorted([second, both])


async def test_an_event_that_is_known_is_appended_nowhere_and_told_to_nobody(store: Store) -> None:
    [name], here, happened = fresh(), node(), event()
    await store.streams.join(name, here)
    assert await store.streams.append(happened, [name]) == 1
    async with store.redis.subscription(inbox=here) as subscription:
        assert await store.streams.append(happened, [name]) == 0
        assert await silence(subscription)
    assert (await store.streams.join(name)).offset == 1


async def test_a_second_run_reaches_exactly_those_that_the_first_one_missed(store: Store) -> None:
    names, happened = fresh(3), event()
    for name in names:
        await store.streams.join(name)
    await store.streams.append(happened, names[:2])
    assert await store.streams.append(happened, names) == 1
    assert [(await store.streams.join(name)).offset for name in names] == [1, 1, 1]


async def test_a_stream_named_twice_gets_one_item(store: Store) -> None:
    [name] = fresh()
    await store.streams.join(name)
    assert await store.streams.append(event(), [name, name]) == 1


async def test_a_dead_stream_stays_dead(store: Store) -> None:
    alive, dead = fresh(2)
    await store.streams.join(alive)
    assert await store.streams.append(event(), [dead, alive]) == 1
    found = [store.keys.meta(dead), store.keys.log(dead), store.keys.seen(dead)]
    assert await store.client.exists(*found) == 0


async def test_nobody_to_tell_is_nothing_to_do(store: Store) -> None:
    happened = event()
    assert await store.streams.append(happened, []) == 0
    assert await store.streams.payloads([happened.id]) == [None]


async def test_a_payload_is_stored_once_and_comes_back_in_the_order_asked(store: Store) -> None:
    [name] = fresh()
    first, second = event(body=b"1"), event(body=b"2")
    for happened in (first, second):
        await store.streams.append(happened, [name])
    await store.redis.delete(store.keys.event(first.id))
    assert await store.streams.payloads([second.id, "o-never", first.id]) == [b"2", None, None]
    assert await store.streams.payloads([]) == []


async def test_everything_that_is_written_expires(store: Store) -> None:
    [name], happened = fresh(), event()
    await store.streams.join(name, node())
    await store.streams.append(happened, [name])
    for key in (store.keys.meta(name), store.keys.log(name), store.keys.seen(name), store.keys.event(happened.id)):
        assert WINDOW - 60 < await store.live_for(key) <= WINDOW


# --- trimming and reading --------------------------------------------------------------------------------------------


async def test_a_log_keeps_the_newest_items_and_reads_all_of_them_or_none(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    happened = [event() for _ in range(KEEP + 3)]
    for one in happened:
        await store.streams.append(one, [name])
    top = Top(epoch, KEEP + 3)
    assert await store.client.xlen(store.keys.log(name)) == KEEP
    whole = await store.streams.read(name, epoch, 3)
    assert whole.items is not None
    assert [item.event_id for item in whole.items] == [one.id for one in happened[3:]]
    assert await store.streams.read(name, epoch, 2) == Reading(top, None)
    assert await store.streams.read(name, epoch, 0) == Reading(top, None)


async def test_an_event_that_was_trimmed_is_no_longer_remembered_and_the_others_are(store: Store) -> None:
    [name] = fresh()
    await store.streams.join(name)
    happened = [event() for _ in range(KEEP + 1)]
    for one in happened:
        await store.streams.append(one, [name])
    remembered = await store.client.hkeys(store.keys.seen(name))
    assert {key.decode() for key in remembered} == {one.id for one in happened[1:]}


async def test_an_item_is_read_as_it_was_appended(store: Store) -> None:
    [name], happened = fresh(), event()
    epoch = (await store.streams.join(name)).epoch
    await store.streams.append(happened, [name])
    reading = await store.streams.read(name, epoch, 0)
    assert reading.top == Top(epoch, 1)
    assert reading.items is not None
    [item] = reading.items
    assert (item.offset, item.event_id, item.kind, item.actor, item.object, item.version) == (
        1,
        happened.id,
        "post.created",
        7,
        8,
        1,
    )


async def test_a_read_up_to_an_offset_stops_there(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    for _ in range(5):
        await store.streams.append(event(), [name])
    for upto, offsets in ((4, [2, 3, 4]), (2, [2]), (1, []), (5, [2, 3, 4, 5]), (9, [2, 3, 4, 5]), (0, [2, 3, 4, 5])):
        reading = await store.streams.read(name, epoch, 1, upto)
        assert reading.items is not None, upto
        assert [item.offset for item in reading.items] == offsets
        assert reading.top == Top(epoch, 5)


async def test_who_has_everything_reads_nothing_and_who_claims_more_cannot_be_bridged(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    await store.streams.append(event(), [name])
    assert await store.streams.read(name, epoch, 1) == Reading(Top(epoch, 1), [])
    assert await store.streams.read(name, epoch, 2) == Reading(Top(epoch, 1), None)


async def test_a_position_of_another_epoch_cannot_be_bridged(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    await store.streams.append(event(), [name])
    assert await store.streams.read(name, "another", 0) == Reading(Top(epoch, 1), None)
    assert await store.streams.read(name, "another", 1) == Reading(Top(epoch, 1), None)


async def test_a_hole_in_the_log_cannot_be_bridged(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    for _ in range(4):
        await store.streams.append(event(), [name])
    [(third, _)] = await store.client.xrange(store.keys.log(name), 3, 3)
    await store.client.xdel(store.keys.log(name), third)
    assert (await store.streams.read(name, epoch, 1)).items is None
    assert (await store.streams.read(name, epoch, 3)).items is not None


async def test_a_log_that_expired_before_its_stream_goes_on_counting(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    for _ in range(2):
        await store.streams.append(event(), [name])
    await store.client.delete(store.keys.log(name), store.keys.seen(name))
    await store.streams.append(event(), [name])
    assert (await store.streams.read(name, epoch, 0)).items is None
    after = (await store.streams.read(name, epoch, 2)).items
    assert after is not None
    assert [item.offset for item in after] == [3]


async def test_a_stream_that_is_gone_cannot_be_read(store: Store) -> None:
    [name] = fresh()
    assert await store.streams.read(name, "e", 0) == Reading(None, None)


async def test_what_is_older_than_the_window_is_trimmed_a_few_items_at_a_time_and_forgotten(store: Store) -> None:
    [name] = fresh()
    streams = Streams(store.redis, keep=64, window=WINDOW)
    epoch = (await streams.join(name)).epoch
    for _ in range(20):
        await streams.append(event(), [name])
    await store.age(name, int(WINDOW) + 1)
    left = []
    for _ in range(4):
        await streams.append(event(), [name])
        left.append(await store.offsets(name))
    assert left == [[*range(9, 22)], [*range(17, 23)], [21, 22, 23], [21, 22, 23, 24]]
    remembered = await store.client.hvals(store.keys.seen(name))
    assert sorted(int(offset) for offset in remembered) == [21, 22, 23, 24]
    reading = await streams.read(name, epoch, 20)
    assert reading.items is not None
    assert [item.offset for item in reading.items] == [21, 22, 23, 24]


async def test_what_is_older_than_the_window_is_never_read_even_while_the_log_has_it(store: Store) -> None:
    [name] = fresh()
    epoch = (await store.streams.join(name)).epoch
    for _ in range(3):
        await store.streams.append(event(), [name])
    await store.age(name, int(WINDOW) - 60)
    assert (await store.streams.read(name, epoch, 0)).items is not None
    await store.age(name, 61)
    assert await store.offsets(name) == [1, 2, 3]
    assert await store.streams.read(name, epoch, 0) == Reading(Top(epoch, 3), None)
    await store.streams.append(event(), [name])
    assert await store.streams.read(name, epoch, 2) == Reading(Top(epoch, 4), None)
    after = (await store.streams.read(name, epoch, 3)).items
    assert after is not None
    assert [item.offset for item in after] == [4]


async def test_a_log_that_is_full_and_partly_too_old_keeps_what_is_young(store: Store) -> None:
    [name] = fresh()
    await store.streams.join(name)
    for _ in range(3):
        await store.streams.append(event(), [name])
    await store.age(name, int(WINDOW) + 1)
    for _ in range(KEEP + 1):
        await store.streams.append(event(), [name])
    assert await store.offsets(name) == [*range(5, 13)]


# --- another life of the store ---------------------------------------------------------------------------------------


async def test_an_append_in_another_life_of_the_store_begins_a_new_epoch_with_an_empty_log(store: Store) -> None:
    [name], here = fresh(), node()
    before = await store.streams.join(name, here)
    known = event()
    await store.streams.append(known, [name])
    await store.streams.append(event(), [name])
    await store.forget_run(name)
    async with store.redis.subscription(inbox=here) as subscription:
        assert await store.streams.append(known, [name]) == 1
        [message] = await messages(subscription)
    [(_, epoch, offset)] = parsed(message)[2]
    assert epoch != before.epoch
    assert offset == 1
    assert await store.streams.join(name) == Top(epoch, 1)
    reading = await store.streams.read(name, epoch, 0)
    assert reading.items is not None
    assert [item.event_id for item in reading.items] == [known.id]


async def test_a_join_in_another_life_of_the_store_begins_a_new_epoch_at_zero(store: Store) -> None:
    [name] = fresh()
    before = await store.streams.join(name)
    await store.streams.append(event(), [name])
    await store.forget_run(name)
    after = await store.streams.join(name, node())
    assert after.epoch != before.epoch
    assert after.offset == 0
    assert await store.client.exists(store.keys.log(name), store.keys.seen(name)) == 0
    assert await store.streams.join(name) == after


async def test_a_touch_and_a_read_in_another_life_of_the_store_find_no_stream(store: Store) -> None:
    [name], here = fresh(), node()
    before = await store.streams.join(name, here)
    await store.streams.append(event(), [name])
    await store.forget_run(name)
    assert await store.streams.touch([(name, f"n:{here}")]) == {name: None}
    assert await store.streams.read(name, before.epoch, 0) == Reading(None, None)


# --- listeners -------------------------------------------------------------------------------------------------------


async def test_two_nodes_that_join_see_one_stream(store: Store) -> None:
    [name], here, there = fresh(), node(), node()
    first = await store.streams.join(name, here)
    await store.streams.append(event(), [name])
    second = await store.streams.join(name, there)
    assert (first.offset, second) == (0, Top(first.epoch, 1))
    assert {field for field in await store.fields(name) if field.startswith("n:")} == {f"n:{here}", f"n:{there}"}


async def test_a_join_of_nobody_keeps_the_stream_without_a_listener(store: Store) -> None:
    [name] = fresh()
    await store.streams.join(name)
    assert set(await store.fields(name)) == {"epoch", "top", "run_id"}
    assert await store.streams.append(event(), [name]) == 1
    assert await store.streams.listening([name]) == set()


async def test_who_leaves_hears_no_more_and_the_stream_lives_on(store: Store) -> None:
    [name], gone, stays = fresh(), node(), node()
    await store.streams.join(name, gone)
    await store.streams.join(name, stays)
    await store.streams.leave([(name, f"n:{gone}")])
    async with (
        store.redis.subscription(inbox=gone) as at_gone,
        store.redis.subscription(inbox=stays) as at_stays,
    ):
        assert await store.streams.append(event(), [name]) == 1
        assert len(await messages(at_stays)) == 1
        assert await silence(at_gone)
    await store.streams.leave([(name, f"n:{stays}")])
    await store.streams.leave([])
    assert await store.streams.append(event(), [name]) == 1


async def test_leaving_takes_back_one_kind_of_registration_only(store: Store) -> None:
    [name], here = fresh(), node()
    await store.streams.join(name, here)
    await store.streams.want_counts(name, here)
    await store.streams.leave([(name, f"n:{here}")])
    fields = await store.fields(name)
    assert f"w:{here}" in fields
    assert f"n:{here}" not in fields


async def test_a_node_that_has_not_touched_in_time_is_dropped_at_the_next_append(store: Store) -> None:
    [name], dead, alive = fresh(), node(), node()
    await store.streams.join(name, dead)
    await store.streams.join(name, alive)
    await store.set(name, f"n:{dead}", 1)
    async with (
        store.redis.subscription(inbox=dead) as at_dead,
        store.redis.subscription(inbox=alive) as at_alive,
    ):
        await store.streams.append(event(), [name])
        assert len(await messages(at_alive)) == 1
        assert await silence(at_dead)
    assert f"n:{dead}" not in await store.fields(name)


async def test_a_touch_renews_the_registration_and_the_stream(store: Store) -> None:
    [name], here = fresh(), node()
    top = await store.streams.join(name, here)
    await store.set(name, f"n:{here}", 1)
    await store.client.pexpire(store.keys.meta(name), 5_000)
    assert await store.streams.touch([(name, f"n:{here}")]) == {name: top}
    until = int((await store.fields(name))[f"n:{here}"]) / 1000
    assert LISTEN - 30 < until - time.time() <= LISTEN + 1
    assert WINDOW - 60 < await store.live_for(store.keys.meta(name)) <= WINDOW


async def test_a_touch_tells_where_each_stream_stands_and_revives_none(store: Store) -> None:
    behind, gone, here = *fresh(2), node()
    epoch = (await store.streams.join(behind, here)).epoch
    await store.streams.append(event(), [behind])
    assert await store.streams.touch([(behind, f"n:{here}"), (gone, f"n:{here}")]) == {
        behind: Top(epoch, 1),
        gone: None,
    }
    assert await store.fields(gone) == {}
    assert await store.streams.touch([]) == {}


# --- counts and whispers ---------------------------------------------------------------------------------------------


async def test_wanting_counts_does_not_make_a_log(store: Store) -> None:
    [name], here = fresh(), node()
    await store.streams.want_counts(name, here)
    assert set(await store.fields(name)) == {f"w:{here}"}
    assert await store.streams.append(event(), [name]) == 0
    assert await store.streams.read(name, "e", 0) == Reading(None, None)
    assert WINDOW - 60 < await store.live_for(store.keys.meta(name)) <= WINDOW


async def test_a_touch_keeps_wanting_counts_of_a_stream_that_has_no_log(store: Store) -> None:
    [name], here = fresh(), node()
    assert await store.streams.touch([(name, f"w:{here}")]) == {name: None}
    assert set(await store.fields(name)) == {f"w:{here}"}


async def test_a_stream_whose_counts_were_wanted_first_can_be_joined(store: Store) -> None:
    [name], here = fresh(), node()
    await store.streams.want_counts(name, here)
    top = await store.streams.join(name, here)
    assert top.offset == 0
    assert await store.streams.append(event(), [name]) == 1
    assert set(await store.fields(name)) == {"epoch", "top", "run_id", "head", f"n:{here}", f"w:{here}"}


@pytest.mark.parametrize(("whom", "heard"), [("n:", {"follows", "both"}), ("w:", {"wants", "both"}), ("", None)])
async def test_a_whisper_reaches_those_whom_it_is_for_once(store: Store, whom: str, heard: set[str] | None) -> None:
    first, second = neighbours(store)
    nodes = {name: node() for name in ("follows", "wants", "both", "expired")}
    for name in (first, second):
        await store.streams.join(name, nodes["follows"])
        await store.streams.want_counts(name, nodes["wants"])
        await store.streams.join(name, nodes["both"])
        await store.streams.want_counts(name, nodes["both"])
        await store.set(name, f"n:{nodes['expired']}", 1)
        await store.set(name, f"w:{nodes['expired']}", 1)
    async with AsyncExitStack() as stack:
        inboxes = {
            name: await stack.enter_async_context(store.redis.subscription(inbox=who)) for name, who in nodes.items()
        }
        await store.streams.whisper([first, second], whom, b"counts\n{}")
        expected = {"follows", "wants", "both"} if heard is None else heard
        for name in expected:
            channel = store.keys.inbox(store.keys.bucket(first), nodes[name])
            assert await inboxes[name].next(2.0) == (channel, b"counts\n{}")
        for inbox in inboxes.values():
            assert await silence(inbox)


async def test_a_whisper_is_in_no_log(store: Store) -> None:
    [name] = fresh()
    await store.streams.join(name, node())
    await store.streams.whisper([name], "n:", b"typing\n1 2")
    assert (await store.streams.join(name)).offset == 0
    assert await store.client.exists(store.keys.log(name)) == 0


async def test_only_streams_with_a_living_listener_are_listened_to(store: Store) -> None:
    names = fresh(250)
    live, kept, wanted, dead = names[0], names[1], names[2], names[3]
    await store.streams.join(live, node())
    await store.streams.join(names[-1], node())
    await store.streams.join(kept)
    await store.streams.want_counts(wanted, node())
    await store.streams.join(dead, node())
    for field in [field for field in await store.fields(dead) if field.startswith("n:")]:
        await store.set(dead, field, 1)
    assert await store.streams.listening(names) == {live, names[-1]}
    assert await store.streams.listening([]) == set()


# --- probes ----------------------------------------------------------------------------------------------------------


async def test_a_probe_proves_the_connection_to_each_primary(store: Store) -> None:
    here = node()
    names = await store.streams.probe_names(here)
    holders = await store.redis.holders()
    assert sorted(holders[store.keys.bucket(name)] for name in names) == sorted(set(holders))
    assert all(name.startswith(f"node:{here}:") for name in names)
    for name in names:
        await store.streams.join(name, here)
    async with store.redis.subscription(inbox=here) as subscription:
        assert await store.streams.append(event(), names) == len(names)
        heard = {place[0] for message in await messages(subscription) for place in parsed(message)[2]}
    assert heard == set(names)
    await store.streams.leave([(name, f"n:{here}") for name in names])
    assert await store.streams.listening(names) == set()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+cluster://127.0.0.1:1"])
async def test_a_store_that_does_not_answer_is_out_of_reach(url: str) -> None:
    redis = Redis.open(Settings(redis_url=url))
    try:
        with pytest.raises(StoreUnavailable):
            await Streams(redis, keep=KEEP, window=WINDOW).join("me:1")
    finally:
        await redis.close()
