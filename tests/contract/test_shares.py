"""POST /posts/{id}/shares: a post of one's own that never widens the audience of what it shares."""

from __future__ import annotations

import asyncio

import pytest

FOR_FRIENDS = {"visibility": "friends"}


async def share(viewer, post, text="", visibility="public", **options):
    body = {"text": text, "visibility": visibility}
    return await viewer.ok("POST", f"/posts/{post['id']}/shares", body, **options)


async def embedded(viewer, shared):
    """What the viewer sees in a share, by its own page."""
    return (await viewer.ok("GET", f"/posts/{shared['id']}"))["shared"]


def gone(post):
    return {"id": post["id"], "gone": True}


async def test_a_share_is_a_post_that_shows_what_it_shares(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    await bela.befriend(carl)
    original = await ada.post("the original", "public")
    status, made, _ = await bela.call(
        "POST", f"/posts/{original['id']}/shares", {"text": "look", "visibility": "friends"}
    )
    assert status == 201
    assert (made["author"], made["text"], made["visibility"]) == (bela.user, "look", "friends")
    for viewer in (bela, carl):
        (item,) = await viewer.everything("/feed")
        assert item["id"] == made["id"]
        assert (item["shared"]["id"], item["shared"]["text"]) == (original["id"], "the original")
        assert item["shared"]["author"]["id"] == ada.id
        assert item["shared"]["shared"] is None
    await ada.refused(404, "GET", f"/posts/{made['id']}")
    await ada.settled(original["id"], shares=1)
    await bela.ok("DELETE", f"/posts/{made['id']}")
    await ada.settled(original["id"], shares=0)
    assert await carl.everything("/feed") == []


async def test_a_share_needs_no_text_also_after_an_edit(person):
    ada = await person("Ada")
    made = await share(ada, await ada.post("mine", "public"))
    assert made["text"] == ""
    assert (await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "words"}))["text"] == "words"
    edited = await ada.ok("PATCH", f"/posts/{made['id']}", {"text": ""})
    assert (edited["text"], edited["shared"]["text"]) == ("", "mine")


async def test_a_share_of_a_share_shares_the_original(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    original = await ada.post("the original", "public")
    first = await share(bela, original, "first")
    second = await share(carl, first, "second")
    assert (second["shared"]["id"], second["shared"]["text"]) == (original["id"], "the original")
    await ada.settled(original["id"], shares=2)
    assert (await bela.ok("GET", f"/posts/{first['id']}"))["counts"]["shares"] == 0


@pytest.mark.parametrize("field", ["text", "visibility", "media"])
async def test_a_wrong_field_of_a_share_is_pointed_at(person, field):
    ada = await person("Ada")
    path = f"/posts/{(await ada.post('mine'))['id']}/shares"
    wrong = {"text": ["a" * 5001, None, 1], "visibility": ["", "all", None], "media": [["1"]]}[field]
    for value in wrong:
        await ada.invalid("POST", path, {**FOR_FRIENDS, field: value}, f"/{field}")
    await ada.invalid("POST", path, {"text": "x"}, "/visibility")


async def test_only_what_one_may_see_can_be_shared(person):
    ada, friend, stranger, blocked = [await person(name) for name in ("Ada", "Friend", "Stranger", "Blocked")]
    await ada.befriend(friend)
    public, close, secret = [await ada.post("words", v) for v in ("public", "friends", "only_me")]
    shared = await share(friend, close)
    await ada.ok("PUT", f"/blocks/{blocked.id}")
    for viewer, post in (
        (friend, secret), (stranger, close), (stranger, secret), (blocked, public), (blocked, shared),
        (stranger, shared),  # visible, but what it shares is not
        (stranger, {"id": "9007199254740991"}),
    ):  # fmt: skip
        await viewer.refused(404, "POST", f"/posts/{post['id']}/shares", FOR_FRIENDS)
    deleted = await ada.post("short lived", "public")
    await ada.ok("DELETE", f"/posts/{deleted['id']}")
    await ada.refused(404, "POST", f"/posts/{deleted['id']}/shares", FOR_FRIENDS)


async def test_each_viewer_of_a_share_sees_in_it_what_that_one_may_see(person):
    ada, both, sharer, other = [await person(name) for name in ("Ada", "Both", "Sharer", "Other")]
    for friend in (both, sharer):
        await ada.befriend(friend)
    for friend in (both, other):
        await sharer.befriend(friend)
    close = await ada.post("for Ada's friends")
    made = await share(sharer, close, "not for all of you")
    own = await share(ada, await ada.post("for Ada alone", "only_me"))
    assert (await embedded(both, made))["text"] == "for Ada's friends"
    for viewer, shared in ((other, made), (both, own)):
        told = await viewer.ok("GET", f"/posts/{shared['id']}")
        assert set(told["shared"]) == {"id", "gone"}
        assert ada.id not in (told["author"]["id"], str(told["shared"])) or viewer is both
    for item in [await other.everything("/feed"), await other.everything(f"/users/{sharer.id}/posts")]:
        assert [(post["id"], post["shared"]) for post in item] == [(made["id"], gone(close))]
    await ada.ok("DELETE", f"/friends/{both.id}")
    assert await embedded(both, made) == gone(close)
    await both.befriend(ada)
    assert (await embedded(both, made))["text"] == "for Ada's friends"


@pytest.mark.parametrize("direction", ["by the author", "of the author"])
async def test_a_block_hides_what_is_shared_in_both_directions(person, direction):
    ada, sharer, viewer = [await person(name) for name in ("Ada", "Sharer", "Viewer")]
    original = await ada.post("the original", "public")
    made = await share(sharer, original, "look")
    blocker, blocked = (ada, viewer) if direction == "by the author" else (viewer, ada)
    await blocker.ok("PUT", f"/blocks/{blocked.id}")
    assert await embedded(viewer, made) == gone(original)
    assert "the original" not in str(await viewer.ok("GET", f"/posts?q={sharer.user['username']}"))
    await viewer.refused(404, "POST", f"/posts/{made['id']}/shares", FOR_FRIENDS)
    assert (await embedded(sharer, made))["text"] == "the original"


@pytest.mark.parametrize("change", ["narrow", "delete", "edit", "widen"])
async def test_who_holds_a_share_hears_that_the_original_has_changed(person, change):
    ada, sharer, viewer = [await person(name) for name in ("Ada", "Sharer", "Viewer")]
    await sharer.befriend(viewer)
    if change == "widen":
        await ada.befriend(sharer)
    original = await ada.post("as it was", "friends" if change == "widen" else "public")
    made = await share(sharer, original, "look")
    live = await viewer.live()
    before = await embedded(viewer, made)
    path = f"/posts/{original['id']}"
    match change:
        case "narrow":
            await ada.ok("PATCH", path, {"visibility": "friends"})
        case "widen":
            await ada.ok("PATCH", path, {"visibility": "public"})
        case "edit":
            await ada.ok("PATCH", path, {"text": "as it is"})
        case "delete":
            await ada.ok("DELETE", path)
    told = (await live.until(type="event", event="post.edited"))["data"]
    assert (told["id"], told["shared"]) == (made["id"], {"id": original["id"]})
    assert told["version"] > made["version"]
    assert "as it" not in str(live.frames)
    after = await embedded(viewer, made)
    if change in ("narrow", "delete"):
        assert (before["text"], after) == ("as it was", gone(original))
        assert await embedded(sharer, made) == gone(original)
    else:
        assert after["text"] == ("as it is" if change == "edit" else "as it was")
        assert before == gone(original) if change == "widen" else before["text"] == "as it was"
    read = await viewer.ok("GET", f"/posts/{made['id']}")
    assert (read["version"], read["edited_at"]) == (told["version"], None)


async def test_who_has_the_original_on_screen_gets_its_new_count(person):
    ada, bela = await person("Ada"), await person("Béla")
    original = await ada.post("counted", "public")
    live = await ada.live()
    await live.ask({"type": "watch", "id": 1, "posts": [original["id"]]}, type="counts")
    await share(bela, original)
    async with asyncio.timeout(10):
        while (await live.until(type="counts"))["posts"].get(original["id"], {}).get("shares") != 1:
            pass


async def test_a_share_reaches_friends_live_without_what_it_shares(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    await bela.befriend(carl)
    original = await ada.post("the original #tagged", "public")
    live = await carl.live()
    made = await share(bela, original, "look #here")
    told = (await live.until(type="event", event="post.created"))["data"]
    assert (told["id"], told["shared"], told["tags"]) == (made["id"], {"id": original["id"]}, ["here"])
    assert "the original" not in str(live.frames)


async def test_the_same_key_gives_the_same_share_also_when_the_original_is_gone(person):
    ada, bela = await person("Ada"), await person("Béla")
    original, other = await ada.post("short lived", "public"), await ada.post("other", "public")
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(share(bela, original, "look", headers=key) for _ in range(8)))
    assert len({answer["id"] for answer in answers}) == 1
    await ada.ok("DELETE", f"/posts/{original['id']}")
    again = await share(bela, original, "look", headers=key)
    assert (again["id"], again["shared"]) == (answers[0]["id"], gone(original))
    assert len(await bela.everything("/feed")) == 1
    for path, text in ((original, "other words"), (other, "look")):
        body = {"text": text, "visibility": "public"}
        await bela.refused(422, "POST", f"/posts/{path['id']}/shares", body, headers=key)


async def test_a_share_outlives_the_account_whose_post_it_shares(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    await bela.befriend(carl)
    original, kept = await ada.post("the original", "public"), await bela.post("kept", "public")
    made = await share(bela, original)
    await share(ada, kept)
    await bela.settled(kept["id"], shares=1)
    live = await carl.live()
    await ada.ok("DELETE", "/me", {"password": ada.password})
    assert await embedded(bela, made) == gone(original)
    assert (await live.until(type="event", event="post.edited"))["data"]["id"] == made["id"]
    assert await embedded(bela, made) == gone(original)
    await bela.settled(kept["id"], shares=0)
