"""What holds for every answer and every frame, whatever the test is about: applied by `Checked` to all it does."""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any, Protocol

import aiohttp
import orjson
from jsonschema import Draft202012Validator

from tests import people

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = re.compile(r"[1-9][0-9]{0,15}")
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
BASE = "/api/v1"
FIELDS = {  # the members that the contract promises
    "user": {"id", "version", "username", "name", "bio", "avatar"},
    "post": {
        "id", "version", "author", "text", "visibility", "tags", "media", "shared", "created_at", "edited_at", "counts",
    },
    "comment": {"id", "version", "post_id", "author", "text", "created_at", "edited_at"},
}  # fmt: skip
FRAMES = (
    "Welcome", "Subscribed", "Unsubscribed", "EventFrame", "Skip", "LatestCounts", "TypingNow", "Presence", "Ping",
    "Resync", "ErrorFrame", "Bye",
)  # fmt: skip


class Closable(Protocol):
    """A websocket or an event stream."""

    async def close(self) -> Any: ...


OPENED: list[Closable] = []  # closed by the fixtures when a test is over


class Documents:
    """The served descriptions, as validators."""

    def __init__(self, openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
        self.openapi, self.asyncapi = openapi, asyncapi
        self._paths = [(re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), path) for path in openapi["paths"]]
        self.response = functools.cache(self._response)
        self.frame = functools.cache(self._frame)

    def _template(self, path: str) -> str | None:
        if path in self.openapi["paths"]:
            return path
        return next((template for pattern, template in self._paths if pattern.fullmatch(path)), None)

    def _response(self, method: str, path: str, status: int) -> Draft202012Validator | None:
        """The validator of an answer; None for paths and methods that do not exist."""
        template = self._template(path)
        operation = self.openapi["paths"].get(template, {}).get(method.lower())
        if operation is None:
            assert status in (404, 405), (method, path, status, "is not in openapi.json")
            return None
        assert str(status) in operation["responses"], f"{method} {template} does not document {status}"
        content = operation["responses"][str(status)].get("content", {})
        schema = next((media["schema"] for name, media in content.items() if "json" in name), {})
        return Draft202012Validator({**schema, "components": self.openapi["components"]})

    def _frame(self, kind: str) -> Draft202012Validator:
        schemas = self.asyncapi["components"]["schemas"]
        found = [s for s in schemas.values() if s.get("properties", {}).get("type", {}).get("enum") == [kind]]
        assert found, f"asyncapi.json does not know the frame {kind}"
        return Draft202012Validator({"anyOf": found, "components": self.asyncapi["components"]})


def walk(value: Any, key: str = "") -> None:
    """Ids and times, wherever they are."""
    if isinstance(value, dict):
        for name, inner in value.items():
            walk(inner, name)
    elif isinstance(value, list):
        for inner in value:
            walk(inner, key)
    elif value is not None and (key == "id" or key.endswith("_id")):
        assert isinstance(value, str), (key, value)
        assert ID.fullmatch(value), (key, value)
        assert int(value) < 2**53
    elif value is not None and (key == "at" or key.endswith("_at")):
        assert TIME.fullmatch(value), (key, value)


def problem(body: Any, status: int, headers: Any, code: str | None = None) -> dict[str, Any]:
    """Asserts a problem document and returns it."""
    assert headers["Content-Type"].split(";")[0] == "application/problem+json", (status, headers, body)
    assert {"type", "title", "status", "detail", "instance", "code"} <= body.keys(), body
    assert body["status"] == status
    assert body["instance"] == headers["X-Request-Id"]
    assert CODE.fullmatch(body["code"]), body["code"]
    assert body["title"]
    assert body["detail"]
    assert not re.search(r"Traceback|sqlalchemy|SELECT |\.py\b|aiohttp", str(body)), body
    for fault in body.get("errors", []):
        assert fault["pointer"] == "" or fault["pointer"].startswith("/"), fault
        assert fault["detail"]
    if code:
        assert body["code"] == code, body
    return body  # type: ignore[no-any-return]


def check_frame(documents: Documents, frame: dict[str, Any]) -> dict[str, Any]:
    """Compares a frame with asyncapi.json and with the conventions; returns it."""
    documents.frame(frame["type"]).validate(frame)
    if frame["type"] == "event":
        assert TIME.fullmatch(frame["at"])
        assert "liked" not in frame["data"]
        assert "relation" not in frame["data"]
        assert "mentions" not in frame["data"]
        data = documents.asyncapi["x-events"][frame["event"]]["data"]
        Draft202012Validator({**data, "components": documents.asyncapi["components"]}).validate(frame["data"])
        walk(frame["data"])
    return frame


class CheckedLive(people.Live):
    """A live connection whose every frame is compared with asyncapi.json."""

    documents: Documents

    async def next(self, wait: float = people.PATIENCE) -> dict[str, Any]:
        return check_frame(self.documents, await super().next(wait))

    async def ask(self, message: dict[str, Any] | str, **wanted: Any) -> dict[str, Any]:
        """Sends and returns the first frame that looks like the answer."""
        await self.send(message)
        return await self.until(**wanted)

    async def closed(self, wait: float = people.PATIENCE) -> int | None:
        """Waits for the end and returns the code of the close frame; the client's own view may be 1006."""
        async with asyncio.timeout(wait):
            while True:
                message = await self.socket.receive()
                if message.type == aiohttp.WSMsgType.TEXT:
                    self.frames.append(orjson.loads(message.data))
                elif message.type == aiohttp.WSMsgType.CLOSE:
                    return int(message.data)
                elif message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR):
                    return self.socket.close_code

    async def barrier(self) -> None:
        """Returns once the server has handled all that was sent before; shows that the socket is open."""
        mark = f"barrier-{len(self.frames)}"
        await self.ask({"type": "unsubscribe", "id": mark, "stream": "post:1"}, id=mark)


class Checked(people.Person):
    """A person whose every answer is compared with the conventions and with openapi.json."""

    documents: Documents

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any, Any]:
        status, answer, headers = await super().call(method, path, body, **options)
        assert status < 500 or status == 503, (method, path, status, answer)
        assert headers["X-Request-Id"], (method, path)
        bare = path.split("?")[0]
        if not path.startswith("http"):
            validator = self.documents.response(method, BASE + bare, status)
            assert headers["Cache-Control"] == "private, no-store" or "ETag" in headers, (method, path, headers)
            if validator is not None and "json" in headers.get("Content-Type", ""):
                validator.validate(answer)
        if status >= 400:
            problem(answer, status, headers)
        elif isinstance(answer, dict):
            walk(answer)
        if status in (429, 503):
            assert int(headers["Retry-After"]) > 0
        return status, answer, headers

    async def refused(self, status: int, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The problem document of an answer that must have this status."""
        got, answer, _ = await self.call(method, path, body, **options)
        assert got == status, (method, path, str(body)[:200], got, answer)
        return answer  # type: ignore[no-any-return]

    async def invalid(self, method: str, path: str, body: Any, *pointers: str) -> None:
        """Asserts a 422 that points at the fields."""
        answer = await self.refused(422, method, path, body)
        named = {fault["pointer"] for fault in answer.get("errors", [])}
        assert set(pointers) <= named, (str(body)[:200], answer)

    async def everything(self, path: str, limit: int = 20) -> list[Any]:
        """All items of a list, page by page."""
        items: list[Any] = []
        cursor = None
        joint = "&" if "?" in path else "?"
        for _ in range(200):
            more = f"&cursor={cursor}" if cursor else ""
            page = await self.ok("GET", f"{path}{joint}limit={limit}{more}")
            assert len(page["items"]) <= limit
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items
        raise AssertionError("the list does not end")

    async def live(self, resume: dict[str, Any] | None = None, *, greet: bool = True, **options: Any) -> CheckedLive:
        socket = await self.http.ws_connect(f"{self.api}/live", headers=self.headers, **options)
        OPENED.append(socket)
        live = CheckedLive(socket)
        live.documents = self.documents
        if greet:
            await live.send({"type": "hello", **({"resume": resume} if resume else {})})
            await live.until(type="welcome")
        return live

    async def settled(self, post: str, **counts: int) -> None:
        """Waits until the counts of a post say so; they may lag behind the acts."""
        for _ in range(120):
            told = (await self.ok("GET", f"/posts/{post}"))["counts"]
            if counts.items() <= told.items():
                return
            await asyncio.sleep(0.05)
        raise AssertionError((told, counts))

    async def again(self, **headers: str) -> Checked:
        """The same person on another device."""
        status, signed_in, _ = await Guest.of(self).call(
            "POST", "/sessions", {"username": self.user["username"], "password": self.password}, headers=headers
        )
        assert status == 201, signed_in
        return person_of(self.http, self.api, self.documents, signed_in, self.password)


class Guest(Checked):
    """Somebody without a token."""

    def __init__(self, http: aiohttp.ClientSession, api: str, documents: Documents) -> None:
        super().__init__(http, api, {"user": {"id": "0"}, "token": ""}, "")
        self.documents = documents

    @property
    def headers(self) -> dict[str, str]:
        return {}

    @classmethod
    def of(cls, other: Checked) -> Guest:
        return cls(other.http, other.api, other.documents)


def person_of(
    http: aiohttp.ClientSession, api: str, documents: Documents, signed_in: dict[str, Any], password: str
) -> Checked:
    made = Checked(http, api, signed_in, password)
    made.documents = documents
    return made


async def documents_of(http: aiohttp.ClientSession, url: str) -> Documents:
    """Reads the descriptions that a site serves."""
    texts = []
    for name in ("openapi", "asyncapi"):
        async with http.get(f"{url}/{name}.json") as answer:
            assert answer.status == 200
            texts.append(orjson.loads(await answer.read()))
    return Documents(*texts)
