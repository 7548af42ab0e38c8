"""The live protocol, version 1: every frame in and out as a type, and the close codes as data.

Frames are JSON text. In: one of `ClientMessage`, told apart by `type`; unknown fields are refused, so that a typo is
heard. Out: `ServerMessage`; those that go to many are built as bytes once (`event_head`, `event_frame`).
The AsyncAPI document is made from these types.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

SUBPROTOCOL = "social.live.v1"
MAX_MESSAGE = 65_536  # bytes of a frame inward
MOST_WATCHED = 200  # posts of one `watch`
MOST_STREAMS = 100  # subscriptions of one socket

Epoch = Annotated[str, Meta(min_length=1, max_length=64)]
Offset = Annotated[int, Meta(ge=0, lt=2**53)]
StreamName = Annotated[str, Meta(min_length=1, max_length=64, examples=["me", "post:17"])]
RequestId = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
PostId = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,15}$")]
Token = Annotated[str, Meta(max_length=200)]


class At(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A position in a stream."""

    epoch: Epoch
    offset: Offset


# --- client -> server ------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hello"):
    """First, within 10 s."""

    token: Token | None = None
    resume: Annotated[dict[StreamName, At], Meta(max_length=MOST_STREAMS)] = {}


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="subscribe", rename={"start": "from"}):
    """Follow a stream; `from` resumes."""

    id: RequestId
    stream: StreamName
    start: At | None = None


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unsubscribe"):
    """Follow a stream no longer."""

    id: RequestId
    stream: StreamName


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="watch"):
    """The posts on screen, whose counts the client wants; replaces the earlier list."""

    id: RequestId
    posts: Annotated[list[PostId], Meta(max_length=MOST_WATCHED)]


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="pong"):
    """Answers a ping; may say what was handled."""

    streams: dict[StreamName, Offset] = {}


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ack"):
    """What the client has handled."""

    streams: dict[StreamName, Offset]


class Typing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="typing"):
    """The user is writing a comment."""

    post_id: PostId


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refresh"):
    """A newer token of the same user."""

    token: Token


ClientMessage = Hello | Subscribe | Unsubscribe | Watch | Pong | Ack | Typing | Refresh
KINDS = ("hello", "subscribe", "unsubscribe", "watch", "pong", "ack", "typing", "refresh")


# --- server -> client ------------------------------------------------------------------------------------------------


class Joined(msgspec.Struct, frozen=True):
    """Where a stream stood when it was joined; every missed item follows when `recovered`."""

    epoch: str
    offset: int
    recovered: bool


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """Answers hello."""

    session: str
    user: str
    ping_seconds: int
    max_message_bytes: int
    streams: dict[str, Joined]


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed"):
    """Answers subscribe."""

    id: str | int
    stream: str
    epoch: str
    offset: int
    recovered: bool


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed"):
    """Answers unsubscribe."""

    id: str | int
    stream: str


class EventFrame(msgspec.Struct, frozen=True, tag="event"):
    """An item of a stream. Built as bytes by `event_frame`; this type documents it."""

    stream: str
    offset: int
    event: str
    id: str
    at: str
    data: dict[str, Any]


class Skip(msgspec.Struct, frozen=True, tag="skip"):
    """Items offset..to are nothing for this viewer."""

    stream: str
    offset: int
    to: int


class PostCounts(msgspec.Struct, frozen=True):
    """The latest numbers of a post."""

    version: int
    likes: int
    comments: int
    shares: int


class LatestCounts(msgspec.Struct, frozen=True, tag="counts"):
    """Latest values of watched posts."""

    posts: dict[str, PostCounts]


class TypingNow(msgspec.Struct, frozen=True, tag="typing"):
    """Somebody writes a comment on a post that the client follows."""

    post_id: str
    user_id: str


PresenceState = Literal["online", "away", "offline"]


class Presence(msgspec.Struct, frozen=True, tag="presence"):
    """Friends who came, went, or have been idle for a while."""

    users: dict[str, PresenceState]


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Positions checked against the log; a client that is behind resumes at once."""

    streams: dict[str, int]


class Resync(msgspec.Struct, frozen=True, tag="resync"):
    """The log cannot bridge the gap: read the state again by HTTP, go on from here."""

    stream: str
    epoch: str
    offset: int


class ErrorFrame(msgspec.Struct, frozen=True, tag="error", omit_defaults=True):
    """A message was not accepted; the socket stays open."""

    code: Literal[
        "malformed", "unknown_type", "invalid", "forbidden_or_missing", "limit", "rate_limited", "already_greeted"
    ]
    detail: str
    id: str | int | None = None
    stream: str | None = None  # a subscription that has ended, where no request is answered


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """Before a planned close."""

    code: int
    reconnect_in_ms: int


ServerMessage = (
    Welcome
    | Subscribed
    | Unsubscribed
    | EventFrame
    | Skip
    | LatestCounts
    | TypingNow
    | Presence
    | Ping
    | Resync
    | ErrorFrame
    | Bye
)


# --- close codes -----------------------------------------------------------------------------------------------------


class Code(msgspec.Struct, frozen=True):
    """A close code. The range tells clients whether to come back: 4000-4499 yes, 4500-4999 no."""

    number: int
    reason: str


SLOW_READER = Code(4000, "slow reader")
GAP_FOUND = Code(4001, "gap found")
TOKEN_EXPIRED = Code(4002, "token expired, refresh")
RATE_LIMITED = Code(4003, "rate limited")
NO_PONG = Code(4004, "no pong")
NO_HELLO = Code(4005, "no hello")
DRAINING = Code(4010, "draining")
BAD_TOKEN = Code(4500, "signed out or bad token")
DISABLED = Code(4501, "account disabled")
NOT_ALLOWED = Code(4502, "origin or permission")
TOO_MANY_CONNECTIONS = Code(4503, "too many connections")
PROTOCOL_VERSION = Code(4504, "protocol version")
TOO_MANY_ERRORS = Code(4505, "too many errors")
NO_STORE = Code(1011, "a store is unreachable")
FAILED = Code(1011, "internal error")
NOT_TEXT = Code(1003, "text frames only")
CODES = (
    SLOW_READER,
    GAP_FOUND,
    TOKEN_EXPIRED,
    RATE_LIMITED,
    NO_PONG,
    NO_HELLO,
    DRAINING,
    BAD_TOKEN,
    DISABLED,
    NOT_ALLOWED,
    TOO_MANY_CONNECTIONS,
    PROTOCOL_VERSION,
    TOO_MANY_ERRORS,
)


# --- bytes -----------------------------------------------------------------------------------------------------------

_decoder = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()


class _Envelope(msgspec.Struct):
    type: Any = None
    id: Any = None


class Misunderstood(Exception):
    """A frame that was not understood; `answer` tells the client why."""

    def __init__(self, answer: ErrorFrame) -> None:
        super().__init__(answer.code)
        self.answer = answer


def decode(text: str | bytes) -> ClientMessage:
    """A frame's message. Raises Misunderstood."""
    try:
        message: ClientMessage = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise Misunderstood(_explain(text, str(error))) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Misunderstood(ErrorFrame("malformed", "Send one JSON object per frame.")) from error
    return message


def _explain(text: str | bytes, message: str) -> ErrorFrame:
    try:
        envelope = msgspec.json.decode(text, type=_Envelope)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeError, RecursionError):
        return ErrorFrame("malformed", "Send one JSON object per frame.")
    request_id = envelope.id if isinstance(envelope.id, str | int) and not isinstance(envelope.id, bool) else None
    if isinstance(request_id, str) and len(request_id) > 64:
        request_id = None
    if envelope.type not in KINDS:
        return ErrorFrame("unknown_type", f"`type` is one of {', '.join(KINDS)}.", request_id)
    return ErrorFrame("invalid", f"{message}.", request_id)


def encode(message: Any) -> bytes:
    """A server message as JSON bytes."""
    return _encoder.encode(message)


def event_frame(stream: str, offset: int, body: bytes) -> bytes:
    """An event's JSON: a small head for the stream, the body ({event, id, at, data}) as it was stored."""
    return b'{"type":"event","stream":"%b","offset":%d,%b' % (stream.encode(), offset, body[1:])


def payload_of(frame: bytes) -> bytes:
    """What `websocket_frame` was made of."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def websocket_frame(payload: bytes) -> bytes:
    """An unmasked, uncompressed text frame (RFC 6455, 5.2): the same bytes for every socket."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
