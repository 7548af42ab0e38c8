"""Stacks by the millisecond."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import greenlet  # type: ignore[import-untyped, unused-ignore]

from social.bench.sampler import Sampler, read, report, short


def burn() -> None:
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass


def outside() -> None:
    greenlet.greenlet(burn).switch()


def test_a_sample_goes_on_in_the_greenlet_s_parent(tmp_path: Path) -> None:
    sampler = Sampler()
    sampler.start()
    outside()
    sampler.stop(tmp_path / "stacks")
    burning = [stack for stack in read((tmp_path / "stacks").read_text()) if stack[-1].endswith(":burn")]
    assert burning
    assert all(any(name.endswith(":outside") for name in stack) for stack in burning)


def test_a_library_s_time_belongs_to_the_function_of_ours_that_called_it() -> None:
    stacks = Counter({("db/users.py:profiles", "sqlalchemy/engine/base.py:execute"): 3, ("feed/audience.py:load",): 1})
    text = report(stacks, 5)
    ours = text.partition("our functions")[2].partition("own time by package")[0]
    assert "75.0%  db/users.py:profiles" in ours
    assert "75.0%  sqlalchemy" in text.partition("own time by package")[2]


def test_a_file_is_named_from_its_package_on() -> None:
    assert short("/x/.venv/lib/python3.11/site-packages/aiohttp/web.py") == "aiohttp/web.py"
    assert short("/x/lib/python3.12/asyncio/events.py") == "asyncio/events.py"
    assert short("/x/social-app/realtime/live/hub.py") == "realtime/live/hub.py"
