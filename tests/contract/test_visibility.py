"""Who sees what through which door: relation of the viewer x visibility of the post x door, all cells."""

from __future__ import annotations

import asyncio

import pytest

RELATIONS = ("self", "friend", "requested", "asked", "stranger", "blocked", "blocking")
SEES = {
    "public": {"self", "friend", "requested", "asked", "stranger"},
    "friends": {"self", "friend"},
    "only_me": {"self"},
}


async def relate(relation, ada, viewer):
    """Makes `viewer` what `relation` says to Ada."""
    match relation:
        case "friend":
            await ada.befriend(viewer)
        case "requested":
            await viewer.ok("PUT", f"/friends/{ada.id}")
        case "asked":
            await ada.ok("PUT", f"/friends/{viewer.id}")
        case "blocked":
            await ada.ok("PUT", f"/blocks/{viewer.id}")
        case "blocking":
            await viewer.ok("PUT", f"/blocks/{ada.id}")


@pytest.mark.parametrize("visibility", SEES)
@pytest.mark.parametrize("relation", RELATIONS)
async def test_a_post_is_seen_through_every_door_or_through_none(person, relation, visibility):
    ada = await person("Ada")
    viewer = ada if relation == "self" else await person("Viewer")
    made = await ada.post("seen or not", visibility)
    said = await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "by Ada"})
    await relate(relation, ada, viewer)
    sees = relation in SEES[visibility]
    post, user = made["id"], ada.id
    statuses = {
        "post": (await viewer.call("GET", f"/posts/{post}"))[0],
        "comments": (await viewer.call("GET", f"/posts/{post}/comments"))[0],
        "likes": (await viewer.call("GET", f"/posts/{post}/likes"))[0],
        "like": (await viewer.call("PUT", f"/posts/{post}/like"))[0],
        "unlike": (await viewer.call("DELETE", f"/posts/{post}/like"))[0],
        "comment": (await viewer.call("POST", f"/posts/{post}/comments", {"text": "by the viewer"}))[0],
    }
    assert statuses == {door: (201 if door == "comment" else 200) if sees else 404 for door in statuses}
    if not sees:
        for method, path, body in (
            ("PATCH", f"/posts/{post}", {"text": "x"}), ("DELETE", f"/posts/{post}", None),
            ("PATCH", f"/comments/{said['id']}", {"text": "x"}), ("DELETE", f"/comments/{said['id']}", None),
        ):  # fmt: skip
            await viewer.refused(404, method, path, body)
    status, page, _ = await viewer.call("GET", f"/users/{user}/posts")
    assert status == (404 if relation.startswith("block") else 200)
    if status == 200:
        assert (post in [item["id"] for item in page["items"]]) is sees
    feed = [item["id"] for item in await viewer.everything("/feed")]
    assert (post in feed) is (sees and relation in ("self", "friend"))
    await ada.settled(post, likes=0, comments=2 if sees else 1)


@pytest.mark.parametrize("relation", RELATIONS)
async def test_a_post_is_followed_and_watched_live_only_by_those_who_see_it(person, relation):
    ada = await person("Ada")
    viewer = ada if relation == "self" else await person("Viewer")
    posts = {visibility: (await ada.post(visibility, visibility))["id"] for visibility in SEES}
    await relate(relation, ada, viewer)
    seen = {post for visibility, post in posts.items() if relation in SEES[visibility]}
    live = await viewer.live()
    for n, post in enumerate(posts.values()):
        answer = await live.ask({"type": "subscribe", "id": n, "stream": f"post:{post}"}, id=n)
        wanted = ("subscribed", None) if post in seen else ("error", "forbidden_or_missing")
        assert (answer["type"], answer.get("code")) == wanted, (relation, post, posts)
    await live.send({"type": "watch", "id": "w", "posts": list(posts.values())})
    await live.barrier()
    for post in posts.values():
        await ada.ok("PUT", f"/posts/{post}/like")
        await ada.ok("POST", f"/posts/{post}/comments", {"text": "said"})
    told: set[str] = set()
    async with asyncio.timeout(5):
        while seen - told:
            told |= (await live.until(type="counts"))["posts"].keys()
    await live.quiet(0.5, type="nothing")
    frames = [frame for frame in live.frames if frame["type"] in ("counts", "event")]
    told = {post for frame in frames if frame["type"] == "counts" for post in frame["posts"]}
    assert told == seen
    events = {f["stream"] for f in frames if f["type"] == "event" and f["stream"] != "me"}
    assert events == {f"post:{post}" for post in seen}


async def test_resuming_a_stream_asks_the_same_question_as_subscribing(person):
    ada, stranger = await person(), await person()
    made = await ada.post("secret")
    mine = await ada.live()
    joined = await mine.ask({"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}, type="subscribed")
    await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "hidden words"})
    at = {"epoch": joined["epoch"], "offset": joined["offset"]}
    live = await stranger.live({f"post:{made['id']}": at, f"me:{ada.id}": at})
    assert set(live.frames[0]["streams"]) <= {"me"}
    refused = [await live.until(type="error", code="forbidden_or_missing") for _ in range(2)]
    assert len(refused) == 2
    await live.ask({"type": "subscribe", "id": 2, "stream": f"post:{made['id']}", "from": at}, id=2, type="error")
    assert "hidden words" not in str(live.frames)


@pytest.mark.parametrize(("change", "event"), [("hide", "post.hidden"), ("delete", "post.deleted"), ("unfriend", None)])
async def test_a_thread_goes_quiet_within_a_second_of_the_change(person, change, event):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("for friends")
    live = await bela.live()
    await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}, type="subscribed")
    await live.ask({"type": "watch", "id": 2, "posts": [made["id"]]}, type="counts")
    match change:
        case "hide":
            await ada.ok("PATCH", f"/posts/{made['id']}", {"visibility": "only_me"})
        case "delete":
            await ada.ok("DELETE", f"/posts/{made['id']}")
        case "unfriend":
            await ada.ok("DELETE", f"/friends/{bela.id}")
    if event:
        assert (await live.until(type="event", event=event))["data"] == {"id": made["id"]}
    await asyncio.sleep(1.1)
    seen = len(live.frames)
    if change != "delete":
        await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "too late"})
        await ada.ok("PUT", f"/posts/{made['id']}/like")
        await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "too late too"})
    await live.quiet(1, type="nothing")
    later = [f for f in live.frames[seen:] if f["type"] == "counts" or (f["type"] == "event" and f["event"] != event)]
    assert [f for f in later if f.get("event") not in ("friend.removed", "post.hidden", "author.hidden")] == []
    assert "too late" not in str(live.frames)


async def test_a_widened_post_arrives_and_a_narrowed_one_leaves(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("mine first", "only_me")
    live = await bela.live()
    await ada.ok("PATCH", f"/posts/{made['id']}", {"visibility": "friends"})
    assert (await live.until(type="event", event="post.created"))["data"]["id"] == made["id"]
    assert [post["id"] for post in await bela.everything("/feed")] == [made["id"]]
    await ada.ok("PATCH", f"/posts/{made['id']}", {"visibility": "only_me"})
    assert (await live.until(type="event", event="post.hidden"))["data"] == {"id": made["id"]}
    assert await bela.everything("/feed") == []


async def test_a_wall_tells_nobody_how_much_of_it_is_hidden(person):
    ada, bela, eve = await person("Ada"), await person("Béla"), await person("Eve")
    await ada.befriend(bela)
    for _ in range(4):
        await ada.post("for myself", "only_me")
        await ada.post("for friends")
    for limit in (1, 3):
        page = await eve.ok("GET", f"/users/{ada.id}/posts?limit={limit}")
        assert (page["items"], page["next"]) == ([], None)
    assert len(await bela.everything(f"/users/{ada.id}/posts", 1)) == 4
    assert len(await ada.everything(f"/users/{ada.id}/posts", 3)) == 8
