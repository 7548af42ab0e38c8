"""People who write: posts, comments and likes, each asked for with a key until it is answered."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from social.chaos.ledger import Attempt, Books, Clock, Write
from social.chaos.people import Person

SHARES = {"post": 0.55, "comment": 0.3, "like": 0.15}
RETRY = (0.2, 1.0)  # seconds before the same is asked again, jittered: a client that is told 503 does not hammer


class Writer:
    """One person's acts, one after the other. `pace` is the mean pause in seconds; `places` the posts to act on."""

    def __init__(
        self,
        person: Person,
        books: Books,
        clock: Clock,
        *,
        pace: float,
        places: list[str],
        dice: random.Random,
    ) -> None:
        self._person = person
        self._books = books
        self._clock = clock
        self._pace = pace
        self._places = places
        self._dice = dice
        self._count = 0
        self._liked: set[str] = set()

    async def run(self, until: asyncio.Event) -> None:
        """Writes until told to stop; what was begun is asked for until it is answered."""
        while not until.is_set():
            await asyncio.sleep(self._dice.uniform(0.5, 1.5) * self._pace)
            if not until.is_set():
                await self._finish(self._begin())

    def _begin(self) -> Write:
        self._count += 1
        kind = self._dice.choices(list(SHARES), list(SHARES.values()))[0]
        place = self._dice.choice(self._places)
        if kind == "like" and place in self._liked:
            kind = "comment"
        text = f"{kind} {self._count} of {self._person.id}"
        write = Write(kind, self._person.id, text, "" if kind == "post" else place)
        self._books.writes.append(write)
        if kind == "like":
            self._liked.add(place)
        return write

    async def _finish(self, write: Write) -> None:
        while True:
            begun = self._clock()
            status, answer = await self._ask(write)
            attempt = Attempt(begun, self._clock(), status)
            write.attempts.append(attempt)
            if attempt.accepted:
                write.object = answer["id"] if write.kind != "like" else write.about
                return
            if attempt.refused:
                return
            await asyncio.sleep(self._dice.uniform(*RETRY))

    async def _ask(self, write: Write) -> tuple[int, Any]:
        key = write.text.replace(" ", "-")
        if write.kind == "post":
            return await self._person.call("POST", "/posts", {"text": write.text, "visibility": "friends"}, key=key)
        if write.kind == "comment":
            return await self._person.call("POST", f"/posts/{write.about}/comments", {"text": write.text}, key=key)
        return await self._person.call("PUT", f"/posts/{write.about}/like")
