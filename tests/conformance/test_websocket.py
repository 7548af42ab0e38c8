"""RFC 6455 by kosoku, which runs the cases of the Autobahn suite.

Most cases want their messages back. So all of them run against an echo on the websocket class of the live endpoint,
with a limit that the longest case fits in; and those that want nothing back run against a site itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web

from realtime.live import protocol
from realtime.live.websocket import WebSocket
from tests.people import PATIENCE
from tests.sites import Site

CASES = Path(__file__).with_name("cases.py")
LONGEST = 16 * 2**20  # bytes of case 9.1.6
COMPRESSION = ("-12.*", "-13.*")  # permessage-deflate is not offered: it costs 95 KB and six times the CPU per socket

LATE = "NON-STRICT", "aiohttp validates a text when its last fragment is there, and closes with 1007 then"
OPEN = "INFORMATIONAL", "kosoku only reports what a server does here; the RFC leaves it open"
EXCEPTIONS = {
    "6.4.1": LATE,
    "6.4.2": LATE,
    "6.4.3": LATE,
    "6.4.4": LATE,
    "7.1.6": OPEN,
    "7.13.1": OPEN,
    "7.13.2": OPEN,
}

# Pings and pongs, reserved bits and opcodes, broken fragments, bad UTF-8, the closing handshake.
WITHOUT_ECHO = (
    "2.*", "3.1", "3.5", "3.6", "3.7", "4.1.1", "4.1.2", "4.2.1", "4.2.2", "5.1", "5.2", "5.9", "5.10", "5.11", "5.12",
    "5.13", "5.14", "5.16", "5.17", "5.18", "6.3.*", "6.8.*", "6.10.*", "6.12.*", "6.14.*", "6.19.*", "6.20.*",
    "6.21.*", "7.1.2", "7.1.3", "7.1.4", "7.1.5", "7.3.*", "7.5.*", "7.7.*", "7.9.*",
)  # fmt: skip
TEXT = b"\x81\x05hello"  # not masked
MASKED_TEXT = b"\x81\x85\0\0\0\0hello"
PROTOCOL_ERROR = b"\x88\x02\x03\xea"  # a close frame with 1002


async def verdicts(url: str, *cases: str) -> dict[str, str]:
    """case -> what kosoku says of it."""
    run = await asyncio.create_subprocess_exec(
        sys.executable, str(CASES), url, *cases, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await run.communicate()
    assert run.returncode == 0, errors.decode()
    return {found["case"]: found["verdict"] for found in map(json.loads, output.splitlines())}


async def echo(request: web.Request) -> web.StreamResponse:
    websocket = WebSocket(max_message=LONGEST)
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT and request.transport is not None:
            # as the live endpoint sends: its own frames, past aiohttp's writer
            request.transport.write(protocol.websocket_frame(message.data.encode()))
    return websocket


@pytest_asyncio.fixture
async def echo_url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.mark.timeout(180)
async def test_every_case_passes_but_for_the_exceptions_named_here(echo_url: str) -> None:
    found = await verdicts(echo_url, *COMPRESSION)
    assert len(found) > 250
    assert {case: verdict for case, verdict in found.items() if verdict != "OK"} == {
        case: verdict for case, (verdict, _) in EXCEPTIONS.items()
    }


@pytest.mark.timeout(180)
async def test_the_live_endpoint_itself_passes_the_cases_that_want_nothing_back(site: Site) -> None:
    found = await verdicts(live_url(site), *WITHOUT_ECHO)
    assert len(found) > 100
    assert {case: verdict for case, verdict in found.items() if verdict != "OK"} == {}


@pytest.mark.parametrize("before", [b"", MASKED_TEXT, b"\x01\x82\0\0\0\0he"], ids=["first", "later", "in a fragment"])
@pytest.mark.parametrize("early", [True, False], ids=["with the handshake", "after it"])
async def test_a_frame_that_is_not_masked_fails_the_connection(site: Site, before: bytes, early: bool) -> None:
    async with connect(site) as (reader, writer):
        writer.write(handshake() + (before + TEXT if early else b""))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        if not early:
            for byte in before + TEXT[:2]:  # two bytes tell it
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.002)
        rest = await reader.read()
        assert rest.endswith(PROTOCOL_ERROR), rest


async def test_masked_frames_that_come_with_the_handshake_are_read(site: Site) -> None:
    async with connect(site) as (reader, writer):
        writer.write(handshake() + MASKED_TEXT + MASKED_TEXT[:3])
        await reader.readuntil(b"\r\n\r\n")
        assert b'"error"' in await reader.readuntil(b"}")
        writer.write(MASKED_TEXT[3:])
        assert b'"error"' in await reader.readuntil(b"}")
        writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
        assert await reader.read() == b"\x88\x02\x03\xe8"


async def test_a_refused_handshake_leaves_the_connection_to_http(site: Site) -> None:
    async with connect(site) as (reader, writer):
        for _ in range(2):
            writer.write(handshake(key="short"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
            assert b'"bad_request"' in await reader.readuntil(b"}")
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


def live_url(site: Site) -> str:
    return site.api.replace("http", "ws", 1) + "/live"


@asynccontextmanager
async def connect(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare TCP connection to a site."""
    parts = urlsplit(site.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def handshake(key: str = "dGhlIHNhbXBsZSBub25jZQ==") -> bytes:
    lines = ("GET /api/v1/live HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", "")  # fmt: skip
    return "\r\n".join(lines).encode()
