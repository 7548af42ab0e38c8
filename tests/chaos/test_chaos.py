"""`social chaos` passes on the product, on both engine sets, and fails on a product without one of its protections.

Minutes of real time: `./test --all` runs them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from social.chaos.run import Plan, execute
from social.chaos.sabotage import PROTECTIONS
from social.embedded import EngineMissing
from tests.engines import missing

SEED = 20_261_121
SETTLE = 5.0  # seconds: what a sabotaged product has not shown by then it never will
# What each protection protects from, on which engines, and in which findings its absence shows.
FITTING = {
    "dedupe": ("system", ("mark-lost",), ("duplicated",)),
    "gap-fill": ("system", ("publish-drop", "kill-subscribers"), ("silent", "lost")),
    # the process and its Valkey end together: every client comes back with a position in the old epoch
    "epoch-check": ("embedded", ("kill-all",), ("silent",)),
}


def run(plan: Plan, folder: Path):
    said: list[str] = []
    try:
        return execute(plan, said.append, keep=folder), "\n".join(said)
    except EngineMissing:
        missing("MariaDB or Redis", "mariadb-server-core mariadb-client-core redis-server")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("engines", ["embedded", "system"])
def test_nothing_is_lost_doubled_or_silent(engines: str, tmp_path: Path) -> None:
    verdict, said = run(Plan(SEED, 1.0, engines), tmp_path)
    assert verdict.passed, said
    assert verdict.tally.acknowledged > 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protection", list(PROTECTIONS))
def test_a_product_without_a_protection_fails(protection: str, tmp_path: Path) -> None:
    engines, faults, sorts = FITTING[protection]
    plan = Plan(SEED, 0.5, engines, faults, ("social.chaos.sabotage", protection), SETTLE)
    verdict, said = run(plan, tmp_path)
    assert not verdict.passed, said
    assert all(getattr(verdict.findings, sort) for sort in sorts), said
