"""Quantiles, tables and the kinds of statements."""

from __future__ import annotations

import math

import pytest

from social.bench.client import read_head
from social.bench.figures import Line, milliseconds, quantile, table
from social.bench.node import Counted, kind_of
from social.bench.site import cost
from social.bench.stalled import Journal, Phase


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_the_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert quantile(range(1, 101), share) == value


def test_nothing_measured_has_no_quantile() -> None:
    assert math.isnan(quantile([], 0.99))
    assert milliseconds(math.nan) == "–"


def test_a_table_aligns_figures_and_puts_targets_behind_them() -> None:
    text = table("title", [Line("a", "1"), Line("long", "12", "0"), Line("b", "a figure without a target")])
    assert text.splitlines() == [
        "title",
        "  a     1",
        "  long  12   target: 0",
        "  b     a figure without a target",
    ]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT posts.id \nFROM posts \nWHERE posts.id IN (?)", "SELECT posts"),
        ("SELECT pairs.other FROM (SELECT friendships.high_id FROM friendships) AS pairs", "SELECT friendships"),
        ("INSERT INTO outbox (job) VALUES (?)", "INSERT outbox"),
        ("UPDATE sessions SET used_at=?", "UPDATE sessions"),
        ("DELETE FROM blocks WHERE 1", "DELETE blocks"),
        ("BEGIN IMMEDIATE", "BEGIN"),
    ],
)
def test_a_statement_s_kind_is_its_verb_and_its_first_table(statement: str, kind: str) -> None:
    assert kind_of(statement) == kind


def test_a_cost_is_what_came_between_two_counts() -> None:
    spent = cost(
        Counted({"SELECT posts": 3, "SELECT users": 2}, 1.0, 0.5), Counted({"SELECT posts": 7, "SELECT users": 2}, 3, 1)
    )
    assert dict(spent.statements) == {"SELECT posts": 4}
    assert (spent.cpu, spent.loop_cpu) == (2.0, 0.5)


def test_a_refusal_tells_when_to_come_back() -> None:
    status, headers = read_head(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nServer: social")
    assert (status, headers["retry-after"]) == (503, "5")


def test_the_journal_gives_each_phase_its_own_items_and_none_of_the_pause() -> None:
    journal = Journal()
    journal.committed = {0: 10.0, 1: 11.0, 2: 12.0, 3: 13.0}
    for number in range(4):
        journal.hear({"data": {"text": f"{number} words"}}, 14.0)
    journal.hear({"data": {"text": "no number"}}, 14.0)
    quiet, stalled = Phase(stalled=False, first=0, last=2), Phase(stalled=True, first=3, last=4)
    journal.sort([quiet, stalled])
    assert (quiet.took, stalled.took) == ([4.0, 3.0], [1.0])
