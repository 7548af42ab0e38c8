"""Clients that follow the contract's live protocol to the letter, and note every frame that they were sent.

They never dedupe what they note. A reader's own position decides where it resumes; whether that was right is judged
by `checker` from the ledger alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import structlog

from social.chaos.ledger import ME, Clock, Closed, Item, Joined, Pinged, Reading, Reread, Resynced, Skipped
from social.chaos.people import API, PAGE, Person

log = structlog.get_logger(__name__)

BACKOFF = (0.5, 30.0)  # seconds: first and longest pause, doubling, full jitter; the contract's own figures
CONNECT_WITHIN = 5.0  # seconds for the upgrade
WELCOME_WITHIN = 15.0  # seconds from hello to welcome
SILENCE = 8.0  # seconds beyond the ping interval without a frame before a client takes the connection for dead
LEAVE_WITHIN = 1.0  # seconds that a close frame's answer is waited for
FINAL_CODES = range(4500, 5000)  # the verdict is in the range: do not come back
REREAD_RETRY = 0.3  # seconds before a page that was not answered is asked for again
REREAD_BACK = timedelta(seconds=180)  # how far a re-read goes back: longer than any fault and its healing


class Reader:
    """One client of a person: `me` and the posts that it follows. `edges` are (name, URL), the first one is home."""

    def __init__(
        self, reading: Reading, person: Person, edges: Sequence[tuple[str, str]], clock: Clock, dice: random.Random
    ) -> None:
        self.reading = reading
        self.connected = asyncio.Event()
        self._person = person
        self._edges = edges
        self._clock = clock
        self._dice = dice
        self._positions: dict[str, tuple[str, int]] = {}
        self._connection = 0
        self._failures = 0
        self._stale: set[str] = set()
        self._asked: dict[str, tuple[str, int] | None] = {}
        self._reread_wanted = asyncio.Event()

    async def run(self) -> None:
        """Stays connected for ever, as the contract says; ends when the server says not to come back."""
        async with asyncio.TaskGroup() as both:
            rereading = both.create_task(self._reread())
            while True:
                code, wait = await self._connect()
                self.connected.clear()
                self.reading.entries.append(Closed(self._clock(), self._connection, code))
                if code in FINAL_CODES:
                    rereading.cancel()
                    return
                await asyncio.sleep(wait)

    async def _connect(self) -> tuple[int | None, float]:
        """One connection; (close code or None, seconds until the next one)."""
        self._connection += 1
        bye: float | None = None
        code: int | None = None
        edge, url = self._edges[0] if not self._failures else self._dice.choice(self._edges)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                socket = await self._person.http.ws_connect(
                    f"{url}{API}/live", headers=self._person.headers, protocols=("social.live.v1",), autoclose=True
                )
            try:
                bye = await self._converse(socket, edge)
                code = socket.close_code
            finally:
                await _leave(socket)
        except (aiohttp.ClientError, TimeoutError, OSError):
            code = None  # not opened, silent, or cut: it comes back
        self._failures += 1
        top = min(BACKOFF[1], BACKOFF[0] * 2 ** (self._failures - 1))
        return code, bye if bye is not None else self._dice.uniform(0, top)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse, edge: str) -> float | None:
        """Reads until the end; returns the pause that a `bye` named."""
        resume = {stream: {"epoch": e, "offset": o} for stream, (e, o) in self._positions.items()}
        self._asked = {stream: self._positions.get(stream) for stream in (ME, *map(stream_of, self.reading.follows))}
        await _say(socket, {"type": "hello", "resume": resume})
        silence, bye = WELCOME_WITHIN, None
        while True:
            async with asyncio.timeout(silence):
                message = await socket.receive()
            if message.type != aiohttp.WSMsgType.TEXT:
                return bye
            frame = orjson.loads(message.data)
            if frame["type"] == "welcome":
                silence = frame["ping_seconds"] + SILENCE
                await self._welcome(socket, frame, edge)
            elif frame["type"] == "bye":
                bye = frame["reconnect_in_ms"] / 1000
            else:
                await self._handle(socket, frame, edge)

    async def _welcome(self, socket: aiohttp.ClientWebSocketResponse, frame: dict[str, Any], edge: str) -> None:
        self._failures = 0
        for stream, joined in frame["streams"].items():
            self._join(stream, joined, edge)
        for stream in self.reading.follows:
            if stream_of(stream) not in frame["streams"]:
                self._asked[stream_of(stream)] = None
                await _say(socket, {"type": "subscribe", "id": stream, "stream": stream_of(stream)})
        self.connected.set()

    def _join(self, stream: str, joined: dict[str, Any], edge: str) -> None:
        """Takes up a stream: a recovered one goes on from where the client stood, any other is read again."""
        start = self._asked.pop(stream, None)
        at = (joined["epoch"], joined["offset"])
        self.reading.entries.append(
            Joined(self._clock(), self._connection, edge, stream, *at, joined["recovered"], start)
        )
        if start is not None and joined["recovered"]:
            self._positions[stream] = (joined["epoch"], start[1])
        else:
            self._positions[stream] = at
            self._want_reread(stream)

    async def _handle(self, socket: aiohttp.ClientWebSocketResponse, frame: dict[str, Any], edge: str) -> None:
        now, entries = self._clock(), self.reading.entries
        match frame["type"]:
            case "event":
                stream, offset = frame["stream"], frame["offset"]
                object_id = str(frame["data"].get("id", ""))
                entries.append(Item(now, self._connection, stream, offset, frame["event"], frame["id"], object_id))
                self._move(stream, offset)
            case "skip":
                entries.append(Skipped(now, self._connection, frame["stream"], frame["offset"], frame["to"]))
                self._move(frame["stream"], frame["to"])
            case "resync":
                at = (frame["epoch"], frame["offset"])
                entries.append(Resynced(now, self._connection, frame["stream"], *at))
                self._positions[frame["stream"]] = at
                self._want_reread(frame["stream"])
            case "subscribed":
                self._join(frame["stream"], frame, edge)
            case "ping":
                entries.append(Pinged(now, self._connection, frame["streams"]))
                tops = {stream: offset for stream, (_, offset) in self._positions.items()}
                await _say(socket, {"type": "pong", "streams": tops})
                for stream, offset in frame["streams"].items():
                    await self._resume_if_behind(socket, stream, offset)
            case "error":
                log.warning("reader_error", reader=self.reading.name, code=frame["code"], detail=frame["detail"])
            case _:
                return

    async def _resume_if_behind(self, socket: aiohttp.ClientWebSocketResponse, stream: str, offset: int) -> None:
        position = self._positions.get(stream)
        if position is not None and offset > position[1] and stream not in self._asked:
            self._asked[stream] = position
            at = {"epoch": position[0], "offset": position[1]}
            await _say(socket, {"type": "subscribe", "id": stream, "stream": stream, "from": at})

    def _move(self, stream: str, offset: int) -> None:
        epoch, _ = self._positions[stream]
        self._positions[stream] = (epoch, offset)

    # --- state by HTTP -----------------------------------------------------------------------------------------------

    def _want_reread(self, stream: str) -> None:
        self._stale.add(stream)
        self._reread_wanted.set()

    async def _reread(self) -> None:
        """Reads every stale stream's state until it is answered, also while no socket is open."""
        while True:
            await self._reread_wanted.wait()
            self._reread_wanted.clear()
            while self._stale:
                stream = self._stale.pop()
                ids = await self._page_ids(stream)
                self.reading.entries.append(Reread(self._clock(), stream, frozenset(ids)))

    async def _page_ids(self, stream: str) -> set[str]:
        """Ids of what is on the page: the feed as far back as a fault can reach, or all comments of a post."""
        path = "/feed" if stream == ME else f"/posts/{stream.partition(':')[2]}/comments"
        horizon = datetime.now(UTC) - REREAD_BACK
        ids: set[str] = set()
        cursor = ""
        while True:
            status, page = await self._person.call("GET", f"{path}?limit={PAGE}{cursor}")
            if status != 200:
                await asyncio.sleep(REREAD_RETRY)
                continue
            ids |= {item["id"] for item in page["items"]}
            oldest = page["items"][-1]["created_at"] if page["items"] else None
            reached = stream == ME and oldest is not None and datetime.fromisoformat(oldest) < horizon
            if page["next"] is None or reached:
                return ids
            cursor = f"&cursor={page['next']}"


def stream_of(post_id: str) -> str:
    """The label of a post's stream."""
    return f"post:{post_id}"


async def _say(socket: aiohttp.ClientWebSocketResponse, message: dict[str, Any]) -> None:
    await socket.send_str(orjson.dumps(message).decode())


async def _leave(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Closes without waiting long for a peer that may be frozen."""
    try:
        async with asyncio.timeout(LEAVE_WITHIN):
            await socket.close()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return
