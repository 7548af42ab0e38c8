"""What the hub meets in these tests: a receiver that keeps what it was sent, and verdicts that a test decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Set
from typing import Any

import msgspec

from feed.streams import Item
from realtime.live.hub import Live
from realtime.live.protocol import payload_of


class Socket:
    """A receiver that keeps what it was sent, decoded on demand."""

    def __init__(self, user_id: int = 1) -> None:
        self.user_id = user_id
        self.denied: Set[int] = frozenset()
        self.lagging = False
        self.raw: list[bytes] = []
        self.volatile: list[bytes] = []
        self.changed: list[int] = []

    def send(self, frame: bytes, item: Item) -> None:
        self.raw.append(frame)

    def reply(self, frame: bytes) -> None:
        self.raw.append(frame)

    def send_volatile(self, frame: bytes) -> None:
        self.volatile.append(frame)

    def counts_changed(self, post_id: int) -> None:
        self.changed.append(post_id)

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(payload_of(frame)) for frame in self.raw]

    @property
    def heard(self) -> list[Any]:
        """Offsets of events, ('skip', offset, to) and ('resync', epoch, offset)."""
        return [told(frame) for frame in self.frames]

    @property
    def writers(self) -> list[str]:
        """Whose typing was told."""
        return sorted(json.loads(payload_of(frame))["user_id"] for frame in self.volatile)


def told(frame: dict[str, Any]) -> Any:
    """A frame of a stream in short."""
    if frame["type"] == "event":
        return frame["offset"]
    if frame["type"] == "skip":
        return ("skip", frame["offset"], frame["to"])
    return (frame["type"], frame["epoch"], frame["offset"])


class Wire:
    """A transport that reads what is written as websocket frames; a reader that stalls leaves the bytes in it."""

    def __init__(self, told: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.stalled = False
        self.buffered = 0
        self.aborted = False
        self._told = told or (lambda message: self.messages.append(message))

    def stall(self, buffered: int) -> None:
        """From now on nothing is read, and so many bytes wait already."""
        self.stalled, self.buffered = True, buffered

    def drain(self) -> None:
        """Everything is read, and from now on at once."""
        self.stalled, self.buffered = False, 0

    def write(self, data: bytes) -> None:
        if self.stalled:
            self.buffered += len(data)
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            self._told(msgspec.json.decode(data[start : start + size]))
            data = data[start + size :]

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Known:
    """Verdicts by decree."""

    def __init__(self) -> None:
        self.parted: dict[int, set[int]] = {}
        self.gone: set[int] = set()
        self.hidden: dict[int, int] = {}  # object -> version since which fewer may see it

    def part(self, one: int, other: int) -> None:
        self.parted.setdefault(one, set()).add(other)
        self.parted.setdefault(other, set()).add(one)

    def parted_from(self, user_id: int) -> Set[int]:
        return self.parted.get(user_id, frozenset())

    def ended(self, user_id: int) -> bool:
        return user_id in self.gone

    def outdated(self, kind: str, object_id: int, version: int) -> bool:
        return kind.endswith((".created", ".edited")) and version < self.hidden.get(object_id, 0)


def item(
    offset: int, epoch: str = "a", *, actor: int = 9, kind: str = "post.created", about: int = 5, version: int = 1
) -> Live:
    """An item whose event id is `<epoch>-<offset>`."""
    event_id = f"{epoch}-{offset}"
    return Live(epoch, Item(offset, event_id, kind, actor, about, version), body(event_id, kind))


def body(event_id: str, kind: str = "post.created") -> bytes:
    """A stored event, as short as can be."""
    return b'{"event":"%b","id":"%b"}' % (kind.encode(), event_id.encode())


def items(offsets: Iterable[int], epoch: str = "a") -> list[Live]:
    """Items at these offsets."""
    return [item(offset, epoch) for offset in offsets]
