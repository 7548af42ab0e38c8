"""A proxy in front of a site that does not let websockets through, as some networks have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
UPGRADE = re.compile(rb"^upgrade:\s*websocket", re.IGNORECASE | re.MULTILINE)
PIECE = 65_536  # bytes


class Proxy:
    """Passes on what comes over each connection unless it opens with an upgrade, which it `refuses` or `swallows`."""

    def __init__(self, port: int, does: str) -> None:
        self.url = ""
        self.heads: list[bytes] = []  # the first request of each connection
        self._port = port
        self._does = does
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def upgrades(self) -> int:
        return sum(bool(UPGRADE.search(head)) for head in self.heads)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if not UPGRADE.search(head):
                await self._pass_on(head, reader, writer)
            elif self._does == "refuses":
                writer.write(REFUSED)
            else:
                await reader.read()  # until the browser gives up
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one side has gone, or the test is over
        finally:
            self._connections.discard(task)
            writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site_reader, site_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            site_writer.write(head)
            ways = [asyncio.create_task(pipe(reader, site_writer)), asyncio.create_task(pipe(site_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            site_writer.close()

    async def stop(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def proxy(port: int, does: str) -> AsyncIterator[Proxy]:
    """A running proxy in front of a port of this machine."""
    running = Proxy(port, does)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        server.close()
        await running.stop()
        await server.wait_closed()
