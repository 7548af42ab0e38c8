"""A planned end, and a door that lets in only as many as it can: nobody loses what was acknowledged, all come back."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp
import pytest

from tests.contract.checks import OPENED, CheckedLive, documents_of
from tests.contract.conftest import newcomer
from tests.contract.events import listen, refusal

ENDS_WITHIN = 30.0  # seconds for a process to end after SIGTERM, as promised


@pytest.fixture
def running(start_site, http):
    """(site, person): a site whose process the test ends."""

    async def make(**environment):
        site = start_site("--no-demo", **environment)
        described = await documents_of(http, site.url)

        async def person(name="Somebody"):
            return await newcomer(http, site, described, name)

        return site, person

    return make


async def upgrade(somebody, **headers):
    """(status, headers) of an upgrade; an accepted one is kept open."""
    try:
        socket = await somebody.http.ws_connect(f"{somebody.api}/live", headers={**somebody.headers, **headers})
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status, refused.headers, None
    OPENED.append(socket)
    live = CheckedLive(socket)
    live.documents = somebody.documents
    return 101, {}, live


async def farewell(live):
    """(reconnect_in_ms of the bye, close code)."""
    code = await live.closed(ENDS_WITHIN)
    byes = [frame for frame in live.frames if frame["type"] == "bye"]
    assert [frame["code"] for frame in byes] == [4010]
    assert live.frames[-1] is byes[0]
    return byes[0]["reconnect_in_ms"], code


async def test_sigterm_answers_what_was_asked_says_bye_to_all_and_ends_with_0(running, start_site, http):
    site, person = await running(SOCIAL_BALANCER_CHECK="2")
    ada = await person("Ada")
    bela = await person("Béla")
    lives = [await who.live() for who in (ada, bela) for _ in range(25)]
    streams = [await listen(ada), await listen(bela)]
    in_flight = asyncio.Event()

    async def body():
        """A POST whose body is still under way when the signal comes."""
        yield b'{"text":"written at the end",'
        in_flight.set()
        await asyncio.sleep(1)
        yield b'"visibility":"friends"}'

    async def post():
        headers = {**ada.headers, "Content-Type": "application/json"}
        async with http.post(f"{ada.api}/posts", data=body(), headers=headers) as answer:
            return answer.status, await answer.json()

    posting = asyncio.create_task(post())
    await in_flight.wait()
    site.processes[0].send(signal.SIGTERM)
    signalled = time.monotonic()
    async with asyncio.timeout(5):  # it still answers until the balancer has noticed
        while True:
            async with http.get(f"{site.url}/readyz") as ready:
                if ready.status == 503:
                    break
            await asyncio.sleep(0.02)
    status, headers, _ = await upgrade(ada)
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    status, made = await posting
    assert status == 201
    told = await asyncio.gather(*(farewell(live) for live in lives))
    assert {code for _, code in told} == {4010}
    waits = [wait for wait, _ in told]
    assert len(set(waits)) > len(waits) / 2, waits
    for events in streams:
        await events.ended(ENDS_WITHIN)
        assert events.frames[-1]["type"] == "bye"
    code = await asyncio.to_thread(site.processes[0].wait, ENDS_WITHIN)
    print(f"drained 52 connections in {time.monotonic() - signalled:.1f} s")
    assert code == 0
    ada.api = start_site("--no-demo").api
    assert (await ada.ok("GET", f"/posts/{made['id']}"))["text"] == "written at the end"


async def test_what_was_acknowledged_during_the_drain_is_there_afterwards(running, start_site, http):
    site, person = await running()
    ada = await person("Ada")
    acknowledged = []

    async def write():
        number = 0
        while True:
            number += 1
            try:
                status, made, _ = await ada.call("POST", "/posts", {"text": str(number), "visibility": "friends"})
            except (aiohttp.ClientError, ConnectionError):
                return
            if status == 201:
                acknowledged.append(made["id"])

    writing = [asyncio.create_task(write()) for _ in range(4)]
    while len(acknowledged) < 20:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0.01)
    site.processes[0].send(signal.SIGTERM)
    assert await asyncio.to_thread(site.processes[0].wait, ENDS_WITHIN) == 0
    await asyncio.gather(*writing)
    again = start_site("--no-demo")
    ada.api = again.api
    kept = {post["id"] for post in await ada.everything("/feed", 100)}
    assert set(acknowledged) <= kept


async def test_more_arrivals_than_a_second_takes_are_told_to_come_later_and_then_get_in(running):
    _, person = await running(SOCIAL_ACCEPTS_PER_SECOND="5")
    ada = await person("Ada")
    told = await asyncio.gather(*(upgrade(ada) for _ in range(30)))
    refused = [headers for status, headers, _ in told if status == 503]
    assert {status for status, _, _ in told} == {101, 503}
    assert len(refused) >= 10
    assert all(int(headers["Retry-After"]) > 0 for headers in refused)
    async with asyncio.timeout(20):
        while (await upgrade(ada))[0] != 101:  # noqa: ASYNC110 - a door has no event
            await asyncio.sleep(0.2)


async def test_a_full_process_refuses_and_takes_again_what_leaves_room(running):
    _, person = await running(SOCIAL_MAX_SOCKETS="4")
    ada, bela = await person("Ada"), await person("Béla")
    lives = [(await upgrade(ada))[2] for _ in range(4)]
    status, headers, _ = await upgrade(bela)
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert await refusal(bela) == 503
    await bela.ok("GET", "/feed")  # HTTP is served all the same
    await lives[0].send({"type": "hello"})
    assert (await lives[0].next())["type"] == "welcome"  # those inside too
    await lives[1].socket.close()
    async with asyncio.timeout(10):
        while (await upgrade(bela))[0] != 101:  # noqa: ASYNC110 - a door has no event
            await asyncio.sleep(0.1)


async def test_those_who_never_say_hello_are_shown_out_and_leave_room(running):
    _, person = await running(SOCIAL_MAX_SOCKETS="3")
    ada = await person("Ada")
    silent = [(await upgrade(ada))[2] for _ in range(3)]
    assert (await upgrade(ada))[0] == 503
    assert await asyncio.gather(*(live.closed(20) for live in silent)) == [4005] * 3
    status, _, live = await upgrade(ada)
    assert status == 101
    await live.send({"type": "hello"})
    assert (await live.next())["type"] == "welcome"


async def test_one_user_too_many_connections_are_refused_without_coming_back(running):
    _, person = await running(SOCIAL_MAX_SOCKETS_PER_USER="3")
    ada, bela = await person("Ada"), await person("Béla")
    lives = [await ada.live() for _ in range(3)]
    extra = await ada.live(greet=False)
    await extra.send({"type": "hello"})
    assert await extra.closed() == 4503
    await bela.live()
    for live in lives:
        await live.barrier()
