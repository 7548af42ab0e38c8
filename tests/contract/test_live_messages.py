"""Frames from the client: sizes, shapes, named errors, and when patience ends."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

LIMIT = 65_536


def padded(size):
    """A valid message of exactly `size` bytes, and the id that its answer carries."""
    frame = b'{"type":"unsubscribe","id":"big","stream":"post:1"}'
    return (frame + b" " * (size - len(frame))).decode()


async def test_a_frame_of_the_greatest_size_is_read_and_one_byte_more_is_1009(somebody):
    live = await somebody.live()
    await live.ask(padded(LIMIT), type="unsubscribed", id="big")
    await live.send(padded(LIMIT + 1))
    assert await live.closed() == 1009


async def test_size_is_counted_in_bytes_and_over_all_fragments(somebody):
    live = await somebody.live()
    wide = orjson.dumps({"type": "unsubscribe", "id": "é" * 33_000, "stream": "post:1"}).decode()
    assert len(wide) < LIMIT < len(wide.encode())
    await live.send(wide)
    assert await live.closed() == 1009


async def test_before_hello_the_same_limits_hold(somebody):
    big, binary = await somebody.live(greet=False), await somebody.live(greet=False)
    await big.send("{" + " " * LIMIT)
    await binary.socket.send_bytes(b'{"type":"hello"}')
    assert await asyncio.gather(big.closed(), binary.closed()) == [1009, 1003]


async def test_a_binary_frame_is_1003(somebody):
    for raw in (b'{"type":"pong"}', b"", b"\x00\xff"):
        live = await somebody.live()
        await live.socket.send_bytes(raw)
        assert await live.closed() == 1003


async def test_text_that_is_not_utf_8_is_1007(somebody):
    live = await somebody.live()
    await live.socket._writer.send_frame(b'{"type":"\xff\xfe"}', aiohttp.WSMsgType.TEXT)
    assert await live.closed() == 1007


@pytest.mark.parametrize(
    "text",
    ["", "{", "hello", "{'type':'pong'}", '{"type":"pong"', '{"type":"pong"}{"type":"pong"}',
     '{"type":"ack","streams":{"me":NaN}}',
     '{"type":"ack","streams":{"me":Infinity}}', "\ufeff" + '{"type":"pong"}', "\x00", "[" * 20_000, '{"a":' * 10_000,
     '{"type":"pong",}', "[]", "null", "1", '"pong"', "true", "[[[]]]"],
    ids=range(19),
)  # fmt: skip
async def test_what_is_no_json_object_is_malformed_and_the_connection_goes_on(somebody, text):
    live = await somebody.live()
    assert (await live.ask(text, type="error"))["code"] == "malformed"
    await live.barrier()


@pytest.mark.parametrize(
    "text",
    ['{"type":"nonsense"}', '{"type":"Subscribe","id":1,"stream":"me"}', '{"type":""}', '{"type":"welcome"}',
     '{"type":"event"}',
     '{"type":"__proto__"}', '{"type":"counts"}'],
)  # fmt: skip
async def test_an_unknown_type_is_named(somebody, text):
    live = await somebody.live()
    assert (await live.ask(text, type="error"))["code"] == "unknown_type"
    await live.barrier()


INVALID = [
    "{}", '{"id":1}', '{"type":1}', '{"type":null}', '{"type":["pong"]}', '{"type":{}}',
    '{"__proto__":{"type":"pong"}}',
    '{"type":"subscribe","id":1}', '{"type":"subscribe","stream":"me"}', '{"type":"subscribe","id":1,"stream":1}',
    '{"type":"subscribe","id":true,"stream":"me"}', '{"type":"subscribe","id":1.5,"stream":"me"}',
    '{"type":"subscribe","id":[1],"stream":"me"}', '{"type":"subscribe","id":null,"stream":"me"}',
    '{"type":"subscribe","id":1e400,"stream":"me"}', '{"type":"subscribe","id":1,"stream":"me","from":1}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"epoch":"a"}}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"offset":1}}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"epoch":"a","offset":-1}}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"epoch":"a","offset":"1"}}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"epoch":"a","offset":9223372036854775808}}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"epoch":"a","offset":1e3}}',
    '{"type":"subscribe","id":1,"stream":"me","from":{"epoch":"a","offset":true}}',
    '{"type":"subscribe","id":1,"stream":"me","user_id":"1"}', '{"type":"unsubscribe","id":1}',
    '{"type":"unsubscribe","id":1,"stream":null}', '{"type":"watch","id":1}', '{"type":"watch","id":1,"posts":"1"}',
    '{"type":"watch","id":1,"posts":[1]}', '{"type":"watch","id":1,"posts":[null]}',
    '{"type":"watch","id":1,"posts":{"1":1}}',
    '{"type":"ack"}', '{"type":"ack","streams":[]}', '{"type":"ack","streams":{"me":-1}}',
    '{"type":"ack","streams":{"me":"1"}}',
    '{"type":"ack","streams":{"me":1.5}}', '{"type":"pong","streams":{"me":null}}', '{"type":"pong","extra":1}',
    '{"type":"refresh"}', '{"type":"refresh","token":1}', '{"type":"typing"}', '{"type":"typing","post_id":1}',
]  # fmt: skip


@pytest.mark.parametrize("text", INVALID)
async def test_a_wrong_shape_is_invalid_and_carries_the_id_when_there_is_one(somebody, text):
    live = await somebody.live()
    frame = await live.ask(text, type="error")
    allowed = {"invalid"}
    if "1e400" in text:  # whether that is still JSON is a matter of the parser
        allowed.add("malformed")
    elif not isinstance(orjson.loads(text).get("type"), str):  # no type at all is no known one either
        allowed.add("unknown_type")
    assert frame["code"] in allowed, frame
    assert frame["detail"]
    await live.barrier()
    told = orjson.loads(text).get("id") if "1e400" not in text else None
    if type(told) is int:
        assert frame.get("id") == told, frame


async def test_a_lone_surrogate_and_a_double_key_do_no_harm(somebody):
    live = await somebody.live()
    for text in ('{"type":"subscribe","id":"\\ud800","stream":"me"}', '{"type":"pong","type":"nonsense"}'):
        await live.send(text)
    await live.barrier()


async def test_ids_are_given_back_as_they_came(somebody):
    live = await somebody.live()
    for told in (0, 1, -1, 2**53 - 1, "", "a", "1", "é𝄞", "<b>", "a" * 64):
        frame = await live.ask({"type": "subscribe", "id": told, "stream": "post:0"}, type="error")
        assert frame["id"] == told
        assert type(frame["id"]) is type(told)


async def test_too_many_errors_end_with_4505(somebody):
    live = await somebody.live()

    async def flood():
        for _ in range(2000):
            await live.send("{")
            await asyncio.sleep(0)

    sender = asyncio.create_task(flood())
    assert await live.closed() == 4505
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    errors = [frame for frame in live.frames if frame["type"] == "error"]
    assert len(errors) >= 5


async def test_a_flood_of_messages_is_limited(person):
    ada, bela = await person(), await person()
    live, other = await ada.live(), await bela.live()

    async def flood():
        for n in range(5000):
            await live.send({"type": "unsubscribe", "id": n, "stream": "post:1"})
            if n % 50 == 0:
                await asyncio.sleep(0)

    sender = asyncio.create_task(flood())
    code = None
    try:
        while True:
            frame = await live.next(5)
            if frame["type"] == "error":
                assert frame["code"] == "rate_limited"
                code = frame["code"]
                break
            assert frame.get("id") != 4999, "5,000 messages at once were all served"
    except AssertionError:
        code = live.socket.close_code
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    assert code in ("rate_limited", 4003, 4505), code
    await other.barrier()


async def test_later_features_are_no_crash(person):
    ada = await person()
    made = await ada.post("hi")
    live = await ada.live()
    await live.send({"type": "typing", "post_id": made["id"]})
    await live.send({"type": "refresh", "token": ada.token})
    await live.send({"type": "ack", "streams": {"me": 0}})
    await live.send({"type": "pong"})
    await live.barrier()
