"""Who is told that whom came and went, in how many queries, and what stays silence."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from db.errors import StoreUnavailable
from db.redis import PRESENCE
from feed.streams import me
from realtime.live import presence as module
from realtime.live.hub import Hub
from realtime.live.presence import AWAY, AWAY_EVERY, GRACE, LOOKED_UP, MOST, TICK, Presences
from tests.unit.realtime.live.fakes import Known, Socket


class World:
    """What all nodes share: friendships, who listens where, messages to every node; and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.friends: dict[int, set[int]] = defaultdict(set)
        self.listening_to: dict[str, set[Node]] = defaultdict(set)
        self.nodes: list[Node] = []
        self.queries: list[list[int]] = []
        self.looked_up: list[int] = []
        self.sent: list[bytes] = []
        self.faults = 0

    def befriend(self, one: int, *others: int) -> None:
        for other in others:
            self.friends[one].add(other)
            self.friends[other].add(one)

    # the stores

    @asynccontextmanager
    async def read(self, *, reserved: bool = False) -> AsyncIterator[None]:
        if self.faults:
            self.faults -= 1
            raise StoreUnavailable("sql", "gone")
        yield

    async def friends_of_each(self, _connection: None, users: Collection[int]) -> dict[int, list[int]]:
        self.queries.append(list(users))
        return {user: sorted(self.friends[user]) for user in users}

    async def publish(self, channel: str, message: bytes) -> None:
        assert channel == PRESENCE
        self.sent.append(message)
        for node in self.nodes:
            node.presences.heard(message)

    async def listening(self, names: Sequence[str]) -> set[str]:
        self.looked_up.append(len(names))
        return {name for name in names if self.listening_to[name]}


class Node:
    """One node with its presences; `told` is (to, about, state) in its order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hub = Hub(Known())
        self.told: list[tuple[int, int, str]] = []
        self.active: dict[int, float] = {}
        self.sockets: dict[int, list[Socket]] = defaultdict(list)
        stores: Any = SimpleNamespace(sql=world, redis=world, streams=world)
        self.presences = Presences(
            stores, self.hub, active_at=lambda user: self.active[user], report=lambda *what: self.told.append(what)
        )
        world.nodes.append(self)

    def come(self, *users: int) -> None:
        for user in users:
            socket = Socket(user)
            self.sockets[user].append(socket)
            self.hub.connect(socket)
            self.active[user] = self.world.now
            self.world.listening_to[me(user)].add(self)
            self.presences.came(user)

    def go(self, *users: int) -> None:
        for user in users:
            self.hub.disconnect(self.sockets[user].pop())
            self.presences.left(user)

    async def tick(self, seconds: float = TICK) -> list[tuple[int, int, str]]:
        """Time passes, then a batch; returns what was told since the last one."""
        self.world.now += seconds
        for user, nodes in [(user, self.world.listening_to[me(user)]) for user in self.sockets]:
            if not self.sockets[user] and seconds > 15.0:
                nodes.discard(self)  # the inbox has left the idle stream by then
        await self.presences._tick()
        told, self.told = self.told, []
        return sorted(told)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(module, "relations", made)
    return made


@pytest.fixture
def node(world: World) -> Node:
    return Node(world)


def changes(message: bytes) -> list[tuple[int, str]]:
    return [(change["user"], change["state"]) for change in msgspec.json.decode(message)]


# --- coming and going ------------------------------------------------------------------------------------------------


async def test_friends_who_are_there_hear_that_somebody_came_and_the_one_who_came_who_is_there(
    world: World, node: Node
) -> None:
    world.befriend(1, 2, 3)
    node.come(1)
    assert await node.tick() == []
    node.come(2, 4)
    assert await node.tick() == [(1, 2, "online"), (2, 1, "online")]
    assert await node.tick() == []
    assert len(world.sent) == 2


async def test_a_second_socket_changes_nothing_but_is_told_who_is_there(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    node.come(1)
    assert await node.tick() == [(1, 2, "online")]
    node.go(1)
    assert await node.tick(GRACE + 1) == []
    assert len(world.sent) == 1


async def test_who_leaves_is_offline_after_the_grace_and_not_before(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    node.go(1)
    assert await node.tick(GRACE) == []
    assert await node.tick() == [(2, 1, "offline")]
    assert await node.tick(GRACE) == []
    assert list(node.presences._users) == [2]


async def test_who_comes_back_within_the_grace_has_not_changed(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    for _ in range(3):
        node.go(1)
        await node.tick(GRACE - 1)
        node.come(1)
    assert [told for told in await node.tick() if told[0] == 2] == []
    assert await node.tick(GRACE + 1) == []


async def test_a_visit_shorter_than_a_batch_is_silence(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(2)
    await node.tick()
    node.come(1)
    node.go(1)
    told = [*await node.tick(), *await node.tick(GRACE + 1)]
    assert [what for what in told if what[0] == 2] == []


async def test_another_node_still_has_the_user(world: World, node: Node) -> None:
    other = Node(world)
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    other.come(1)
    await other.tick()
    node.told.clear()
    node.go(1)
    assert await node.tick(GRACE + 1) == []
    other.go(1)
    world.now += GRACE
    world.listening_to[me(1)].clear()
    await other.tick()
    assert node.told == [(2, 1, "offline")]


async def test_who_comes_back_while_the_store_is_asked_is_not_told_to_be_gone(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    node.go(1)

    async def listening(_names: Sequence[str]) -> set[str]:
        node.come(1)
        return set()

    world.now += GRACE + 1
    world.listening = listening  # type: ignore[method-assign]
    await node.presences._gone()
    assert 1 in node.presences._users
    assert node.told == []


async def test_friends_on_another_node_hear_of_it(world: World, node: Node) -> None:
    other = Node(world)
    world.befriend(1, 2)
    other.come(2)
    await other.tick()
    node.come(1)
    assert await node.tick() == [(1, 2, "online")]
    assert other.told == [(2, 1, "online")]


# --- who may hear of it ----------------------------------------------------------------------------------------------


async def test_strangers_hear_nothing(world: World, node: Node) -> None:
    node.come(1, 2)
    await node.tick()
    node.go(1)
    assert await node.tick(GRACE + 1) == []


async def test_people_who_were_parted_hear_nothing_more_of_each_other(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    world.friends.clear()
    node.presences.forget({1, 2, 99})
    node.go(1)
    assert await node.tick(GRACE + 1) == []


async def test_nothing_is_told_before_the_friends_were_read_again(world: World, node: Node) -> None:
    """The other node has not heard of the parting: its message names a friend who is none any more."""
    world.befriend(1, 2)
    node.come(2)
    await node.tick()
    world.friends.clear()
    node.presences.forget({2})
    node.presences.heard(b'[{"user":1,"state":"online","friends":[2]}]')
    await node.presences._read_friends()
    node.presences.heard(b'[{"user":1,"state":"offline","friends":[2]}]')
    assert node.told == []


async def test_new_friends_are_told_of_each_other(world: World, node: Node) -> None:
    node.come(1, 2)
    assert await node.tick() == []
    world.befriend(1, 2)
    node.presences.forget({1, 2})
    assert await node.tick() == [(1, 2, "online"), (2, 1, "online")]


# --- away ------------------------------------------------------------------------------------------------------------


async def test_who_says_nothing_for_long_is_away_until_the_next_word(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    await node.tick()
    world.now += AWAY
    node.active[2] = world.now
    told = [what for _ in range(AWAY_EVERY) for what in await node.tick()]
    assert told == [(2, 1, "away")]
    node.active[1] = node.active[2] = world.now
    told = [what for _ in range(AWAY_EVERY) for what in await node.tick()]
    assert told == [(2, 1, "online")]


async def test_who_comes_is_told_that_a_friend_is_away(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1)
    world.now += AWAY
    for _ in range(AWAY_EVERY):
        await node.tick()
    node.come(2)
    assert await node.tick() == [(1, 2, "online"), (2, 1, "away")]


# --- how much it costs -----------------------------------------------------------------------------------------------


async def test_a_storm_of_arrivals_is_read_in_bounded_batches_of_one_query_each(world: World, node: Node) -> None:
    crowd = range(1, MOST + 51)
    node.come(*crowd)
    await node.tick()
    await node.tick()
    await node.tick()
    assert [len(query) for query in world.queries] == [MOST, 50]
    assert sorted(user for query in world.queries for user in query) == list(crowd)
    assert [len(changes(message)) for message in world.sent] == [MOST, 50]


async def test_a_reconnect_storm_is_silence(world: World, node: Node) -> None:
    crowd = range(1, 101)
    for user in crowd:
        world.befriend(user, user % 100 + 1)
    node.come(*crowd)
    await node.tick()
    sent, queries = len(world.sent), len(world.queries)
    node.go(*crowd)
    await node.tick(GRACE - 1)
    node.come(*crowd)
    await node.tick()
    await node.tick(GRACE + 1)
    assert (len(world.sent), len(world.queries)) == (sent, queries)


async def test_the_states_of_friends_are_looked_up_in_bounded_batches(world: World, node: Node) -> None:
    many = LOOKED_UP // 2 + 1
    for user in (1, 2, 3):
        world.friends[user] = set(range(10_000 * user, 10_000 * user + many))
    node.come(1, 2, 3)
    ticks = []
    for _ in range(3):
        world.looked_up.clear()
        await node.tick()
        ticks.append(sum(world.looked_up))
    assert ticks == [2 * many, many, 0]


async def test_one_with_more_friends_than_a_batch_looks_up_is_told_all_the_same(world: World, node: Node) -> None:
    friends = set(range(100, 100 + LOOKED_UP + 1))
    world.friends[1] = friends
    world.listening_to[me(100)].add(node)
    node.come(1)
    assert await node.tick() == [(1, 100, "online")]


async def test_a_store_that_is_away_costs_time_and_no_news(world: World, node: Node, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "TICK", 0.0)
    world.befriend(1, 2)
    node.come(1, 2)
    world.faults = 2
    running = asyncio.create_task(node.presences.run())
    for _ in range(50):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert sorted(node.told) == [(1, 2, "online"), (1, 2, "online"), (2, 1, "online"), (2, 1, "online")]
    assert len(world.sent) == 1


async def test_who_leaves_before_anything_was_told_is_forgotten_silently(world: World, node: Node) -> None:
    world.befriend(1, 2)
    node.come(1, 2)
    node.go(1)
    told = [what for _ in range(3) for what in await node.tick(GRACE)]
    assert [what for what in told if what[1] == 1] == []
    assert list(node.presences._users) == [2]
