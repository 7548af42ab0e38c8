"""Typing: told to those who follow the post, at once and never again."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.events import listen


async def follow(live, post):
    return await live.ask({"type": "subscribe", "id": f"follow {post}", "stream": f"post:{post}"}, type="subscribed")


async def by_socket(writer, post):
    live = await writer.live()
    await live.send({"type": "typing", "post_id": post})


async def by_http(writer, post):
    status, body, _ = await writer.call("POST", "/live/typing", {"post_id": post})
    assert (status, body) == (204, b"")


WAYS = pytest.mark.parametrize("tell", [by_socket, by_http])


@WAYS
async def test_followers_of_the_post_hear_who_is_typing(person, tell):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("talk")
    live = await ada.live()
    events = await listen(ada, f"?streams=me,post:{made['id']}")
    await follow(live, made["id"])
    await tell(bela, made["id"])
    told = {"type": "typing", "post_id": made["id"], "user_id": bela.id}
    assert await live.until(type="typing") == told
    assert await events.until(type="typing") == told


@WAYS
async def test_neither_the_writer_nor_one_who_does_not_follow_nor_a_blocked_one_hears_it(person, tell):
    ada, bela, cleo, dora = await asyncio.gather(*(person(name) for name in ("Ada", "Béla", "Cleo", "Dora")))
    for friend in (bela, cleo, dora):
        await ada.befriend(friend)
    await cleo.ok("PUT", f"/blocks/{bela.id}")
    made, other = await ada.post("talk"), await ada.post("other")
    hearing, elsewhere, blocker, writing = [await who.live() for who in (ada, dora, cleo, bela)]
    for live in (hearing, blocker, writing):
        await follow(live, made["id"])
    await follow(elsewhere, other["id"])
    await tell(bela, made["id"])
    await hearing.until(type="typing", user_id=bela.id)
    await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "sent behind it"})
    await ada.ok("POST", f"/posts/{other['id']}/comments", {"text": "sent behind it"})
    for live in (elsewhere, blocker, writing):
        await live.until(type="event", event="comment.created")
        assert not [frame for frame in live.frames if frame["type"] == "typing"]


async def test_one_who_unsubscribed_hears_it_no_longer(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("talk")
    staying, leaving = await ada.live(), await ada.live()
    for live in (staying, leaving):
        await follow(live, made["id"])
    await leaving.ask({"type": "unsubscribe", "id": 1, "stream": f"post:{made['id']}"}, type="unsubscribed")
    await by_http(bela, made["id"])
    await staying.until(type="typing")
    await ada.post("sent behind it")
    await leaving.until(type="event", event="post.created")
    assert not [frame for frame in leaving.frames if frame["type"] == "typing"]


async def test_an_invisible_post_answers_like_a_missing_one(person, guest):
    ada, eve, bela = await person("Ada"), await person("Eve"), await person("Béla")
    await ada.befriend(bela)
    secret = await ada.post("secret")
    await ada.ok("PUT", f"/blocks/{bela.id}")
    for somebody in (eve, bela):
        answers = [
            await somebody.refused(404, "POST", "/live/typing", {"post_id": post})
            for post in (secret["id"], "9007199254740991")
        ]
        assert {a["code"] for a in answers} == {answers[0]["code"]}
    live = await ada.live()
    await follow(live, secret["id"])
    intruder = await eve.live()
    await intruder.send({"type": "typing", "post_id": secret["id"]})
    await intruder.barrier()
    await live.quiet(1, type="typing")
    await guest.refused(401, "POST", "/live/typing", {"post_id": secret["id"]})


@pytest.mark.parametrize("body", [{}, {"post_id": 1}, {"post_id": "x"}, {"post_id": None}, {"post_id": "0"}, []])
async def test_a_wrong_shape_is_refused(somebody, body):
    status, _, _ = await somebody.call("POST", "/live/typing", body)
    assert status in (400, 404, 422)


async def test_typing_is_never_logged(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("talk")
    stream = f"post:{made['id']}"
    live = await ada.live()
    joined = await follow(live, made["id"])
    await by_http(bela, made["id"])
    await live.until(type="typing")
    await live.socket.close()
    await by_http(bela, made["id"])
    remark = await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": "done"})
    back = await ada.live({stream: {"epoch": joined["epoch"], "offset": joined["offset"]}})
    item = await back.until(type="event", stream=stream)
    assert (item["data"]["id"], item["offset"]) == (remark["id"], joined["offset"] + 1)
    assert not [frame for frame in back.frames if frame["type"] == "typing"]


async def test_a_crowd_of_typists_is_told_as_a_few(person):
    ada = await person("Ada")
    crowd = [one for _ in range(6) for one in await asyncio.gather(*(person("Typist") for _ in range(5)))]
    made = await ada.post("everybody talks", "public")
    live = await ada.live()
    await follow(live, made["id"])
    for _ in range(3):
        await asyncio.gather(*(by_http(one, made["id"]) for one in crowd))
    await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "sent behind them"})
    await live.until(type="event", event="comment.created")
    await live.quiet(1.5, type="nothing of this name")  # gathers what is late
    told = [frame["user_id"] for frame in live.frames if frame["type"] == "typing"]
    assert 1 <= len(set(told)) <= 15, told
    assert len(told) <= 45, told
    assert set(told) <= {one.id for one in crowd}
