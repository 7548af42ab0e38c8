"""People act, messages are lost, sockets are cut, stores forget: whatever the order, nobody is told what is not theirs.

The live side of two nodes runs on the real streams and scripts (in a Redis of this process) and on virtual time; the
database is a model. `Client` checks after every step that each stream counts up by one or resyncs; in the end, when
everything has been mended, everybody stands where the streams stand.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from db import redis as keys
from db.redis import MEMORY, Redis
from db.relations import ordered
from db.settings import Settings
from feed import revocations as revocations_module
from feed import streams as streams_module
from feed.events import TO_FORGET
from feed.streams import Event, Streams, me
from feed.streams import post as post_stream
from realtime.live import connection as connection_module
from realtime.live import conversation as conversation_module
from realtime.live import hub as hub_module
from realtime.live import inbox as inbox_module
from realtime.live import sender as sender_module
from realtime.live.inbox import IDLE
from realtime.live.protocol import At
from realtime.live.sender import LAG_WITHIN
from tests.unit.realtime.live.site import WIDTH, Client, Node, Post, Sequences, Truth, event
from tests.unit.realtime.live.virtual_time import VirtualLoop, clock_of

PEOPLE = range(1, 4)
KEEP = 16  # items of a log: few, so that some replays reach beyond it
SMALL = {"CONGESTED": 800, "LAGGING": 2000, "CAUGHT_UP": 200, "LIMIT": 4000}  # bytes; an item has about 300

DEEDS = ["edit", "widen", "narrow", "delete", "comment", "comment", "comment"]

people = st.sampled_from(PEOPLE)
mostly = st.sampled_from([True, True, True, False])
pairs = st.lists(people, min_size=2, max_size=2, unique=True)


class Site(RuleBasedStateMachine):
    """The site and everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.truth = Truth(PEOPLE)
        self.stack = ExitStack()
        self.log = self.stack.enter_context(capture_logs())
        modules = (hub_module, inbox_module, conversation_module, connection_module)
        self.stack.enter_context(clock_of(self.loop, *modules))
        table = SimpleNamespace(floor=self.truth.floor, newer=self.truth.newer)
        self.stack.enter_context(mock.patch.object(revocations_module, "revocations", table))
        for name, size in SMALL.items():
            self.stack.enter_context(mock.patch.object(sender_module, name, size))
        self.stack.enter_context(mock.patch.object(conversation_module, "CONGESTED", SMALL["CONGESTED"]))
        self.stack.enter_context(mock.patch.object(streams_module, "RUN_ID", "run0"))
        self.redis = Redis.open(Settings(redis_url=MEMORY))
        self.streams = Streams(self.redis, keep=KEEP, window=3600.0)
        self.nodes = [Node(self.truth, self.redis, self.streams, self.loop) for _ in range(2)]
        self.sequences = Sequences()
        self.clients: list[Client] = []
        self.away: list[tuple[int, dict[str, At]]] = []  # users who were cut off, and where they stood
        self.outbox: list[Callable[[], tuple[Event, list[str]] | None]] = []
        self.prepared: list[tuple[Event, list[str]]] = []
        self.numbers = itertools.count(1)
        self.runs = itertools.count(1)

    @initialize(strangers=st.sets(pairs.map(lambda pair: ordered(*pair)), max_size=1), at_home=st.booleans())
    def begin(self, strangers: set[tuple[int, int]], at_home: bool) -> None:
        """Most are friends, and everybody has a socket."""
        self.truth.friends |= set(itertools.combinations(PEOPLE, 2)) - strangers
        for node in self.nodes:
            self.loop.do(node.open())
        for user in PEOPLE:
            self.write(user, "friends" if user == 1 else "public", at_once=False)
            self._come(user, 0 if at_home else user % 2, {})
        for client, post_id in itertools.product(self.clients, self.truth.posts):
            self.loop.do(client.subscribe(post_stream(post_id)))
        self._happen(at_once=True)

    def pull(self) -> None:
        for node in self.nodes:
            self.sequences.note(self.loop.do(node.pull()))

    # --- people act --------------------------------------------------------------------------------------------------

    @rule(author=people, visibility=st.sampled_from(["friends", "friends", "public", "only_me"]), at_once=mostly)
    def write(self, author: int, visibility: str, at_once: bool) -> None:
        post_id = len(self.truth.posts) + 1
        self.truth.posts[post_id] = Post(author, visibility)
        self._promise("post.created", post_id)
        self._happen(at_once)

    def _happen(self, at_once: bool) -> None:
        """On a good day whatever is done is heard of everywhere, at once."""
        if at_once:
            self.the_workers_catch_up()
            self.deliver_all()

    def _living(self) -> list[int]:
        return [post_id for post_id, post in self.truth.posts.items() if not post.deleted]

    @precondition(lambda self: self._living())
    @rule(data=st.data(), deed=st.sampled_from(DEEDS), at_once=mostly)
    def change_a_post(self, data: st.DataObject, deed: str, at_once: bool) -> None:
        post_id = data.draw(st.sampled_from(self._living()))
        post = self.truth.posts[post_id]
        if deed == "delete":
            self._revoke("post", post_id, post.version + 1, lambda: self._change(post, deleted=True))
            self._promise("post.deleted", post_id, before=post.visibility)
        elif deed == "comment":
            self._comment(post_id, data.draw(people))
        else:
            self._edit(post_id, post, {"widen": "public", "narrow": "only_me"}.get(deed, post.visibility))
        self._happen(at_once)

    def _edit(self, post_id: int, post: Post, visibility: str) -> None:
        before = post.visibility
        if WIDTH[visibility] < WIDTH[before]:
            self._revoke("post", post_id, post.version + 1, lambda: self._change(post, visibility=visibility))
            self._promise("post.hidden", post_id, before=before)
            self._promise("post.edited", post_id, narrowed=True)
        else:
            self._change(post, visibility=visibility)
            self._promise("post.created" if WIDTH[visibility] > WIDTH[before] else "post.edited", post_id)

    @staticmethod
    def _change(post: Post, **values: Any) -> None:
        post.version += 1
        for name, value in values.items():
            setattr(post, name, value)

    def _comment(self, post_id: int, author: int) -> None:
        if self.truth.sees(author, post_id):
            number = next(self.numbers)
            made = event(number, "comment.created", author, post_id, about=number, version=1)
            self.outbox.append(lambda: (made, [post_stream(post_id)]))

    @rule(pair=pairs, block=st.booleans(), at_once=mostly)
    def relate(self, pair: list[int], block: bool, at_once: bool) -> None:
        """Turns a friendship, or a block, into its contrary."""
        low, high = both = ordered(*pair)
        friends, blocks = self.truth.friends, self.truth.blocks
        if both in blocks:
            self._revoke("parted", low, high, lambda: blocks.discard(both))
        elif block:
            self._revoke("parted", low, high, lambda: (friends.discard(both), blocks.add(both)))
            for to, about in ((low, high), (high, low)):
                made = event(next(self.numbers), "author.hidden", about, 0, about=about, version=1)
                self.outbox.append(lambda to=to, made=made: (made, [me(to)]))  # type: ignore[misc]
        elif both in friends:
            self._revoke("parted", low, high, lambda: friends.discard(both))
        else:
            self._revoke("friends", low, high, lambda: friends.add(both))
        self._happen(at_once)

    def _revoke(self, kind: str, subject: int, other: int, change: Callable[[], Any]) -> None:
        row = self.truth.revoke(kind, subject, other, change)
        order = msgspec.json.encode({"v": 1, "revoked": [row]})
        self.loop.do(self.redis.publish(keys.CONTROL, order))
        self.pull()

    # --- workers -----------------------------------------------------------------------------------------------------

    def _promise(self, kind: str, post_id: int, *, before: str = "", narrowed: bool = False) -> None:
        """A job of the outbox: reads when it is run, as `workers.fan_out_post` does."""
        number = next(self.numbers)

        def read() -> tuple[Event, list[str]] | None:
            post = self.truth.posts[post_id]
            to = self.truth.recipients(post)
            if kind not in TO_FORGET and post.deleted:
                return None
            if kind in TO_FORGET:
                had = self.truth.recipients(Post(post.author, before))
                to = had if kind == "post.deleted" else [person for person in had if person not in to]
            own = kind == "post.deleted" or (kind == "post.edited" and not narrowed)
            made = event(number, kind, post.author, post_id, about=post_id, version=post.version)
            return made, [*map(me, to), *([post_stream(post_id)] if own else [])]

        self.outbox.append(read)

    @precondition(lambda self: self.outbox)
    @rule()
    def a_worker_reads(self) -> None:
        found = self.outbox.pop(0)()
        if found is not None:
            self.prepared.append(found)

    @precondition(lambda self: self.prepared)
    @rule(again=st.booleans())
    def a_worker_appends(self, again: bool) -> None:
        """`again`: it is killed before its work is marked, and does it a second time."""
        made, to = self.prepared[0]
        if not again:
            self.prepared.pop(0)
        self.loop.do(self.streams.append(made, to))
        self.pull()

    @rule()
    def the_workers_catch_up(self) -> None:
        while self.outbox or self.prepared:
            if self.prepared:
                self.a_worker_appends(again=False)
            else:
                self.a_worker_reads()

    # --- the way to the nodes ----------------------------------------------------------------------------------------

    nodes_with_messages = precondition(lambda self: any(node.network for node in self.nodes))

    def _message(self, data: st.DataObject) -> tuple[Node, int]:
        node = data.draw(st.sampled_from([node for node in self.nodes if node.network]))
        return node, data.draw(st.integers(0, len(node.network) - 1))

    @nodes_with_messages
    @rule(data=st.data(), repeated=st.booleans())
    def deliver_out_of_turn(self, data: st.DataObject, repeated: bool) -> None:
        node, at = self._message(data)
        message = node.network[at] if repeated else node.network.pop(at)
        self.loop.do(self._hear(node, message))

    @nodes_with_messages
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        node, at = self._message(data)
        del node.network[at]

    @nodes_with_messages
    @rule()
    def deliver_all(self) -> None:
        for node in self.nodes:
            messages, node.network = node.network, []
            for message in messages:
                self.loop.do(self._hear(node, message))

    async def _hear(self, node: Node, message: tuple[str, bytes]) -> None:
        node.hear(message)

    @rule(node=st.sampled_from([0, 1]), check=st.booleans())
    def look(self, node: int, check: bool) -> None:
        """At the table of revocations, or at where the streams stand."""
        self.loop.do(self.nodes[node].inbox.check() if check else self.nodes[node].known.look())
        self.pull()

    # --- sockets -----------------------------------------------------------------------------------------------------

    @rule(user=people, node=st.sampled_from([0, 1]))
    def connect(self, user: int, node: int) -> None:
        """A first, second or third socket, on either node."""
        if len(self._open()) < 6:
            self._come(user, node, {})

    def _come(self, user: int, node: int, positions: dict[str, At]) -> None:
        client = Client(self.nodes[node], user, positions, self.sequences)
        self.clients.append(client)
        self.loop.do(self._live(client))
        self.pull()

    async def _live(self, client: Client) -> None:
        client.task = asyncio.create_task(client.live())

    def _open(self) -> list[Client]:
        return [client for client in self.clients if client.open]

    some_open = precondition(lambda self: self._open())

    @some_open
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self._open()))
        client.task.cancel()
        self.loop.pass_time(0.001)
        self._gone()

    def _gone(self) -> None:
        """Whoever was cut off, or closed by its node, may come back."""
        for client in self.clients:
            if client.task.done():
                client.task.result()  # raises what its client refused
                self.away.append((client.user, client.positions))
        self.clients = [client for client in self.clients if not client.task.done()]

    @precondition(lambda self: self.away)
    @rule(data=st.data(), node=st.sampled_from([0, 1]))
    def resume(self, data: st.DataObject, node: int) -> None:
        at = data.draw(st.integers(0, len(self.away) - 1))
        self._come(self.away[at][0], node, self.away.pop(at)[1])

    @precondition(lambda self: self._open() and self.truth.posts)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self._open()))
        post_id = data.draw(st.sampled_from(list(self.truth.posts)))
        self.loop.do(client.subscribe(post_stream(post_id)))
        self.pull()

    @some_open
    @rule(data=st.data(), buffered=st.sampled_from([SMALL["CONGESTED"] + 1, SMALL["LAGGING"] - 1]))
    def stall(self, data: st.DataObject, buffered: int) -> None:
        client = data.draw(st.sampled_from(self._open()))
        client.wire.stall(buffered)

    @some_open
    @rule()
    def drain(self) -> None:
        for client in self.clients:
            client.wire.drain()
        self.loop.pass_time(1.0)

    # --- stores and time ---------------------------------------------------------------------------------------------

    @rule(emptied=st.booleans())
    def restart_the_store(self, emptied: bool) -> None:
        """It comes back with what it had, under a new run id; or somebody has emptied it."""
        if emptied:
            self.loop.do(self.redis._client.flushall())
        else:
            streams_module.RUN_ID = f"run{next(self.runs)}"

    @rule(seconds=st.sampled_from([0.5, IDLE, LAG_WITHIN + 1.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.pass_time(seconds)
        for node in self.nodes:
            self.loop.do(node.leave_idle())

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def whoever_is_gone_was_told_nothing_wrong(self) -> None:
        self._gone()

    @invariant()
    def no_task_has_died(self) -> None:
        assert [entry for entry in self.log if entry["log_level"] == "error"] == []

    @invariant()
    def nobody_holds_more_than_the_limit(self) -> None:
        for client in self.clients:
            assert client.connection.sender.queued <= SMALL["LIMIT"] + SMALL["LAGGING"]

    def teardown(self) -> None:
        try:
            self._heal()
        finally:
            for client in self.clients:
                client.task.cancel()
            self.loop.pass_time(0.001)
            for node in self.nodes:
                self.loop.run_until_complete(node.background.stop())
                self.loop.run_until_complete(node.close())
            self.loop.run_until_complete(self.redis.close())
            self.loop.finish()
            self.stack.close()

    def _heal(self) -> None:
        """Nothing is lost any more, everybody comes back and reads: then everybody is at the top."""
        self.drain()
        while self.away:
            self._come(self.away[0][0], 0, self.away.pop(0)[1])
        for node in (0, 1, 0, 1):  # a stream that was gone is registered by the first round
            self.look(node, check=False)
            self.look(node, check=True)
            self.drain()
        self.the_workers_catch_up()
        self.deliver_all()
        self._gone()
        assert self.away == []
        for client in self.clients:
            assert {"me", *client.connection.subscriptions} == set(client.positions)
            for label, at in client.positions.items():
                name = me(client.user) if label == "me" else label
                top = self.loop.do(self.streams.join(name))
                assert (at.epoch, at.offset) == (top.epoch, top.offset), (client.user, label)
                assert label == "me" or self.truth.sees(client.user, int(label[5:]))


TestSite = Site.TestCase
TestSite.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is told as it was found: to make it smaller takes minutes
    suppress_health_check=list(HealthCheck),
)
