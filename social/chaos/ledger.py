"""What a run wrote down. Times are seconds since the run began; ids are those of the API.

Writers note every attempt, readers every frame, the nemesis every fault, the proxies every publish; final reads
close it. `checker` judges nothing but this.
"""

from __future__ import annotations

import time

import msgspec

from social.chaos.resp import Publish
from social.chaos.schedule import Fault

ME = "me"


class Clock:
    """Seconds since it was made, or since `begin`."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def begin(self) -> None:
        """It is zero now."""
        self._start = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._start


# --- writers ---------------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct):
    """One request. `status` is 0 where no answer came: the outcome is unknown."""

    begun: float
    ended: float
    status: int

    @property
    def accepted(self) -> bool:
        """True for a 2xx."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """True for an answer that is final: asking again would not help."""
        return 400 <= self.status < 500 and self.status not in (408, 409, 425, 429)


class Write(msgspec.Struct):
    """One act of a person: a post (`about` empty), a comment or a like (`about` = the post)."""

    kind: str
    author: str
    text: str
    about: str = ""
    object: str = ""
    attempts: list[Attempt] = msgspec.field(default_factory=list)

    @property
    def thing(self) -> str:
        """What was made, by kind and id: posts and comments are numbered separately."""
        return f"{self.kind} {self.object}"

    @property
    def invoked(self) -> float:
        """When it was first asked for."""
        return self.attempts[0].begun

    @property
    def acknowledged(self) -> float | None:
        """When a 2xx came; None = never."""
        last = self.attempts[-1]
        return last.ended if last.accepted else None

    @property
    def failed(self) -> bool:
        """True when it was refused for good, without an attempt before whose outcome is unknown."""
        return self.attempts[-1].refused and all(attempt.status for attempt in self.attempts)


# --- readers ---------------------------------------------------------------------------------------------------------


class Joined(msgspec.Struct, frozen=True, tag=True):
    """`welcome` or `subscribed` for one stream; `start` is the position that the client asked to resume from."""

    at: float
    connection: int
    edge: str
    stream: str
    epoch: str
    offset: int
    recovered: bool
    start: tuple[str, int] | None


class Item(msgspec.Struct, frozen=True, tag=True):
    """An event frame. `object` is the id of what it is about."""

    at: float
    connection: int
    stream: str
    offset: int
    event: str
    event_id: str
    object: str

    @property
    def thing(self) -> str:
        """What it is about, by kind and id."""
        return f"{self.event.partition('.')[0]} {self.object}"


class Skipped(msgspec.Struct, frozen=True, tag=True):
    """A skip frame."""

    at: float
    connection: int
    stream: str
    offset: int
    to: int


class Resynced(msgspec.Struct, frozen=True, tag=True):
    """A resync frame."""

    at: float
    connection: int
    stream: str
    epoch: str
    offset: int


class Pinged(msgspec.Struct, frozen=True, tag=True):
    """A ping with the positions that the server has checked."""

    at: float
    connection: int
    streams: dict[str, int]


class Reread(msgspec.Struct, frozen=True, tag=True):
    """The state of a stream read by HTTP after `recovered: false` or a resync: the ids on the page."""

    at: float
    stream: str
    ids: frozenset[str]

    @property
    def things(self) -> list[str]:
        """What is on the page, by kind and id."""
        return [f"{'post' if self.stream == ME else 'comment'} {name}" for name in self.ids]


class Closed(msgspec.Struct, frozen=True, tag=True):
    """The connection ended; `code` None = without a close frame."""

    at: float
    connection: int
    code: int | None


Entry = Joined | Item | Skipped | Resynced | Pinged | Reread | Closed


class Reading(msgspec.Struct):
    """One client's ledger. `follows` are posts whose comments it has on screen."""

    name: str
    person: str
    follows: tuple[str, ...] = ()
    entries: list[Entry] = msgspec.field(default_factory=list)


# --- the rest --------------------------------------------------------------------------------------------------------


class Strike(msgspec.Struct, frozen=True):
    """A fault as it happened. `ended` is when its cause was gone: the process ready again, the proxy healed.

    `part` is the one part that it hit, '' when it hit what is common to all.
    """

    fault: Fault
    began: float
    ended: float
    part: str = ""
    note: str = ""


class Final(msgspec.Struct):
    """What the API says at the end, when everything is healed.

    feeds      person -> ids of all posts in the feed
    texts      text -> ids of posts and comments that have it
    comments   post -> ids of its comments
    likes      post -> people who like it
    """

    feeds: dict[str, set[str]] = msgspec.field(default_factory=dict)
    texts: dict[str, list[str]] = msgspec.field(default_factory=dict)
    comments: dict[str, set[str]] = msgspec.field(default_factory=dict)
    likes: dict[str, set[str]] = msgspec.field(default_factory=dict)


class Books(msgspec.Struct):
    """Everything. `friends` is symmetric; `ended` is when the settling was over."""

    friends: dict[str, set[str]]
    ping_seconds: float
    writes: list[Write] = msgspec.field(default_factory=list)
    readings: list[Reading] = msgspec.field(default_factory=list)
    strikes: list[Strike] = msgspec.field(default_factory=list)
    publishes: list[Publish] = msgspec.field(default_factory=list)
    final: Final = msgspec.field(default_factory=Final)
    ended: float = 0.0

    def entitled(self, write: Write) -> list[tuple[Reading, str]]:
        """(client, stream) for everyone who has to see an acknowledged write live."""
        if write.kind == "post":
            people = {write.author, *self.friends.get(write.author, ())}
            return [(reading, ME) for reading in self.readings if reading.person in people]
        if write.kind == "comment":
            stream = f"post:{write.about}"
            return [(reading, stream) for reading in self.readings if write.about in reading.follows]
        return []

    def sights(self) -> dict[str, dict[str, float]]:
        """client -> kind and id -> when it was first shown there."""
        found: dict[str, dict[str, float]] = {}
        for reading in self.readings:
            seen = found[reading.name] = {}
            for entry in reading.entries:
                if isinstance(entry, Item):
                    seen.setdefault(entry.thing, entry.at)
                elif isinstance(entry, Reread):
                    for name in entry.things:
                        seen.setdefault(name, entry.at)
        return found
