"""Heartbeats, on a site whose ping interval is a second."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson


async def test_pings_tell_positions_and_an_unanswered_one_ends_the_connection(own_site):
    _, person = await own_site(SOCIAL_PING_SECONDS="1")
    ada, bela = await person("Ada"), await person("Béla")
    clock = asyncio.get_running_loop().time

    over = asyncio.Event()

    async def silent():
        live = await ada.live()
        assert live.frames[0]["ping_seconds"] == 1
        began = clock()
        assert await live.closed(20) == 4004
        assert [frame["type"] for frame in live.frames].count("ping") >= 1
        assert clock() - began > 0.9
        over.set()

    async def answering():
        live = await bela.live()
        top = live.frames[0]["streams"]["me"]["offset"]
        first = await live.until(type="ping")
        assert first["streams"]["me"] == top
        made = await bela.post("moves the position")
        item = await live.until(type="event")
        assert item["data"]["id"] == made["id"]
        while (ping := await live.until(type="ping"))["streams"]["me"] != item["offset"]:
            assert ping["streams"]["me"] < item["offset"]
        await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}, type="subscribed")
        async with asyncio.timeout(10):
            while f"post:{made['id']}" not in (await live.until(type="ping"))["streams"]:
                pass
        while not over.is_set():  # outlives the silent one
            await live.until(type="ping")
        await live.barrier()

    async def answering_too_much():
        live = await ada.live()
        await live.send({"type": "pong", "streams": {"me": 0}})
        await live.send({"type": "pong"})
        for _ in range(2):
            await live.until(type="ping")

    async def talking_without_pongs():
        socket = await bela.http.ws_connect(f"{bela.api}/live", headers=bela.headers)
        await socket.send_str('{"type":"hello"}')
        pings = 0
        async with asyncio.timeout(20):
            async for message in socket:
                if message.type != aiohttp.WSMsgType.TEXT:
                    break
                pings += orjson.loads(message.data)["type"] == "ping"
                if pings >= 2:
                    break
        await socket.close()
        assert pings >= 1

    await asyncio.gather(silent(), answering(), answering_too_much(), talking_without_pongs())
