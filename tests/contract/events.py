"""A client of the server-sent events: knows the format of `text/event-stream` and checks every message."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from tests.contract.checks import OPENED, Checked, Documents, check_frame, problem
from tests.people import PATIENCE

NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class Ended(Exception):
    """The server ended the stream."""


class Events:
    """An open event stream: `frames` are its messages, `ids` the position after each, `comments` its heartbeats."""

    def __init__(self, answer: aiohttp.ClientResponse, documents: Documents) -> None:
        self.answer = answer
        self.documents = documents
        self.frames: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.comments = 0
        self.retry: int | None = None
        OPENED.append(self)

    @property
    def position(self) -> str:
        """What a browser would send as Last-Event-ID now."""
        return self.ids[-1]

    async def next(self, wait: float = PATIENCE) -> dict[str, Any]:
        """The next message; raises Ended when the stream is over."""
        async with asyncio.timeout(wait):
            while True:
                fields = await self._block()
                if "data" in fields:
                    break
        self.ids.append(fields.get("id", self.ids[-1] if self.ids else ""))
        self.frames.append(check_frame(self.documents, orjson.loads(fields["data"])))
        return self.frames[-1]

    async def until(self, wait: float = PATIENCE, **wanted: Any) -> dict[str, Any]:
        """The next message whose fields equal `wanted`."""
        async with asyncio.timeout(wait):
            while True:
                frame = await self.next(wait)
                if all(frame.get(name) == value for name, value in wanted.items()):
                    return frame

    async def ended(self, wait: float = PATIENCE) -> None:
        """Waits for the end; what came before it is in `frames`."""
        async with asyncio.timeout(wait):
            try:
                while True:
                    await self.next(wait)
            except Ended:
                return

    async def beats(self, number: int, wait: float = PATIENCE) -> None:
        """Waits for so many comments, reading messages on the way."""
        wanted = self.comments + number
        async with asyncio.timeout(wait):
            while self.comments < wanted:
                await self._block()

    async def close(self) -> None:
        self.answer.close()

    async def _block(self) -> dict[str, str]:
        """The fields up to the next empty line; a comment alone gives none."""
        fields: dict[str, str] = {}
        while True:
            try:
                raw = await self.answer.content.readline()
            except aiohttp.ClientPayloadError as cut:
                raise Ended from cut
            if not raw:
                raise Ended
            line = raw.decode().rstrip("\n")
            if not line:
                return fields
            if line.startswith(":"):
                self.comments += 1
                continue
            name, _, value = line.partition(":")
            assert name in ("id", "data", "event", "retry"), line
            value = value.removeprefix(" ")
            if name == "retry":
                self.retry = int(value)
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value


async def listen(
    person: Checked, query: str = "?streams=me", last: str | None = None, headers: dict[str, str] | None = None
) -> Events:
    """An open event stream after its welcome."""
    sent = {**(person.headers if headers is None else headers), **({"Last-Event-ID": last} if last else {})}
    answer = await person.http.get(f"{person.api}/live/events{query}", headers=sent, timeout=NO_TIMEOUT)
    assert answer.status == 200, await answer.text()
    assert answer.headers["Content-Type"].split(";")[0] == "text/event-stream"
    events = Events(answer, person.documents)
    assert (await events.next())["type"] == "welcome"
    return events


async def refusal(person: Checked, query: str = "?streams=me", **headers: str) -> int:
    """The status of an event stream that is not opened."""
    async with person.http.get(
        f"{person.api}/live/events{query}", headers={**person.headers, **headers}, timeout=NO_TIMEOUT
    ) as answer:
        assert answer.status >= 400, (query, headers, answer.status)
        problem(await answer.json(), answer.status, answer.headers)
        return answer.status
