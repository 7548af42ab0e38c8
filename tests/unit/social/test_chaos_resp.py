"""Publishes in a subscriber's bytes: found whole or in pieces, and lost, repeated, delayed or swapped one by one."""

from __future__ import annotations

import random

import pytest

from social.chaos.resp import Line, Publishes, lines_of, publish_of, size_of

DICE = random.Random(1)  # noqa: S311 - of faults
PAYLOAD = b'item\no7\npost.created 1 2 3\nme:4 aa 9\npost:2 bb 1\n\n{"event":"post.created"}'


def message(payload: bytes, channel: bytes = b"inbox:{0}:n", kind: bytes = b"*") -> bytes:
    words = [b"message", channel, payload]
    return kind + b"3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def through(fates: list[str], *frames: bytes) -> tuple[list[tuple[float, bytes]], list[tuple[str, tuple[Line, ...]]]]:
    noted: list[tuple[str, tuple[Line, ...]]] = []
    left = iter(fates)
    publishes = Publishes(lambda: next(left), lambda fate, lines: noted.append((fate, lines)), DICE)
    return publishes.feed(b"".join(frames)), noted


@pytest.mark.parametrize(
    "value",
    [
        b"+OK\r\n",
        b":12\r\n",
        b"$3\r\na\r\n\r\n"[:9],
        b"$-1\r\n",
        b"*-1\r\n",
        b"*2\r\n$1\r\na\r\n:1\r\n",
        b"%1\r\n+key\r\n*1\r\n:1\r\n",
        message(PAYLOAD, kind=b">"),
    ],
)
def test_a_value_is_measured_only_when_it_is_complete(value: bytes) -> None:
    assert size_of(value + b"+more\r\n") == len(value)
    assert all(size_of(value[:end]) is None for end in range(len(value)))


def test_what_is_no_resp_is_refused() -> None:
    with pytest.raises(ValueError, match="no RESP"):
        size_of(b"HTTP/1.1 200 OK\r\n")


def test_a_publish_is_told_from_other_values_in_both_protocols() -> None:
    assert publish_of(message(PAYLOAD)) == publish_of(message(PAYLOAD, kind=b">")) == (b"inbox:{0}:n", PAYLOAD)
    assert publish_of(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n") is None


def test_the_lines_of_a_payload_say_which_items_it_carries() -> None:
    assert lines_of(PAYLOAD) == (Line("me:4", "aa", 9), Line("post:2", "bb", 1))
    assert lines_of(b"counts\n{}") == lines_of(b"item\n\n") == ()


def test_bytes_pass_unchanged_however_they_are_cut() -> None:
    stream = b"+PONG\r\n" + message(PAYLOAD) + message(b"1", b"nudge", b">") + b"_\r\n"
    for cut in range(1, len(stream)):
        publishes = Publishes(lambda: "passed", lambda _fate, _lines: None, DICE)
        out = publishes.feed(stream[:cut]) + publishes.feed(stream[cut:])
        assert b"".join(data for _, data in out) == stream
        assert all(wait == 0 for wait, _ in out)


def test_each_fate_does_what_it_says() -> None:
    first, second = message(PAYLOAD), message(PAYLOAD.replace(b"o7", b"o8"))
    assert through(["dropped", "passed"], first, second)[0] == [(0.0, second)]
    assert through(["twice"], first)[0] == [(0.0, first), (0.0, first)]
    assert through(["swapped", "passed"], first, second)[0] == [(0.0, second), (0.0, first)]
    ((wait, frame),) = through(["late"], first)[0]
    assert wait >= 0.5
    assert frame == first


def test_only_items_meet_a_fate_and_each_is_noted() -> None:
    whisper, order = message(b"counts\n{}"), message(b"{}", b"control")
    out, noted = through(["dropped"], whisper, order, message(PAYLOAD))
    assert [frame for _, frame in out] == [whisper, order]
    assert [fate for fate, lines in noted if lines] == ["dropped"]
