"""Runs kosoku's cases in a process of its own, because it patches the interpreter for its Python 2 cases.

python cases.py URL CASE...      prints one JSON object per case; a leading "-" excludes
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import kosoku

AT_ONCE = 4  # some cases only wait; two cores serve the others


def verdict(result: Any) -> str:
    """The worse of the two: of the messages and of the close."""
    if result.passed or result.behavior.value not in ("OK", "NON-STRICT", "INFORMATIONAL"):
        return str(result.behavior.value)
    return f"{result.behavior_close.value} close"


async def main(url: str, *wanted: str) -> None:
    chosen = [case for case in wanted if not case.startswith("-")]
    excluded = [case[1:] for case in wanted if case.startswith("-")]
    try:
        results = await kosoku.run_fuzzingclient(url, chosen or None, excluded or None, concurrency=AT_ONCE)
    except kosoku.FailureError as failure:
        results = failure.results  # all of them; each tells its verdict
    for result in results:
        print(json.dumps({"case": result.case_id, "verdict": verdict(result)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # kosoku 0.1.0 has threads that abort one in ten interpreters on their way out (seen, SIGABRT)
