"""A TCP proxy that misbehaves on request, in front of Redis, MySQL or an edge.

Bytes pass in both directions until a fault is switched on: `latency`, `rate`, `stall` (bytes wait, as while packets
are lost and sent again), `silent` (bytes vanish, and the link they vanished from never recovers: a connection whose
state a middlebox forgot), `refusing`. `cut` ends links with RST. Direction UP is from client to server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from typing import Any

from social.chaos.engines import HOST
from social.chaos.resp import Line, Publishes

UP, DOWN = "up", "down"
CHUNK = 16 * 1024  # bytes read at once
SLOW_CHUNK = 256  # bytes forwarded at once on a slow link
BUFFER = 64 * 1024  # bytes of each socket's receive buffer: what a stalled link may swallow before the sender feels it
CONNECT_WITHIN = 2.0  # seconds for the connection to the server
CUT_AFTER = 0.05  # seconds between COMMIT and the cut: the server has it, the client has no answer
SUBSCRIBE = b"SUBSCRIBE\r\n"
UPGRADE = b"Upgrade: websocket\r\n"
COMMIT = b"\x03COMMIT"  # COM_QUERY (0x03) of MySQL's protocol, as the drivers send it


class Link:
    """One client's connection and the server's side of it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.silent = False  # nothing passes any more, and no end is told
        self.rate = 0.0  # bytes per second towards the client; 0 = as they come
        self.publishes: Publishes | None = None  # of a link on which a client subscribes
        self.live = False  # a websocket

    def cut(self) -> None:
        """RST to both ends."""
        for end in self.ends:
            connected = end.get_extra_info("socket")
            if connected is not None:
                with contextlib.suppress(OSError):
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


class Proxy:
    """Listens on a port of its own in front of `target` (host, port); the target may move while it runs."""

    def __init__(self, name: str, dice: random.Random, target: tuple[str, int] = (HOST, 0)) -> None:
        self.name = name
        self.target = target
        self.port = 0
        self.links: set[Link] = set()
        self.latency = 0.0  # seconds that every chunk waits
        self.jitter = 0.0  # seconds at most on top of that
        self.silent: set[str] = set()
        self.refusing = False
        self.cut_commits = 0.0  # share of COMMITs whose answer is lost
        self.lost_commits = 0.0  # share of COMMITs that do not arrive
        self.fate: Callable[[], str] = lambda: "passed"  # of publishes to subscribers
        self.on_publish: Callable[[str, tuple[Line, ...]], None] = lambda _fate, _lines: None
        self._flowing = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._dice = dice
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def stall(self, way: str) -> None:
        """Bytes wait from now on."""
        self._flowing[way].clear()

    def flow(self, way: str) -> None:
        """They pass, those that waited first."""
        self._flowing[way].set()

    async def start(self) -> None:
        """Begins to listen."""
        self.flow(UP)
        self.flow(DOWN)
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends every link."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> int:
        """RST on every link; returns how many there were."""
        links = list(self.links)
        for link in links:
            link.cut()
        return len(links)

    def heal(self) -> None:
        """Switches every fault off. Links that went silent stay so: their ends have to find out."""
        self.latency = self.jitter = self.cut_commits = self.lost_commits = 0.0
        self.silent, self.refusing = set(), False
        self.flow(UP)
        self.flow(DOWN)
        self.fate = lambda: "passed"
        for link in self.links:
            link.rate = 0.0

    async def _accept(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of start_server always runs in one
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                server_reader, server = await self._connect()
        except (OSError, TimeoutError):
            client.transport.abort()
            return
        except asyncio.CancelledError:
            client.transport.abort()
            return
        link = Link(client, server)
        self.links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(link, client_reader, server, UP))
                both.create_task(self._pump(link, server_reader, client, DOWN))
        except asyncio.CancelledError:
            pass  # the proxy stops; asyncio's stream protocol would log a cancelled callback
        finally:
            self.links.discard(link)
            for end in link.ends:
                end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.refusing:
            raise ConnectionRefusedError
        connected = socket.socket()
        try:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            connected.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connected, self.target)
        except BaseException:
            connected.close()
            raise
        return await asyncio.open_connection(sock=connected, limit=CHUNK)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        """Carries one direction until it ends; then the other end is closed, unless the link went silent."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing[way].wait()
                if link.silent or way in self.silent:
                    link.silent = True
                    continue
                if self.latency or self.jitter:
                    await asyncio.sleep(self.latency + self._dice.uniform(0, self.jitter))
                await self._forward(link, writer, way, data)
        if not link.silent:
            writer.close()

    async def _forward(self, link: Link, writer: asyncio.StreamWriter, way: str, data: bytes) -> None:
        if way == UP:
            self._look_up(link, data)
            if self.lost_commits and data.endswith(COMMIT) and self._dice.random() < self.lost_commits:
                link.cut()
                return
            writer.write(data)
            await writer.drain()
            if self.cut_commits and data.endswith(COMMIT) and self._dice.random() < self.cut_commits:
                link.silent = True
                await asyncio.sleep(CUT_AFTER)
                link.cut()
            return
        if link.publishes is not None:
            for wait, frame in link.publishes.feed(data):
                if wait:
                    asyncio.get_running_loop().call_later(wait, _write_late, writer, frame)
                else:
                    writer.write(frame)
        elif link.rate:
            for start in range(0, len(data), SLOW_CHUNK):
                part = data[start : start + SLOW_CHUNK]
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(len(part) / link.rate if link.rate else 0)
        else:
            writer.write(data)
        await writer.drain()

    def _look_up(self, link: Link, data: bytes) -> None:
        """Learns from what a client asks for what its link will carry."""
        link.live = link.live or UPGRADE in data
        if link.publishes is None and SUBSCRIBE in data:
            link.publishes = Publishes(
                lambda: self.fate(), lambda fate, lines: self.on_publish(fate, lines), self._dice
            )


def _write_late(writer: asyncio.StreamWriter, frame: bytes) -> None:
    if not writer.is_closing():
        writer.write(frame)
