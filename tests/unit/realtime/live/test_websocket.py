"""The check of masks, before both forms of aiohttp's reader, over streams that are cut anywhere."""

from __future__ import annotations

import importlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.live.websocket import Masked

LARGEST = 70_000
READERS = ["reader_c", "reader_py"]
KEY = bytes((17, 34, 51, 68))


class Idle:
    """The part of a connection that the queue of the reader knows."""

    _reading_paused = False

    def pause_reading(self) -> None:
        raise AssertionError("the queue is larger than any test")


class Reader:
    """aiohttp's reader with what it has read."""

    def __init__(self, form: str) -> None:
        module = importlib.import_module(f"aiohttp._websocket.{form}")
        self.queue = module.WebSocketDataQueue(Idle(), 2**24, loop=None)
        self._reader = module.WebSocketReader(self.queue, LARGEST, compress=False, decode_text=True)

    def feed(self, chunk: bytes) -> None:
        self._reader.feed_data(chunk)

    @property
    def messages(self) -> list[tuple[int, Any]]:
        return [(message.type, message.data) for message, _ in self.queue._buffer]


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    else:
        length = b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + size.to_bytes(8, "big")
    head = bytes((opcode | 0x80 * fin, length[0] | 0x80 * masked)) + length[1:]
    if not masked:
        return head + payload
    key = KEY * (size // 4 + 1)
    return head + KEY + (int.from_bytes(payload, "big") ^ int.from_bytes(key[:size], "big")).to_bytes(size, "big")


lengths = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 255, 256, 300]) | st.sampled_from([65_535, 65_536])
controls = st.builds(lambda size: [(9, b"p" * size, True)], st.integers(0, 125))


@st.composite
def fragmented(draw: st.DrawFn) -> list[tuple[int, bytes, bool]]:
    """One text message in one to four frames, with pings between them."""
    count = draw(st.integers(1, 4))
    size = draw(lengths if count == 1 else st.integers(0, 300))
    frames = []
    for index in range(count):
        frames.append((1 if index == 0 else 0, b"x" * size, index == count - 1))
        if index < count - 1 and draw(st.booleans()):
            frames += draw(controls)
    return frames


streams = st.lists(fragmented() | controls, max_size=6).map(lambda parts: [frame for part in parts for frame in part])


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The stream in chunks: cut anywhere, and often within a header."""
    ends = sorted([0, *draw(st.lists(st.integers(0, len(data)), max_size=12)), len(data)])
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("form", READERS)
@settings(max_examples=150)
@given(frames=streams, data=st.data())
def test_a_masked_stream_passes_unchanged_however_it_is_cut(form: str, frames: Any, data: st.DataObject) -> None:
    stream = b"".join(frame(opcode, payload, fin=fin) for opcode, payload, fin in frames)
    plain, checked, masked = Reader(form), Reader(form), Masked()
    plain.feed(stream)
    for chunk in data.draw(cuts(stream)):
        checked.feed(masked.passed(chunk))
    assert checked.messages == plain.messages
    assert checked.queue.exception() is None


@pytest.mark.parametrize("form", READERS)
@settings(max_examples=150)
@given(before=streams, after=streams, opcode=st.sampled_from([0, 1, 2, 8, 9, 10]), size=lengths, data=st.data())
def test_a_frame_that_is_not_masked_ends_the_stream_however_it_is_cut(
    form: str, before: Any, after: Any, opcode: int, size: int, data: st.DataObject
) -> None:
    good, rest = (b"".join(frame(o, p, fin=fin) for o, p, fin in frames) for frames in (before, after))
    plain, checked, masked = Reader(form), Reader(form), Masked()
    plain.feed(good)
    payload = b"x" * (size if opcode < 8 else min(size, 125))
    for chunk in data.draw(cuts(good + frame(opcode, payload, masked=False) + rest)):
        checked.feed(masked.passed(chunk))
    assert checked.messages == plain.messages
    assert checked.queue.exception().code == 1002


@pytest.mark.parametrize("form", READERS)
def test_byte_by_byte(form: str) -> None:
    stream = frame(1, b"a" * 300) + frame(9, b"") + frame(1, b"b", fin=False) + frame(0, b"c" * 70) + frame(2, b"d")
    checked, masked = Reader(form), Masked()
    for byte in stream + frame(1, b"no", masked=False):
        checked.feed(masked.passed(bytes((byte,))))
    assert checked.messages == [(1, "a" * 300), (9, b""), (1, "b" + "c" * 70), (2, b"d")]
    assert checked.queue.exception().code == 1002


def test_nothing_passes_after_a_refusal() -> None:
    masked = Masked()
    assert masked.passed(frame(1, b"hello", masked=False)).endswith(b"\xf0\x80")
    assert masked.passed(frame(1, b"hello")) == b""


def test_a_declared_length_of_the_largest_number_is_the_readers_to_refuse() -> None:
    masked, checked = Masked(), Reader("reader_c")
    checked.feed(masked.passed(b"\x82\xff" + b"\xff" * 8 + b"\0" * 100))
    assert checked.queue.exception().code == 1009
    assert masked.passed(b"\x81\x05hello") == b"\x81\x05hello"  # all of it is that frame's payload
