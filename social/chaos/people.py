"""The people of a run: signed up, befriended in a known graph, each with a post that others follow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson

from db.errors import SocialError

API = "/api/v1"
CALL_WITHIN = 8.0  # seconds for one request; a client's patience ends before the server's own transaction limit
QUIET_CALL_WITHIN = 30.0  # seconds for a request before and after the faults
PAGE = 100  # items of a page, the most that the API gives
PASSWORD = "chaos is a ladder of patience"  # noqa: S105 - of people that live for minutes on this machine


class Unanswered(SocialError):
    """Before the first fault, or after the last, a request failed that must not."""

    code = "unanswered"


class Person:
    """Somebody who is signed in by token, on whichever edge answers."""

    def __init__(self, http: aiohttp.ClientSession, urls: Sequence[str], dice: random.Random) -> None:
        self.http = http
        self.id = ""
        self._token = ""
        self._urls = urls
        self._dice = dice

    @property
    def headers(self) -> dict[str, str]:
        """Proof of who asks."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, within: float = CALL_WITHIN
    ) -> tuple[int, Any]:
        """(status, JSON) of one request to one of the edges; (0, None) when no answer came."""
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {})}
        url = self._dice.choice(self._urls) + API + path
        timeout = aiohttp.ClientTimeout(total=within)
        try:
            async with self.http.request(method, url, json=body, headers=headers, timeout=timeout) as answer:
                raw = await answer.read()
                return answer.status, orjson.loads(raw) if raw else None
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return 0, None

    async def must(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """The JSON of a request outside the faults; asks twice. Raises Unanswered."""
        for _ in range(2):
            status, answer = await self.call(method, path, body, key=key, within=QUIET_CALL_WITHIN)
            if 200 <= status < 300:
                return answer
        raise Unanswered(f"{method} {path} was answered with {status}: {answer}")

    async def sign_up(self, username: str) -> None:
        """Becomes somebody."""
        body = {"username": username, "password": PASSWORD, "name": username.capitalize()}
        made = await self.must("POST", "/users", body)
        self.id, self._token = made["user"]["id"], made["token"]

    async def pages(self, path: str) -> list[dict[str, Any]]:
        """All items of a list, outside the faults."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.must("GET", f"{path}?limit={PAGE}{cursor}")
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = f"&cursor={page['next']}"


def friendships(count: int) -> list[tuple[int, int]]:
    """Pairs of people by number: a ring with chords among all but the last, who knows the first one only.

    The last one has few friends and a quiet stream: what is lost there is a tail, with nothing behind it to show it.
    """
    inner = count - 1
    ring = {(i, (i + 1) % inner) for i in range(inner)} | {(i, (i + 2) % inner) for i in range(inner)}
    pairs = {(min(pair), max(pair)) for pair in ring if pair[0] != pair[1]}
    return sorted(pairs | {(0, count - 1)})


async def gather_people(
    http: aiohttp.ClientSession, urls: Sequence[str], count: int, dice: random.Random
) -> tuple[list[Person], dict[str, set[str]]]:
    """`count` people and who is friends with whom, by id. Raises Unanswered."""
    people = [Person(http, urls, random.Random(dice.random())) for _ in range(count)]  # noqa: S311 - which edge
    await asyncio.gather(*(person.sign_up(f"person_{number}") for number, person in enumerate(people)))
    friends: dict[str, set[str]] = {person.id: set() for person in people}
    for a, b in friendships(count):
        await people[a].must("PUT", f"/friends/{people[b].id}")
        await people[b].must("PUT", f"/friends/{people[a].id}")
        friends[people[a].id].add(people[b].id)
        friends[people[b].id].add(people[a].id)
    return people, friends
