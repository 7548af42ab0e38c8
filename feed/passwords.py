"""Password hashing: argon2id in a bounded pool of threads, so that a flood of sign-ins cannot stall a process.

Parameters: 19 MiB, 2 passes, 1 lane (OWASP Password Storage Cheat Sheet, argon2id minimum).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from feed.errors import Busy

T = TypeVar("T")
WAITING_PER_THREAD = 16  # at about 30 ms each a queue of this length is half a second: longer is a refusal


class Passwords:
    """Hashes and verifies."""

    def __init__(self, threads: int) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._most = threads * (1 + WAITING_PER_THREAD)
        self._inside = 0
        # Verified when the name is unknown, so that the answer takes as long as for a known one.
        self._decoy = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The encoded hash. Raises Busy when too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """True when the password fits; `encoded` None takes as long and is False. Raises Busy when too many wait."""
        return (
            await self._run(lambda: self._fits(self._decoy if encoded is None else encoded, password))
            and encoded is not None
        )

    def outdated(self, encoded: str) -> bool:
        """True when a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Lets the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fits(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._inside >= self._most:
            raise Busy("Too many sign-ins at once. Try again in a few seconds.")
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._inside -= 1
