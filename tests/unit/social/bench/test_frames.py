"""The scripted client's half of the websocket protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.live.protocol import websocket_frame
from social.bench.frames import CLOSE, TEXT, Incoming, Unexpected, masked


def unmasked(frame: bytes) -> tuple[int, bytes]:
    """(first byte, payload) of one client frame, read by the letter of RFC 6455, 5.2 and 5.3."""
    assert frame[1] & 0x80
    size, start = frame[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(frame[2:10], "big"), 10
    key, body = frame[start : start + 4], frame[start + 4 :]
    assert len(body) == size
    return frame[0], bytes(byte ^ key[index % 4] for index, byte in enumerate(body))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 65_535, 65_536])
def test_a_masked_frame_of_any_size_carries_its_payload(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    assert unmasked(masked(payload)) == (0x81, payload)


def test_the_specification_s_own_example_comes_out() -> None:
    # RFC 6455, 5.7: a single-frame masked text message "Hello"
    assert masked(b"Hello", key=bytes.fromhex("37fa213d")).hex() == "818537fa213d7f9f4d5158"


def test_every_frame_has_a_masking_key_of_its_own() -> None:
    assert masked(b"same") != masked(b"same")


@given(payloads=st.lists(st.binary(max_size=300) | st.just(b"x" * 70_000), max_size=6), cuts=st.data())
def test_frames_come_out_whole_wherever_the_network_cuts_them(payloads: list[bytes], cuts: st.DataObject) -> None:
    stream = b"".join(map(websocket_frame, payloads))
    places = sorted(cuts.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    incoming, seen = Incoming(), []
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        seen += incoming.feed(stream[start:end])
    assert seen == [(TEXT, payload) for payload in payloads]


def test_a_close_frame_is_told_apart() -> None:
    assert Incoming().feed(b"\x88\x02\x0f\xa0") == [(CLOSE, (4000).to_bytes(2, "big"))]


@pytest.mark.parametrize("data", [b"\x01\x00", b"\xc1\x00", b"\x81\x80abcd"], ids=["fragment", "compressed", "masked"])
def test_what_this_client_does_not_speak_is_refused(data: bytes) -> None:
    with pytest.raises(Unexpected):
        Incoming().feed(data)
