"""The schedule is the seed's, meets every family, and leaves room to heal."""

from __future__ import annotations

import itertools

import pytest

from social.chaos.schedule import KINDS, LAST, WARM_UP, UnknownFault, schedule


def families(engines: str) -> set[str]:
    return {kind.family for kind in KINDS if getattr(kind, engines)}


def test_the_same_seed_gives_the_same_faults() -> None:
    assert schedule(7, 300, "system") == schedule(7, 300, "system")
    assert schedule(7, 300, "system") != schedule(8, 300, "system")


@pytest.mark.parametrize("engines", ["embedded", "system"])
@pytest.mark.parametrize("seed", range(20))
def test_a_minute_meets_every_family_and_ten_minutes_every_kind(engines: str, seed: int) -> None:
    assert {fault.kind.family for fault in schedule(seed, 60, engines)} == families(engines)
    everything = {kind for kind in KINDS if getattr(kind, engines)}
    assert {fault.kind for fault in schedule(seed, 600, engines)} == everything


@pytest.mark.parametrize("seed", range(20))
def test_faults_come_after_the_warm_up_and_end_before_the_run_does(seed: int) -> None:
    faults = schedule(seed, 120, "system")
    assert faults == sorted(faults, key=lambda fault: fault.at)
    assert faults[0].at == WARM_UP
    assert max(fault.at + fault.lasts for fault in faults) <= 120 - LAST


def test_pairs_strike_two_families_at_once() -> None:
    faults = schedule(3, 600, "system")
    pairs = [(a, b) for a, b in itertools.pairwise(faults) if a.at == b.at]
    assert len(pairs) > 3
    assert all(a.kind.family != b.kind.family for a, b in pairs)


def test_only_what_was_named_strikes_and_a_wrong_name_is_told() -> None:
    assert {fault.kind.name for fault in schedule(1, 60, "system", ["F7", "publish-drop"])} == {
        "kill-subscribers",
        "publish-drop",
    }
    with pytest.raises(UnknownFault, match="There is no fault F15 with embedded engines"):
        schedule(1, 60, "embedded", ["F15"])


def test_names_are_unique_and_every_fault_of_the_list_is_there() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {"F1", "F2", "F3", "F5", "F5b", "F6", "F7", "F8", "F9", "F13", "F15", "F17", "F19", "F23", "F26", "F27"} <= {
        kind.number for kind in KINDS
    }
