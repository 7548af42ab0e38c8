"""The streams as server-sent events: what stands in their ids, what a client that comes back can rely on, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from db.redis import MEMORY
from db.settings import Settings
from feed.background import Background
from feed.stores import Stores
from feed.streams import Top
from realtime.live import protocol
from realtime.live.connection import Ending
from realtime.live.conversation import Conversations
from realtime.live.events import COME_BACK_MS, POSITION, Chunks, EventStream, _wanted
from realtime.live.gateway import Gateway
from realtime.live.hub import Hub
from realtime.live.joining import Outcome
from realtime.live.protocol import CODES, FAILED, NO_STORE, At, Code, event_frame, websocket_frame
from realtime.live.sender import LAG_WITHIN, LAGGING, LOOK
from realtime.problems import BadRequest
from tests.unit.realtime.live.fakes import Known, Wire, items
from tests.unit.realtime.live.virtual_time import VirtualLoop


class Page(Wire):
    """The transport under a chunked answer, and the EventSource at its other end.

    `positions` is where the streams stand by the messages; `last_id` is what the client would come back with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[bytes] = []
        self.comments = 0
        self.retry: int | None = None
        self.last_id = ""
        self._text = b""

    def write(self, data: bytes) -> None:
        if self.stalled:
            self.buffered += len(data)
        size, _, rest = data.partition(b"\r\n")
        assert rest.endswith(b"\r\n")
        assert len(rest) - 2 == int(size, 16) > 0
        self.chunks.append(rest[:-2])
        self._text += rest[:-2]
        while b"\n\n" in self._text:
            event, _, self._text = self._text.partition(b"\n\n")
            self._event(event.decode())

    def _event(self, event: str) -> None:
        for line in event.split("\n"):
            name, _, value = line.partition(": ")
            match name:
                case ":":
                    self.comments += 1
                case "id":
                    self.last_id = value
                case "retry":
                    self.retry = int(value)
                case "data":
                    self.messages.append(json.loads(value))
                case _:
                    raise AssertionError(line)

    @property
    def claims(self) -> dict[str, tuple[str, int]]:
        """The positions that the last id holds."""
        matches = [POSITION.fullmatch(part) for part in filter(None, self.last_id.split(","))]
        return {match[1]: (match[2], int(match[3])) for match in matches if match is not None}


class Peer:
    """An event stream on virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.page = Page()
        self.hub = Hub(Known())
        self.stream: EventStream = self.loop.do(self._make())

    async def _make(self) -> EventStream:
        task = asyncio.create_task(asyncio.Event().wait())
        return EventStream(Chunks(self.page), task, ping_seconds=25)  # type: ignore[arg-type]

    def follow(self, label: str, offset: int, *, opened: bool = True) -> None:
        subscription = self.hub.subscribe(self.stream, label, label)
        subscription.stream.start(Top("a", offset))
        self.stream.subscriptions[label] = subscription
        subscription.epoch, subscription.offset = "a", offset
        if opened:
            subscription.open(Top("a", offset))

    def receive(self, label: str, *offsets: int) -> None:
        for live in items(offsets):
            self.hub.receive(label, live)

    @property
    def said(self) -> list[dict[str, Any]]:
        """What has been read since this was last asked for."""
        self.loop.pass_time(LOOK[1])
        messages, self.page.messages = self.page.messages, []
        return messages


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.loop.finish()


# --- ids and chunks --------------------------------------------------------------------------------------------------


def test_every_event_says_where_all_streams_stand(peer: Peer) -> None:
    peer.follow("me", 3)
    peer.follow("post:5", 8)
    peer.receive("me", 4)
    assert [frame["offset"] for frame in peer.said] == [4]
    assert peer.page.claims == {"me": ("a", 4), "post:5": ("a", 8)}
    peer.receive("post:5", 9, 10)
    assert [frame["offset"] for frame in peer.said] == [9, 10]
    assert peer.page.claims == {"me": ("a", 4), "post:5": ("a", 10)}


def test_what_a_connection_cut_between_two_events_has_got_is_what_its_id_says(peer: Peer) -> None:
    peer.follow("me", 0)
    peer.receive("me", 1, 2, 3)
    assert len(peer.said) == 3
    [chunk] = peer.page.chunks  # one tick, one write, one chunk
    ids = [line for line in chunk.decode().split("\n") if line.startswith("id")]
    assert ids == [f"id: me=a:{offset}" for offset in (1, 2, 3)]


def test_before_anything_is_joined_there_is_no_id(peer: Peer) -> None:
    peer.stream.say(protocol.ErrorFrame("invalid", "No."))
    assert [message["type"] for message in peer.said] == ["error"]
    assert peer.page.last_id == ""


def test_a_stream_that_is_not_joined_yet_is_not_claimed(peer: Peer) -> None:
    peer.follow("me", 3)
    subscription = peer.hub.subscribe(peer.stream, "post:5", "post:5")
    peer.stream.subscriptions["post:5"] = subscription
    peer.receive("me", 4)
    assert len(peer.said) == 1
    assert peer.page.claims == {"me": ("a", 4)}


@pytest.mark.parametrize("size", [1, 15, 16, 255, 4096, 70_000])
def test_a_write_is_one_chunk_whatever_its_size(size: int) -> None:
    writes: list[bytes] = []
    Chunks(SimpleNamespace(write=writes.append)).write(b"x" * size)  # type: ignore[arg-type]
    assert writes == [b"%x\r\n%s\r\n" % (size, b"x" * size)]


def test_a_frame_of_any_length_becomes_its_message(peer: Peer) -> None:
    for size in (10, 125, 126, 70_000):
        peer.stream.reply(websocket_frame(b'{"type":"x","text":"%b"}' % (b"y" * size)))
        [message] = peer.said
        assert len(message["text"]) == size


def test_line_breaks_in_a_text_do_not_break_an_event(peer: Peer) -> None:
    peer.follow("me", 0)
    body = json.dumps({"event": "post.created", "id": "o1", "data": {"text": "a\n\nid: me=a:99\n\nb\r"}}).encode()
    peer.stream.send(websocket_frame(event_frame("me", 1, body)), items([1])[0].item)
    [message] = peer.said
    assert message["data"]["text"] == "a\n\nid: me=a:99\n\nb\r"


def test_a_ping_is_a_comment_and_a_message(peer: Peer) -> None:
    peer.follow("me", 3)
    peer.stream.ping()
    assert peer.said == [{"type": "ping", "streams": {"me": 3}}]
    assert peer.page.comments == 1


# --- welcome and replay ----------------------------------------------------------------------------------------------


def open_with(peer: Peer, start: At | None, *, recovered: bool) -> None:
    """Says welcome and opens, as `Conversations.greet` does, with two missed items."""
    peer.follow("me", 5, opened=False)
    subscription = peer.stream.subscriptions["me"]
    if start is not None and recovered:
        subscription.epoch, subscription.offset = start.epoch, start.offset
    missed = [
        SimpleNamespace(offset=n, bytes=websocket_frame(event_frame("me", n, live.body)), item=None)
        for n, live in ((live.offset, live) for live in items([4, 5]))
    ]
    outcome = Outcome(subscription, Top("a", 5), recovered, missed if recovered else [])  # type: ignore[arg-type]
    joined = {"me": protocol.Joined("a", 5, recovered)}
    peer.stream.say(protocol.Welcome("s", "1", 25, 65_536, joined))
    peer.loop.do(Conversations._open(SimpleNamespace(_rights=SimpleNamespace(generation=0)), peer.stream, outcome))  # type: ignore[arg-type]


def test_welcome_of_a_recovered_stream_claims_only_what_the_client_had(peer: Peer) -> None:
    open_with(peer, At("a", 3), recovered=True)
    assert [message.get("offset") for message in peer.said] == [None, 4, 5]
    ids = [line for chunk in peer.page.chunks for line in chunk.decode().split("\n") if line.startswith("id")]
    assert ids == ["id: me=a:3", "id: me=a:4", "id: me=a:5"]
    peer.receive("me", 6)
    assert [message["offset"] for message in peer.said] == [6]


@pytest.mark.parametrize("start", [None, At("old", 9)])
def test_welcome_of_a_stream_that_is_not_recovered_claims_where_it_stands(peer: Peer, start: At | None) -> None:
    open_with(peer, start, recovered=False)
    [welcome] = peer.said
    assert welcome["streams"]["me"] == {"epoch": "a", "offset": 5, "recovered": False}
    assert peer.page.claims == {"me": ("a", 5)}


# --- slow readers ----------------------------------------------------------------------------------------------------


def stall(peer: Peer) -> None:
    """The reader stalls with more waiting for it than a websocket's reader would be left with."""
    peer.follow("me", 0)
    peer.follow("post:5", 0)
    peer.receive("me", 1)
    peer.receive("post:5", 1)
    assert len(peer.said) == 2
    peer.page.stall(LAGGING + 1)
    peer.receive("me", 2)
    peer.receive("post:5", 2)
    peer.loop.pass_time(LOOK[0])
    peer.receive("me", 3)
    peer.stream.ping()


def test_nothing_that_is_queued_is_dropped_so_that_every_id_tells_the_truth(peer: Peer) -> None:
    stall(peer)
    peer.page.drain()
    told = [(m["type"], m.get("stream"), m.get("offset")) for m in peer.said]
    assert told == [("event", "me", 2), ("event", "post:5", 2), ("event", "me", 3), ("ping", None, None)]
    assert peer.page.claims == {"me": ("a", 3), "post:5": ("a", 2)}


def test_a_reader_that_stays_behind_is_closed_and_has_claimed_only_what_it_got(peer: Peer) -> None:
    stall(peer)
    peer.loop.pass_time(LAG_WITHIN + 2 * LOOK[1])
    assert peer.stream.ending == (protocol.SLOW_READER, None)
    assert peer.page.claims == {"me": ("a", 1), "post:5": ("a", 1)}


def test_one_who_may_have_lost_a_right_to_what_waits_is_cut_off_without_it(peer: Peer) -> None:
    stall(peer)
    peer.loop.do(_forget(peer.stream))
    peer.page.drain()
    assert peer.said == []
    assert peer.stream.ending == (protocol.GAP_FOUND, None)


async def _forget(stream: EventStream) -> None:
    stream.forget_unsent(lambda _item: True)


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [None, 0, 4200])
def test_every_planned_end_says_bye_and_when_to_come_back(peer: Peer, wait: int | None) -> None:
    async def end() -> None:
        peer.stream.end_soon(protocol.TOKEN_EXPIRED, reconnect_in_ms=wait)

    peer.loop.do(end())
    peer.stream.say_bye()
    expected = COME_BACK_MS if wait is None else wait
    assert peer.said == [{"type": "bye", "code": 4002, "reconnect_in_ms": expected}]
    assert peer.page.retry == expected


@pytest.mark.parametrize("code", [*CODES, NO_STORE, FAILED], ids=lambda code: f"{code.number} {code.reason}")
def test_whatever_ends_a_connection_is_the_last_thing_that_an_event_stream_says(tmp_path: Path, code: Code) -> None:
    loop = VirtualLoop()
    page = Page()
    shut: list[Code] = []

    async def host() -> None:
        stores = Stores.open(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'none.db'}", redis_url=MEMORY))
        gateway = Gateway(
            stores, Background(), ping_seconds=25, max_sockets=9, max_sockets_per_user=9, accepts_per_second=9
        )
        task = asyncio.current_task()
        assert task is not None
        stream = EventStream(Chunks(page), task, ping_seconds=25)  # type: ignore[arg-type]

        async def talk() -> None:
            stream.say(protocol.ErrorFrame("invalid", "Before the end."))
            raise Ending(code)

        async def close(given: Code) -> None:
            shut.append(given)

        await gateway.host(stream, talk, close)
        assert gateway.connections == 0
        await stores.close()

    try:
        loop.do(host())
    finally:
        loop.finish()
    assert [message["type"] for message in page.messages] == ["error", "bye"]
    assert page.messages[-1]["code"] == code.number
    assert shut == [code]
    assert page.aborted


# --- what is asked for -----------------------------------------------------------------------------------------------


def ask(query: str = "", last: str = "") -> tuple[dict[str, At | None], frozenset[int]]:
    headers = CIMultiDict({"Last-Event-ID": last} if last else {})
    return _wanted(make_mocked_request("GET", f"/api/v1/live/events?{query}", headers=headers))


def test_the_own_stream_is_always_followed() -> None:
    assert ask() == ({"me": None}, frozenset())
    assert ask("streams=post:5") == ({"me": None, "post:5": None}, frozenset())
    assert ask("streams=post:5,me&watch=7,8") == ({"me": None, "post:5": None}, frozenset({7, 8}))


def test_a_client_comes_back_to_the_positions_of_its_last_id() -> None:
    streams, _ = ask("streams=post:5,post:6", "me=abc:17,post:5=d:2,post:99=x:1")
    assert streams == {"me": At("abc", 17), "post:5": At("d", 2), "post:6": None}


def test_what_an_id_says_is_what_it_is_read_as(peer: Peer) -> None:
    peer.follow("me", 3)
    peer.follow("post:5", 8)
    peer.receive("me", 4)
    assert len(peer.said) == 1
    assert ask("streams=post:5", peer.page.last_id)[0] == {"me": At("a", 4), "post:5": At("a", 8)}


@pytest.mark.parametrize(
    ("query", "last"),
    [
        ("streams=trends", ""),
        ("streams=post:0", ""),
        ("streams=" + ",".join(f"post:{n}" for n in range(1, protocol.MOST_STREAMS + 2)), ""),
        ("watch=0", ""),
        ("watch=x", ""),
        ("watch=" + ",".join(map(str, range(1, protocol.MOST_WATCHED + 2))), ""),
        ("", "me"),
        ("", "me=:1"),
        ("", "me=a:-1"),
        ("", "me=a:" + "9" * 17),
        ("", "me=a:1,," + "x" * 9000),
        ("", "other=a:1"),
    ],
)
def test_what_cannot_be_meant_is_refused(query: str, last: str) -> None:
    with pytest.raises(BadRequest):
        ask(query, last)
