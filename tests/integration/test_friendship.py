"""Friendship as a state machine, on SQLite and MariaDB: whatever several people do at once, the end is one that some
order of their acts leads to, and everything that is derived from it agrees.

Each round's acts run on connections of their own. What they answered and what stands between two people afterwards
must be explained by one order of the acts of that pair (`explained`): the machine itself is the model below.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count
from typing import Any

import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import schema, users
from db.migrate import migrate
from db.redis import MEMORY
from db.relations import ordered
from db.settings import Settings
from feed import friends
from feed.clock import utc_now
from feed.errors import Conflict, NotFound
from feed.stores import Stores

PEOPLE = 4
_names = count(1)


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Between:
    """What stands between two people."""

    state: str = "none"
    asked_by: int | None = None
    blockers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Act:
    """One request: `who` asks (which accepts, too), removes, blocks or unblocks `whom`."""

    what: str
    who: int
    whom: int


MISSING = "not found"


def apply(between: Between, act: Act) -> tuple[Between, str]:
    """(what stands between the two afterwards, the answer)."""
    blocked = bool(between.blockers)
    if act.what == "block":
        if act.who in between.blockers:
            return between, "done"
        return (between, MISSING) if blocked else (Between(blockers=frozenset([act.who])), "done")
    if act.what == "unblock":
        if act.who in between.blockers:
            return replace(between, blockers=between.blockers - {act.who}), "done"
        return between, MISSING if blocked else "done"
    if blocked:
        return between, MISSING
    if act.what == "remove":
        return Between(), "done"
    if between.state == "none":
        return Between("requested", act.who), "requested"
    if between.state == "requested" and between.asked_by != act.who:
        return Between("friends"), "friends"
    return between, between.state


def explained(start: Between, told: Sequence[tuple[Act, str]], end: Between) -> bool:
    """True when some order of the acts gives every one its answer and ends like this."""
    if not told:
        return start == end
    for index, (act, answer) in enumerate(told):
        after, expected = apply(start, act)
        if expected == answer and explained(after, [*told[:index], *told[index + 1 :]], end):
            return True
    return False


# --- the real thing --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", params=["sqlite", "mariadb"])
async def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Stores on a migrated database."""
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('friendship') / 'social.db'}"
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        url = make()
    await migrate(url)
    opened = Stores.open(Settings(database_url=url, redis_url=MEMORY))
    yield opened
    await opened.close()


async def newcomers(stores: Stores, number: int) -> list[int]:
    async def work(connection: AsyncConnection) -> list[int]:
        return [
            await users.add(
                connection, username=f"friend{next(_names)}", name="x", email=None, password_hash="x", now=utc_now()
            )
            for _ in range(number)
        ]

    return await stores.sql.write(work)


async def do(stores: Stores, act: Act) -> str:
    """Does it and returns the answer; anything but NotFound is not for a caller to see."""
    try:
        said = await getattr(friends, act.what)(stores, act.who, act.whom)
    except NotFound:
        return MISSING
    return said.state if said else "done"


@dataclass
class Seen:
    """Everything about some people that the database says."""

    between: dict[tuple[int, int], Between]
    metas: dict[int, Any]
    events: dict[tuple[int, int], list[dict[str, Any]]]  # of a pair, in the order of the outbox
    revoked: Counter[tuple[str, int, int]]


async def look(stores: Stores, people: Sequence[int]) -> Seen:
    pairs = list(combinations(sorted(people), 2))
    events: dict[tuple[int, int], list[dict[str, Any]]] = {pair: [] for pair in pairs}
    async with stores.sql.read() as connection:
        rows = await connection.execute(select(schema.friendships).where(schema.friendships.c.low_id.in_(people)))
        states = {(row.low_id, row.high_id): (row.state, row.asked_by) for row in rows}
        rows = await connection.execute(select(schema.blocks).where(schema.blocks.c.blocker_id.in_(people)))
        blocks = {(row.blocker_id, row.blocked_id) for row in rows}
        rows = await connection.execute(select(schema.relation_meta).where(schema.relation_meta.c.user_id.in_(people)))
        metas = {row.user_id: row for row in rows}
        names = {f"pair:{low}:{high}": (low, high) for low, high in pairs}
        tasks = select(schema.outbox).where(schema.outbox.c.aggregate.in_(names)).order_by(schema.outbox.c.id)
        for row in await connection.execute(tasks):
            events[names[row.aggregate]].append(orjson.loads(row.payload))
        wanted = schema.revocations.c
        revocations = select(schema.revocations).where(or_(wanted.subject.in_(people), wanted.other.in_(people)))
        revoked = Counter((row.kind, row.subject, row.other) for row in await connection.execute(revocations))
    between = {
        (low, high): Between(
            *states.get((low, high), ("none", None)),
            blockers=frozenset(one for one, other in ((low, high), (high, low)) if (one, other) in blocks),
        )
        for low, high in pairs
    }
    return Seen(between, metas, events, revoked)


def check(seen: Seen) -> None:
    """Everything that is derived from what stands between people agrees with it."""
    changes: Counter[int] = Counter()
    for (low, high), between in seen.between.items():
        assert (between.asked_by is not None) == (between.state == "requested")
        assert between.asked_by in (None, low, high)
        assert not between.blockers or (between.state == "none" and len(between.blockers) == 1)
        told = Counter(event["kind"] for event in seen.events[low, high])
        asked, accepted = told["friend.requested"], told["friend.accepted"] // 2
        removed, blocked = told["friend.removed"] // 2, told["author.hidden"] // 2
        unblocked = blocked - len(between.blockers)
        # A row for each right that ended, and for each friendship that began.
        assert seen.revoked["parted", low, high] == removed + blocked + unblocked
        assert seen.revoked["friends", low, high] == accepted
        for one in (low, high):
            changes[one] += asked + accepted + removed + blocked + unblocked
        check_last_events(low, high, between, seen.events[low, high])
    for one, meta in seen.metas.items():
        friendships = [between for pair, between in seen.between.items() if one in pair and between.state == "friends"]
        assert meta.friends == len(friendships)
        assert meta.version == 1 + changes[one]


def check_last_events(low: int, high: int, between: Between, events: list[dict[str, Any]]) -> None:
    """The newest events of a pair tell each of the two what is so now."""
    last = {event["to"]: event for event in events}
    if between.state == "requested":
        other = low if between.asked_by == high else high
        assert (last[other]["kind"], last[other]["about"]) == ("friend.requested", between.asked_by)
    elif between.state == "friends":
        assert {one: (event["kind"], event["about"]) for one, event in last.items()} == {
            low: ("friend.accepted", high),
            high: ("friend.accepted", low),
        }
    elif events:
        ended = {"author.hidden"} if between.blockers else {"friend.removed", "author.hidden"}
        assert {one: event["about"] for one, event in last.items()} == {low: high, high: low}
        assert {event["kind"] for event in last.values()} <= ended


acts = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "remove", "block", "unblock"]),
    st.permutations(range(PEOPLE)),
)
# Rounds of one act each compare with the model step by step; full ones are where orders matter.
rounds = st.lists(st.lists(acts, min_size=1, max_size=8), min_size=1, max_size=6)


# Not shrunk: a schedule that failed once need not fail again.
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(schedule=rounds)
async def test_acts_at_once_end_as_some_order_of_them_would(stores: Stores, schedule: list[Any]) -> None:
    people = await newcomers(stores, PEOPLE)
    seen = await look(stores, people)
    for round_ in schedule:
        together = [Act(what, people[who], people[whom]) for what, (who, whom, *_) in round_]
        answers = await asyncio.gather(*(do(stores, act) for act in together))
        before, seen = seen, await look(stores, people)
        for pair, end in seen.between.items():
            told = [
                (act, answer)
                for act, answer in zip(together, answers, strict=True)
                if ordered(act.who, act.whom) == pair
            ]
            assert explained(before.between[pair], told, end), (before.between[pair], told, end)
    check(seen)


@pytest.mark.parametrize("start", ["none", "requested", "friends", "blocked"])
async def test_everybody_acts_on_one_pair_at_once(stores: Stores, start: str) -> None:
    """Both sides do everything several times at the same moment, on as many connections as there are."""
    one, other = await newcomers(stores, 2)
    for what, who, whom in {
        "none": [],
        "requested": [("ask", one, other)],
        "friends": [("ask", one, other), ("ask", other, one)],
        "blocked": [("block", one, other)],
    }[start]:
        await do(stores, Act(what, who, whom))
    whats = ("ask", "remove", "block", "unblock")
    together = [Act(what, *sides) for what in whats for sides in ((one, other), (other, one))] * 3
    await asyncio.gather(*(do(stores, act) for act in together))
    check(await look(stores, [one, other]))


async def test_acts_that_overlap_in_a_circle_do_not_wait_for_each_other_for_ever(stores: Stores) -> None:
    people = await newcomers(stores, 6)
    for _ in range(3):
        for what in ("ask", "remove"):
            await asyncio.gather(
                *(do(stores, Act(what, one, other)) for one in people for other in people if one != other)
            )
            check(await look(stores, people))


async def test_nobody_gets_more_friends_than_there_may_be(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(friends, "MOST_FRIENDS", 3)
    popular, rival, *others = await newcomers(stores, 9)
    for other in others:
        await do(stores, Act("ask", other, popular))
        await do(stores, Act("ask", rival, other))
    await do(stores, Act("ask", popular, rival))

    async def accept(who: int, whom: int) -> str:
        try:
            return await do(stores, Act("ask", who, whom))
        except Conflict as error:
            return error.code

    answers = await asyncio.gather(
        *(accept(popular, other) for other in others),
        *(accept(other, rival) for other in others),
        accept(rival, popular),
    )
    seen = await look(stores, [popular, rival, *others])
    check(seen)
    assert seen.metas[popular].friends == seen.metas[rival].friends == 3
    assert all(meta.friends <= 3 for meta in seen.metas.values())
    assert Counter(answers)["friends"] == sum(between.state == "friends" for between in seen.between.values())
    assert set(answers) == {"friends", "friend_limit"}
    # What was refused is still asked, and is accepted once there is room.
    refused = next(other for other in others if seen.between[ordered(popular, other)].state == "requested")
    leaving = next(other for other in others if seen.between[ordered(popular, other)].state == "friends")
    await do(stores, Act("remove", leaving, popular))
    assert await do(stores, Act("ask", popular, refused)) == "friends"
