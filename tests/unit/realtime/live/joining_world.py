"""A node and a played store on `interleaving.Scheduler`: what the tests of the joining race let happen in every order.

Each operation of the store is two points: when it acts, and when its answer is heard. What a client was sent is read
back from the bytes, by the rules of the contract: events count up by one, and anything else is a resync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from db import redis as keys
from feed.background import Background
from feed.streams import Item, Reading, Top
from realtime.live.connection import Connection
from realtime.live.conversation import Conversations
from realtime.live.hub import Hub
from realtime.live.inbox import Inbox
from realtime.live.joining import Joiner
from realtime.live.protocol import At
from realtime.live.rights import Rights
from realtime.live.session import Join
from tests.unit.realtime.live.fakes import Known, Wire, body
from tests.unit.realtime.live.interleaving import Choices, Scheduler

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

    def read(self, *, reserved: bool = False) -> None:
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
        self.inbox._take(keys.Keys().inbox(0, self.inbox.node), message)

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
