"""People for black-box tests: HTTP and live clients that know the contract and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any

import aiohttp
import orjson

PATIENCE = 10.0  # seconds for anything to arrive; a loaded machine is slow, a lost frame never comes
_numbers = itertools.count(1)


def fresh(prefix: str = "u") -> str:
    """A username that nobody has had."""
    return f"{prefix}_{os.getpid()}_{next(_numbers)}"


class Live:
    """An open live connection that keeps every frame it was sent."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []
        self._read = 0

    async def send(self, message: dict[str, Any] | str) -> None:
        await self.socket.send_str(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def next(self, wait: float = PATIENCE) -> dict[str, Any]:
        """The next frame; pings are answered on the way. Raises AssertionError when the socket ends."""
        async with asyncio.timeout(wait):
            message = await self.socket.receive()
        assert message.type == aiohttp.WSMsgType.TEXT, (message, self.socket.close_code, self.frames[-5:])
        frame: dict[str, Any] = orjson.loads(message.data)
        self.frames.append(frame)
        if frame["type"] == "ping":
            await self.send({"type": "pong"})
        return frame

    async def until(self, wait: float = PATIENCE, **wanted: Any) -> dict[str, Any]:
        """The next frame whose fields equal `wanted`; others are kept in `frames`."""
        async with asyncio.timeout(wait):
            while True:
                frame = await self.next(wait)
                if all(frame.get(name) == value for name, value in wanted.items()):
                    return frame

    async def closed(self, wait: float = PATIENCE) -> int | None:
        """Waits for the end and returns the close code."""
        async with asyncio.timeout(wait):
            while not self.socket.closed:
                message = await self.socket.receive()
                if message.type == aiohttp.WSMsgType.TEXT:
                    self.frames.append(orjson.loads(message.data))
        return self.socket.close_code

    async def quiet(self, seconds: float, **unwanted: Any) -> None:
        """Asserts that no frame with these fields comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                frame = await self.until(wait=seconds + 1, **unwanted)
        except TimeoutError:
            return
        raise AssertionError(f"unwanted frame {frame}")


class Person:
    """Somebody who is signed in by token."""

    def __init__(self, http: aiohttp.ClientSession, api: str, signed_in: dict[str, Any], password: str) -> None:
        self.http = http
        self.api = api
        self.user = signed_in["user"]
        self.id: str = signed_in["user"]["id"]
        self.token: str = signed_in["token"]
        self.password = password

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **options: Any
    ) -> tuple[int, Any, Any]:
        """(status, body as JSON or bytes, headers)."""
        if body is not None:
            options["json"] = body
        url = path if path.startswith("http") else self.api + path
        async with self.http.request(method, url, headers={**self.headers, **(headers or {})}, **options) as answer:
            raw = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, orjson.loads(raw) if is_json and raw else raw, answer.headers

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The body of an answer that must be 2xx."""
        status, answer, _ = await self.call(method, path, body, **options)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    async def befriend(self, other: Person) -> None:
        await self.ok("PUT", f"/friends/{other.id}")
        assert (await other.ok("PUT", f"/friends/{self.id}"))["state"] == "friends"

    async def post(self, text: str, visibility: str = "friends") -> dict[str, Any]:
        made: dict[str, Any] = await self.ok("POST", "/posts", {"text": text, "visibility": visibility})
        return made

    async def live(self, resume: dict[str, Any] | None = None, *, greet: bool = True, **options: Any) -> Live:
        """An open connection; with `greet` after hello and welcome (the first of `frames`)."""
        socket = await self.http.ws_connect(f"{self.api}/live", headers=self.headers, **options)
        live = Live(socket)
        if greet:
            await live.send({"type": "hello", **({"resume": resume} if resume else {})})
            await live.until(type="welcome")
        return live


async def sign_up(http: aiohttp.ClientSession, api: str, name: str = "Somebody", prefix: str = "u") -> Person:
    """A new person."""
    password = "correct horse battery"
    body = {"username": fresh(prefix), "password": password, "name": name}
    async with http.post(f"{api}/users", json=body) as answer:
        assert answer.status == 201, await answer.text()
        return Person(http, api, await answer.json(), password)
