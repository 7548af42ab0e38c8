"""The entry of a measured process: the product's own command line, with its SQL statements counted.

    python -m social.bench.node --state FILE [--profile FILE] web --port 0

SIGUSR1 writes what was counted so far to the state file (`Counted` as JSON, renamed into place). SIGUSR2 starts the
profile (see `sampler`), the next one ends it and writes it. Nothing of the product is changed or knows of it.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, event

from social.bench.figures import raise_descriptor_limit
from social.bench.sampler import Sampler

TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([a-z_]+)")


class Counted(msgspec.Struct, frozen=True):
    """Since the process began: statements by kind, CPU seconds of the process and of the thread of the loop."""

    statements: dict[str, int]
    cpu: float
    loop_cpu: float


def kind_of(statement: str) -> str:
    """'SELECT posts' of a SELECT whose first table is posts."""
    verb = statement.split(None, 1)[0].upper()
    table = TABLE.search(statement)
    return f"{verb} {table.group(1)}" if table else verb


def main() -> None:
    """Counts, then runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--profile", type=Path)
    options, command = parser.parse_known_args()
    raise_descriptor_limit()
    _count(options.state)
    if options.profile is not None:
        _profile(options.profile)

    from social.cli import main as run

    sys.argv = ["social", *command]
    run()


def _count(state: Path) -> None:
    texts: Counter[str] = Counter()  # by text: to name the kind of each one at once would be a cost of its own

    @event.listens_for(Engine, "before_cursor_execute")
    def _one(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        texts[statement] += 1

    def tell(*_: Any) -> None:
        kinds: Counter[str] = Counter()
        for text, times in texts.items():
            kinds[kind_of(text)] += times
        beside = state.with_suffix(".part")
        beside.write_bytes(msgspec.json.encode(Counted(kinds, time.process_time(), time.thread_time())))
        beside.replace(state)

    signal.signal(signal.SIGUSR1, tell)


def _profile(file: Path) -> None:
    running: list[Sampler] = []

    def turn(*_: Any) -> None:
        if running:
            running.pop().stop(file)
        else:
            running.append(Sampler())
            running[0].start()

    signal.signal(signal.SIGUSR2, turn)


if __name__ == "__main__":
    main()
