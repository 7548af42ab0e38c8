"""A reader's bookkeeping: when it is back, what it has missed."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from realtime.live.protocol import websocket_frame
from social.bench.client import Conversation, Lost, Position, Reader, Refused

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Wire(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.written.append(b"aborted")

    def close(self) -> None:
        self.written.append(b"closed")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return FakeSocket()


class FakeSocket:
    def setsockopt(self, *_: Any) -> None:
        pass


def talk(reader: Reader, *messages: dict[str, Any]) -> tuple[Conversation, Wire]:
    """A conversation that was upgraded and then heard `messages`."""
    conversation, wire = Conversation(reader, asyncio.get_running_loop(), 80), Wire()
    conversation.connection_made(wire)
    conversation.data_received(UPGRADED + b"".join(websocket_frame(orjson.dumps(m)) for m in messages))
    return conversation, wire


def welcome(**streams: tuple[str, int, bool]) -> dict[str, Any]:
    named = {name.replace("_", ":"): values for name, values in streams.items()}
    return {
        "type": "welcome",
        "streams": {n: dict(zip(("epoch", "offset", "recovered"), v, strict=True)) for n, v in named.items()},
    }


def item(offset: int, stream: str = "me") -> dict[str, Any]:
    return {"type": "event", "stream": stream, "offset": offset, "event": "post.created", "id": "1", "data": {}}


async def test_a_first_connection_is_complete_once_every_stream_has_answered() -> None:
    reader = Reader("token", ("post:7",))
    conversation, _ = talk(reader, welcome(me=("e", 3, False)))
    assert not conversation.complete.done()
    subscribed = {"type": "subscribed", "stream": "post:7", "epoch": "f", "offset": 9, "recovered": False}
    conversation.data_received(websocket_frame(orjson.dumps(subscribed)))
    assert conversation.complete.done()
    assert reader.positions == {"me": Position("e", 3), "post:7": Position("f", 9)}
    assert reader.unrecovered == 0


async def test_a_return_is_complete_with_the_last_missed_item_and_not_before() -> None:
    reader = Reader("token", positions={"me": Position("e", 3)})
    conversation, wire = talk(reader, welcome(me=("e", 6, True)), item(4))
    hello = orjson.loads(_unmask(wire.written[1]))
    assert hello == {"type": "hello", "resume": {"me": {"epoch": "e", "offset": 3}}}
    assert not conversation.complete.done()
    skip = {"type": "skip", "stream": "me", "offset": 5, "to": 6}
    conversation.data_received(websocket_frame(orjson.dumps(skip)))
    assert conversation.complete.done()
    assert (reader.items, reader.skipped, reader.gaps) == (1, 2, 0)


async def test_a_hole_is_counted() -> None:
    reader = Reader("token", positions={"me": Position("e", 3)})
    talk(reader, welcome(me=("e", 6, True)), item(4), item(6))
    assert reader.gaps == 1


async def test_a_position_that_the_log_could_not_bridge_is_counted_and_replaced() -> None:
    reader = Reader("token", positions={"me": Position("e", 3)})
    conversation, _ = talk(reader, welcome(me=("new", 0, False)))
    assert conversation.complete.done()
    assert (reader.unrecovered, reader.positions["me"]) == (1, Position("new", 0))


async def test_a_ping_is_answered() -> None:
    _, wire = talk(Reader("token"), {"type": "ping", "streams": {}})
    assert _unmask(wire.written[-1]) == b'{"type":"pong"}'


async def test_a_503_says_when_to_come_back() -> None:
    conversation = Conversation(Reader("token"), asyncio.get_running_loop(), 80)
    conversation.connection_made(Wire())
    conversation.data_received(b"HTTP/1.1 503 Service Unavailable\r\nRetry-")
    conversation.data_received(b"After: 7\r\n\r\nlater")
    with pytest.raises(Refused) as refusal:
        await conversation.complete
    assert refusal.value.after == 7


async def test_a_close_code_is_what_the_end_tells() -> None:
    conversation, wire = talk(Reader("token"))
    conversation.data_received(b"\x88\x02" + (4000).to_bytes(2, "big"))
    conversation.connection_lost(None)
    assert wire.written[-1] == b"closed"
    assert await conversation.ended == 4000
    with pytest.raises(Lost, match="4000"):
        await conversation.complete


def _unmask(frame: bytes) -> bytes:
    size = frame[1] & 0x7F
    key, body = frame[2:6], frame[6 : 6 + size]
    if size == 126:
        key, body = frame[4:8], frame[8:]
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(body))
