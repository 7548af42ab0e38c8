"""Events: what a stream item carries. Built once, without viewer fields, stored once for the log's age."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from feed.objects import timestamp
from feed.streams import Event

# Kinds that carry nothing but an id to forget: they pass to whoever the viewer has become.
TO_FORGET = frozenset({"post.deleted", "post.hidden", "author.hidden", "comment.deleted"})

# What tells the followers of a post that it is not theirs to follow any more.
HIDDEN = "post.hidden"
FAREWELLS = frozenset({"post.deleted", HIDDEN})
REFRESHED = "trending.refreshed"  # of nobody in particular: every signed-in person may hear it
POSTS = frozenset({"post.created", "post.edited"})
COMMENTS = frozenset({"comment.created", "comment.edited"})

_encoder = msgspec.json.Encoder()


class _Body(msgspec.Struct, frozen=True):
    event: str
    id: str
    at: str
    data: msgspec.Struct


def age(body: bytes) -> float:
    """Seconds since an event happened, by its body; 0 for one that does not tell."""
    start = body.find(b'"at":"') + 6
    try:
        return max(0.0, time.time() - datetime.fromisoformat(body[start : start + 24].decode()).timestamp())
    except ValueError:
        return 0.0


def event(
    event_id: str, kind: str, *, at: datetime, actor: int, about: int, version: int, data: msgspec.Struct
) -> Event:
    """An event of `kind`, caused by user `actor`, about the object `about` at `version`."""
    body = _encoder.encode(_Body(kind, event_id, timestamp(at), data))
    return Event(event_id, kind, actor, about, version, body)
