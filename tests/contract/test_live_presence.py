"""Presence: friends hear who comes and, after a grace, who went; nobody else does."""

from __future__ import annotations

import asyncio

from tests.contract.events import listen

GRACE = 45.0  # seconds; the promise is some 20 s after the last connection, the rest is patience


async def becomes(client, user, state, wait=10.0):
    """Waits until a presence frame says so."""
    async with asyncio.timeout(wait):
        while (await client.until(wait, type="presence"))["users"].get(user) != state:
            pass


def told(client, user):
    return [f["users"][user] for f in client.frames if f["type"] == "presence" and user in f["users"]]


async def test_friends_hear_who_comes_and_the_one_who_comes_hears_who_is_there(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    first = await ada.live()
    second = await bela.live()
    await becomes(first, bela.id, "online")
    await becomes(second, ada.id, "online")
    events = await listen(ada)
    await becomes(events, bela.id, "online")
    assert (await ada.ok("GET", "/friends"))["items"][0]["online"] is True
    assert bela.id not in str([f for f in second.frames if f["type"] == "presence"])


async def test_an_event_stream_is_presence_too(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    live = await ada.live()
    await listen(bela)
    await becomes(live, bela.id, "online")


async def test_friends_made_while_both_are_there_hear_of_each_other(person):
    ada, bela = await person("Ada"), await person("Béla")
    lives = [await ada.live(), await bela.live()]
    await ada.befriend(bela)
    cleo = await person("Cleo")
    await cleo.befriend(ada)
    await cleo.live()
    await becomes(lives[0], cleo.id, "online")
    if not told(lives[0], bela.id):
        await becomes(lives[0], bela.id, "online")
    assert told(lives[1], cleo.id) == []


async def test_who_goes_is_offline_after_a_grace_and_only_friends_hear_it(person):
    """One test for all that waits, because it waits long."""
    names = ("Ada", "Goes", "Returns", "Two devices", "Stranger", "Blocked", "Unfriended", "Deep")
    ada, goes, returns, twice, stranger, blocked, ended, quits = await asyncio.gather(*(person(n) for n in names))
    for friend in (goes, returns, twice, blocked, ended, quits):
        await ada.befriend(friend)
    await ada.ok("PUT", f"/blocks/{blocked.id}")
    await ada.ok("DELETE", f"/friends/{ended.id}")
    watching = {who: await who.live() for who in (ada, stranger, blocked, ended)}
    sockets = {who: await who.live() for who in (goes, returns, twice, quits)}
    second = await twice.live()
    heard = watching[ada]
    async with asyncio.timeout(20):
        while not all(told(heard, who.id) for who in sockets):
            await heard.next(20)
    for who in (goes, returns, twice, quits):
        assert told(heard, who.id)[-1] == "online"
        await sockets[who].socket.close()
    sockets[quits] = await quits.live()
    await quits.ok("DELETE", "/sessions/current")  # its socket is closed by the server
    back = await returns.live()
    gone_offline = {goes.id, quits.id}
    async with asyncio.timeout(GRACE):
        while not all(told(heard, who)[-1] == "offline" for who in gone_offline):
            await heard.next(GRACE)
    friends = {user["id"]: user["online"] for user in (await ada.ok("GET", "/friends"))["items"]}
    assert friends == {goes.id: False, returns.id: True, twice.id: True, quits.id: False}
    for staying in (returns, twice):  # a reconnect within the grace, a second device
        assert "offline" not in told(heard, staying.id)
    for live in (back, second, heard, *watching.values()):
        await live.barrier()
    everybody = {who.id for who in (ada, goes, returns, twice, stranger, blocked, ended, quits)}
    for who in (stranger, blocked, ended):
        assert [told(watching[who], other) for other in everybody] == [[]] * len(everybody)
    for unheard in (stranger, blocked, ended, ada):
        assert told(heard, unheard.id) == []


async def test_one_who_is_unfriended_or_blocked_while_connected_hears_nothing_any_more(person):
    ada, bela, cleo, dora = await asyncio.gather(*(person(name) for name in ("Ada", "Béla", "Cleo", "Dora")))
    for friend in (bela, cleo, dora):
        await ada.befriend(friend)
    lives = [await who.live() for who in (bela, cleo, dora)]
    await ada.ok("DELETE", f"/friends/{bela.id}")
    await ada.ok("PUT", f"/blocks/{cleo.id}")
    await ada.live()
    await becomes(lives[2], ada.id, "online")
    for live, who in zip(lives[:2], (bela, cleo), strict=True):
        await who.post("sent behind it")
        await live.until(type="event", event="post.created")
        assert told(live, ada.id) == []


async def test_many_friends_who_come_at_once_are_told_in_few_frames(person):
    ada = await person("Ada")
    crowd = [one for _ in range(8) for one in await asyncio.gather(*(person("Friend") for _ in range(5)))]
    for one in crowd:
        await ada.befriend(one)
    live = await ada.live()
    await asyncio.gather(*(one.live() for one in crowd))
    async with asyncio.timeout(30):
        while not all(told(live, one.id) for one in crowd):
            await live.next(30)
    frames = [frame for frame in live.frames if frame["type"] == "presence"]
    assert len(frames) <= 20, len(frames)
    late = await ada.live()
    async with asyncio.timeout(30):
        while not all(told(late, one.id) for one in crowd):
            await late.next(30)
    assert len([frame for frame in late.frames if frame["type"] == "presence"]) <= 3


async def test_presence_is_never_logged(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    live = await ada.live()
    here = live.frames[0]["streams"]["me"]
    await bela.live()
    await becomes(live, bela.id, "online")
    made = await ada.post("the next item")
    item = await live.until(type="event", event="post.created")
    back = await ada.live({"me": {"epoch": here["epoch"], "offset": item["offset"] - 1}})
    again = await back.until(type="event")
    assert (again["offset"], again["data"]["id"]) == (item["offset"], made["id"])
