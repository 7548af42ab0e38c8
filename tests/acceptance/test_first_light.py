"""The first path, from a friend's act to another friend's open connection, over HTTP and websocket alone."""

from __future__ import annotations

import asyncio

import pytest


async def test_a_friends_post_arrives_live_and_in_the_feed(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    live = await bela.live()
    made = await ada.post("hello from Ada")
    frame = await live.until(type="event", event="post.created")
    assert frame["stream"] == "me"
    assert frame["data"]["id"] == made["id"]
    assert frame["data"]["text"] == "hello from Ada"
    assert "liked" not in frame["data"]
    assert "relation" not in frame["data"]["author"]
    feed = await bela.ok("GET", "/feed")
    assert [post["id"] for post in feed["items"]] == [made["id"]]
    assert feed["items"][0]["liked"] is False


async def test_an_own_post_reaches_ones_other_devices(person):
    ada = await person()
    live = await ada.live()
    made = await ada.post("to myself", "only_me")
    assert (await live.until(type="event", event="post.created"))["data"]["id"] == made["id"]


async def test_a_stranger_gets_nothing(person):
    ada, stranger = await person(), await person()
    live = await stranger.live()
    made = await ada.post("not for you")
    await live.quiet(0.7, type="event", event="post.created")
    status, problem, _ = await stranger.call("GET", f"/posts/{made['id']}")
    assert (status, problem["code"]) == (404, "not_found")
    assert (await stranger.call("PUT", f"/posts/{made['id']}/like"))[0] == 404


async def test_offsets_grow_by_one_and_a_position_resumes_exactly(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    live = await bela.live()
    first = await ada.post("one")
    frame = await live.until(type="event", event="post.created")
    epoch = live.frames[0]["streams"]["me"]["epoch"]
    await live.socket.close()
    missed = [await ada.post(f"missed {n}") for n in range(3)]
    feed = await bela.ok("GET", "/feed")
    assert len(feed["items"]) == 4
    await asyncio.sleep(0.5)
    again = await bela.live({"me": {"epoch": epoch, "offset": frame["offset"]}})
    welcome = again.frames[0]
    assert welcome["streams"]["me"]["recovered"] is True
    replayed = [await again.until(type="event") for _ in missed]
    assert [f["data"]["id"] for f in replayed] == [post["id"] for post in missed]
    assert [f["offset"] for f in replayed] == [frame["offset"] + n for n in (1, 2, 3)]
    assert welcome["streams"]["me"]["offset"] == replayed[-1]["offset"]
    assert first["id"] not in [f["data"]["id"] for f in replayed]


async def test_the_position_of_the_feed_bridges_to_the_stream(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    feed = await bela.ok("GET", "/feed")
    made = await ada.post("between the page and the socket")
    await asyncio.sleep(0.5)
    position = feed["position"]
    assert position["stream"] == "me"
    live = await bela.live({"me": {"epoch": position["epoch"], "offset": position["offset"]}})
    assert live.frames[0]["streams"]["me"]["recovered"] is True
    assert (await live.until(type="event", event="post.created"))["data"]["id"] == made["id"]


async def test_an_unknown_epoch_is_told_as_not_recovered(person):
    ada = await person()
    live = await ada.live({"me": {"epoch": "nonsense", "offset": 3}})
    assert live.frames[0]["streams"]["me"]["recovered"] is False


async def test_likes_move_the_watched_count_and_comments_the_open_thread(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("like me")
    live = await ada.live()
    await live.send({"type": "watch", "id": "w", "posts": [made["id"]]})
    first = await live.until(type="counts")
    assert first["posts"][made["id"]]["likes"] == 0
    await live.send({"type": "subscribe", "id": "s", "stream": f"post:{made['id']}"})
    assert (await live.until(type="subscribed", id="s"))["recovered"] is False
    assert await bela.ok("PUT", f"/posts/{made['id']}/like") == {"likes": 1, "liked": True}
    assert await bela.ok("PUT", f"/posts/{made['id']}/like") == {"likes": 1, "liked": True}
    counts = await live.until(type="counts")
    assert counts["posts"][made["id"]]["likes"] == 1
    said = await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": "gladly"})
    frame = await live.until(type="event", event="comment.created")
    assert frame["stream"] == f"post:{made['id']}"
    assert frame["data"]["id"] == said["id"]
    while (counts := await live.until(type="counts"))["posts"][made["id"]]["comments"] != 1:
        pass
    assert (await bela.ok("DELETE", f"/posts/{made['id']}/like")) == {"likes": 0, "liked": False}


async def test_a_request_and_its_acceptance_are_told_live(person):
    ada, bela = await person("Ada"), await person("Béla")
    at_ada, at_bela = await ada.live(), await bela.live()
    assert (await ada.ok("PUT", f"/friends/{bela.id}"))["state"] == "requested"
    asked = await at_bela.until(type="event", event="friend.requested")
    assert asked["data"]["id"] == ada.id
    requests = await bela.ok("GET", "/friend-requests")
    assert [(r["user"]["id"], r["direction"]) for r in requests["items"]] == [(ada.id, "in")]
    await bela.ok("PUT", f"/friends/{ada.id}")
    assert (await at_ada.until(type="event", event="friend.accepted"))["data"]["id"] == bela.id
    assert (await at_bela.until(type="event", event="friend.accepted"))["data"]["id"] == ada.id
    friends = await ada.ok("GET", "/friends")
    assert [(f["id"], f["online"]) for f in friends["items"]] == [(bela.id, True)]


async def test_an_edit_a_hiding_and_a_deletion_reach_those_who_had_the_post(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    live = await bela.live()
    made = await ada.post("draft")
    await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "final"})
    edited = await live.until(type="event", event="post.edited")
    assert (edited["data"]["text"], edited["data"]["version"]) == ("final", 2)
    assert edited["data"]["edited_at"]
    await ada.ok("PATCH", f"/posts/{made['id']}", {"visibility": "only_me"})
    assert (await live.until(type="event", event="post.hidden"))["data"] == {"id": made["id"]}
    assert (await bela.call("GET", f"/posts/{made['id']}"))[0] == 404
    await ada.ok("PATCH", f"/posts/{made['id']}", {"visibility": "friends"})
    assert (await live.until(type="event", event="post.created"))["data"]["id"] == made["id"]
    await ada.ok("DELETE", f"/posts/{made['id']}")
    assert (await live.until(type="event", event="post.deleted"))["data"] == {"id": made["id"]}


async def test_a_replay_holds_nothing_that_the_viewer_may_no_longer_see(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    feed = await bela.ok("GET", "/feed")
    kept = await ada.post("kept", "public")
    await ada.post("secret for friends")
    await asyncio.sleep(0.5)
    await ada.ok("DELETE", f"/friends/{bela.id}")
    await asyncio.sleep(0.5)
    live = await bela.live({"me": {k: feed["position"][k] for k in ("epoch", "offset")}})
    assert live.frames[0]["streams"]["me"]["recovered"] is True
    removed = await live.until(type="event", event="friend.removed")
    told = [frame for frame in live.frames if frame["type"] == "event" and frame["event"].startswith("post.")]
    assert [frame["data"]["id"] for frame in told] == [kept["id"]]
    assert "secret for friends" not in str(live.frames)
    skips = [frame for frame in live.frames if frame["type"] == "skip"]
    assert [(s["offset"], s["to"]) for s in skips] == [(removed["offset"] - 1, removed["offset"] - 1)]


async def test_a_block_hides_both_from_each_other(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    live = await bela.live()
    made = await ada.post("before the block", "public")
    await live.until(type="event", event="post.created")
    await ada.ok("PUT", f"/blocks/{bela.id}")
    assert (await live.until(type="event", event="author.hidden"))["data"] == {"user_id": ada.id}
    for path in (f"/users/{ada.id}", f"/posts/{made['id']}", f"/users/{ada.id}/posts", f"/posts/{made['id']}/comments"):
        assert (await bela.call("GET", path))[0] == 404, path
    assert (await bela.call("PUT", f"/friends/{ada.id}"))[0] == 404
    assert (await ada.call("GET", f"/users/{bela.id}"))[0] == 404
    assert [u["id"] for u in (await ada.ok("GET", "/blocks"))["items"]] == [bela.id]


async def test_signing_a_device_out_closes_its_socket_for_good(person):
    ada = await person()
    live = await ada.live()
    devices = (await ada.ok("GET", "/sessions"))["items"]
    assert [device["current"] for device in devices] == [True]
    await ada.ok("DELETE", "/sessions/current")
    assert await live.closed() == 4500
    assert (await ada.call("GET", "/me"))[0] == 401


async def test_fifty_equal_requests_make_one_post_and_one_event(person):
    ada = await person()
    live = await ada.live()
    key = {"Idempotency-Key": "one-and-only"}
    body = {"text": "once", "visibility": "friends"}
    answers = await asyncio.gather(*(ada.call("POST", "/posts", body, headers=key) for _ in range(50)))
    assert {status for status, _, _ in answers} == {201}
    assert len({post["id"] for _, post, _ in answers}) == 1
    await live.until(type="event", event="post.created")
    await live.quiet(0.7, type="event", event="post.created")
    assert len((await ada.ok("GET", "/feed"))["items"]) == 1
    status, problem, _ = await ada.call("POST", "/posts", {**body, "text": "other"}, headers=key)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_an_account_ends_with_everything_it_owned(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    mine, theirs = await ada.post("mine"), await bela.post("theirs")
    await ada.ok("PUT", f"/posts/{theirs['id']}/like")
    await ada.ok("POST", f"/posts/{theirs['id']}/comments", {"text": "bye"})
    live = await bela.live()
    status, _, _ = await ada.call("DELETE", "/me", {"password": "not this one"})
    assert status == 422
    assert (await ada.call("DELETE", "/me", {"password": ada.password}))[0] == 204
    assert (await live.until(type="event", event="author.hidden"))["data"] == {"user_id": ada.id}
    assert (await ada.call("GET", "/me"))[0] == 401
    assert (await bela.call("GET", f"/posts/{mine['id']}"))[0] == 404
    for _ in range(50):
        counts = (await bela.ok("GET", f"/posts/{theirs['id']}"))["counts"]
        if (counts["likes"], counts["comments"]) == (0, 0):
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail(f"still counted: {counts}")
    assert (await bela.ok("GET", "/friends"))["items"] == []
