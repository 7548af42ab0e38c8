"""The websocket's first seconds: upgrade, subprotocol, hello."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.contract.checks import OPENED, CheckedLive


async def anonymous(guest, **options):
    socket = await guest.http.ws_connect(f"{guest.api}/live", **options)
    OPENED.append(socket)
    live = CheckedLive(socket)
    live.documents = guest.documents
    return live


async def test_welcome_tells_session_user_limits_and_streams(somebody):
    live = await somebody.live()
    welcome = live.frames[0]
    assert welcome["type"] == "welcome"
    assert (welcome["user"], welcome["ping_seconds"], welcome["max_message_bytes"]) == (somebody.id, 25, 65536)
    assert welcome["streams"].keys() == {"me"}
    assert welcome["streams"]["me"].keys() == {"epoch", "offset", "recovered"}
    assert welcome["streams"]["me"]["recovered"] is False
    assert welcome["session"]


async def test_the_subprotocol_is_chosen_when_it_is_offered(somebody):
    live = await somebody.live(protocols=["other", "social.live.v1"])
    assert live.socket.protocol == "social.live.v1"


async def test_another_subprotocol_alone_is_closed_with_4504(somebody):
    for offered in (["social.live.v2"], ["graphql-ws", "soap"], ["x" * 1000]):
        try:
            live = await somebody.live(greet=False, protocols=offered)
        except RuntimeWarning:
            continue  # the client's own complaint that none was chosen
        await live.send({"type": "hello"})
        assert await live.closed() == 4504


async def test_a_plain_get_is_told_to_upgrade(person, guest):
    ada = await person()
    for caller in (ada, guest):
        status, _, headers = await caller.call("GET", "/live")
        assert status == 426
        assert headers["Upgrade"].lower() == "websocket"
    assert (await ada.call("POST", "/live", {}))[0] in (405, 426)


@pytest.mark.parametrize(
    "changes",
    [{"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Version": "99"}, {"Sec-WebSocket-Key": "short"},
     {"Sec-WebSocket-Key": ""}],
    ids=["v8", "v99", "key", "nokey"],
)  # fmt: skip
async def test_a_broken_handshake_is_refused(somebody, changes):
    good = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    headers = {**somebody.headers, **good, **changes}
    async with somebody.http.get(f"{somebody.api}/live", headers=headers) as answer:
        assert answer.status in (400, 426), answer.status


async def test_a_websocket_on_another_path_is_not_opened(somebody):
    for path in ("/feed", "/nowhere", "/live/"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await somebody.http.ws_connect(somebody.api + path, headers=somebody.headers)


async def test_the_token_may_come_in_hello(person, guest):
    ada = await person()
    live = await anonymous(guest)
    welcome = await live.ask({"type": "hello", "token": ada.token}, type="welcome")
    assert welcome["user"] == ada.id


async def test_the_same_token_in_header_and_hello_agrees(somebody):
    live = await somebody.live(greet=False)
    assert (await live.ask({"type": "hello", "token": somebody.token}, type="welcome"))["user"] == somebody.id


async def test_tokens_that_disagree_are_closed_with_4500(person):
    ada, bela = await person(), await person()
    phone = await ada.again()

    async def code(token):
        live = await ada.live(greet=False)
        await live.send({"type": "hello", "token": token})
        return await live.closed()

    assert await asyncio.gather(*(code(t) for t in (bela.token, phone.token, "wrong"))) == [4500] * 3


async def test_a_bad_or_missing_token_is_closed_with_4500_after_the_upgrade(person, guest):
    ada = await person()

    async def code(headers, hello):
        live = await anonymous(guest, headers=headers)
        await live.send(hello)
        return await live.closed()

    bad = ["Bearer wrong", "Bearer ", "Basic YTpi", "Bearer " + ada.token + "x", "Bearer " + ada.token[:-1]]
    cases = [code({"Authorization": value}, {"type": "hello"}) for value in bad]
    cases += [
        code({}, {"type": "hello", "token": value}) for value in ("", "wrong", ada.token + "x", ada.token.lower())
    ]
    cases += [code({}, {"type": "hello"}), code({}, {"type": "hello", "token": None})]
    assert await asyncio.gather(*cases) == [4500] * len(cases)


async def test_silence_is_closed_with_4005_after_ten_seconds(person, guest):
    ada = await person()
    clock = asyncio.get_running_loop().time
    began = clock()

    async def code(live):
        return await live.closed(14)

    silent = [await ada.live(greet=False), await anonymous(guest)]
    assert await asyncio.gather(*(code(live) for live in silent)) == [4005, 4005]
    assert 8 < clock() - began < 12.5


async def test_a_token_in_the_url_opens_nothing(person, guest):
    ada = await person()

    async def refused(name):
        try:
            socket = await guest.http.ws_connect(f"{guest.api}/live?{name}={ada.token}")
        except aiohttp.WSServerHandshakeError as error:
            return error.status in (400, 401, 403)
        await socket.send_str('{"type":"hello"}')
        message = await socket.receive(5)
        return message.type == aiohttp.WSMsgType.CLOSE and message.data == 4500

    assert all(await asyncio.gather(*(refused(name) for name in ("token", "access_token", "session", "ticket"))))


async def test_what_comes_before_hello_is_not_served(person):
    ada = await person()
    live = await ada.live(greet=False)
    await live.send({"type": "subscribe", "id": 1, "stream": "me"})
    try:
        frame = await live.next()
        assert (frame["type"], frame["code"]) == ("error", "invalid")
        await live.ask({"type": "hello"}, type="welcome")
    except AssertionError:
        assert live.socket.closed
        assert 4000 <= (live.socket.close_code or 0) <= 4999


async def test_a_second_hello_is_an_error_and_the_connection_goes_on(person):
    ada = await person()
    live = await ada.live()
    assert (await live.ask({"type": "hello"}, type="error"))["code"] == "already_greeted"
    await live.ask({"type": "hello", "token": "wrong"}, type="error", code="already_greeted")
    made = await ada.post("still here")
    assert (await live.until(type="event", event="post.created"))["data"]["id"] == made["id"]


@pytest.mark.parametrize(
    "hello",
    ['{"type":"hello","extra":1}', '{"type":"hello","token":1}', '{"type":"hello","resume":[]}',
     '{"type":"hello","resume":{"me":1}}',
     '{"type":"hello","resume":{"me":{"epoch":1,"offset":0}}}', '{"type":"hello","resume":{"me":{"epoch":"a"}}}',
     '{"type":"hello","resume":{"me":{"epoch":"a","offset":-1}}}',
     '{"type":"hello","resume":{"me":{"epoch":"a","offset":1.5}}}',
     '{"type":"hello","resume":{"me":{"epoch":"a","offset":"1"}}}', '{"type":"Hello"}', "{", "[]", '"hello"'],
)  # fmt: skip
async def test_a_hello_of_wrong_shape_is_an_error_and_a_good_one_may_follow(somebody, hello):
    live = await somebody.live(greet=False)
    frame = await live.ask(hello, type="error")
    assert frame["code"] in ("invalid", "malformed", "unknown_type")
    assert (await live.ask({"type": "hello"}, type="welcome"))["user"] == somebody.id
