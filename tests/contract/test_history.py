"""GET /posts/{id}/history: what edits replaced, for the author alone."""

from __future__ import annotations

import io
import json
import zipfile


async def test_each_edit_keeps_what_it_replaced(person):
    ada = await person("Ada")
    made = await ada.post("first", "only_me")
    path = f"/posts/{made['id']}"
    assert await ada.everything(f"{path}/history") == []
    await ada.ok("PATCH", path, {"text": "second"})
    await ada.ok("PATCH", path, {"text": "second"})  # changes nothing
    await ada.ok("PATCH", path, {"visibility": "public"})
    last = await ada.ok("PATCH", path, {"text": "third", "visibility": "friends"})
    for limit in (1, 2, 20):
        kept = await ada.everything(f"{path}/history", limit)
        told = [(each["version"], each["text"], each["visibility"]) for each in kept]
        assert told == [(3, "second", "public"), (2, "second", "only_me"), (1, "first", "only_me")]
    assert set(kept[0]) == {"version", "text", "visibility", "replaced_at"}
    assert kept[0]["replaced_at"] == last["edited_at"]


async def test_the_history_is_the_authors(person):
    ada, friend, stranger, blocked = [await person(name) for name in ("Ada", "Friend", "Stranger", "Blocked")]
    await ada.befriend(friend)
    await ada.ok("PUT", f"/blocks/{blocked.id}")
    made = await ada.post("not meant for you", "only_me")
    path = f"/posts/{made['id']}"
    for visibility, statuses in (("friends", (403, 404, 404)), ("public", (403, 403, 404)), ("only_me", (404,) * 3)):
        await ada.ok("PATCH", path, {"text": f"for {visibility}", "visibility": visibility})
        for viewer, status in zip((friend, stranger, blocked), statuses, strict=True):
            answer = await viewer.refused(status, "GET", f"{path}/history")
            assert "not meant" not in str(answer)
    await ada.refused(422, "GET", f"{path}/history?cursor=x")
    await ada.refused(404, "GET", "/posts/9007199254740991/history")
    await ada.ok("DELETE", path)
    await ada.refused(404, "GET", f"{path}/history")


async def test_the_export_has_shares_history_and_mentions(person):
    ada, bela = await person("Ada"), await person("Béla")
    theirs = await bela.post("words of another", "public")
    shared = await ada.ok("POST", f"/posts/{theirs['id']}/shares", {"visibility": "friends", "text": "look"})
    made = await ada.post("first draft")
    await ada.ok("PATCH", f"/posts/{made['id']}", {"text": f"second draft for @{bela.user['username']}"})
    _, raw, _ = await ada.call("GET", "/me/export")
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        posts = {post["id"]: post for post in json.loads(archive.read("posts.json"))}
    assert (posts[shared["id"]]["shared_id"], posts[made["id"]]["shared_id"]) == (theirs["id"], None)
    assert posts[made["id"]]["mentions"] == [{"id": bela.id, "username": bela.user["username"]}]
    assert [(old["version"], old["text"]) for old in posts[made["id"]]["history"]] == [(1, "first draft")]
    assert "words of another" not in str(posts)
