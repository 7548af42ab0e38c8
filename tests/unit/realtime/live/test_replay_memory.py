"""What a node remembers of a stream is replayed only as long as its revocations are remembered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from feed.streams import Item, Top
from realtime.live.hub import Hub, Live, LiveStream
from realtime.live.joining import Joiner
from realtime.live.protocol import At
from tests.unit.realtime.live.fakes import Known

WINDOW = 3600.0


def happened(offset: int, seconds_ago: float) -> Live:
    at = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = b'{"event":"post.created","id":"o%d","at":"%b","data":{}}' % (offset, at.encode())
    return Live("a", Item(offset, f"o{offset}", "post.created", 7, 8, 1), body)


@pytest.mark.parametrize(("seconds_ago", "replayed"), [(WINDOW - 60, True), (WINDOW + 60, False)])
def test_an_item_older_than_the_window_is_not_replayed_from_memory(seconds_ago: float, replayed: bool) -> None:
    stream = LiveStream("me:1", "me", Hub(Known()))
    stream.start(Top("a", 4))
    stream.receive(happened(5, seconds_ago))
    joiner = Joiner(SimpleNamespace(window=WINDOW), None, None, None)  # type: ignore[arg-type]
    found = joiner._from_memory(stream, At("a", 4), Top("a", 5))
    assert (found is not None) == replayed
