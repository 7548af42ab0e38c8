"""A hub with one stream, as the tests of the hub drive it."""

from __future__ import annotations

from typing import Any

from feed.streams import Top
from realtime.live.hub import Hub, LiveStream, Subscription
from tests.unit.realtime.live.fakes import Known, Socket, item

EPOCH = "a"
NAME = "me:1"
EVER = float("inf")


class Node:
    """A hub with one stream and a list of the repairs that it asked for."""

    def __init__(self) -> None:
        self.known = Known()
        self.hub = Hub(self.known)
        self.repairs: list[LiveStream] = []
        self.hub.wants_repair = self.repairs.append

    @property
    def stream(self) -> LiveStream:
        return self.hub.streams[NAME]

    def join(self, top: int, socket: Socket | None = None, *, label: str = "me") -> tuple[Socket, Subscription]:
        """A socket whose join is complete at `top`."""
        socket = socket or Socket()
        subscription = self.hub.subscribe(socket, NAME, label)
        self.stream.start(Top(EPOCH, top))
        subscription.open(Top(EPOCH, top))
        return socket, subscription

    def receive(self, *offsets: int, epoch: str = EPOCH, **about: Any) -> None:
        for offset in offsets:
            self.hub.receive(NAME, item(offset, epoch, **about))
