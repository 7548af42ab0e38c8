"""How long the traces of a fault lasted, counted from the moment at which nothing stood in the way any more.

    hole     a publish was lost, late or swapped and a later one of its stream came through: from that one
    tail     the same without a later one: from the publish
    deaf     an edge could not hear Redis: from the fault's end
    restart  a process or MySQL was away, slow or unreliable: from its being ready again
    client   the client itself was cut, silent or slow: from the fault's end
    return   a client without a connection: from its closing or the fault's end, backoff included
    quiet    no fault near: from the 2xx

A client counts from its own return: how long it had stayed away is measured as `return`. Where faults overlapped, the
one that explains a delay best gets it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

import msgspec

from social.chaos.ledger import ME, Books, Closed, Item, Joined, Reading, Strike
from social.chaos.resp import Line

HOLE_P99 = 2.0  # seconds from the moment at which a hole could be seen
DEAF_WITHIN = 12.0  # seconds until an inbox that heard nothing has noticed and caught up
RESTART_WITHIN = 20.0  # seconds until everything is as it was; a dead worker's leases take 10 of them
CLIENT_WITHIN = 5.0  # seconds from a client's own return until it has everything
RETURN_WITHIN = 45.0  # seconds: the contract's longest backoff, an attempt that times out, and a welcome that waits
QUIET_WITHIN = 5.0  # seconds from 2xx to the screen while nothing is broken
NEAR = 3.0  # seconds after another fault in which a hole may be of its making too
NOTICED = 0.5  # seconds of delay below which nothing has happened to a write
# sort -> (what the sentence says, limit in seconds) for those whose slowest case is bounded
LIMITS = {
    "deaf": ("a deaf inbox healed in", DEAF_WITHIN),
    "restart": ("after a restart all was well in", RESTART_WITHIN),
    "client": ("a client that came back had everything in", CLIENT_WITHIN),
    "return": ("a client was back in", RETURN_WITHIN),
    "quiet": ("undisturbed, a write was shown in", QUIET_WITHIN),
}


class Healing(msgspec.Struct):
    """Seconds by sort, and by kind of fault ('' = none)."""

    sorts: dict[str, list[float]] = msgspec.field(default_factory=dict)
    kinds: dict[str, list[float]] = msgspec.field(default_factory=dict)
    worst: dict[str, str] = msgspec.field(default_factory=dict)

    def add(self, sort: str, kind: str, seconds: float, what: str) -> None:
        """One delay."""
        if seconds >= max(self.sorts.get(sort, ()), default=0.0):
            self.worst[sort] = what
        self.sorts.setdefault(sort, []).append(seconds)
        self.kinds.setdefault(kind, []).append(seconds)

    def longest(self, sort: str) -> float:
        """Of a sort; 0 without any."""
        return max(self.sorts.get(sort, ()), default=0.0)

    def percentile(self, sort: str, share: float) -> float:
        """Of a sort; 0 without any."""
        return percentile(self.sorts.get(sort, ()), share)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that is not below `share` of all; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def heal(books: Books) -> Healing:
    """Measures a run."""
    healing = Healing()
    stays = {reading.name: _Stays(reading) for reading in books.readings}
    explained = _holes(books, stays, healing)
    _delays(books, stays, explained, healing)
    for reading in books.readings:
        _returns(books, reading, healing)
    return healing


class _Stays:
    """A client's joins in time, and where each item reached it."""

    def __init__(self, reading: Reading) -> None:
        self.joins: dict[str, list[Joined]] = defaultdict(list)
        self.items: dict[Line, tuple[float, Joined, str]] = {}
        for entry in reading.entries:
            if isinstance(entry, Joined):
                self.joins[entry.stream].append(entry)
            elif isinstance(entry, Item) and self.joins[entry.stream]:
                joined = self.joins[entry.stream][-1]
                name = f"me:{reading.person}" if entry.stream == ME else entry.stream
                line = Line(name, joined.epoch, entry.offset)
                self.items.setdefault(line, (entry.at, joined, entry.thing))

    def edges_before(self, stream: str, at: float) -> set[str]:
        """Of the client's last two joins before `at`."""
        return {joined.edge for joined in [joined for joined in self.joins[stream] if joined.at <= at][-2:]}

    def joined_before(self, stream: str, at: float) -> float:
        """When the client's last join before `at` was."""
        times = [joined.at for joined in self.joins[stream]]
        place = bisect_right(times, at)
        return times[place - 1] if place else 0.0


def _holes(books: Books, stays: dict[str, _Stays], healing: Healing) -> set[tuple[str, str]]:
    """Delays of what proxies took out of its place; returns the (client, thing) that are explained by it."""
    explained: set[tuple[str, str]] = set()
    passed: dict[tuple[str, str, str], list[tuple[float, int]]] = defaultdict(list)
    for publish in books.publishes:
        if publish.fate in ("passed", "twice"):
            for line in publish.lines:
                passed[publish.edge, line.stream, line.epoch].append((publish.at, line.offset))
    others = [strike for strike in books.strikes if strike.fault.kind.heals != "hole"]
    for publish in books.publishes:
        if publish.fate not in ("dropped", "late", "swapped"):
            continue
        for line in publish.lines:
            later = passed[publish.edge, line.stream, line.epoch]
            shown = min((at for at, offset in later if offset > line.offset), default=None)
            for name, stay in stays.items():
                at, joined, item = stay.items.get(line, (0.0, None, ""))
                if joined is None or joined.edge != publish.edge or not joined.at < publish.at < at:
                    continue
                if any(strike.began <= at and publish.at <= strike.ended + NEAR for strike in others):
                    continue  # two faults at once: the other one's limit is in force
                explained.add((name, item))
                is_hole = shown is not None and shown < at
                since = max(publish.at, shown or 0.0) if is_hole else publish.at
                sort = "hole" if is_hole else "tail"
                healing.add(sort, f"publish-{_KIND_OF_FATE[publish.fate]}", at - since, f"{line} at {name}")
    return explained


_KIND_OF_FATE = {"dropped": "drop", "late": "late", "swapped": "swap"}


def _delays(books: Books, stays: dict[str, _Stays], explained: set[tuple[str, str]], healing: Healing) -> None:
    """From each acknowledgement to each client that was entitled."""
    sights = books.sights()
    for write in books.writes:
        acknowledged = write.acknowledged if write.attempts else None
        if acknowledged is None:
            continue
        entitled = books.entitled(write)
        first = min((sights[reading.name].get(write.thing, books.ended) for reading, _ in entitled), default=0.0)
        for reading, stream in entitled:
            seen = sights[reading.name].get(write.thing)
            if seen is None or (reading.name, write.thing) in explained:
                continue
            stay = stays[reading.name]
            joined = stay.joined_before(stream, seen)
            returned = joined if joined > acknowledged else None
            delay = _Delay(
                since=acknowledged if returned is None else returned,
                seen=seen,
                returned=returned,
                edges=stay.edges_before(stream, seen),
                alone=seen - first > NOTICED,
            )
            what = f"{write.text!r} at {reading.name}, seen {seen:.1f} s"
            sort, kind, seconds = _blame(books, delay, acknowledged)
            healing.add(sort, kind, seconds, what)


class _Delay(NamedTuple):
    """Something was seen late. `edges` are the client's last two; `alone`: others had seen it long before.

    `returned`: when the client, which was away while it was written, came back.
    """

    since: float
    seen: float
    returned: float | None
    edges: set[str]
    alone: bool


def _blame(books: Books, delay: _Delay, acknowledged: float) -> tuple[str, str, float]:
    """(sort, kind of fault, seconds): the nearest fault that excuses a delay, else the one that comes closest to it."""
    alone = max(0.0, delay.seen - delay.since)
    causes = list(_causes(books, delay)) if delay.seen - acknowledged > NOTICED else []
    excuses = [(seconds, strike) for seconds, strike in causes if seconds <= _limit(strike)]
    if excuses:
        seconds, strike = min(excuses, key=itemgetter(0))
    elif causes and alone > QUIET_WITHIN:
        seconds, strike = min(causes, key=lambda cause: cause[0] / _limit(cause[1]))
    else:
        return ("client", "return", alone) if delay.returned is not None else ("quiet", "", alone)
    return strike.fault.kind.heals, strike.fault.kind.name, seconds


def _causes(books: Books, delay: _Delay) -> Iterator[tuple[float, Strike]]:
    """(seconds after its end, strike) of every fault that may have held something up.

    What others had seen long before was not held up by MySQL or a worker; a fault of one edge delays its own clients.
    """
    for strike in books.strikes:
        kind = strike.fault.kind
        if kind.heals == "hole" or not strike.began <= delay.seen or delay.since > strike.ended + _limit(strike):
            continue
        upstream = kind.family == "mysql" or strike.part.startswith("worker")
        if delay.alone if upstream else strike.part and strike.part not in delay.edges:
            continue
        since = strike.ended if delay.returned is None else max(strike.ended, delay.returned)
        yield max(0.0, delay.seen - since), strike


def _limit(strike: Strike) -> float:
    return LIMITS[strike.fault.kind.heals][1]


def _returns(books: Books, reading: Reading, healing: Healing) -> None:
    closed: float | None = None
    for entry in reading.entries:
        if isinstance(entry, Closed):
            closed = entry.at if closed is None else closed
        elif isinstance(entry, Joined) and entry.stream == ME and closed is not None:
            ends = (strike.ended for strike in books.strikes if strike.began <= entry.at and strike.ended >= closed)
            since = min(entry.at, max(ends, default=closed))
            healing.add("return", "return", entry.at - max(since, closed), reading.name)
            closed = None
