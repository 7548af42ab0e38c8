"""Frames in and out: what is refused says which request it was, what goes out is bytes that any peer can read."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.live import protocol
from realtime.live.protocol import (
    CODES,
    KINDS,
    MOST_STREAMS,
    MOST_WATCHED,
    Ack,
    At,
    ClientMessage,
    ErrorFrame,
    Hello,
    Misunderstood,
    Pong,
    Refresh,
    Subscribe,
    Typing,
    Unsubscribe,
    Watch,
    decode,
    encode,
    event_frame,
    payload_of,
    websocket_frame,
)


def refusal(text: str | bytes) -> ErrorFrame:
    with pytest.raises(Misunderstood) as caught:
        decode(text)
    return caught.value.answer


# --- in --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"hello"}', Hello()),
        (
            '{"type":"hello","token":"t","resume":{"me":{"epoch":"e","offset":0}}}',
            Hello("t", {"me": At("e", 0)}),
        ),
        ('{"type":"subscribe","id":1,"stream":"post:2"}', Subscribe(1, "post:2")),
        (
            '{"type":"subscribe","id":"x","stream":"me","from":{"epoch":"e","offset":4}}',
            Subscribe("x", "me", At("e", 4)),
        ),
        ('{"type":"unsubscribe","id":1,"stream":"post:2"}', Unsubscribe(1, "post:2")),
        ('{"type":"watch","id":1,"posts":["3"]}', Watch(1, ["3"])),
        ('{"type":"pong"}', Pong()),
        ('{"type":"ack","streams":{"me":3}}', Ack({"me": 3})),
        ('{"type":"typing","post_id":"4"}', Typing("4")),
        ('{"type":"refresh","token":"t"}', Refresh("t")),
    ],
)
def test_every_message_of_the_contract_is_understood(text: str, message: object) -> None:
    assert decode(text) == message
    assert decode(text.encode()) == message


def test_the_kinds_that_an_error_lists_are_those_that_are_understood() -> None:
    tags = {kind.__struct_config__.tag for kind in get_args(ClientMessage)}
    assert tags == set(KINDS)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "{", "[]", "1", "null", '"hello"', "[" * 100_000, '{"type":"hello"}{"type":"pong"}'],
)
def test_what_is_not_one_json_object_is_malformed(text: str) -> None:
    assert refusal(text) == ErrorFrame("malformed", "Send one JSON object per frame.")


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        ('{"type":"shout","id":7}', 7),
        ('{"type":"shout","id":"seven"}', "seven"),
        ('{"id":"no-type"}', "no-type"),
        ('{"type":5,"id":1}', 1),
        ('{"type":"shout"}', None),
        ('{"type":"shout","id":true}', None),
        ('{"type":"shout","id":1.5}', None),
        ('{"type":"shout","id":{"a":1}}', None),
        ('{"type":"shout","id":"' + "x" * 65 + '"}', None),
    ],
)
def test_an_unknown_type_is_answered_with_the_id_of_its_request(text: str, request_id: object) -> None:
    answer = refusal(text)
    assert (answer.code, answer.id) == ("unknown_type", request_id)
    assert "subscribe" in answer.detail


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"type":"subscribe","id":9,"stream":5}', "$.stream"),
        ('{"type":"subscribe","id":9,"stream":""}', "$.stream"),
        ('{"type":"subscribe","id":9}', "stream"),
        ('{"type":"subscribe","id":9,"stream":"me","form":{}}', "form"),
        ('{"type":"subscribe","id":9,"stream":"me","from":{"epoch":"","offset":1}}', "$.from.epoch"),
        ('{"type":"subscribe","id":9,"stream":"me","from":{"epoch":"e","offset":-1}}', "$.from.offset"),
        ('{"type":"subscribe","id":9,"stream":"me","from":{"epoch":"e","offset":9007199254740992}}', "$.from.offset"),
        ('{"type":"watch","id":9,"posts":["0"]}', "$.posts[0]"),
        ('{"type":"watch","id":9,"posts":[1]}', "$.posts[0]"),
        (json.dumps({"type": "watch", "id": 9, "posts": ["1"] * (MOST_WATCHED + 1)}), "$.posts"),
    ],
)
def test_a_wrong_field_is_named_with_the_id_of_its_request(text: str, place: str) -> None:
    answer = refusal(text)
    assert (answer.code, answer.id) == ("invalid", 9)
    assert place in answer.detail


def test_hello_resumes_at_most_a_hundred_streams() -> None:
    streams = {f"post:{number}": {"epoch": "e", "offset": 1} for number in range(1, MOST_STREAMS + 2)}
    assert refusal(json.dumps({"type": "hello", "resume": streams})).code == "invalid"
    del streams["post:1"]
    message = decode(json.dumps({"type": "hello", "resume": streams}))
    assert isinstance(message, Hello)
    assert len(message.resume) == MOST_STREAMS


def test_bytes_that_are_not_utf_8_are_refused_wherever_they_stand() -> None:
    for text in (b"\xff", b'{"type":"hello","token":"\xff"}', b'{"type":"shout","id":"\xff"}'):
        assert refusal(text).code in ("malformed", "unknown_type")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["type", "id", "stream", "from", "posts", "streams", "token", "post_id", "resume", "x"])


@given(st.dictionaries(FIELDS, JSON_VALUES | st.sampled_from([*KINDS, "me", "post:1"]), max_size=6))
def test_any_object_is_a_message_or_an_answer_that_can_be_sent(fields: dict[str, Any]) -> None:
    try:
        message = decode(json.dumps(fields))
    except Misunderstood as error:
        answer = json.loads(encode(error.answer))
        assert answer["type"] == "error"
        if error.answer.id is not None:
            assert answer["id"] == fields["id"]
    else:
        assert isinstance(message, get_args(ClientMessage))


@given(st.text() | st.binary())
def test_any_text_is_a_message_or_misunderstood(text: str | bytes) -> None:
    assert refusal(text).code in ("malformed", "unknown_type", "invalid")


# --- out -------------------------------------------------------------------------------------------------------------


def test_an_error_without_a_request_has_no_id_field() -> None:
    assert json.loads(encode(ErrorFrame("limit", "Enough."))) == {
        "type": "error",
        "code": "limit",
        "detail": "Enough.",
    }


@given(
    st.sampled_from(["me", "post:1", "trending"]),
    st.integers(1, 2**53 - 1),
    st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4),
)
def test_an_event_frame_is_the_stored_body_behind_a_head(stream: str, offset: int, data: dict[str, Any]) -> None:
    body = {"event": "post.created", "id": "o1", "at": "2026-11-21T03:00:00.000Z", "data": data}
    frame = event_frame(stream, offset, json.dumps(body).encode())
    assert json.loads(frame) == {"type": "event", "stream": stream, "offset": offset, **body}


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_of_a_frame_is_written_in_the_shortest_form(size: int, head: bytes) -> None:
    payload = b"x" * size
    assert websocket_frame(payload) == head + payload
    assert payload_of(websocket_frame(payload)) == payload


# --- close codes -----------------------------------------------------------------------------------------------------


def test_close_codes_are_those_of_the_contract() -> None:
    promised = {4000, 4001, 4002, 4003, 4004, 4005, 4010, 4500, 4501, 4502, 4503, 4504, 4505}
    assert {code.number for code in CODES} == promised
    assert len(CODES) == len(promised)
    assert protocol.NOT_TEXT.number == 1003


def test_a_close_reason_fits_into_a_control_frame() -> None:
    assert all(len(code.reason.encode()) <= 123 for code in (*CODES, protocol.NOT_TEXT))
