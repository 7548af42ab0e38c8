"""What an edge learns of ended rights, from orders and from a real table, on a clock that the test turns."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from db.errors import StoreUnavailable
from db.schema import revocations as table
from feed import revocations as module
from feed.revocations import FORGET_EVERY, SETTLE, SLACK, STALE, Revocation, Revocations, revoke
from feed.stores import Stores

START = datetime(2026, 11, 21, 3, tzinfo=UTC)
WINDOW = 600.0
_ids = itertools.count(1)


class Clock:
    """Both clocks of a process, turned together."""

    def __init__(self) -> None:
        self.passed = 0.0

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return 5000.0 + self.passed


class Edge:
    """What one process knows; `told` are the ids that its owner heard of, in their order."""

    def __init__(self, sql: Any = None, clock: Clock | None = None) -> None:
        self.sql = sql
        self.clock = clock or Clock()
        self.told: list[int] = []
        self.known = Revocations(sql, self.clock.wall, window=WINDOW, monotonic=self.clock.monotonic)
        self.known.on_learned = lambda news: self.told.extend(one.id for one in news)

    async def after(self, seconds: float) -> None:
        """Time passes, then a look."""
        self.clock.passed += seconds
        await self.known.look()

    async def keep_looking(self, seconds: float) -> None:
        """Time passes with a look in every second of it."""
        for _ in range(int(seconds)):
            await self.after(1.0)

    async def commit(self, *ids: int, kind: str = "post", subject: int = 1, other: int = 0) -> None:
        """Rows with these ids become visible, in whatever order."""

        async def work(connection: Any) -> None:
            for number in ids:
                values = {"kind": kind, "subject": subject, "other": other, "created_at": self.clock.wall()}
                await connection.execute(insert(table).values(id=number, **values))

        await self.sql.write(work)

    def learn(self, kind: Any, subject: int, other: int = 0, *, number: int | None = None) -> None:
        """An order comes."""
        self.known.learn([Revocation(number or next(_ids), kind, subject, other)])


@pytest.fixture
def edge(stores: Stores) -> Edge:
    return Edge(stores.sql)


@pytest.fixture
def current() -> Edge:
    """An edge without a table, whose last look was just now."""
    edge = Edge()
    edge.known._looked_at = edge.clock.monotonic()
    return edge


# --- learning --------------------------------------------------------------------------------------------------------


async def test_a_look_learns_every_new_row_once(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    await edge.commit(1, 2, 3, 4, 5)
    await edge.known.look()
    assert edge.told == [1, 2, 3, 4, 5]
    await edge.commit(6)
    await edge.known.look()
    await edge.known.look()
    assert edge.told == [1, 2, 3, 4, 5, 6]


async def test_what_an_order_has_told_the_table_does_not_tell_again(edge: Edge) -> None:
    await edge.known.look()
    await edge.commit(1, 2)
    edge.learn("post", 1, number=2)
    assert edge.told == [2]
    await edge.known.look()
    assert edge.told == [2, 1]


async def test_what_the_table_has_told_an_order_does_not_tell_again(edge: Edge) -> None:
    await edge.commit(1, 2)
    await edge.known.look()
    edge.learn("post", 1, number=1)
    await edge.keep_looking(SETTLE + 2)
    edge.learn("post", 1, number=2)
    assert edge.told == [1, 2]


async def test_an_order_that_repeats_one_id_tells_it_once(current: Edge) -> None:
    one = Revocation(3, "post", 1)
    current.known.learn([one])
    current.known.learn([one])
    assert current.told == [3]


async def test_nothing_new_tells_the_owner_nothing(edge: Edge) -> None:
    heard: list[Any] = []
    edge.known.on_learned = heard.append
    await edge.known.look()
    edge.known.learn([])
    assert heard == []


async def test_orders_before_the_first_look_are_not_told_twice(edge: Edge) -> None:
    await edge.commit(1, 2)
    edge.learn("post", 1, number=2)
    await edge.known.look()
    assert edge.told == [2, 1]


async def test_an_edge_that_starts_learns_what_was_ended_within_the_window_and_nothing_older(edge: Edge) -> None:
    await edge.commit(1)
    edge.clock.passed += WINDOW + SLACK + 1
    await edge.commit(2)
    edge.clock.passed += WINDOW
    await edge.commit(3)
    await edge.known.look()
    assert edge.told == [2, 3]


async def test_an_edge_that_starts_on_an_old_table_learns_what_comes(edge: Edge) -> None:
    await edge.commit(1, 2, 3)
    edge.clock.passed += 2 * WINDOW
    await edge.known.look()
    await edge.commit(4)
    await edge.known.look()
    assert edge.told == [4]


async def test_ids_that_are_committed_out_of_their_order_are_found(edge: Edge) -> None:
    await edge.commit(9)
    await edge.known.look()
    for number, seconds in ((4, 0.5), (7, 10.0), (2, SETTLE - 11.0)):
        await edge.commit(number)
        await edge.after(seconds)
    assert edge.told == [9, 4, 7, 2]


async def test_the_floor_rises_only_behind_what_has_settled(edge: Edge) -> None:
    await edge.commit(5)
    await edge.known.look()
    await edge.after(SETTLE)
    assert edge.known._floor is not None
    assert edge.known._floor < 5
    await edge.commit(8)
    await edge.after(1.0)
    assert edge.known._floor == 5
    await edge.keep_looking(SETTLE - 1.0)
    assert edge.known._floor == 5
    await edge.keep_looking(2.0)
    assert edge.known._floor == 8
    assert edge.known._seen == {}


async def test_a_row_that_no_look_could_find_for_long_is_found_by_the_first_one_that_can(edge: Edge) -> None:
    """The floor rises only after a look: what was committed while the database was away is not passed over."""
    await edge.known.look()
    edge.learn("post", 1, number=20)
    await edge.commit(10)
    edge.clock.passed += 10 * SETTLE
    await edge.known.look()
    assert edge.told == [20, 10]


async def test_a_pair_is_written_in_canonical_order(edge: Edge, stores: Stores) -> None:
    made = await stores.sql.write(lambda c: revoke(c, "parted", 9, 4, clock=edge.clock.wall))
    assert (made.subject, made.other) == (4, 9)
    await edge.known.look()
    assert edge.told == [made.id]
    assert edge.known.parted_from(9) == {4}


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_two_people_are_parted_until_they_are_friends(current: Edge) -> None:
    current.learn("parted", 4, 9)
    assert (current.known.parted_from(4), current.known.parted_from(9)) == ({9}, {4})
    assert current.known.parted_from(5) == set()
    current.learn("friends", 4, 9)
    assert (current.known.parted_from(4), current.known.parted_from(9)) == (set(), set())
    current.learn("parted", 4, 9)
    assert current.known.parted_from(4) == {9}


def test_friends_who_were_never_parted_are_not_parted(current: Edge) -> None:
    current.learn("friends", 4, 9)
    assert current.known.parted_from(4) == set()


def test_an_account_is_ended_until_it_is_enabled(current: Edge) -> None:
    current.learn("account", 4, 0)
    assert current.known.ended(4)
    current.learn("account", 4, 1)
    assert not current.known.ended(4)


@pytest.mark.parametrize(
    ("earlier", "later"), [(("parted", 4, 9), ("friends", 4, 9)), (("account", 4, 0), ("account", 4, 1))]
)
def test_an_earlier_row_that_is_learned_late_does_not_undo_a_later_one(
    current: Edge, earlier: tuple[str, int, int], later: tuple[str, int, int]
) -> None:
    """The first order was lost, the second one came, then the table told the first."""
    current.learn(*later, number=12)
    current.learn(*earlier, number=11)
    assert current.known.parted_from(4) == set()
    assert not current.known.ended(4)


def test_a_sign_in_is_ended_for_good(current: Edge) -> None:
    current.learn("session", 17, 4)
    assert current.known.signed_out(17)
    assert not current.known.signed_out(4)


def test_what_was_told_before_the_version_that_hid_it_is_outdated(current: Edge) -> None:
    current.learn("post", 5, 3)
    current.learn("post", 5, 2)
    for kind in ("post.created", "post.edited"):
        assert [current.known.outdated(kind, 5, version) for version in (1, 2, 3, 4)] == [True, True, False, False]
    assert not current.known.outdated("post.created", 6, 1)
    assert not current.known.outdated("comment.created", 5, 1)
    assert not current.known.outdated("post.deleted", 5, 1)
    current.learn("comment", 5, 2)
    assert current.known.outdated("comment.created", 5, 1)
    assert not current.known.outdated("friend.accepted", 5, 0)


# --- whether a reading still holds -----------------------------------------------------------------------------------

TOPICS = [
    ("session", 17, 4, ("session", 17)),
    ("account", 4, 0, ("account", 4)),
    ("account", 4, 1, ("account", 4)),
    ("post", 5, 2, ("post", 5)),
    ("comment", 6, 2, ("comment", 6)),
    ("parted", 4, 9, ("pair", 4, 9)),
    ("parted", 4, 9, ("person", 4)),
    ("parted", 4, 9, ("person", 9)),
    ("friends", 4, 9, ("pair", 4, 9)),
]


@pytest.mark.parametrize(("kind", "subject", "other", "topic"), TOPICS)
def test_a_reading_holds_until_something_about_it_is_learned(
    current: Edge, kind: str, subject: int, other: int, topic: Any
) -> None:
    before = current.known.moment()
    current.clock.passed += 0.1
    assert current.known.unchanged(before, topic)
    current.learn(kind, subject, other)
    assert not current.known.unchanged(before, topic)
    assert not current.known.unchanged(current.known.moment(), topic)  # it began at the very moment: not sure
    current.clock.passed += 0.1
    assert current.known.unchanged(current.known.moment(), topic)


def test_what_is_learned_about_others_changes_nothing(current: Edge) -> None:
    before = current.known.moment()
    for kind, subject, other in (("session", 1, 1), ("account", 1, 0), ("post", 1, 2), ("parted", 1, 2)):
        current.learn(kind, subject, other)
    topics: list[Any] = [("session", 2), ("account", 2), ("post", 2), ("pair", 1, 3), ("person", 3), ("comment", 1)]
    assert current.known.unchanged(before, *topics)
    assert not current.known.unchanged(before, *topics, ("post", 1))


def test_nothing_is_taken_for_granted_before_the_first_look() -> None:
    edge = Edge()
    assert not edge.known.current
    assert not edge.known.unchanged(edge.known.moment())


async def test_nothing_is_taken_for_granted_when_looks_have_failed_for_a_while(edge: Edge) -> None:
    await edge.known.look()
    since = edge.known.moment()

    class Away:
        @asynccontextmanager
        async def read(self, *, reserved: bool = False) -> Any:
            raise StoreUnavailable("sql", "gone")
            yield

    edge.known._sql = Away()  # type: ignore[assignment]
    for seconds in (STALE - 0.5, 0.4):
        edge.clock.passed += seconds
        with pytest.raises(StoreUnavailable):
            await edge.known.look()
        assert edge.known.current
        assert edge.known.unchanged(since, ("post", 1))
    edge.clock.passed += 0.1
    assert edge.known.age == pytest.approx(STALE)
    assert not edge.known.current
    assert not edge.known.unchanged(since, ("post", 1))
    edge.known._sql = edge.sql
    await edge.known.look()
    assert edge.known.current
    assert edge.known.unchanged(since, ("post", 1))


def test_the_age_of_a_look_counts_from_its_beginning(current: Edge) -> None:
    """What was committed while the rows were on their way may not be among them."""
    assert current.known.age == 0.0
    current.clock.passed += 1.5
    assert current.known.age == 1.5


async def test_a_reading_older_than_what_is_remembered_does_not_hold(edge: Edge) -> None:
    await edge.known.look()
    since = edge.known.moment()
    await edge.after(WINDOW)
    assert edge.known.unchanged(since, ("post", 1))
    await edge.after(0.1)
    assert not edge.known.unchanged(since, ("post", 1))


# --- forgetting ------------------------------------------------------------------------------------------------------


async def test_what_nothing_could_be_resumed_from_any_more_is_forgotten(edge: Edge) -> None:
    for number, (kind, subject, other) in enumerate(
        [("session", 17, 4), ("account", 4, 0), ("parted", 4, 9), ("post", 5, 3), ("comment", 6, 2)], start=1
    ):
        await edge.commit(number, kind=kind, subject=subject, other=other)
    await edge.known.look()
    await edge.after(WINDOW + SLACK)
    assert edge.known.signed_out(17)
    assert edge.known.ended(4)
    assert edge.known.parted_from(9) == {4}
    assert edge.known.outdated("post.created", 5, 2)
    await edge.after(FORGET_EVERY + 1.0)
    assert not edge.known.signed_out(17)
    assert not edge.known.ended(4)
    assert edge.known.parted_from(9) == set()
    assert not edge.known.outdated("post.created", 5, 2)
    kept = (edge.known._learned, edge.known._versions, edge.known._parted, edge.known._ended, edge.known._seen)
    assert not any(kept)
    assert edge.told == [1, 2, 3, 4, 5]


async def test_what_was_learned_again_meanwhile_is_kept(edge: Edge) -> None:
    await edge.commit(1, kind="parted", subject=4, other=9)
    await edge.known.look()
    edge.clock.passed += WINDOW
    await edge.commit(2, kind="parted", subject=4, other=9)
    await edge.known.look()
    await edge.after(SLACK + FORGET_EVERY + 1.0)
    assert edge.known.parted_from(4) == {9}
