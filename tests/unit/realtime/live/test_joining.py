"""The joining race: every order of a join's awaits, of appends, and of the messages that tell of them.

The real joiner, conversation, connection, hub and inbox run on `interleaving.Scheduler`; the store is played, and each
of its operations is two points: when it acts, and when its answer is heard. What a client was sent is read back from
the bytes, by the rules of the contract: events count up by one, and anything else is a resync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from db import redis as keys
from db.errors import StoreUnavailable
from feed.background import Background
from feed.streams import Item, Reading, Top
from realtime.live.connection import Connection
from realtime.live.conversation import Conversations
from realtime.live.hub import Hub, Receiver
from realtime.live.inbox import Inbox
from realtime.live.joining import Joiner, Outcome, Refused
from realtime.live.protocol import At
from realtime.live.rights import Rights
from realtime.live.session import Join
from tests.unit.realtime.live.fakes import Known, Socket, Wire, body
from tests.unit.realtime.live.interleaving import Choices, Scheduler, every, some

LABEL = "post:5"


class Store:
    """One stream whose every operation waits twice: before it acts, and before its answer is heard."""

    keep = 512
    window = 3600.0

    def __init__(self, point: Callable[[str], Any], top: int) -> None:
        self.point = point
        self.epoch, self.top, self.trimmed = "a", top, 0
        self.epochs = 0
        self.node = ""
        self.network: list[bytes] = []

    def append(self) -> None:
        self.top += 1
        if self.node:
            event_id = f"{self.epoch}-{self.top}"
            head = f"item\n{event_id}\npost.edited 9 5 1\n{LABEL} {self.epoch} {self.top}\n\n"
            self.network.append(head.encode() + body(event_id))

    def trim(self) -> None:
        self.trimmed = self.top

    def restart(self) -> None:
        """The store goes back in time: all that it knew is gone."""
        self.epochs += 1
        self.epoch, self.top, self.trimmed, self.node = f"e{self.epochs}", 0, 0, ""

    async def join(self, _name: str, node: str = "") -> Top:
        await self.point("join")
        self.node = node
        answer = Top(self.epoch, self.top)
        await self.point("joined")
        return answer

    async def read(self, _name: str, epoch: str, offset: int, upto: int = 0) -> Reading:
        await self.point("read")
        answer = self._read(epoch, offset, upto)
        await self.point("was read")
        return answer

    def _read(self, epoch: str, offset: int, upto: int) -> Reading:
        top = Top(self.epoch, self.top)
        last = min(upto or self.top, self.top)
        if epoch != self.epoch or offset > last or (offset < self.trimmed and offset < last):
            return Reading(top, None)
        return Reading(top, [Item(n, f"{epoch}-{n}", "post.edited", 9, 5, 1) for n in range(offset + 1, last + 1)])

    async def payloads(self, event_ids: Sequence[str]) -> list[bytes | None]:
        if event_ids:
            await self.point("payloads")
        return [body(event_id) for event_id in event_ids]

    async def touch(self, fields: Sequence[tuple[str, str]]) -> dict[str, Top | None]:
        await self.point("touch")
        self.node = fields[0][1][2:]
        return {name: Top(self.epoch, self.top) for name, _ in fields}

    async def leave(self, _fields: Sequence[tuple[str, str]]) -> None:
        await self.point("leave")
        self.node = ""


class Grants:
    """Everything is granted."""

    async def sees_post(self, _viewer: int, _post: int) -> bool:
        return True

    async def sees_items(self, _viewer: int, items: Sequence[Item]) -> set[int]:
        return {item.offset for item in items}

    def doubts(self, _viewer: int, _item: Item) -> bool:
        return False

    async def separated(self, _viewer: int) -> frozenset[int]:
        return frozenset()


class Client:
    """Follows the stream from a position, or from wherever it stands, and counts by the rules of the contract."""

    def __init__(self, start: At | None) -> None:
        self.start = start
        self.wire = Wire()
        self.heard: list[tuple[str, int]] = []
        self.epoch, self.offset = ("", 0) if start is None else (start.epoch, start.offset)
        self.recovered: bool | None = None
        self.resyncs = 0
        self._read = 0

    def read(self) -> None:
        """Takes what has come. Raises AssertionError for a hole, a repetition or an item of another life."""
        messages, self._read = self.wire.messages[self._read :], len(self.wire.messages)
        for message in messages:
            match message["type"]:
                case "subscribed":
                    assert self.recovered is None
                    self.recovered = message["recovered"]
                    if not self.recovered:
                        self.epoch, self.offset = message["epoch"], message["offset"]
                case "event":
                    assert self.recovered is not None
                    assert message["offset"] == self.offset + 1, "an item is missing, or came twice"
                    assert message["id"] == f"{self.epoch}-{message['offset']}"
                    self.offset = message["offset"]
                    self.heard.append((self.epoch, self.offset))
                case "resync":
                    self.resyncs += 1
                    self.epoch, self.offset = message["epoch"], message["offset"]
                case other:
                    raise AssertionError(other)

    @property
    def position(self) -> At | None:
        """Where it would resume from."""
        return At(self.epoch, self.offset) if self.epoch else None


class World:
    """A node, its store, and what may happen to them: so many of each deed."""

    def __init__(
        self,
        choices: Choices,
        *,
        starts: Iterable[At | None],
        top: int = 0,
        hops: bool = False,
        reorder: bool = False,
        joiner: type[Joiner] = Joiner,
        **budget: int,
    ) -> None:
        self.loop = Scheduler(choices, actions=self._deeds, hops=hops)
        self.store = store = Store(self.loop.point, top)
        self.budget = budget
        self.reorder = reorder
        self.hub = Hub(Known())
        self.background = Background()
        grants: Any = Grants()
        self.inbox = Inbox(None, store, self.hub, self.background, check=25.0)  # type: ignore[arg-type]
        rights = Rights(grants, self.hub, self.background)
        self.conversations = Conversations(
            SimpleNamespace(streams=store),  # type: ignore[arg-type]
            grants,
            Known(),  # type: ignore[arg-type]
            self.hub,
            self.inbox,
            rights,
            None,  # type: ignore[arg-type]
            ping_seconds=25,
            max_per_user=9,
        )
        self.conversations._joiner = joiner(store, grants, self.hub, self.inbox)  # type: ignore[arg-type]
        self.clients: list[Client] = []
        for start in starts:
            self.come(start)

    def come(self, start: At | None) -> None:
        """A client begins to follow the stream."""
        client = Client(start)
        self.clients.append(client)
        self.loop.start(self._follow(client))

    async def _follow(self, client: Client) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(client.wire, task, ping_seconds=25)  # type: ignore[arg-type]
        connection.user_id = len(self.clients)
        self.hub.connect(connection)
        await self.conversations.carry_out(connection, Join(LABEL, client.start, 1), None)

    def _deeds(self) -> list[tuple[str, Callable[[], None]]]:
        """Everything that could happen now besides the points."""
        deeds: list[tuple[str, Callable[[], None]]] = []
        network = self.store.network
        for at in range(len(network) if self.reorder else min(1, len(network))):
            deeds.append((f"hear {at}", lambda at=at: self._hear(network.pop(at))))  # type: ignore[misc]
            deeds += self._within("lose", lambda at=at: network.pop(at))  # type: ignore[misc]
            deeds += self._within("repeat", lambda at=at: self._hear(network[at]))  # type: ignore[misc]
        deeds += self._within("append", self.store.append)
        deeds += self._within("restart", self.store.restart)
        deeds += self._within("trim", self.store.trim)
        deeds += self._within("check", lambda: self.loop.start(self.inbox.check()))
        deeds += self._within("come back", self._come_back)
        deeds += self._within("from another node", lambda: self.come(At(self.store.epoch, self.store.top)))
        return deeds

    def _come_back(self) -> None:
        """The first client's user opens another socket where that client has got to."""
        self.clients[0].read()
        self.come(self.clients[0].position)

    def _within(self, name: str, deed: Callable[[], Any]) -> list[tuple[str, Callable[[], None]]]:
        if not self.budget.get(name.replace(" ", "_")):
            return []

        def once() -> None:
            self.budget[name.replace(" ", "_")] -= 1
            deed()

        return [(name, once)]

    def _hear(self, message: bytes) -> None:
        self.inbox._take(keys.inbox_channels(self.inbox.node)[0], message)

    def run(self) -> World:
        """Until nothing can happen any more; then everybody reads."""
        self.loop.run()
        for client in self.clients:
            client.read()
        return self

    def heal(self) -> World:
        """What the watchdog does in the end, with nothing lost any more."""
        self.budget.clear()
        for _ in range(2):  # a stream that began anew is registered by the first
            self.loop.start(self.inbox.check())
            self.run()
        return self

    def at_top(self) -> bool:
        """True when every client stands where the store stands."""
        here = (self.store.epoch, self.store.top)
        return all((client.epoch, client.offset) == here for client in self.clients)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with capture_logs():
        yield


def explore(all_choices: Iterable[Choices], judge: Callable[[World], None], **world: Any) -> int:
    """Runs a world for each list of choices; returns how many. A failure tells what happened in its run."""
    runs = 0
    for choices in all_choices:
        runs += 1
        made = World(choices, **world)
        try:
            made.run()
            judge(made)
        except AssertionError as error:
            error.add_note(f"run {runs}: {', '.join(made.loop.trace)}")
            raise
        finally:
            made.loop.finish()
    return runs


def complete(world: World) -> None:
    """Nothing was lost, so nothing needs to be mended: each item once, no resync, and everybody is at the top."""
    assert world.at_top()
    for client in world.clients:
        assert client.resyncs == 0
        assert client.recovered is (client.start is not None)
        if client.start is not None:
            assert client.heard == [("a", offset) for offset in range(client.start.offset + 1, world.store.top + 1)]


def healed(world: World) -> None:
    """Whatever was lost: once the watchdog has looked, everybody is at the top (`Client.read` saw to the rest)."""
    world.heal()
    assert world.at_top()


# --- every order -----------------------------------------------------------------------------------------------------

FRESH, BEHIND, AT_TOP = None, At("a", 0), At("a", 2)


@pytest.mark.parametrize(
    ("starts", "appends"),
    [([FRESH], 3), ([BEHIND], 3), ([AT_TOP], 3), ([FRESH, FRESH], 1), ([FRESH, BEHIND], 1), ([BEHIND, AT_TOP], 0)],
)
def test_nothing_is_missed_or_told_twice_in_whatever_order_a_join_and_the_items_come(
    starts: list[At | None], appends: int
) -> None:
    runs = explore(every(), complete, starts=starts, top=2, append=appends)
    assert runs > 1


@pytest.mark.parametrize("start", [FRESH, BEHIND])
def test_nothing_is_missed_either_when_a_message_comes_between_two_steps_of_a_task(start: At | None) -> None:
    assert explore(every(), complete, starts=[start], top=1, append=1, hops=True) > 1


@pytest.mark.parametrize(("start", "appends"), [(FRESH, 3), (BEHIND, 2)])
def test_messages_that_overtake_each_other_change_nothing(start: At | None, appends: int) -> None:
    assert explore(every(), complete, starts=[start], top=2, append=appends, reorder=True) > 1


@pytest.mark.parametrize("start", [FRESH, BEHIND])
def test_a_message_that_comes_twice_is_told_once(start: At | None) -> None:
    assert explore(every(), complete, starts=[start], top=1, append=1, repeat=1) > 1


@pytest.mark.parametrize(("start", "appends"), [(FRESH, 2), (BEHIND, 2)])
def test_a_lost_message_is_mended_by_the_next_one_or_the_watchdog(start: At | None, appends: int) -> None:
    assert explore(every(), healed, starts=[start], top=1, append=appends, lose=1) > 1


@pytest.mark.parametrize("start", [FRESH, BEHIND])
def test_a_store_that_goes_back_in_time_during_a_join_is_a_resync_or_not_recovered(start: At | None) -> None:
    assert explore(every(), healed, starts=[start], top=1, append=1, restart=1) > 1


def test_a_log_that_is_trimmed_during_a_join_is_a_resync_or_not_recovered() -> None:
    assert explore(every(), healed, starts=[BEHIND], top=1, append=1, trim=1) > 1


# --- many random orders of more --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hops", [False, True])
def test_a_crowd_that_joins_while_much_happens_misses_nothing(hops: bool) -> None:
    starts = [FRESH, BEHIND, AT_TOP, BEHIND, FRESH]
    explore(some(400, seed=1), complete, starts=starts, top=3, append=6, repeat=2, reorder=True, hops=hops)


@pytest.mark.parametrize("hops", [False, True])
def test_a_crowd_on_a_bad_day_is_at_the_top_in_the_end(hops: bool) -> None:
    explore(
        some(500, seed=2),
        healed,
        starts=[FRESH, BEHIND, BEHIND],
        top=2,
        append=8,
        lose=3,
        repeat=2,
        restart=1,
        trim=1,
        check=2,
        come_back=2,
        from_another_node=1,
        reorder=True,
        hops=hops,
    )


# --- what a join costs, and what is left of one that fails -----------------------------------------------------------


def test_a_crowd_that_comes_back_from_one_place_reads_the_log_once() -> None:
    def read_once(world: World) -> None:
        complete(world)
        assert world.loop.trace.count("read") == 1

    explore(some(50, seed=4), read_once, starts=[BEHIND] * 8, top=3)


def test_who_comes_back_to_a_node_that_has_seen_everything_reads_nothing() -> None:
    def reads_nothing(world: World) -> None:
        world.loop.trace.clear()
        world.come(At("a", 2))
        world.run()
        complete(world)
        assert world.loop.trace == []

    explore(some(20, seed=5), reads_nothing, starts=[BEHIND], top=3, append=2)


@pytest.mark.parametrize("start", [FRESH, BEHIND])
@pytest.mark.parametrize("label", [LABEL, "post:0", "post:x", "trending", "me:7", ""])
def test_a_join_that_is_refused_leaves_nothing_subscribed(label: str, start: At | None) -> None:
    world = World(Choices([]), starts=[], top=1)

    class Nobody(Grants):
        asked = 0

        async def sees_post(self, _viewer: int, _post: int) -> bool:
            """Seen at first, and not any more once it is joined."""
            self.asked += 1
            return self.asked == 1

    joiner = Joiner(world.store, Nobody(), world.hub, world.inbox)  # type: ignore[arg-type]
    joining = world.loop.create_task(joiner.join(Socket(), label, start))
    world.run()
    with pytest.raises(Refused):
        joining.result()
    assert [stream.subscriptions for stream in world.hub.streams.values()] == ([set()] if label == LABEL else [])


def test_a_join_that_the_store_fails_leaves_nothing_subscribed() -> None:
    world = World(Choices([]), starts=[], top=1)

    async def gone(*_: Any) -> Top:
        raise StoreUnavailable("redis", "gone")

    world.store.join = gone  # type: ignore[method-assign]
    joiner = world.conversations._joiner
    joining = world.loop.create_task(joiner.join(Socket(), "me", None))
    world.run()
    with pytest.raises(StoreUnavailable):
        joining.result()
    assert world.hub.streams["me:1"].subscriptions == set()


def test_a_client_that_goes_away_does_not_take_the_read_of_the_others_along() -> None:
    for choices in every():
        world = World(choices, starts=[], top=2)
        joiner = world.conversations._joiner
        gone, stays = (world.loop.create_task(joiner.join(Socket(), LABEL, BEHIND)) for _ in range(2))
        world.loop._actions = lambda gone=gone: [] if gone.done() else [("cut", gone.cancel)]  # type: ignore[misc]
        world.run()
        outcome = stays.result()
        assert outcome.recovered
        assert [frame.offset for frame in outcome.frames] == [1, 2]
        assert world.hub.streams[LABEL].subscriptions >= {outcome.subscription}
        world.loop.finish()


# --- the proof that this would be noticed ----------------------------------------------------------------------------


class ReadsFirst(Joiner):
    """Reads where the stream stands before it registers anybody: what comes in between is nobody's."""

    async def join(self, receiver: Receiver, label: str, start: At | None) -> Outcome:
        reading = await self._streams.read(label, "", 0)
        assert reading.top is not None
        found = None if start is None else await self._streams.read(label, start.epoch, start.offset)
        outcome = await super().join(receiver, label, None)
        outcome.top = reading.top
        outcome.recovered = found is not None and found.items is not None
        outcome.subscription.epoch, outcome.subscription.offset = reading.top.epoch, reading.top.offset
        return outcome


class RegistersLate(Joiner):
    """Subscribes in the hub only when the store has answered: what the inbox brings meanwhile is nobody's."""

    async def join(self, receiver: Receiver, label: str, start: At | None) -> Outcome:
        top = await self._streams.join(label, self._inbox.node)
        await self._streams.payloads(["a-1"])
        subscription = self._hub.subscribe(receiver, label, label)
        subscription.stream.start(top)
        subscription.epoch, subscription.offset = top.epoch, top.offset
        return Outcome(subscription, top, False, [])


@pytest.mark.parametrize("joiner", [ReadsFirst, RegistersLate])
def test_a_join_that_reads_before_it_registers_is_found_out(joiner: type[Joiner]) -> None:
    with pytest.raises(AssertionError):
        explore(every(), complete, starts=[FRESH], top=1, append=1, joiner=joiner)


def test_a_hub_that_forgets_what_comes_during_a_join_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.live.hub.HELD_LIMIT", 0)
    monkeypatch.setattr("realtime.live.hub.LiveStream._hold", lambda _stream, _live: None)
    with pytest.raises(AssertionError):
        explore(every(), complete, starts=[FRESH], top=1, append=2)
