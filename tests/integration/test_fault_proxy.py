"""The fault proxy in front of real sockets: each fault does what its name says, and healing brings bytes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from social.chaos.proxy import DOWN, UP, Proxy

SOON = 5.0  # seconds for what must come
NEVER = 0.3  # seconds in which nothing may come
DICE = random.Random(1)  # noqa: S311 - of faults

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


@asynccontextmanager
async def proxied(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = echo,
) -> AsyncIterator[tuple[Proxy, Callable[[], Awaitable[Peer]]]]:
    """A proxy in front of a server, and how to connect through it."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    proxy = Proxy("p", DICE, server.sockets[0].getsockname()[:2])
    await proxy.start()
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writers.append(writer)
        return reader, writer

    try:
        yield proxy, connect
    finally:
        for writer in writers:
            writer.close()
        await proxy.stop()
        server.close()


async def ask(peer: Peer, data: bytes) -> bytes:
    peer[1].write(data)
    async with asyncio.timeout(SOON):
        return await peer[0].readexactly(len(data))


async def nothing_comes(peer: Peer) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(NEVER):
            await peer[0].read(1)


async def test_bytes_pass_in_both_directions() -> None:
    async with proxied() as (_, connect):
        peer = await connect()
        assert await ask(peer, b"x" * 300_000) == b"x" * 300_000


async def test_latency_delays_and_healing_ends_it() -> None:
    async with proxied() as (proxy, connect):
        peer = await connect()
        await ask(peer, b"a")
        proxy.latency = NEVER * 2
        peer[1].write(b"b")
        await nothing_comes(peer)
        assert await ask(peer, b"") == b""
        async with asyncio.timeout(SOON):
            assert await peer[0].read(1) == b"b"
        proxy.heal()
        assert await ask(peer, b"c") == b"c"


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_stalled_bytes_wait_and_come_all(way: str) -> None:
    async with proxied() as (proxy, connect):
        peer = await connect()
        await ask(peer, b"a")
        proxy.stall(way)
        peer[1].write(b"bc")
        await nothing_comes(peer)
        proxy.flow(way)
        async with asyncio.timeout(SOON):
            assert await peer[0].readexactly(2) == b"bc"


@pytest.mark.parametrize("way", [UP, DOWN])
async def test_a_link_that_lost_bytes_stays_silent_and_a_new_one_works(way: str) -> None:
    async with proxied() as (proxy, connect):
        old = await connect()
        await ask(old, b"a")
        proxy.silent.add(way)
        old[1].write(b"b")
        await nothing_comes(old)
        proxy.heal()
        old[1].write(b"c")
        await nothing_comes(old)
        assert await ask(await connect(), b"d") == b"d"


async def test_a_cut_is_a_reset() -> None:
    async with proxied() as (proxy, connect):
        peer = await connect()
        await ask(peer, b"a")
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(SOON):
                await peer[0].read(1)


async def test_the_end_of_a_silent_server_is_not_told_to_its_client() -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))
        await go.wait()
        writer.close()
        ended.set()

    async with proxied(server) as (proxy, connect):
        peer = await connect()
        await ask(peer, b"a")
        next(iter(proxy.links)).silent = True
        go.set()
        await ended.wait()
        await nothing_comes(peer)


async def test_a_slow_link_is_slow_and_another_is_not() -> None:
    async with proxied() as (proxy, connect):
        slow = await connect()
        await ask(slow, b"a")
        next(iter(proxy.links)).rate = 1000.0
        slow[1].write(b"x" * 4000)
        quick = await connect()
        assert await ask(quick, b"y" * 4000) == b"y" * 4000
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(NEVER):
                await slow[0].readexactly(4000)
        proxy.heal()


async def test_who_is_refused_is_told_at_once() -> None:
    async with proxied() as (proxy, connect):
        proxy.refusing = True
        reader, _ = await connect()
        async with asyncio.timeout(SOON):
            try:
                assert await reader.read(1) == b""
            except ConnectionResetError:
                return


async def test_a_commit_reaches_the_server_and_its_answer_does_not_come_back() -> None:
    seen: list[bytes] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                seen.append(data)
                writer.write(b"OK")
        except OSError:
            return
        finally:
            writer.close()

    async with proxied(server) as (proxy, connect):
        proxy.cut_commits = 1.0
        reader, writer = await connect()
        writer.write(b"\x07\x00\x00\x00\x03SELECT")
        async with asyncio.timeout(SOON):
            assert await reader.readexactly(2) == b"OK"
        writer.write(b"\x07\x00\x00\x00\x03COMMIT")
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(SOON):
                await reader.read(1)
        assert seen[-1].endswith(b"COMMIT")


async def test_a_lost_commit_does_not_reach_the_server() -> None:
    async with proxied() as (proxy, connect):
        peer = await connect()
        proxy.lost_commits = 1.0
        assert await ask(peer, b"\x07\x00\x00\x00\x03SELECT") == b"\x07\x00\x00\x00\x03SELECT"
        peer[1].write(b"\x07\x00\x00\x00\x03COMMIT")
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(SOON):
                await peer[0].read(1)
