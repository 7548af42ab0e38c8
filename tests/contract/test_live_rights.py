"""What ends must end on every open connection of every process within a second, with Redis or without it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.contract.events import listen, refusal
from tests.people import PATIENCE

NEW_PASSWORD = "another good phrase"
ACT_AND_CLOSE = 30.0  # seconds of patience for an act, a command line's start included, and what it closes
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
    """A websocket on each web process; the test before may have left a store that has just come back."""
    return [await comes_back(there, {}) for there in cluster.everywhere(somebody)]


async def ending(what, store, act, lives, streams=()):
    """Breaks the store, acts, asserts that all are closed while it is broken; prints seconds, returns the codes."""
    store()
    asked = time.monotonic()

    async def one(waiting):
        return await waiting, time.monotonic() - asked

    closing = asyncio.gather(*(one(live.closed(ACT_AND_CLOSE)) for live in lives),
                             *(one(events.ended(ACT_AND_CLOSE)) for events in streams))  # fmt: skip
    await act
    answered = time.monotonic() - asked
    told = await closing
    late = ", ".join(f"{seconds:.2f} s" for _, seconds in told)
    print(f"{what}, {store.name}: asked, answered after {answered:.2f} s, closed after {late}")
    return {code for code, _ in told[: len(lives)]}


async def test_signing_out_closes_that_sign_in_and_no_other(cluster, member, store):
    ada = await member("Ada")
    phone = await ada.again()
    lives, staying = await sockets_of(cluster, ada), await sockets_of(cluster, phone)
    streams = [await listen(there) for there in cluster.everywhere(ada)]
    assert await ending("sign-out", store, ada.ok("DELETE", "/sessions/current"), lives, streams) == {4500}
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
    lives, staying = await sockets_of(cluster, phone), await sockets_of(cluster, ada)
    devices = (await ada.ok("GET", "/sessions"))["items"]
    other = next(device["id"] for device in devices if device["id"] != staying[0].frames[0]["session"])
    await ada.ok("DELETE", f"/sessions/{other}")
    assert {await live.closed() for live in lives} == {4500}
    for live in staying:
        await live.barrier()


async def test_a_password_change_closes_all_but_the_callers_own(cluster, member, store):
    ada = await member("Ada")
    phone, tablet = await ada.again(), await ada.again()
    lives = [*await sockets_of(cluster, phone), *await sockets_of(cluster, tablet)]
    staying = await sockets_of(cluster, ada)
    change = ada.ok("POST", "/me/password", {"current": ada.password, "new": NEW_PASSWORD})
    assert await ending("password", store, change, lives) == {4500}
    for live in staying:
        await live.barrier()


async def test_deleting_the_account_closes_all_of_it(cluster, member, store):
    ada = await member("Ada")
    phone = await ada.again()
    lives = [*await sockets_of(cluster, ada), *await sockets_of(cluster, phone)]
    streams = [await listen(there) for there in cluster.everywhere(phone)]
    deletion = ada.ok("DELETE", "/me", {"password": ada.password})
    assert await ending("deletion", store, deletion, lives, streams) <= {4500, 4501}
    assert await refusal(phone) in (401, 403)


async def test_a_disabled_account_is_out_until_it_is_enabled_again(cluster, member, store):
    ada = await member("Ada")
    lives = await sockets_of(cluster, ada)
    streams = [await listen(there) for there in cluster.everywhere(ada)]
    command = cluster.operator("people", "disable", ada.user["username"])
    assert await ending("disable", store, command, lives, streams) == {4501}
    store.mend()
    for there in cluster.everywhere(ada):
        assert (await there.refused(403, "GET", "/me"))["code"] == "account_disabled"
        assert await refusal(there) == 403
        live = await there.live(greet=False)
        await live.send({"type": "hello"})
        assert await live.closed() == 4501
    await cluster.operator("people", "enable", ada.user["username"])
    for there in cluster.everywhere(ada):
        live = await comes_back(there, {})
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
    async with asyncio.timeout(ACT_AND_CLOSE):
        while True:
            frame = await live.next(ACT_AND_CLOSE)
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


ACTS = [unfriend, unfriended, block, blocked, narrow, delete, disable]


class Ending:
    """Béla follows a post of Ada's on every process until an act ends it."""

    def __init__(self, act):
        self.act = act

    async def begin(self, cluster, member):
        self.ada, self.bela = await member("Ada"), await member("Béla")
        self.ada.cluster = cluster
        for somebody in (self.ada, self.bela):
            somebody.everywhere = cluster.everywhere(somebody)
        await self.ada.befriend(self.bela)
        self.post = (await self.ada.post("talk"))["id"]
        self.stream = f"post:{self.post}"
        lives = await follow(self.bela, self.post)
        query = f"?streams=me,{self.stream}&watch={self.post}"
        self.clients = [*lives, *[await listen(there, query) for there in self.bela.everywhere]]
        thread = next(frame for frame in lives[0].frames if frame["type"] == "subscribed")
        self.at = {
            name: {"epoch": told["epoch"], "offset": told["offset"]}
            for name, told in (("me", lives[0].frames[0]["streams"]["me"]), (self.stream, thread))
        }

    async def end(self, store):
        asked = time.monotonic()

        async def told(client):
            await end_of(client, self.stream)
            return time.monotonic() - asked

        telling = asyncio.gather(*map(told, self.clients))
        await self.act(self.ada, self.bela, self.post)
        answered = time.monotonic() - asked
        late = ", ".join(f"{seconds:.2f} s" for seconds in await telling)
        print(f"{self.act.__name__}, {store.name}: asked, answered after {answered:.2f} s, told after {late}")
        await asyncio.sleep(max(0.0, answered + PROMISE - (time.monotonic() - asked)))
        self.marks = [len(client.frames) for client in self.clients]

    async def go_on(self):
        """Ada writes what Béla must not see."""
        if self.act in (delete, disable):
            return
        await self.ada.ok("PATCH", f"/posts/{self.post}", {"text": "not for Béla"})
        await self.ada.ok("POST", f"/posts/{self.post}/comments", {"text": "nor this"})
        await self.ada.ok("PUT", f"/posts/{self.post}/like")
        await self.ada.ok("POST", "/live/typing", {"post_id": self.post})
        await self.ada.ok("POST", "/posts", {"text": "nor that", "visibility": "only_me"})

    async def check(self):
        await flows(self.bela, self.clients)
        for client, mark in zip(self.clients, self.marks, strict=True):
            assert items_of(client, mark, self.post) == [], self.act.__name__
        for there in self.bela.everywhere:  # nor by a resume
            back = await comes_back(there, self.at)
            assert self.stream not in back.frames[0]["streams"]
            await back.until(type="error", code="forbidden_or_missing")
            await flows(self.bela, [back])
            assert items_of(back, 0, self.post) == [], self.act.__name__


async def comes_back(somebody, at):
    """A connection that resumes; a store that has just come back may cost some tries (1011: come back)."""
    for _ in range(20):
        live = await somebody.live(at, greet=False)
        await live.send({"type": "hello", "resume": at})
        try:
            await live.until(type="welcome")
        except AssertionError:
            assert live.socket.close_code == 1011
            await asyncio.sleep(0.5)
            continue
        return live
    raise AssertionError("no connection is taken any more")


async def flows(writer, clients):
    """Waits until all get new items of this writer; a store that lost its memory may cost some, told by a resync."""

    async def hears(client):
        async with asyncio.timeout(PATIENCE * 3):
            while True:
                frame = await client.until(PATIENCE * 3, type="event", event="post.created")
                if frame["data"]["author"]["id"] == writer.id:
                    return

    hearing = [asyncio.create_task(hears(client)) for client in clients]
    async with asyncio.timeout(PATIENCE * 3):
        while not all(task.done() for task in hearing):
            await writer.post("behind it")
            await asyncio.wait(hearing, timeout=1)
    await asyncio.gather(*hearing)


async def test_what_may_not_be_seen_any_more_stops_everywhere(cluster, member, store):
    endings = [Ending(act) for act in ACTS]
    for ending in endings:
        await ending.begin(cluster, member)
    store()
    await asyncio.gather(*(ending.end(store) for ending in endings))
    await asyncio.gather(*(ending.go_on() for ending in endings))
    store.mend()
    await asyncio.gather(*(ending.check() for ending in endings))


@pytest.mark.parametrize("act", [delete, narrow])
async def test_a_follower_hears_on_the_posts_own_stream_why_it_ended(cluster, member, act):
    """The contract's table: post.deleted and post.hidden come on `me` and on `post:{id}`, to strangers too."""
    ada, bela = await member("Ada"), await member("Béla")
    bela.everywhere = cluster.everywhere(bela)
    wanted = {delete: "post.deleted", narrow: "post.hidden"}[act]
    heard = []
    for _ in range(3):
        post = (await ada.post("for everybody", "public"))["id"]
        lives = await follow(bela, post)
        await act(ada, bela, post)
        for live in lives:
            await end_of(live, f"post:{post}")
            if wanted not in [frame.get("event") for frame in live.frames]:
                with contextlib.suppress(TimeoutError):
                    await live.until(1, type="event", stream=f"post:{post}", event=wanted)
            heard.append(wanted in [f.get("event") for f in live.frames if f.get("stream") == f"post:{post}"])
            await live.socket.close()
    assert heard == [True] * len(heard)


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
