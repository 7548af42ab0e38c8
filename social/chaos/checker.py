"""The ledgers -> what was broken. Pure functions; `social.chaos.ledger` says what goes in.

    lost         acknowledged, but absent at the end, or never shown to a client that was entitled to it
    duplicated   one position twice on a connection, a position of before again, one event at two positions of an
                 epoch, one act twice in the final state
    reordered    offsets that go back, or comments of one post against the order in which they were written
    silent gap   an offset that was jumped over, or a resume in another epoch that claims to be complete
    unexpected   refused but there, there without ever having been asked for, or shown and not there

`healing` measures how long after a fault its last traces were gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from social.chaos.healing import HOLE_P99, LIMITS, Healing, heal
from social.chaos.ledger import Attempt, Books, Closed, Item, Joined, Pinged, Reading, Reread, Resynced, Skipped, Write

ACCEPTED_SHARE = 0.90  # of the requests that met no fault are answered with 2xx, or refusing is how it stays correct
UNAVAILABLE = 503  # the only honest answer while something is broken
SHOWN = ("post.created", "comment.created")  # events of what stays until the end of a run
RESYNCS_PER_ERASURE = 2  # per client and stream, for each fault that empties Redis: one by the join, one by a check
RESYNCS_FREE = 1  # per client and stream and run on top: a full log, a payload that expired


class Findings(msgspec.Struct):
    """Sentences, one per finding."""

    lost: list[str] = msgspec.field(default_factory=list)
    duplicated: list[str] = msgspec.field(default_factory=list)
    reordered: list[str] = msgspec.field(default_factory=list)
    silent: list[str] = msgspec.field(default_factory=list)
    unexpected: list[str] = msgspec.field(default_factory=list)
    bounds: list[str] = msgspec.field(default_factory=list)
    silent_seconds: float = 0.0

    @property
    def violations(self) -> int:
        """How many there are of all sorts."""
        return sum(map(len, (self.lost, self.duplicated, self.reordered, self.silent, self.unexpected, self.bounds)))


class Tally(msgspec.Struct):
    """Numbers that are reported, some of them bounded."""

    acknowledged: int = 0
    unanswered: int = 0
    refused: int = 0
    attempts: int = 0
    quiet_attempts: int = 0
    quiet_accepted: int = 0
    statuses: dict[int, int] = msgspec.field(default_factory=dict)
    recovered: int = 0
    unrecovered: int = 0
    resyncs: int = 0
    resyncs_worst: float = 0.0
    behind_at_ping: int = 0
    repeated_across_epochs: int = 0
    frames: int = 0
    reconnects: int = 0
    codes: dict[int | None, int] = msgspec.field(default_factory=dict)

    @property
    def accepted_share(self) -> float:
        """Of the requests that met no fault."""
        return self.quiet_accepted / self.quiet_attempts if self.quiet_attempts else 0.0


class Verdict(msgspec.Struct):
    """The answer of a run."""

    findings: Findings
    tally: Tally
    healing: Healing

    @property
    def passed(self) -> bool:
        """True when nothing was found."""
        return self.findings.violations == 0


def check(books: Books) -> Verdict:
    """Judges a run."""
    findings, tally = Findings(), Tally()
    _writes(books, findings, tally)
    for reading in books.readings:
        _Conversation(books, reading, findings, tally).follow()
    _shown(books, findings)
    _final(books, findings)
    healing = heal(books)
    _bounds(books, findings, tally, healing)
    return Verdict(findings, tally, healing)


# --- writes ----------------------------------------------------------------------------------------------------------


def _writes(books: Books, findings: Findings, tally: Tally) -> None:
    for write in books.writes:
        if not write.attempts:
            continue
        tally.acknowledged += write.acknowledged is not None
        tally.refused += write.attempts[-1].refused
        tally.unanswered += write.acknowledged is None and not write.attempts[-1].refused
        for attempt in write.attempts:
            tally.attempts += 1
            tally.statuses[attempt.status] = tally.statuses.get(attempt.status, 0) + 1
            if not _met_a_fault(books, attempt):
                tally.quiet_attempts += 1
                tally.quiet_accepted += attempt.accepted


def _met_a_fault(books: Books, attempt: Attempt) -> bool:
    return any(strike.began <= attempt.ended and attempt.begun <= strike.ended for strike in books.strikes)


def _shown(books: Books, findings: Findings) -> None:
    """Every acknowledged write was shown, as an item or by a re-read, to every client that was entitled to it."""
    sights = books.sights()
    for write in books.writes:
        acknowledged = write.acknowledged if write.attempts else None
        if acknowledged is None:
            continue
        for reading, stream in books.entitled(write):
            if write.thing not in sights[reading.name]:
                findings.lost.append(
                    f"{write.text!r} ({stream}, {acknowledged:.1f} s) was never shown to {reading.name}"
                )
                findings.silent_seconds += books.ended - acknowledged


def _final(books: Books, findings: Findings) -> None:
    """What the API says at the end against what it acknowledged and refused, and what was shown."""
    findings.unexpected += _never_written(books)
    final = books.final
    asked = {write.text: write for write in books.writes}
    for write in books.writes:
        if write.attempts and write.acknowledged is not None:
            for place in _missing_places(books, write):
                findings.lost.append(f"{write.text!r} was acknowledged and is absent from {place}")
    for text, ids in final.texts.items():
        known = asked.get(text)
        if known is None:
            findings.unexpected.append(f"{text!r} is there, and nobody wrote it")
        elif known.attempts and known.failed:
            findings.unexpected.append(f"{text!r} is there, and was refused with {known.attempts[-1].status}")
        if len(ids) > 1:
            findings.duplicated.append(f"{text!r} is there {len(ids)} times: {', '.join(sorted(ids))}")


def _never_written(books: Books) -> Iterator[str]:
    """What was shown and is not there: rolled back, or made up."""
    final = books.final
    there = {f"post {name}" for ids in final.feeds.values() for name in ids}
    there |= {f"comment {name}" for ids in final.comments.values() for name in ids}
    for reading in books.readings:
        for entry in reading.entries:
            if isinstance(entry, Item) and entry.event in SHOWN and entry.thing not in there:
                yield f"{entry.at:.1f} s, {reading.name}: {entry.thing} was shown, and is not there"


def _missing_places(books: Books, write: Write) -> Iterator[str]:
    final = books.final
    if write.kind == "post":
        for person in (write.author, *sorted(books.friends.get(write.author, ()))):
            if write.object not in final.feeds.get(person, ()):
                yield f"the feed of {person}"
    elif write.kind == "comment" and write.object not in final.comments.get(write.about, ()):
        yield f"the comments of {write.about}"
    elif write.kind == "like" and write.author not in final.likes.get(write.about, ()):
        yield f"the likes of {write.about}"


# --- conversations ---------------------------------------------------------------------------------------------------


class _Stream:
    """Where a client stands in one stream, by its ledger alone."""

    def __init__(self) -> None:
        self.epoch = ""
        self.offset = 0
        self.handled: set[tuple[str, int]] = set()
        self.places: dict[str, tuple[str, int]] = {}  # event id -> where it stood last
        self.resyncs = 0
        self.latest = 0.0  # of the writes shown here in this epoch, the latest invocation
        self.gap: tuple[float, str] | None = None


class _Conversation:
    """Follows one client's entries with the contract's rule of positions."""

    def __init__(self, books: Books, reading: Reading, findings: Findings, tally: Tally) -> None:
        self._books = books
        self._reading = reading
        self._findings = findings
        self._tally = tally
        self._streams: dict[str, _Stream] = defaultdict(_Stream)
        self._written = {write.object: write for write in books.writes if write.kind == "comment" and write.object}
        self._connections: set[int] = set()

    def follow(self) -> None:
        for entry in self._reading.entries:
            match entry:
                case Joined():
                    self._joined(entry)
                case Item():
                    self._item(entry)
                case Skipped():
                    self._moved(entry.at, entry.stream, entry.offset, entry.to)
                case Resynced():
                    self._resynced(entry)
                case Pinged():
                    behind = (offset > self._streams[name].offset for name, offset in entry.streams.items())
                    self._tally.behind_at_ping += any(behind)
                case Reread():
                    self._end_gap(self._streams[entry.stream], entry.at)
                case Closed():
                    self._tally.codes[entry.code] = self._tally.codes.get(entry.code, 0) + 1
        for stream in self._streams.values():
            self._end_gap(stream, self._books.ended)
        self._tally.reconnects += max(0, len(self._connections) - 1)
        self._bound_resyncs()

    def _joined(self, entry: Joined) -> None:
        stream = self._streams[entry.stream]
        self._connections.add(entry.connection)
        if entry.start is not None:
            self._tally.recovered += entry.recovered
            self._tally.unrecovered += not entry.recovered
        if entry.start is not None and entry.recovered:
            if entry.start[0] != entry.epoch:
                self._gap(stream, entry.at, f"{entry.stream}: resumed in epoch {entry.start[0]}, recovered in another")
            stream.epoch, stream.offset = entry.epoch, entry.start[1]
            return
        if entry.start is not None:
            stream.resyncs += 1
        stream.epoch, stream.offset, stream.latest = entry.epoch, entry.offset, 0.0

    def _resynced(self, entry: Resynced) -> None:
        stream = self._streams[entry.stream]
        stream.resyncs += 1
        self._tally.resyncs += 1
        stream.epoch, stream.offset, stream.latest = entry.epoch, entry.offset, 0.0

    def _item(self, entry: Item) -> None:
        self._tally.frames += 1
        stream = self._streams[entry.stream]
        place = (stream.epoch, entry.offset)
        before = stream.places.get(entry.event_id)
        if place in stream.handled:
            self._say(self._findings.duplicated, entry.at, f"{entry.stream} {entry.offset} came again")
            return
        if before is not None and before[0] == stream.epoch:
            self._say(
                self._findings.duplicated,
                entry.at,
                f"event {entry.event_id} stands in {entry.stream} at {before[1]} and at {entry.offset}",
            )
        elif before is not None:
            self._tally.repeated_across_epochs += 1
        elif entry.event == "comment.created":
            self._order(stream, entry)
        stream.handled.add(place)
        stream.places[entry.event_id] = place
        self._moved(entry.at, entry.stream, entry.offset, entry.offset)

    def _moved(self, at: float, name: str, first: int, last: int) -> None:
        stream = self._streams[name]
        if first <= stream.offset:
            self._say(self._findings.reordered, at, f"{name} went from {stream.offset} back to {first}")
        elif first > stream.offset + 1:
            self._gap(stream, at, f"{name}: from {stream.offset} to {first}, and no word about it")
        stream.offset = max(stream.offset, last)

    def _order(self, stream: _Stream, entry: Item) -> None:
        """Comments of one post: what was acknowledged before another was asked for comes before it."""
        write = self._written.get(entry.object)
        if write is None or write.acknowledged is None:
            return
        if stream.latest > write.acknowledged:
            self._say(self._findings.reordered, entry.at, f"{write.text!r} came after what was written later")
        stream.latest = max(stream.latest, write.invoked)

    def _gap(self, stream: _Stream, at: float, words: str) -> None:
        self._say(self._findings.silent, at, words)
        if stream.gap is None:
            stream.gap = (at, words)

    def _end_gap(self, stream: _Stream, at: float) -> None:
        if stream.gap is not None:
            self._findings.silent_seconds += at - stream.gap[0]
            stream.gap = None

    def _bound_resyncs(self) -> None:
        erasures = sum(strike.fault.kind.erases for strike in self._books.strikes)
        allowed = erasures * RESYNCS_PER_ERASURE + RESYNCS_FREE
        minutes = max(self._books.ended / 60, 1 / 60)
        total = sum(stream.resyncs for stream in self._streams.values())
        self._tally.resyncs_worst = max(self._tally.resyncs_worst, total / minutes)
        for name, stream in self._streams.items():
            if stream.resyncs > allowed:
                self._findings.bounds.append(
                    f"{self._reading.name}: {name} was read again {stream.resyncs} times, {allowed} would be fair"
                )

    def _say(self, sentences: list[str], at: float, words: str) -> None:
        sentences.append(f"{at:.1f} s, {self._reading.name}: {words}")


# --- bounds ----------------------------------------------------------------------------------------------------------


def _bounds(books: Books, findings: Findings, tally: Tally, healing: Healing) -> None:
    for sort, (words, limit) in LIMITS.items():
        if healing.longest(sort) > limit:
            findings.bounds.append(f"{words} {healing.longest(sort):.1f} s, at most {limit:g} s were promised")
    if healing.longest("tail") > books.ping_seconds:
        findings.bounds.append(f"a lost tail healed in {healing.longest('tail'):.1f} s, longer than one ping takes")
    if healing.percentile("hole", 0.99) > HOLE_P99:
        seconds = healing.percentile("hole", 0.99)
        findings.bounds.append(f"holes healed in {seconds:.1f} s (p99), {HOLE_P99:g} s were promised")
    if tally.accepted_share < ACCEPTED_SHARE:
        findings.bounds.append(f"{tally.accepted_share:.0%} of the writes outside of faults were accepted")
    dishonest = sum(count for status, count in tally.statuses.items() if status >= 500 and status != UNAVAILABLE)
    if dishonest:
        findings.bounds.append(f"{dishonest} requests were answered with a failure that is not {UNAVAILABLE}")
    if not tally.acknowledged or not tally.frames:
        findings.bounds.append("nothing was written or nothing was shown: the run proves nothing")
