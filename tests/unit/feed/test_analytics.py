"""Percentiles out of buckets, and days as people write them."""

from __future__ import annotations

from datetime import date

import pytest

from feed.analytics import OVER_MS, UPPER_MS, day_of, percentile
from feed.errors import Fault


def test_a_percentile_is_interpolated_inside_its_bucket() -> None:
    assert percentile({10: 100}, 0.5) == pytest.approx(0.0075)  # between 5 and 10 ms
    assert percentile({5: 50, 25: 50}, 0.99) == pytest.approx(0.0247)  # between 10 and 25 ms
    assert percentile({5: 50, 25: 50}, 0.5) == pytest.approx(0.005)
    assert percentile({5: 1}, 0.5) == pytest.approx(0.0025)


def test_beyond_the_last_bound_it_is_that_bound_and_of_nothing_there_is_none() -> None:
    assert percentile({5: 1, OVER_MS: 9}, 0.5) == UPPER_MS[-1] / 1000
    assert percentile({}, 0.5) is None
    assert percentile({5: 0}, 0.99) is None


@pytest.mark.parametrize(
    "text", [None, "", "2026-11-31", "20261121", "2026-W47-6", "2026-1-1", "yesterday", "2026-11-21T0"]
)
def test_what_is_no_day_is_a_fault_that_points_at_it(text: str | None) -> None:
    with pytest.raises(Fault) as refused:
        day_of(text, "/from")
    assert refused.value.pointer == "/from"


def test_a_day() -> None:
    assert day_of("2026-11-21", "/to") == date(2026, 11, 21)
