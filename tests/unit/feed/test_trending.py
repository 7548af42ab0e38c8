"""The rules of trending: unique people, decay, one post per author, and equal input making equal output."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import users
from feed import likes, posts, trending
from feed.objects import Trend, timestamp
from feed.stores import Stores
from feed.trending import HALF_LIFE, HOUR, HOURS, TAG_WEIGHTS, WEIGHTS, Ranked, decay, hours_of, trend

PRESENT = datetime(2026, 11, 21, 12, tzinfo=UTC)
ANY_HOUR = st.integers(0, HOURS - 1).map(lambda age: PRESENT - age * HOUR)
TERMS = st.dictionaries(st.tuples(st.sampled_from(sorted(WEIGHTS)), ANY_HOUR), st.integers(0, 5000), max_size=40)


def test_the_window_is_whole_hours_and_ends_with_the_present_one() -> None:
    hours = hours_of(PRESENT + timedelta(minutes=59, seconds=59))
    assert (len(hours), hours[-1], hours[0]) == (HOURS, PRESENT, PRESENT - 47 * HOUR)
    assert all(later - earlier == HOUR for earlier, later in pairwise(hours))


def test_hours_are_those_of_utc_wherever_the_clock_stands() -> None:
    odd = datetime.fromisoformat("2026-11-21T18:15:00+05:45")
    assert hours_of(odd)[-1] == PRESENT


def test_half_of_the_worth_is_left_after_the_half_life() -> None:
    assert decay(PRESENT, PRESENT) == 1
    assert decay(PRESENT - HALF_LIFE * HOUR, PRESENT) == 0.5
    assert decay(PRESENT - 2 * HALF_LIFE * HOUR, PRESENT) == 0.25
    assert decay(hours_of(PRESENT)[0], PRESENT) * max(WEIGHTS.values()) < 0.02  # nothing jumps where the window ends


@given(TERMS, st.integers(1, 12))
def test_time_changes_every_score_by_the_same_factor(people: dict, hours: int) -> None:
    """What makes the decay a forward one: the order of two posts never changes without a new act."""
    now, later = trend(people, WEIGHTS, PRESENT), trend(people, WEIGHTS, PRESENT + hours * HOUR)
    assert later.score == pytest.approx(now.score * 2 ** (-hours / HALF_LIFE), abs=1e-5)


@given(TERMS)
def test_the_score_is_the_sum_of_its_terms(people: dict) -> None:
    found = trend(people, WEIGHTS, PRESENT)
    assert found.score == pytest.approx(sum(term.points for term in found.because), abs=1e-5)
    assert {(term.kind, term.hour, term.people) for term in found.because} == {
        (kind, timestamp(hour), n) for (kind, hour), n in people.items() if n
    }
    for term in found.because:
        age = (PRESENT - datetime.fromisoformat(term.hour)) / HOUR
        assert term.points == pytest.approx(term.people * WEIGHTS[term.kind] * 2 ** (-age / HALF_LIFE))


@given(TERMS, st.randoms())
def test_the_order_of_the_input_changes_nothing(people: dict, chance: random.Random) -> None:
    terms = list(people.items())
    chance.shuffle(terms)
    assert trend(dict(terms), WEIGHTS, PRESENT) == trend(people, WEIGHTS, PRESENT)


def test_terms_stand_newest_first_and_a_share_weighs_more_than_words_and_words_more_than_a_touch() -> None:
    found = trend(
        {("likes", PRESENT - HOUR): 1, ("likes", PRESENT): 1, ("shares", PRESENT): 1, ("comments", PRESENT): 1},
        WEIGHTS,
        PRESENT,
    )
    assert [(term.kind, term.points) for term in found.because[:3]] == [("likes", 1), ("comments", 2), ("shares", 3)]
    assert found.because[3].hour == "2026-11-21T11:00:00.000Z"
    assert trend({("posts", PRESENT): 4}, TAG_WEIGHTS, PRESENT).score == 4


def test_each_author_has_one_post_the_best_one() -> None:
    nothing = Trend(1, [])
    ranked = [Ranked(post, nothing) for post in (7, 3, 9, 4, 8)]
    kept = trending.one_per_author(ranked, {7: 1, 3: 2, 9: 1, 8: 3}, taken={3})
    assert [one.id for one in kept] == [7, 3]  # 9 is of the same author, 4 may not be listed, 8's author has one


def test_an_hour_is_read_for_good_only_when_no_commit_can_come_any_more() -> None:
    end = PRESENT + HOUR
    assert not trending.is_settled(PRESENT, end)
    assert not trending.is_settled(PRESENT, end + timedelta(seconds=59))
    assert trending.is_settled(PRESENT, end + timedelta(seconds=60))


async def test_it_is_worked_out_on_the_redis_of_this_process_too(stores: Stores) -> None:
    """`social up` without any Valkey: the scripts run there as well."""
    ada, bela = [await a_person(stores, name) for name in ("ada", "bela")]
    post = await posts.create(stores, ada, words="hello", visibility="public", media=[], key=None)
    await likes.set_like(stores, bela, int(post.id), active=True)
    assert await trending.stored(stores) is None
    await trending.refresh(stores)
    found = await trending.read(stores, bela, limit=20)
    assert [(item.id, item.trend.score) for item in found.items] == [(post.id, 1.0)]  # type: ignore[union-attr]


async def a_person(stores: Stores, name: str) -> int:
    now = stores.clock()
    return await stores.sql.write(
        lambda c: users.add(c, username=name, name=name, email=None, password_hash="x", now=now)
    )
