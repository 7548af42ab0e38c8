"""The AsyncAPI document of the live protocol, made from the types of `realtime.live.protocol`."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec

from feed.objects import Comment, Gone, HiddenAuthor, Post, Refreshed, User
from realtime.live import protocol
from realtime.openapi import VERSION

REF = "#/components/schemas/{name}"
# What each event carries in `data`, and on which streams it comes.
EVENTS: dict[str, tuple[type[Any], str]] = {
    "post.created": (Post, "me"),
    "post.edited": (Post, "me, post:{id}"),
    "post.deleted": (Gone, "me, post:{id}"),
    "post.hidden": (Gone, "me, post:{id}"),
    "author.hidden": (HiddenAuthor, "me"),
    "comment.created": (Comment, "post:{id}"),
    "comment.edited": (Comment, "post:{id}"),
    "comment.deleted": (Gone, "post:{id}"),
    "friend.requested": (User, "me"),
    "friend.accepted": (User, "me"),
    "friend.removed": (User, "me"),
    "trending.refreshed": (Refreshed, "trending"),
}

EVENT_STREAM = (
    "The same messages as server-sent events, where websockets are blocked. Query: `streams` (`me`, `trending` and "
    "`post:<id>`, separated by commas) and `watch` (post ids). Each event's `id` is the position of all streams, "
    "`me=<epoch>:<offset>,post:1=...`; as `Last-Event-ID` it resumes them. A `bye` with a code comes before every "
    "planned end."
)


@cache
def document(path: str) -> bytes:
    """The document as JSON bytes."""
    inward, outward = get_args(protocol.ClientMessage), get_args(protocol.ServerMessage)
    data_types = [data for data, _ in EVENTS.values()]
    _, components = msgspec.json.schema_components([*inward, *outward, *data_types], ref_template=REF)
    events = {
        kind: {"x-streams": streams, "data": {"$ref": REF.format(name=data.__name__)}}
        for kind, (data, streams) in EVENTS.items()
    }
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Social Realtime, live protocol",
                "version": VERSION,
                "description": "JSON text frames over a websocket. HTTP is in /openapi.json.",
            },
            "channels": {
                "live": {
                    "address": path,
                    "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                    "messages": {_name(kind): _message(kind) for kind in (*inward, *outward)},
                },
                "events": {
                    "address": f"{path}/events",
                    "description": EVENT_STREAM,
                    "bindings": {"http": {"bindingVersion": "0.3.0"}},
                    "messages": {_name(kind): _message(kind) for kind in outward},
                },
            },
            "operations": {
                "fromClient": _operation("receive", inward),
                "toClient": _operation("send", outward),
                "toEventStream": _operation("send", outward, "events"),
            },
            "components": {"schemas": components},
            "x-events": events,
            "x-close-codes": {str(code.number): code.reason for code in protocol.CODES},
        }
    )


def _name(kind: type[Any]) -> str:
    return kind.__name__


def _message(kind: type[Any]) -> dict[str, Any]:
    return {"summary": (kind.__doc__ or "").strip(), "payload": {"$ref": REF.format(name=kind.__name__)}}


def _operation(action: str, kinds: tuple[type[Any], ...], channel: str = "live") -> dict[str, Any]:
    references = [{"$ref": f"#/channels/{channel}/messages/{_name(kind)}"} for kind in kinds]
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "messages": references}
