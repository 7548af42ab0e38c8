"""Comments: written, listed oldest first, edited by their author, deleted by two."""

from __future__ import annotations

import asyncio

import pytest


async def test_a_comment_has_every_member_and_is_listed_oldest_first(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("talk to me")
    said = [
        await who.ok("POST", f"/posts/{made['id']}/comments", {"text": f"n{n}"})
        for n, who in enumerate((bela, ada, bela))
    ]
    assert said[0]["post_id"] == made["id"]
    assert said[0]["author"]["id"] == bela.id
    assert (said[0]["text"], said[0]["edited_at"]) == ("n0", None)
    assert said[0]["version"] >= 1
    listed = await ada.everything(f"/posts/{made['id']}/comments")
    assert [comment["id"] for comment in listed] == [comment["id"] for comment in said]
    assert [comment["text"] for comment in listed] == ["n0", "n1", "n2"]
    assert listed[0]["author"]["relation"] == "friends"
    await ada.settled(made["id"], comments=3)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_wrong_field_is_pointed_at(person, method):
    ada = await person()
    made = await ada.post("talk")
    path = f"/posts/{made['id']}/comments"
    if method == "PATCH":
        path = f"/comments/{(await ada.ok('POST', path, {'text': 'kept'}))['id']}"
    for value in (None, 1, True, ["a"], {}, "", "  ", "\n", "a" * 2001, "𝄞" * 2001, "a\x00b"):
        await ada.invalid(method, path, {"text": value}, "/text")
    for field in ("author_id", "id", "post_id", "created_at", "version", "visibility"):
        await ada.invalid(method, path, {"text": "hi", field: "1"}, f"/{field}")
    if method == "POST":
        await ada.invalid(method, path, {}, "/text")
    kept = await ada.everything(f"/posts/{made['id']}/comments")
    assert [comment["text"] for comment in kept] == (["kept"] if method == "PATCH" else [])


@pytest.mark.parametrize("sign", ["a", "𝄞", "e\u0301", "👍"], ids=ascii)
async def test_a_comment_may_have_two_thousand_code_points_after_nfc(person, sign):
    ada = await person()
    made = await ada.post("talk")
    said = await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": sign * 2000})
    assert len(said["text"]) == 2000


async def test_only_its_author_edits_a_comment(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    await ada.befriend(bela)
    await ada.befriend(carl)
    made = await ada.post("talk")
    said = await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": "draft"})
    edited = await bela.ok("PATCH", f"/comments/{said['id']}", {"text": "final"})
    assert edited["version"] > said["version"]
    assert edited["edited_at"] >= said["created_at"]
    for other in (ada, carl):
        status, _, _ = await other.call("PATCH", f"/comments/{said['id']}", {"text": "forged"})
        assert status in (403, 404)
    stranger = await person()
    await stranger.refused(404, "PATCH", f"/comments/{said['id']}", {"text": "forged"})
    await ada.refused(404, "PATCH", "/comments/9007199254740991", {"text": "forged"})
    assert [c["text"] for c in await ada.everything(f"/posts/{made['id']}/comments")] == ["final"]


async def test_the_author_of_the_comment_or_of_the_post_deletes_it_and_nobody_else(person):
    ada, bela, carl, stranger = [await person() for _ in range(4)]
    await ada.befriend(bela)
    await ada.befriend(carl)
    made = await ada.post("talk")
    one, two = [await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": f"n{n}"}) for n in range(2)]
    status, _, _ = await carl.call("DELETE", f"/comments/{one['id']}")
    assert status in (403, 404)
    await stranger.refused(404, "DELETE", f"/comments/{one['id']}")
    for who, said in ((bela, one), (ada, two)):
        status, raw, _ = await who.call("DELETE", f"/comments/{said['id']}")
        assert (status, raw) == (204, b"")
        await who.refused(404, "PATCH", f"/comments/{said['id']}", {"text": "late"})
    assert await ada.everything(f"/posts/{made['id']}/comments") == []
    await ada.settled(made["id"], comments=0)


async def test_a_thread_tells_what_happens_to_its_comments(person):
    ada = await person("Ada")
    made = await ada.post("talk")
    live = await ada.live()
    await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}, type="subscribed")
    said = await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "draft"})
    created = await live.until(type="event", event="comment.created")
    assert (created["data"]["id"], created["data"]["text"]) == (said["id"], "draft")
    edited = await ada.ok("PATCH", f"/comments/{said['id']}", {"text": "final"})
    changed = await live.until(type="event", event="comment.edited")
    assert (changed["data"]["text"], changed["data"]["version"]) == ("final", edited["version"])
    await ada.ok("DELETE", f"/comments/{said['id']}")
    assert (await live.until(type="event", event="comment.deleted"))["data"]["id"] == said["id"]
    events = [frame for frame in live.frames if frame["type"] == "event" and frame["stream"] != "me"]
    assert [frame["offset"] for frame in events] == [events[0]["offset"] + n for n in range(3)]


async def test_pages_of_comments_have_no_hole_and_no_double_while_others_write(person):
    ada = await person()
    made = await ada.post("talk")
    path = f"/posts/{made['id']}/comments"
    first = [(await ada.ok("POST", path, {"text": f"n{n}"}))["id"] for n in range(25)]

    async def write():
        for n in range(15):
            await ada.ok("POST", path, {"text": f"late {n}"})

    writer = asyncio.create_task(write())
    items = [comment["id"] for comment in await ada.everything(path, 4)]
    await writer
    assert len(items) == len(set(items))
    assert items[:25] == first


async def test_a_deleted_comment_between_two_pages_makes_no_hole(person):
    ada = await person()
    made = await ada.post("talk")
    path = f"/posts/{made['id']}/comments"
    ids = [(await ada.ok("POST", path, {"text": f"n{n}"}))["id"] for n in range(6)]
    page = await ada.ok("GET", f"{path}?limit=3")
    for gone in (ids[0], ids[2]):
        await ada.ok("DELETE", f"/comments/{gone}")
    rest = await ada.ok("GET", f"{path}?limit=3&cursor={page['next']}")
    assert [comment["id"] for comment in rest["items"]] == ids[3:]
