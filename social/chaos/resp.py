"""Reading what a Redis sends to a subscriber, just far enough to lose, repeat, delay or swap single publishes.

RESP2 and RESP3 (redis.io/docs/latest/develop/reference/protocol-spec): an array `*3` or a push `>3` of the bulk
strings "message", channel, payload is a publish; every other value passes as it came.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

INBOX = b"inbox:"  # channels of items; orders and nudges pass untouched
LATE = (0.5, 3.0)  # seconds that a delayed publish is held
SIMPLE = b"+-:_#,("  # one line
BULK = b"$!="  # length, then bytes
AGGREGATE = b"*>~%"  # number of values; a map has twice as many


@dataclass(frozen=True, slots=True)
class Line:
    """One stream's item inside a publish."""

    stream: str
    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A publish on its way to `edge`, and what became of it: passed, dropped, twice, late or swapped."""

    at: float
    edge: str
    fate: str
    lines: tuple[Line, ...]


def size_of(data: bytes | bytearray, start: int = 0) -> int | None:
    """Bytes of the value that begins at `start`; None while it is incomplete. Raises ValueError for what is no RESP."""
    end = data.find(b"\r\n", start)
    if end < 0:
        return None
    kind, at = data[start : start + 1], end + 2
    if kind in SIMPLE:
        return at - start
    if kind not in BULK + AGGREGATE:
        raise ValueError(f"no RESP: {bytes(data[start : start + 20])!r}")
    length = int(data[start + 1 : end])
    if kind in BULK:
        at += length + 2 if length >= 0 else 0
        return at - start if at <= len(data) else None
    for _ in range(length * (2 if kind == b"%" else 1)):
        size = size_of(data, at)
        if size is None:
            return None
        at += size
    return at - start


def publish_of(frame: bytes) -> tuple[bytes, bytes] | None:
    """(channel, payload) of a publish; None for any other value."""
    if not frame.startswith((b"*3\r\n$7\r\nmessage\r\n", b">3\r\n$7\r\nmessage\r\n")):
        return None
    words, at = [], 4
    for _ in range(3):
        end = frame.index(b"\r\n", at)
        length = int(frame[at + 1 : end])
        words.append(frame[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return words[1], words[2]


def lines_of(payload: bytes) -> tuple[Line, ...]:
    """The items in a payload of the append script; () for whispers, and for what a newer release may send."""
    head, _, _ = payload.partition(b"\n\n")
    kind, *rest = head.decode(errors="replace").split("\n")
    if kind != "item":
        return ()
    lines = (line.split(" ") for line in rest[2:])
    return tuple(Line(words[0], words[1], int(words[2])) for words in lines if len(words) == 3 and words[2].isdigit())


class Publishes:
    """What happens to the publishes of one subscriber connection: all pass, until `fate` says otherwise."""

    def __init__(
        self, fate: Callable[[], str], noted: Callable[[str, tuple[Line, ...]], None], dice: random.Random
    ) -> None:
        self._fate = fate
        self._noted = noted
        self._dice = dice
        self._buffer = bytearray()
        self._swapped: bytes | None = None

    def feed(self, data: bytes) -> list[tuple[float, bytes]]:
        """(seconds to wait, bytes) of what is to be sent on; what waits may be overtaken."""
        self._buffer += data
        out: list[tuple[float, bytes]] = []
        while self._buffer and (size := size_of(self._buffer)) is not None:
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            out += self._judge(frame)
        return out

    def _judge(self, frame: bytes) -> list[tuple[float, bytes]]:
        publish = publish_of(frame)
        if publish is None or not publish[0].startswith(INBOX):
            return [(0.0, frame)]
        lines = lines_of(publish[1])
        fate = self._fate() if lines else "passed"
        self._noted(fate, lines)
        if fate == "dropped":
            return []
        if fate == "twice":
            return [(0.0, frame), (0.0, frame)]
        if fate == "late":
            return [(self._dice.uniform(*LATE), frame)]
        held, self._swapped = self._swapped, None
        if fate == "swapped" and held is None:
            self._swapped = frame
            return []
        return [(0.0, frame)] if held is None else [(0.0, frame), (0.0, held)]
