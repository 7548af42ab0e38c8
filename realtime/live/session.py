"""One conversation, without I/O: messages and time go in, effects come out. The gateway carries them out.

    state        what may come                                       what ends it
    greeting     hello within HELLO_WITHIN                           NO_HELLO, BAD_TOKEN
    proving      nothing yet; messages wait in the socket            BAD_TOKEN, NO_STORE
    open         everything but hello                                expiry, silence after a ping, errors, floods
    closed       nothing

Time is monotonic seconds except `expires_at`, which is a moment of the wall clock handed in as seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from realtime.live import protocol
from realtime.live.protocol import At, Code, ErrorFrame

HELLO_WITHIN = 10.0  # seconds from the upgrade to hello
PROVE_WITHIN = 20.0  # seconds beyond that for the stores to prove a token and to join the streams
PONG_WITHIN = 10.0  # seconds of silence after a ping before the peer counts as gone
ERRORS_ALLOWED = 50  # errors of one connection before it is closed for good
RATE, BURST = 20.0, 100.0  # messages per second in the long run, and at once
FLOOD_ALLOWED = 100  # messages refused by the rate before the connection is closed


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message."""

    message: object


@dataclass(frozen=True, slots=True)
class Prove:
    """Find out whose token this is, then call `proved`, or close with BAD_TOKEN."""

    token: str | None
    resume: dict[str, At]


@dataclass(frozen=True, slots=True)
class Join:
    """Subscribe to a stream, from a position if given, and answer the request."""

    stream: str
    start: At | None
    request_id: str | int


@dataclass(frozen=True, slots=True)
class Leave:
    """Unsubscribe and answer the request."""

    stream: str
    request_id: str | int


@dataclass(frozen=True, slots=True)
class WatchCounts:
    """Replace the watched posts."""

    posts: frozenset[int]
    request_id: str | int


@dataclass(frozen=True, slots=True)
class Type:
    """Tell those who follow a post that the user is writing."""

    post_id: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Prove a newer token, then call `renewed`, or close with BAD_TOKEN."""

    token: str


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is queued, then close."""

    code: Code


Effect = Send | Prove | Join | Leave | WatchCounts | Type | Renew | Close


@dataclass(slots=True)
class Session:
    """The state of one conversation."""

    now: float
    ping_seconds: float
    state: str = "greeting"
    expires_at: float = 0.0
    replaying: bool = False  # its loop sends a replay and reads nothing: silence means nothing
    mute: bool = False  # server-sent events: nobody answers, the transport tells when the peer has gone
    active_at: float = 0.0  # when the peer last said something of its own accord
    handled: dict[str, int] = field(default_factory=dict)
    _deadline: float = 0.0
    _pinged_at: float | None = None
    _next_ping: float = 0.0
    _errors: int = 0
    _flooded: int = 0
    _tokens: float = BURST
    _refilled_at: float = 0.0

    def __post_init__(self) -> None:
        self.active_at = self.now
        self._deadline = self.now + HELLO_WITHIN
        self._refilled_at = self.now

    def received(self, text: str | bytes, now: float) -> list[Effect]:
        """A text frame came."""
        if self.state == "closed":
            return []
        self._pinged_at = None
        if not self._take(now):
            self._flooded += 1
            if self._flooded > FLOOD_ALLOWED:
                return self._close(protocol.RATE_LIMITED)
            return self._error(ErrorFrame("rate_limited", f"At most {RATE:.0f} messages a second."))
        try:
            message = protocol.decode(text)
        except protocol.Misunderstood as error:
            return self._error(error.answer)
        if isinstance(message, protocol.Hello):
            return self._hello(message)
        if self.state != "open":
            return self._error(ErrorFrame("invalid", "Say hello first.", getattr(message, "id", None)))
        if not isinstance(message, protocol.Pong | protocol.Ack):
            self.active_at = now
        return self._handle(message)

    def received_binary(self) -> list[Effect]:
        """A binary frame came."""
        return self._close(protocol.NOT_TEXT)

    def proved(self, expires_at: float, now: float) -> None:
        """Hello's token is good; the gateway answers with `welcome` once every stream is joined."""
        self.state, self.expires_at = "open", expires_at
        self._next_ping = now + self.ping_seconds

    def replayed(self) -> None:
        """The replay has been taken: whoever reads is alive."""
        self.replaying = False
        self._pinged_at = None

    def renewed(self, expires_at: float) -> None:
        """A newer token of the same user is good."""
        self.expires_at = max(self.expires_at, expires_at)

    def tick(self, now: float, wall: float) -> tuple[list[Effect], bool]:
        """Time has passed: (effects, whether a ping is due now)."""
        if self.state == "greeting" and now >= self._deadline:
            return self._close(protocol.NO_HELLO), False
        if self.state == "proving" and now >= self._deadline + PROVE_WITHIN:
            return self._close(protocol.NO_STORE), False
        if self.state != "open":
            return [], False
        if wall >= self.expires_at:
            return self._close(protocol.TOKEN_EXPIRED), False
        if self.replaying:
            return [], False
        if self._pinged_at is not None and now - self._pinged_at >= PONG_WITHIN:
            return self._close(protocol.NO_PONG), False
        if now >= self._next_ping:
            self._next_ping = now + self.ping_seconds
            if not self.mute:
                self._pinged_at = now if self._pinged_at is None else self._pinged_at
            return [], True
        return [], False

    def _hello(self, message: protocol.Hello) -> list[Effect]:
        if self.state != "greeting":
            return self._error(ErrorFrame("already_greeted", "Hello is said once."))
        self.state = "proving"
        return [Prove(message.token, dict(message.resume))]

    def _handle(self, message: protocol.ClientMessage) -> list[Effect]:
        match message:
            case protocol.Subscribe(id=request_id, stream=stream, start=start):
                return [Join(stream, start, request_id)]
            case protocol.Unsubscribe(id=request_id, stream="me"):
                return self._error(ErrorFrame("invalid", "`me` is always on.", request_id))
            case protocol.Unsubscribe(id=request_id, stream=stream):
                return [Leave(stream, request_id)]
            case protocol.Watch(id=request_id, posts=posts):
                return [WatchCounts(frozenset(int(post) for post in posts), request_id)]
            case protocol.Typing(post_id=post_id):
                return [Type(int(post_id))]
            case protocol.Refresh(token=token):
                return [Renew(token)]
            case protocol.Pong(streams=streams) | protocol.Ack(streams=streams):
                self.handled.update(streams)
        return []

    def _error(self, answer: ErrorFrame) -> list[Effect]:
        self._errors += answer.code != "rate_limited"  # those have a limit of their own
        if self._errors > ERRORS_ALLOWED:
            return self._close(protocol.TOO_MANY_ERRORS)
        return [Send(answer)]

    def _close(self, code: Code) -> list[Effect]:
        if self.state == "closed":
            return []
        self.state = "closed"
        return [Close(code)]

    def _take(self, now: float) -> bool:
        """A token bucket: one token per message."""
        self._tokens = min(BURST, self._tokens + (now - self._refilled_at) * RATE)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
