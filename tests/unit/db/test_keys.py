"""Names of keys: of one bucket on a single Redis, spread evenly over the slots of a cluster."""

from __future__ import annotations

from collections import Counter

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from db.redis import CLUSTER_BUCKETS, Keys

SPREAD = Keys.spread(CLUSTER_BUCKETS)


def slot(key: str) -> int:
    return key_slot(key.encode())


def test_the_keys_and_the_inbox_of_a_stream_share_a_slot() -> None:
    for number in range(2000):
        name = f"me:{number}"
        found = {slot(key) for key in (SPREAD.meta(name), SPREAD.log(name), SPREAD.seen(name))}
        found.add(slot(SPREAD.inbox(SPREAD.bucket(name), "somenode")))
        assert len(found) == 1


@pytest.mark.parametrize("primaries", [3, 4, 5, 7, 16])
def test_every_primary_has_its_share_of_the_buckets(primaries: int) -> None:
    assert len({slot(tag) for tag in SPREAD.tags}) == 512
    held = Counter(slot(tag) * primaries // REDIS_CLUSTER_HASH_SLOTS for tag in SPREAD.tags)
    assert len(held) == primaries
    assert all(abs(count - 512 / primaries) <= 1.5 for count in held.values()), held


def test_streams_spread_over_the_buckets() -> None:
    held = Counter(SPREAD.bucket(f"me:{number}") for number in range(51_200))
    assert len(held) == 512
    assert max(held.values()) < 200


def test_a_single_redis_has_one_bucket() -> None:
    keys = Keys()
    assert {keys.bucket(f"me:{number}") for number in range(100)} == {0}
    assert (keys.meta("me:1"), keys.inbox(0, "n")) == ("meta:{0}:me:1", "inbox:{0}:n")


@pytest.mark.parametrize("keys", [Keys(), Keys.spread(64)], ids=["one", "cluster"])
def test_the_keys_of_recipients_are_those_of_each(keys: Keys) -> None:
    streams = [f"me:{user}" for user in range(1, 300) if keys.bucket(f"me:{user}") == keys.bucket("me:1")]
    makers = (keys.meta, keys.log, keys.seen, keys.floor, keys.timeline)
    bucket = keys.bucket("me:1")
    assert keys.of_recipients(bucket, streams, timelines=True) == [make(name) for name in streams for make in makers]
    assert keys.of_recipients(bucket, streams, timelines=False) == [
        make(name) for name in streams for make in makers[:3]
    ]
