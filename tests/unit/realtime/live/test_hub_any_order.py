"""The hub against a model of the store: whatever is lost, repeated or reordered, each item once, or a resync."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from feed.streams import Top
from realtime.live.hub import Live, LiveStream
from tests.unit.realtime.live.fakes import Socket, item
from tests.unit.realtime.live.hubs import EPOCH, EVER, NAME, Node


class Follower:
    """A connection and the position that the contract lets it count."""

    def __init__(self, node: Node) -> None:
        self.socket = Socket()
        self.subscription = node.hub.subscribe(self.socket, NAME, "me")
        self.joined: Top | None = None
        self.read = 0
        self.epoch, self.offset = "", 0

    def check(self) -> None:
        """Every event is the next one of its epoch; anything else must be a resync."""
        for frame in self.socket.frames[self.read :]:
            if frame["type"] == "event":
                assert frame["offset"] == self.offset + 1
                assert frame["id"] == f"{self.epoch}-{frame['offset']}"
            else:
                assert frame["type"] == "resync"
                self.epoch = frame["epoch"]
            self.offset = frame["offset"]
        self.read = len(self.socket.raw)


class AnyOrder(RuleBasedStateMachine):
    """A store whose messages are lost, repeated and reordered, whose log is trimmed, and which goes back in time."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()
        self.epoch, self.top, self.trimmed = EPOCH, 0, 0
        self.epochs = 0
        self.on_the_way: list[Live] = []
        self.answers: list[tuple[LiveStream, Top, list[Live] | None]] = []
        self.followers: list[Follower] = []

    # the store

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.top += 1
            if self.node.hub.streams:
                self.on_the_way.append(item(self.top, self.epoch))

    @rule()
    def trim(self) -> None:
        self.trimmed = self.top

    @rule()
    def go_back_in_time(self) -> None:
        self.epochs += 1
        self.epoch, self.top, self.trimmed = f"e{self.epochs}", 0, 0

    # the way

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        index = data.draw(st.integers(0, len(self.on_the_way) - 1))
        self.node.hub.receive(NAME, self.on_the_way[index])
        if not keep:
            del self.on_the_way[index]

    @precondition(lambda self: self.on_the_way)
    @rule()
    def deliver_all_in_order(self) -> None:
        for live in self.on_the_way:
            self.node.hub.receive(NAME, live)
        self.on_the_way.clear()

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.on_the_way[data.draw(st.integers(0, len(self.on_the_way) - 1))]

    # the node, as `live.inbox` and `live.joining` drive it

    @rule()
    def begin_to_join(self) -> None:
        self.followers.append(Follower(self.node))

    @rule(ask=st.booleans())
    def ask_where_the_stream_stands(self, ask: bool = True) -> None:
        """The store is asked, or a view that is open answers by itself."""
        for follower in self.followers:
            if follower.joined is None:
                stream = follower.subscription.stream
                if not ask and stream.top_known and not stream.repairing:
                    follower.joined = Top(stream.epoch, stream.offset)
                    return
                follower.joined = Top(self.epoch, self.top)
                stream.start(follower.joined)
                if stream.epoch != follower.joined.epoch:
                    stream.restart(follower.joined)
                return

    @rule()
    def forget_what_is_idle(self) -> None:
        self.node.hub.drop_idle(EVER)

    @rule()
    def open(self) -> None:
        for follower in self.followers:
            if follower.joined is not None and not follower.subscription.opened:
                follower.epoch, follower.offset = follower.joined.epoch, follower.joined.offset
                follower.subscription.open(follower.joined)
                return

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        follower = self.followers.pop(data.draw(st.integers(0, len(self.followers) - 1)))
        self.node.hub.unsubscribe(follower.subscription)
        follower.check()

    @precondition(lambda self: self.node.repairs)
    @rule()
    def read_the_log(self) -> None:
        """The store answers a repair now; the node hears the answer later."""
        stream = self.node.repairs.pop(0)
        bridged = stream.epoch == self.epoch and self.trimmed <= stream.offset <= self.top
        found = [item(offset, self.epoch) for offset in range(stream.offset + 1, self.top + 1)] if bridged else None
        self.answers.append((stream, Top(self.epoch, self.top), found))

    @precondition(lambda self: self.answers)
    @rule()
    def hear_the_answer(self) -> None:
        stream, top, found = self.answers.pop(0)
        if found is None:
            stream.restart(top)
        else:
            stream.fill(found)

    @rule()
    def compare_with_the_store(self) -> None:
        stream = self.node.hub.streams.get(NAME)
        if stream is not None and stream.top_known and (stream.epoch, stream.offset) != (self.epoch, self.top):
            stream.want_repair()

    @invariant()
    def every_frame_is_the_next_item_or_a_resync(self) -> None:
        for follower in self.followers:
            follower.check()

    @invariant()
    def the_newest_items_end_where_the_stream_stands(self) -> None:
        for stream in self.node.hub.streams.values():
            kept = [(live.epoch, live.offset) for live in stream.recent]
            assert kept == [(stream.epoch, stream.offset - back) for back in reversed(range(len(kept)))]

    def teardown(self) -> None:
        """Once the watchdog has compared and one more item has come, nobody is behind."""
        for _ in self.followers:
            self.ask_where_the_stream_stands()
            self.open()
        self.on_the_way.clear()
        for _ in range(2):
            self.compare_with_the_store()
            while self.node.repairs or self.answers:
                if self.answers:
                    self.hear_the_answer()
                else:
                    self.read_the_log()
            self.append(1)
            self.deliver_all_in_order()
        self.every_frame_is_the_next_item_or_a_resync()
        for follower in self.followers:
            assert (follower.epoch, follower.offset) == (self.epoch, self.top)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, database=None)
