"""A block: both vanish from each other, everywhere, from the next read and on open sockets within a second."""

from __future__ import annotations

import asyncio
import time

import pytest


async def ids(viewer, path):
    return {item.get("id", item.get("user", {}).get("id")) for item in await viewer.everything(path)}


async def test_blocking_is_idempotent_listed_and_can_be_taken_back(person):
    ada, eve = await person(), await person("Eve")
    for _ in range(2):
        status, raw, _ = await ada.call("PUT", f"/blocks/{eve.id}")
        assert (status, raw) == (204, b"")
    assert await ids(ada, "/blocks") == {eve.id}
    assert await ids(eve, "/blocks") == set()
    for _ in range(2):
        assert (await ada.call("DELETE", f"/blocks/{eve.id}"))[0] == 204
    assert await ids(ada, "/blocks") == set()
    assert (await eve.ok("GET", f"/users/{ada.id}"))["relation"] == "none"


async def test_nobody_blocks_themselves_or_nobody(person):
    ada = await person()
    assert (await ada.call("PUT", f"/blocks/{ada.id}"))[0] in (409, 422)
    await ada.refused(404, "PUT", "/blocks/9007199254740991")
    await ada.ok("GET", f"/users/{ada.id}")


async def test_a_block_ends_friendship_and_requests_and_unblocking_does_not_bring_them_back(person):
    ada, bela, carl, dora = [await person() for _ in range(4)]
    await ada.befriend(bela)
    await ada.ok("PUT", f"/friends/{carl.id}")
    await dora.ok("PUT", f"/friends/{ada.id}")
    for other in (bela, carl, dora):
        await ada.ok("PUT", f"/blocks/{other.id}")
    assert await ids(ada, "/friends") == await ids(bela, "/friends") == set()
    for one in (ada, carl, dora):
        assert await ids(one, "/friend-requests") == set()
    for other in (bela, carl, dora):
        await ada.ok("DELETE", f"/blocks/{other.id}")
        assert (await ada.ok("GET", f"/users/{other.id}"))["relation"] == "none"
        assert (await other.ok("GET", f"/users/{ada.id}"))["relation"] == "none"


async def test_the_blocked_person_cannot_tell_a_block_from_a_deletion(person):
    ada, eve = await person(), await person()
    made = await ada.post("open", "public")
    await ada.ok("PUT", f"/blocks/{eve.id}")
    for method, path, body in (
        ("GET", "/users/{}", None), ("GET", "/users/{}/posts", None), ("PUT", "/friends/{}", None),
    ):  # fmt: skip
        blocked = await eve.refused(404, method, path.format(ada.id), body)
        missing = await eve.refused(404, method, path.format("9007199254740991"), body)
        assert {**blocked, "instance": ""} == {**missing, "instance": ""}
    assert {ada.id} & await ids(eve, "/friend-requests") == set()
    await eve.refused(404, "GET", f"/posts/{made['id']}")
    blocked = await eve.call("PUT", f"/blocks/{ada.id}")
    assert blocked[0] in (204, 404)


async def test_both_vanish_from_lists_comments_likes_and_feeds(person):
    ada, eve, host = await person("Ada"), await person("Eve"), await person("Host")
    for one in (ada, eve):
        await host.befriend(one)
    await ada.befriend(eve)
    made = await host.post("party")
    mine, theirs = await ada.post("by Ada", "public"), await eve.post("by Eve", "public")
    for one in (ada, eve):
        await one.ok("PUT", f"/posts/{made['id']}/like")
        await one.ok("POST", f"/posts/{made['id']}/comments", {"text": f"by {one.user['name']}"})
    await ada.ok("PUT", f"/blocks/{eve.id}")
    for viewer, gone, post in ((ada, eve, theirs), (eve, ada, mine)):
        likes = await ids(viewer, f"/posts/{made['id']}/likes")
        assert likes == {viewer.id}
        comments = await viewer.everything(f"/posts/{made['id']}/comments")
        assert {comment["author"]["id"] for comment in comments} == {viewer.id}
        assert gone.id not in {item["author"]["id"] for item in await viewer.everything("/feed")}
        await viewer.refused(404, "GET", f"/posts/{post['id']}")
        await viewer.refused(404, "GET", f"/users/{gone.id}")
    assert len(await host.everything(f"/posts/{made['id']}/comments")) == 2
    assert await ids(host, f"/posts/{made['id']}/likes") == {ada.id, eve.id}


async def test_open_connections_of_both_drop_the_other_within_a_second(person):
    ada, eve = await person("Ada"), await person("Eve")
    await ada.befriend(eve)
    made = await ada.post("open", "public")
    at_ada, at_eve = await ada.live(), await eve.live()
    began = time.monotonic()
    await ada.ok("PUT", f"/blocks/{eve.id}")
    for live, gone in ((at_ada, eve), (at_eve, ada)):
        frame = await live.until(type="event", event="author.hidden")
        assert frame["data"] == {"user_id": gone.id}
        assert time.monotonic() - began < 1.5
    await ada.post("after the block", "public")
    await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "edited after the block"})
    await asyncio.gather(
        at_eve.quiet(1, type="event", event="post.created"), at_ada.quiet(1, type="event", event="friend.requested")
    )
    assert "after the block" not in str(at_eve.frames)


@pytest.mark.parametrize("blocker", ["author", "viewer"])
async def test_a_subscribed_thread_of_the_blocked_goes_quiet_within_a_second(person, blocker):
    ada, eve = await person("Ada"), await person("Eve")
    made = await ada.post("open", "public")
    live = await eve.live()
    stream = {"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}
    await live.ask(stream, type="subscribed", id=1)
    await live.ask({"type": "watch", "id": 2, "posts": [made["id"]]}, type="counts")
    await asyncio.sleep(0.3)
    await (ada.ok("PUT", f"/blocks/{eve.id}") if blocker == "author" else eve.ok("PUT", f"/blocks/{ada.id}"))
    await live.until(type="event", event="author.hidden")
    await asyncio.sleep(1)
    seen = len(live.frames)
    await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "after the block"})
    await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "edited after the block"})
    await live.quiet(1, type="event")
    assert not [frame for frame in live.frames[seen:] if frame["type"] in ("event", "counts")]
    again = await live.ask(stream, id=1)
    assert (again["type"], again.get("code")) == ("error", "forbidden_or_missing")


async def test_comments_of_the_blocked_in_the_thread_of_a_third_do_not_arrive_live(person):
    ada, eve, host = await person("Ada"), await person("Eve"), await person("Host")
    await host.befriend(ada)
    await host.befriend(eve)
    made = await host.post("party")
    live = await eve.live()
    await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}, type="subscribed", id=1)
    await ada.ok("PUT", f"/blocks/{eve.id}")
    await live.until(type="event", event="author.hidden")
    await asyncio.sleep(1)
    hidden = await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "by the blocker"})
    await ada.ok("PATCH", f"/comments/{hidden['id']}", {"text": "edited by the blocker"})
    said = await host.ok("POST", f"/posts/{made['id']}/comments", {"text": "by the host"})
    while (await live.until(type="event", event="comment.created"))["data"]["id"] != said["id"]:
        pass
    assert "by the blocker" not in str(live.frames)


async def test_the_own_blocks_come_on_pages_and_only_to_their_owner(person):
    ada = await person()
    people = [await person() for _ in range(5)]
    await asyncio.gather(*(ada.ok("PUT", f"/blocks/{one.id}") for one in people))
    for limit in (1, 2, 5):
        items = await ada.everything("/blocks", limit)
        assert sorted(user["id"] for user in items) == sorted(one.id for one in people)
