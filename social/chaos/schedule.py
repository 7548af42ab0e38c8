"""Which fault strikes when: a pure function of the seed, the length and the engines.

The numbers are those of the project's list of faults. Families take turns, so that also a short run meets each;
inside a family every kind comes once before any comes again. Every MIX-th turn two faults of different families
strike together (F42).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from db.errors import SocialError

WARM_UP = 3.0  # seconds without faults: connections open, scripts load
PAUSE = (3.0, 6.0)  # seconds between two faults: what one left has to heal undisturbed
LAST = 6.0  # seconds at the end without a new fault
MIX = 6  # every so many turns a pair
MIX_FROM = 120.0  # seconds of a run from which pairs come at all

Heals = Literal["hole", "deaf", "restart", "client"]


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault. `lasts` seconds, from and to; `erases`: what Redis knew is gone, a resync is the answer."""

    number: str
    name: str
    family: str
    heals: Heals
    lasts: tuple[float, float]
    erases: bool = False
    embedded: bool = True
    system: bool = True


class Fault(msgspec.Struct, frozen=True):
    """One planned fault. `target` chooses among the parts that it may strike, `dice` seeds what is random inside."""

    kind: Kind
    at: float
    lasts: float
    target: int
    dice: int


class UnknownFault(SocialError):
    """A fault was named that there is not, or not with these engines."""

    code = "unknown_fault"


KINDS = (
    Kind("F1", "kill-edge", "process", "restart", (0.0, 0.0), embedded=False),
    Kind("F1", "kill-worker", "process", "restart", (0.0, 0.0), embedded=False),
    Kind("F1", "kill-all", "process", "restart", (0.0, 0.0), erases=True, system=False),
    Kind("F2", "terminate-edge", "process", "restart", (0.0, 0.0), embedded=False),
    Kind("F2", "terminate-all", "process", "restart", (0.0, 0.0), erases=True, system=False),
    Kind("F3", "freeze-edge", "process", "restart", (5.0, 20.0)),
    Kind("F3", "freeze-worker", "process", "restart", (5.0, 20.0), embedded=False),
    Kind("F5", "redis-restart", "redis", "deaf", (0.2, 3.0), erases=True),
    Kind("F5b", "redis-flush", "redis", "deaf", (0.0, 0.0), erases=True),
    Kind("F6", "redis-freeze", "redis", "deaf", (3.0, 15.0)),
    Kind("F7", "kill-subscribers", "pubsub", "deaf", (0.0, 2.0)),
    Kind("F8", "output-buffer", "pubsub", "deaf", (1.0, 3.0)),
    Kind("F9", "publish-drop", "pubsub", "hole", (3.0, 8.0), embedded=False),
    Kind("F9", "publish-twice", "pubsub", "hole", (3.0, 8.0), embedded=False),
    Kind("F9", "publish-late", "pubsub", "hole", (3.0, 8.0), embedded=False),
    Kind("F9", "publish-swap", "pubsub", "hole", (3.0, 8.0), embedded=False),
    Kind("F13", "deaf-edge", "pubsub", "deaf", (2.0, 6.0), embedded=False),
    Kind("F13", "stalled-edge", "pubsub", "deaf", (2.0, 6.0), embedded=False),
    Kind("F13", "deaf-inbox", "pubsub", "deaf", (0.0, 0.0), embedded=False),
    Kind("F15", "mysql-kill", "mysql", "restart", (0.2, 3.0), embedded=False),
    Kind("F17", "commit-unanswered", "mysql", "restart", (3.0, 8.0), embedded=False),
    Kind("F17", "mark-lost", "mysql", "restart", (3.0, 8.0), embedded=False),
    Kind("F19", "mysql-connections-killed", "mysql", "restart", (0.0, 0.0), embedded=False),
    Kind("F19", "edge-mysql-cut", "mysql", "restart", (0.0, 0.0), embedded=False),
    Kind("F19", "worker-mysql-cut", "mysql", "restart", (3.0, 8.0), embedded=False),
    Kind("F23", "mysql-slow", "mysql", "restart", (3.0, 8.0), embedded=False),
    Kind("F26", "clients-vanish", "clients", "client", (0.0, 0.0)),
    Kind("F27", "clients-flap", "clients", "client", (3.0, 8.0)),
    Kind("F30", "clients-slow", "clients", "client", (3.0, 8.0)),
)


def schedule(seed: int, seconds: float, engines: str, only: Sequence[str] = ()) -> list[Fault]:
    """The faults of a run, in time. `only` names kinds or numbers to choose from. Raises UnknownFault."""
    kinds = _choose(engines, only)
    dice = random.Random(f"{seed} {engines}")  # noqa: S311 - a plan that the seed repeats
    scale = min(1.0, max(0.25, seconds / 300))  # short runs have shorter faults, so that they have several
    families = _bags(kinds, dice)
    turns = _Turns(families, dice)
    found: list[Fault] = []
    at, number = WARM_UP, 0
    while True:
        number += 1
        pair = seconds >= MIX_FROM and len(families) > 1 and number % MIX == 0
        chosen = [next(turns) for _ in range(2 if pair else 1)]
        faults = [_fault(kind, at, scale, dice) for kind in chosen]
        at = max(fault.at + fault.lasts for fault in faults)
        if at + LAST > seconds:
            return found
        found += faults
        at += dice.uniform(*PAUSE)


def _choose(engines: str, only: Sequence[str]) -> list[Kind]:
    there = [kind for kind in KINDS if getattr(kind, engines)]
    unknown = [word for word in only if not any(word in (kind.name, kind.number) for kind in there)]
    if unknown:
        names = ", ".join(f"{kind.number} {kind.name}" for kind in there)
        raise UnknownFault(f"There is no fault {', '.join(unknown)} with {engines} engines. There are: {names}.")
    return [kind for kind in there if not only or kind.name in only or kind.number in only]


class _Bag:
    """Gives everything once, in random order, before anything again."""

    def __init__(self, things: Iterable[Kind], dice: random.Random) -> None:
        self._things, self._dice = list(things), dice
        self._left: list[Kind] = []

    def take(self) -> Kind:
        if not self._left:
            self._left = self._dice.sample(self._things, len(self._things))
        return self._left.pop()


def _bags(kinds: Sequence[Kind], dice: random.Random) -> dict[str, _Bag]:
    families = dict.fromkeys(kind.family for kind in kinds)
    return {family: _Bag((kind for kind in kinds if kind.family == family), dice) for family in families}


class _Turns:
    """Families in random order, each once per round; a pair never shares a family."""

    def __init__(self, bags: dict[str, _Bag], dice: random.Random) -> None:
        self._bags, self._dice = bags, dice
        self._round: list[str] = []
        self._before = ""

    def __next__(self) -> Kind:
        if not self._round:
            self._round = self._dice.sample(list(self._bags), len(self._bags))
            if len(self._round) > 1 and self._round[-1] == self._before:
                self._round.reverse()
        self._before = self._round.pop()
        return self._bags[self._before].take()


def _fault(kind: Kind, at: float, scale: float, dice: random.Random) -> Fault:
    low, high = kind.lasts
    lasts = round(low * max(scale, 0.5) + dice.random() * (high - low) * scale, 2)
    return Fault(kind, round(at, 2), lasts, dice.randrange(1 << 16), dice.randrange(1 << 32))
