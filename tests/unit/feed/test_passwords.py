"""Hashing in a bounded pool: refusals instead of queues, one path for known and unknown names."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from feed.errors import Busy
from feed.passwords import WAITING_PER_THREAD, Passwords

MOST = 1 + WAITING_PER_THREAD  # inside at once with one thread


class Slow:
    """Stands in for argon2 and holds every thread until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.verified: list[str] = []

    def hash(self, password: str) -> str:
        self.go.wait(10)
        return f"hash of {password}"

    def verify(self, encoded: str, password: str) -> bool:
        self.verified.append(encoded)
        return encoded == f"hash of {password}"


@pytest.fixture(scope="module")
def real() -> Iterator[Passwords]:
    passwords = Passwords(1)
    yield passwords
    passwords.close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Passwords, Slow]]:
    hasher = Slow()
    hasher.go.set()
    monkeypatch.setattr("feed.passwords.PasswordHasher", lambda **_options: hasher)
    passwords = Passwords(1)
    hasher.go.clear()
    yield passwords, hasher
    hasher.go.set()
    passwords.close()


async def test_a_password_fits_its_own_hash_and_no_other(real: Passwords) -> None:
    encoded = await real.hash("correct horse")
    assert encoded.startswith("$argon2id$")
    assert await real.verify(encoded, "correct horse")
    assert not await real.verify(encoded, "correct house")


async def test_two_hashes_of_one_password_differ(real: Passwords) -> None:
    assert await real.hash("correct horse") != await real.hash("correct horse")


async def test_an_unknown_name_fits_no_password_not_even_that_of_the_decoy(real: Passwords) -> None:
    assert not await real.verify(None, "correct horse")
    assert not await real.verify(None, "nobody has this password")


@pytest.mark.parametrize("stored", ["", "!", "$argon2id$garbage"])
async def test_a_stored_text_that_is_no_hash_fits_no_password(real: Passwords, stored: str) -> None:
    for password in ("", stored, "nobody has this password"):
        assert not await real.verify(stored, password)


async def test_an_unknown_name_takes_the_same_path_as_a_known_one(slow: tuple[Passwords, Slow]) -> None:
    passwords, hasher = slow
    await passwords.verify("hash of x", "y")
    await passwords.verify(None, "y")
    assert len(hasher.verified) == 2
    assert hasher.verified[1] == "hash of nobody has this password"


async def test_a_hash_with_weaker_parameters_is_outdated(real: Passwords) -> None:
    assert not real.outdated(await real.hash("correct horse"))
    assert real.outdated(PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("correct horse"))


async def test_the_one_too_many_is_told_to_come_back_and_the_others_are_served(slow: tuple[Passwords, Slow]) -> None:
    passwords, hasher = slow
    waiting = [asyncio.create_task(passwords.hash(str(number))) for number in range(MOST)]
    await asyncio.sleep(0)
    with pytest.raises(Busy) as caught:
        await passwords.hash("one more")
    assert caught.value.retry_after > 0
    with pytest.raises(Busy):
        await passwords.verify(None, "one more")
    hasher.go.set()
    assert await asyncio.gather(*waiting) == [f"hash of {number}" for number in range(MOST)]
    assert await passwords.hash("later") == "hash of later"


async def test_a_failed_hash_gives_its_place_back(
    slow: tuple[Passwords, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords, hasher = slow

    def broken(password: str) -> str:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(hasher, "hash", broken)
        for _ in range(MOST + 1):
            with pytest.raises(MemoryError):
                await passwords.hash("x")
    hasher.go.set()
    assert await passwords.hash("x") == "hash of x"


async def test_hashing_does_not_stop_the_loop(slow: tuple[Passwords, Slow]) -> None:
    passwords, hasher = slow
    task = asyncio.create_task(passwords.hash("x"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    hasher.go.set()
    assert await task == "hash of x"
