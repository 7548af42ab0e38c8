"""Who may see what: the whole table of relation, visibility and state."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from db.relations import Pair
from feed.audience import Audience

VIEWER, AUTHOR = 1, 2
NOW = datetime(2026, 11, 21, tzinfo=UTC)
PAIRS: dict[str, Pair | None] = {
    "strangers": None,
    "strangers again": Pair("none"),
    "viewer asked": Pair("requested", VIEWER),
    "author asked": Pair("requested", AUTHOR),
    "friends": Pair("friends"),
    "blocked": Pair("none", None, blocked=True),
    "friends but blocked": Pair("friends", None, blocked=True),
    "asked but blocked": Pair("requested", VIEWER, blocked=True),
}
BLOCKED = {name for name, pair in PAIRS.items() if pair is not None and pair.blocked}


def audience(pair: Pair | None = None, state: str | None = "active", *, viewer: str = "active") -> Audience:
    """A viewer's audience of one author; `state` None = there is no such account."""
    people: dict[int, Any] = {VIEWER: SimpleNamespace(id=VIEWER, state=viewer)}
    if state is not None:
        people[AUTHOR] = SimpleNamespace(id=AUTHOR, state=state)
    return Audience(VIEWER, people, {} if pair is None else {AUTHOR: pair})


def post(visibility: str, *, author: int = AUTHOR, deleted: bool = False) -> Any:
    return SimpleNamespace(author_id=author, visibility=visibility, deleted_at=NOW if deleted else None)


@pytest.mark.parametrize(
    ("relation", "word"),
    [
        ("strangers", "none"),
        ("strangers again", "none"),
        ("viewer asked", "requested"),
        ("author asked", "asked"),
        ("friends", "friends"),
    ],
)
def test_a_relation_is_told_from_the_viewers_side(relation: str, word: str) -> None:
    assert audience(PAIRS[relation]).relation(AUTHOR) == word
    assert audience(PAIRS[relation]).relation(VIEWER) == "self"


@pytest.mark.parametrize("relation", PAIRS)
@pytest.mark.parametrize("state", ["active", "disabled", "erasing", None])
def test_a_person_is_seen_unless_blocked_or_not_active(relation: str, state: str | None) -> None:
    expected = relation not in BLOCKED and state == "active"
    assert audience(PAIRS[relation], state).sees_person(AUTHOR) is expected


@pytest.mark.parametrize("visibility", ["friends", "public", "only_me"])
@pytest.mark.parametrize("relation", PAIRS)
@pytest.mark.parametrize("state", ["active", "disabled", "erasing", None])
@pytest.mark.parametrize("deleted", [False, True])
def test_a_post_of_another_person(relation: str, visibility: str, state: str | None, deleted: bool) -> None:
    allowed = {
        "public": relation not in BLOCKED,
        "friends": relation == "friends",
        "only_me": False,
    }[visibility]
    expected = allowed and state == "active" and not deleted
    assert audience(PAIRS[relation], state).sees_post(post(visibility, deleted=deleted)) is expected


@pytest.mark.parametrize("visibility", ["friends", "public", "only_me"])
def test_ones_own_post_is_seen_until_it_is_deleted(visibility: str) -> None:
    mine = audience()
    assert mine.sees_post(post(visibility, author=VIEWER))
    assert not mine.sees_post(post(visibility, author=VIEWER, deleted=True))


def test_an_account_that_is_being_erased_sees_not_even_itself() -> None:
    ending = audience(viewer="erasing")
    assert not ending.sees_person(VIEWER)
    assert not ending.sees_post(post("only_me", author=VIEWER))


def test_who_was_not_loaded_is_not_seen() -> None:
    assert not audience().sees_person(99)
    assert not audience().sees_post(post("public", author=99))


def test_a_visibility_that_this_release_does_not_know_is_seen_by_the_author_alone() -> None:
    assert not audience(PAIRS["friends"]).sees_post(post("followers"))
    assert audience().sees_post(post("followers", author=VIEWER))
