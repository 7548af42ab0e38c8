"""The joining race: every order of a join's awaits, of appends, and of the messages that tell of them.

The real joiner, conversation, connection, hub and inbox run on `interleaving.Scheduler` (see `joining_world`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.errors import StoreUnavailable
from feed.streams import Top
from realtime.live.hub import Receiver
from realtime.live.joining import Joiner, Outcome, Refused
from realtime.live.protocol import At
from tests.unit.realtime.live.fakes import Socket
from tests.unit.realtime.live.interleaving import Choices, every, some
from tests.unit.realtime.live.joining_world import LABEL, Grants, World, explore


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with capture_logs():
        yield


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
@pytest.mark.parametrize("label", [LABEL, "post:0", "post:x", "trends", "me:7", ""])
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
