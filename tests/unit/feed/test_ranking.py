"""The formula of `order=top`: each factor moves a post the way that it says, and equal input gives equal order."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from feed.ranking import HALF_LIFE, Candidate, rank, score

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLAIN = Candidate(1, NOW, 0, 0, 0, 0)

candidates = st.lists(
    st.builds(
        Candidate,
        st.integers(1, 2**53),
        st.timedeltas(timedelta(0), timedelta(days=20)).map(lambda age: NOW - age),
        *(st.integers(0, 10**6) for _ in range(4)),
    ),
    unique_by=lambda one: one.id,
)


def test_a_new_post_of_a_stranger_scores_one():
    assert score(PLAIN, NOW) == 1


def test_it_halves_within_the_half_life():
    old = structs.replace(PLAIN, created_at=NOW - 2 * HALF_LIFE)
    assert score(old, NOW) == pytest.approx(score(PLAIN, NOW) / 4)


def test_a_clock_that_runs_behind_makes_nothing_younger_than_new():
    assert score(structs.replace(PLAIN, created_at=NOW + timedelta(hours=5)), NOW) == score(PLAIN, NOW)


def test_three_likes_weigh_as_much_as_one_share_and_more_than_one_comment():
    likes, comment, share = (
        structs.replace(PLAIN, **{name: n}) for name, n in (("likes", 3), ("comments", 1), ("shares", 1))
    )
    assert score(likes, NOW) == score(share, NOW) == 1 + math.log1p(3)
    assert score(comment, NOW) == 1 + math.log1p(2)


def test_who_was_liked_before_is_shown_before_who_was_not():
    assert rank([PLAIN, structs.replace(PLAIN, id=2, given=1)], NOW) == [2, 1]
    assert rank([structs.replace(PLAIN, id=3), structs.replace(PLAIN, given=1, id=2)], NOW) == [2, 3]


def test_of_equals_the_newer_id_comes_first():
    assert rank([PLAIN, structs.replace(PLAIN, id=9), structs.replace(PLAIN, id=4)], NOW) == [9, 4, 1]


@given(candidates, st.randoms())
def test_the_order_of_the_input_does_not_matter(found, random):
    shuffled = random.sample(found, len(found))
    assert rank(shuffled, NOW) == rank(found, NOW)
