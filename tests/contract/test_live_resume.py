"""Coming back: every missed item once and in order, and nothing that may not be seen any more."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest_asyncio

from tests.people import PATIENCE

PEOPLE, DEVICES = 20, 10  # 200 clients
WAIT = PATIENCE * 3


async def follow(live, post):
    return await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{post}"}, type="subscribed")


def event_of(frame):
    return frame["event"], frame["data"].get("id")


def position(live):
    """What a client would resume from: the last item handled of each stream."""
    at = {name: {"epoch": told["epoch"], "offset": told["offset"]} for name, told in live.frames[0]["streams"].items()}
    for frame in live.frames:
        if frame["type"] == "subscribed":
            at[frame["stream"]] = {"epoch": frame["epoch"], "offset": frame["offset"]}
        elif frame["type"] == "event":
            at[frame["stream"]]["offset"] = frame["offset"]
        elif frame["type"] == "skip":
            at[frame["stream"]]["offset"] = frame["to"]
    return at


async def replayed(live, since):
    """Reads up to the tops of the welcome; (data ids by stream, skipped offsets by stream), asserting the order."""
    tops = {name: told["offset"] for name, told in live.frames[0]["streams"].items()}
    assert all(told["recovered"] for told in live.frames[0]["streams"].values())
    at = {name: since[name]["offset"] for name in tops}
    shown, skipped = {name: [] for name in tops}, {name: [] for name in tops}
    while any(at[name] < top for name, top in tops.items()):
        frame = await live.next(WAIT)
        if frame["type"] == "event":
            assert frame["offset"] == at[frame["stream"]] + 1
            at[frame["stream"]] = frame["offset"]
            shown[frame["stream"]].append(event_of(frame))
        elif frame["type"] == "skip":
            assert frame["offset"] == at[frame["stream"]] + 1
            at[frame["stream"]] = frame["to"]
            skipped[frame["stream"]] += range(frame["offset"], frame["to"] + 1)
    return shown, skipped


@pytest_asyncio.fixture
async def many_connections():
    """An HTTP client that opens more than aiohttp's usual hundred connections."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield session


async def test_two_hundred_clients_that_are_cut_come_back_to_everything_they_missed(person, many_connections):
    ada = await person("Ada")
    crowd = [one for _ in range(PEOPLE // 5) for one in await asyncio.gather(*(person("Reader") for _ in range(5)))]
    for one in crowd:
        await ada.befriend(one)
        one.http = many_connections
    post = (await ada.post("talk"))["id"]
    stream = f"post:{post}"
    clients = [(one, await one.live()) for one in crowd for _ in range(DEVICES)]

    async def cut(number, live):
        await follow(live, post)
        at = position(live)
        if number % 2:
            await live.socket.close()
        else:
            live.socket._response.connection.transport.abort()
        return at

    places = await asyncio.gather(*(cut(n, live) for n, (_, live) in enumerate(clients)))
    remarks, posts = [], []
    for n in range(6):
        remarks.append((await ada.ok("POST", f"/posts/{post}/comments", {"text": f"missed {n}"}))["id"])
        posts.append((await ada.post(f"missed {n}"))["id"])

    async def back(place, one):
        live = await one.live(place)
        for name in ("me", stream):
            assert live.frames[0]["streams"][name]["recovered"], live.frames[0]
        while not {("post.created", posts[-1]), ("comment.created", remarks[-1])} <= set(items(live)):
            await live.next(WAIT)
        return live

    lives = await asyncio.gather(*(back(place, one) for place, (one, _) in zip(places, clients, strict=True)))
    for live, place in zip(lives, places, strict=True):
        for name, wanted in ((stream, remarks), ("me", posts)):
            told = [f for f in live.frames if f["type"] == "event" and f["stream"] == name]
            first = place[name]["offset"] + 1
            assert [f["offset"] for f in told] == list(range(first, first + len(told)))
            created = [f["data"]["id"] for f in told if f["event"].endswith(".created")]
            assert [made for made in created if made in wanted] == wanted
        assert not [f for f in live.frames if f["type"] in ("resync", "error")]


async def has(live, posts=(), comments=()):
    """Reads until the connection was told that all these were created."""
    wanted = {*(("post.created", made) for made in posts), *(("comment.created", made) for made in comments)}
    while not wanted <= set(items(live)):
        await live.next()


def items(live):
    return [event_of(frame) for frame in live.frames if frame["type"] == "event"]


async def test_what_was_deleted_or_whose_author_blocked_the_viewer_is_skipped_by_a_replay(person):
    ada, bela, cleo = await asyncio.gather(*(person(name) for name in ("Ada", "Béla", "Cleo")))
    for friend in (bela, cleo):
        await ada.befriend(friend)
    await bela.befriend(cleo)
    post = (await ada.post("talk"))["id"]
    stream, path = f"post:{post}", f"/posts/{post}/comments"
    live = await bela.live()
    await follow(live, post)
    witness = await bela.live()
    await follow(witness, post)
    seen = (await ada.post("seen"))["id"]
    await has(live, posts=[seen])
    place = position(live)
    await live.socket.close()
    gone = (await ada.ok("POST", path, {"text": "deleted meanwhile"}))["id"]
    theirs = (await cleo.ok("POST", path, {"text": "of one who blocks meanwhile"}))["id"]
    stays = (await ada.ok("POST", path, {"text": "stays"}))["id"]
    gone_post = (await ada.post("deleted meanwhile"))["id"]
    their_post = (await cleo.post("of one who blocks meanwhile"))["id"]
    await has(witness, posts=[gone_post, their_post], comments=[gone, theirs, stays])  # they are in the logs
    await ada.ok("DELETE", f"/comments/{gone}")
    await ada.ok("DELETE", f"/posts/{gone_post}")
    await cleo.ok("PUT", f"/blocks/{bela.id}")
    last, last_remark = (await ada.post("last"))["id"], (await ada.ok("POST", path, {"text": "last"}))["id"]
    await has(witness, posts=[last], comments=[last_remark])
    back = await bela.live(place)
    shown, skipped = await replayed(back, place)
    assert ("comment.created", stays) in shown[stream]
    assert shown[stream][-1] == ("comment.created", last_remark)
    assert ("post.created", last) in shown["me"]
    for kind, hidden in (("comment.created", gone), ("comment.created", theirs)):
        assert (kind, hidden) not in shown[stream]
    for hidden in (gone_post, their_post):
        assert ("post.created", hidden) not in shown["me"]
    assert len(skipped[stream]) >= 2
    assert len(skipped["me"]) >= 2
    assert "meanwhile" not in str(back.frames)
