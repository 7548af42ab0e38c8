"""What ends must end on every open connection of every process within a second, with Redis or without it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.contract.events import listen, refusal
from tests.people import PATIENCE

NEW_PASSWORD = "another good phrase"
PROMISE = 1.0  # seconds from the commit; what comes later is wrong


@pytest.fixture(params=["redis", "redis frozen", "redis killed"])
def store(request, cluster):
    """(how the store is when the right ends, what brings it back)."""
    broken = contextlib.ExitStack()

    def breaks():
        if request.param == "redis frozen":
            cluster.redis.freeze()
            broken.callback(cluster.redis.restart)
        elif request.param == "redis killed":
            cluster.redis.kill()
            broken.callback(cluster.redis.restart)

    breaks.name = request.param
    breaks.down = request.param != "redis"
    breaks.mend = broken.close
    yield breaks
    broken.close()


async def sockets_of(cluster, somebody):
    """A websocket on each web process."""
    return [await there.live() for there in cluster.everywhere(somebody)]


async def ended(what, store, lives, streams, since):
    """Asserts that all are closed while the store is as it is, prints the seconds, returns the codes."""

    async def one(waiting):
        code = await waiting
        return code, time.monotonic() - since

    told = await asyncio.gather(*(one(live.closed()) for live in lives), *(one(s.ended()) for s in streams))
    print(f"{what}, {store.name}: closed after " + ", ".join(f"{late:.2f} s" for _, late in told))
    return {code for code, _ in told[: len(lives)]}


async def test_signing_out_closes_that_sign_in_and_no_other(cluster, member, store):
    ada = await member("Ada")
    phone = await ada.again()
    ending, staying = await sockets_of(cluster, ada), await sockets_of(cluster, phone)
    streams = [await listen(there) for there in cluster.everywhere(ada)]
    store()
    await ada.ok("DELETE", "/sessions/current")
    assert await ended("sign-out", store, ending, streams, time.monotonic()) == {4500}
    for live in staying:
        await live.barrier()
    for there in cluster.everywhere(ada):
        assert await refusal(there) == 401
    store.mend()
    for there in cluster.everywhere(ada):
        live = await there.live(greet=False)
        await live.send({"type": "hello"})
        assert await live.closed() == 4500


async def test_one_device_ends_another(cluster, member):
    ada = await member("Ada")
    phone = await ada.again()
    ending, staying = await sockets_of(cluster, phone), await sockets_of(cluster, ada)
    devices = (await ada.ok("GET", "/sessions"))["items"]
    other = next(device["id"] for device in devices if device["id"] != staying[0].frames[0]["session"])
    await ada.ok("DELETE", f"/sessions/{other}")
    assert {await live.closed() for live in ending} == {4500}
    for live in staying:
        await live.barrier()


async def test_a_password_change_closes_all_but_the_callers_own(cluster, member, store):
    ada = await member("Ada")
    phone, tablet = await ada.again(), await ada.again()
    ending = [*await sockets_of(cluster, phone), *await sockets_of(cluster, tablet)]
    staying = await sockets_of(cluster, ada)
    store()
    await ada.ok("POST", "/me/password", {"current": ada.password, "new": NEW_PASSWORD})
    assert await ended("password", store, ending, [], time.monotonic()) == {4500}
    for live in staying:
        await live.barrier()


async def test_deleting_the_account_closes_all_of_it(cluster, member, store):
    ada = await member("Ada")
    phone = await ada.again()
    ending = [*await sockets_of(cluster, ada), *await sockets_of(cluster, phone)]
    streams = [await listen(there) for there in cluster.everywhere(phone)]
    store()
    await ada.ok("DELETE", "/me", {"password": ada.password})
    codes = await ended("deletion", store, ending, streams, time.monotonic())
    assert codes <= {4500, 4501}
    assert await refusal(phone) in (401, 403)


async def test_a_disabled_account_is_out_until_it_is_enabled_again(cluster, member, store):
    ada = await member("Ada")
    ending = await sockets_of(cluster, ada)
    streams = [await listen(there) for there in cluster.everywhere(ada)]
    store()
    since = time.monotonic()
    await cluster.operator("people", "disable", ada.user["username"])
    assert await ended("disable (command included)", store, ending, streams, since) == {4501}
    store.mend()
    for there in cluster.everywhere(ada):
        assert (await there.refused(403, "GET", "/me"))["code"] == "account_disabled"
        assert await refusal(there) == 403
        live = await there.live(greet=False)
        await live.send({"type": "hello"})
        assert await live.closed() == 4501
    await cluster.operator("people", "enable", ada.user["username"])
    for there in cluster.everywhere(ada):
        live = await there.live()
        assert live.frames[0]["user"] == ada.id


async def unfriend(ada, bela, post):
    await ada.ok("DELETE", f"/friends/{bela.id}")


async def unfriended(ada, bela, post):
    await bela.ok("DELETE", f"/friends/{ada.id}")


async def block(ada, bela, post):
    await ada.ok("PUT", f"/blocks/{bela.id}")


async def blocked(ada, bela, post):
    await bela.ok("PUT", f"/blocks/{ada.id}")


async def narrow(ada, bela, post):
    await ada.ok("PATCH", f"/posts/{post}", {"visibility": "only_me"})


async def delete(ada, bela, post):
    await ada.ok("DELETE", f"/posts/{post}")


async def disable(ada, bela, post):
    code, said = await asyncio.to_thread(ada.cluster.social, "people", "disable", ada.user["username"])
    assert code == 0, said


def items_of(live, since, post):
    """The content of the post that was told after `since` frames."""
    shown = []
    for frame in live.frames[since:]:
        data = frame.get("data", {})
        about = {data.get("post_id"), data.get("id") if str(frame.get("event")).startswith("post.") else None}
        if frame["type"] == "event" and post in about and set(data) != {"id"}:
            shown.append(frame)
        if frame["type"] in ("counts", "typing") and post in (*frame.get("posts", ()), frame.get("post_id")):
            shown.append(frame)
    return shown


async def end_of(live, stream):
    """Waits until the server says that a subscription is over."""
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = await live.next()
            if frame["type"] == "error" and frame["code"] == "forbidden_or_missing" and stream in frame["detail"]:
                return
            if frame.get("event") in ("post.deleted", "post.hidden") and frame["stream"] == stream:
                return


async def follow(somebody, post):
    """Open connections on every process that follow and watch the post."""
    lives = []
    for there in somebody.everywhere:
        live = await there.live()
        await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{post}"}, type="subscribed")
        await live.ask({"type": "watch", "id": 2, "posts": [post]}, type="counts")
        lives.append(live)
    return lives


@pytest.mark.parametrize("act", [unfriend, unfriended, block, blocked, narrow, delete, disable])
async def test_what_may_not_be_seen_any_more_stops_everywhere(cluster, member, store, act):
    ada, bela = await member("Ada"), await member("Béla")
    ada.cluster = cluster
    for somebody in (ada, bela):
        somebody.everywhere = cluster.everywhere(somebody)
    await ada.befriend(bela)
    post = (await ada.post("talk"))["id"]
    lives = await follow(bela, post)
    streams = [await listen(there, f"?streams=me,post:{post}&watch={post}") for there in bela.everywhere]
    joined = lives[0].frames[0]["streams"]["me"]
    thread = next(frame for frame in lives[0].frames if frame["type"] == "subscribed")
    gone = act in (delete, disable)  # then nobody is left to write more about it
    control = [] if gone or act is narrow else await follow(ada, post)
    store()
    await act(ada, bela, post)
    since = time.monotonic()
    told = await asyncio.gather(
        *(end_of(client, f"post:{post}") for client in (*lives, *streams)), return_exceptions=True
    )
    silent = [outcome for outcome in told if outcome is not None]
    print(f"{act.__name__}, {store.name}: told after {time.monotonic() - since:.2f} s")
    await asyncio.sleep(max(0.0, since + PROMISE - time.monotonic()))
    marks = [len(client.frames) for client in (*lives, *streams)]
    if not gone:
        await ada.ok("PATCH", f"/posts/{post}", {"text": "not for Béla"})
        await ada.ok("POST", f"/posts/{post}/comments", {"text": "nor this"})
        await ada.ok("PUT", f"/posts/{post}/like")
        await ada.ok("POST", "/live/typing", {"post_id": post}, ) if not store.down else None
        await ada.post("nor that, unless it is the post alone that was narrowed")
    store.mend()
    for live in control:
        await live.until(PATIENCE * 3, type="event", event="comment.created")
    await bela.post("behind it")
    for client in (*lives, *streams):
        while (await client.until(PATIENCE * 3, type="event", event="post.created"))["data"]["author"]["id"] != bela.id:
            pass
    for client, mark in zip((*lives, *streams), marks, strict=True):
        assert items_of(client, mark, post) == []
        if act is not narrow:
            assert ada.id not in {
                f["data"].get("author", {}).get("id") for f in client.frames[mark:] if f["type"] == "event"
            }
    assert silent == [], "a subscription was not ended while the store was as it was"
    at = {k: thread[k] for k in ("epoch", "offset")}
    for there in bela.everywhere:  # nor by a resume
        back = await there.live({"me": {k: joined[k] for k in ("epoch", "offset")}, f"post:{post}": at})
        assert f"post:{post}" not in back.frames[0]["streams"]
        await back.until(type="error", code="forbidden_or_missing")
        await back.barrier()
        assert items_of(back, 0, post) == []


async def test_friends_made_again_after_unfriending_get_new_posts_live(cluster, member):
    ada, bela = await member("Ada"), await member("Béla")
    await ada.befriend(bela)
    lives = await sockets_of(cluster, bela)
    await ada.ok("DELETE", f"/friends/{bela.id}")
    for live in lives:
        await live.until(type="event", event="friend.removed")
    await ada.befriend(bela)
    made = await ada.post("friends again")
    for live in lives:
        while (await live.until(type="event", event="post.created"))["data"]["id"] != made["id"]:
            pass
