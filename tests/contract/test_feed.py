"""GET /feed and GET /users/{id}/posts: order, pages, cursors, position."""

from __future__ import annotations

import asyncio
import base64

import pytest


async def test_the_feed_is_of_oneself_and_friends_newest_first(person):
    ada, bela, stranger = await person("Ada"), await person("Béla"), await person("Stranger")
    await ada.befriend(bela)
    await stranger.post("open to all", "public")
    made = [(await (ada if n % 2 else bela).post(f"n{n}"))["id"] for n in range(6)]
    await bela.post("for myself", "only_me")
    await asyncio.sleep(0)
    assert [post["id"] for post in await ada.everything("/feed")] == made[::-1]
    times = [post["created_at"] for post in await ada.everything("/feed")]
    assert times == sorted(times, reverse=True)


async def test_an_empty_feed_has_a_position_and_no_next(person):
    page = await (await person()).ok("GET", "/feed")
    assert page["items"] == []
    assert page["next"] is None
    assert page["position"].keys() == {"stream", "epoch", "offset"}
    assert page["position"]["stream"] == "me"


async def test_the_header_tells_the_position_of_the_body(person):
    ada = await person()
    _, page, headers = await ada.call("GET", "/feed")
    assert headers["Live-Position"] == f"me={page['position']['epoch']}:{page['position']['offset']}"


async def test_pages_of_any_size_join_to_the_whole(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    made = [(await (ada if n % 3 else bela).post(f"n{n}"))["id"] for n in range(23)]
    for limit in (1, 7, 22, 23, 24, 100):
        assert [post["id"] for post in await ada.everything("/feed", limit)] == made[::-1]
    assert len((await ada.ok("GET", "/feed"))["items"]) == 20
    theirs = [post["id"] for post in await ada.everything(f"/users/{bela.id}/posts", 2)]
    assert theirs == [made[n] for n in range(22, -1, -1) if n % 3 == 0]


@pytest.mark.parametrize("of", ["feed", "person"])
async def test_pages_have_no_hole_and_no_double_while_others_write(person, of):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    before = [(await bela.post(f"n{n}"))["id"] for n in range(24)]
    path = "/feed" if of == "feed" else f"/users/{bela.id}/posts"

    async def write():
        return [(await bela.post(f"late {n}"))["id"] for n in range(15)]

    writer = asyncio.create_task(write())
    rounds = [[post["id"] for post in await ada.everything(path, 3)] for _ in range(3)]
    late = await writer
    for items in rounds:
        assert len(items) == len(set(items))
        assert [item for item in items if item in set(before)] == before[::-1]
    assert [post["id"] for post in await ada.everything(path, 100)] == (before + late)[::-1]


async def test_a_cursor_survives_the_deletion_of_its_post(person):
    ada = await person()
    made = [(await ada.post(f"n{n}"))["id"] for n in range(6)]
    page = await ada.ok("GET", "/feed?limit=2")
    for gone in (made[4], made[3]):
        await ada.ok("DELETE", f"/posts/{gone}")
    rest = await ada.everything("/feed", 2)
    assert [post["id"] for post in rest] == [made[5], made[2], made[1], made[0]]
    after = await ada.ok("GET", f"/feed?cursor={page['next']}&limit=10")
    assert [post["id"] for post in after["items"]] == [made[2], made[1], made[0]]


async def test_a_friend_lost_between_two_pages_is_not_on_the_second(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    for n in range(4):
        await bela.post(f"n{n}")
    page = await ada.ok("GET", "/feed?limit=2")
    await bela.ok("DELETE", f"/friends/{ada.id}")
    rest = await ada.ok("GET", f"/feed?limit=10&cursor={page['next']}")
    assert rest["items"] == []


async def test_a_cursor_that_was_tampered_with_is_refused_or_shows_nothing_hidden(person):
    ada, eve = await person(), await person()
    mine = set()
    for n in range(4):
        mine.add((await ada.post(f"n{n}"))["id"])
        await eve.post("hidden words")
    cursor = (await ada.ok("GET", "/feed?limit=2"))["next"]
    forged = {cursor[:-1], cursor[1:], cursor + "A", cursor[::-1], cursor.swapcase(), cursor + "=", f"{cursor}%00"}
    for n in range(0, len(cursor), 3):
        forged.add(cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :])
    forged.add(base64.urlsafe_b64encode(b'{"id":1,"before":"9999"}').decode())
    for wrong in forged - {cursor}:
        status, page, _ = await ada.call("GET", f"/feed?limit=20&cursor={wrong}")
        assert status == 200 or 400 <= status < 500, (cursor, wrong, status, page)
        assert status != 200 or {post["id"] for post in page["items"]} <= mine


async def test_a_cursor_of_another_person_or_list_shows_nothing_hidden(person):
    ada, eve = await person(), await person()
    for n in range(4):
        await ada.post(f"secret {n}")
    cursor = (await ada.ok("GET", "/feed?limit=2"))["next"]
    for path in ("/feed", f"/users/{ada.id}/posts", "/users", "/friends"):
        joint = "?q=a&" if path == "/users" else "?"
        status, page, _ = await eve.call("GET", f"{path}{joint}cursor={cursor}")
        assert "secret" not in str(page)
        assert status == 200 or 400 <= status < 500
    status, page, _ = await ada.call("GET", f"/friends?cursor={cursor}")
    assert 400 <= status < 500


async def test_parameters_given_twice_or_unknown_do_no_harm(person):
    ada = await person()
    for query in ("limit=1&limit=2", "cursor=&cursor=", "user_id=1", "author=1&limit=5", "order=sideways"):
        status, _, _ = await ada.call("GET", f"/feed?{query}")
        assert status in (200, 400, 422), query


async def test_nothing_falls_between_the_page_and_the_stream(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)

    async def write():
        return [(await bela.post(f"n{n}"))["id"] for n in range(20)]

    writer = asyncio.create_task(write())
    await asyncio.sleep(0.05)
    page = await ada.ok("GET", "/feed?limit=100")
    position = page["position"]
    live = await ada.live({"me": {"epoch": position["epoch"], "offset": position["offset"]}})
    made = await writer
    have = {post["id"] for post in page["items"]}
    while set(made) - have:
        frame = await live.until(type="event", event="post.created")
        have.add(frame["data"]["id"])
    offsets = [frame["offset"] for frame in live.frames if frame["type"] == "event" and frame["stream"] == "me"]
    assert offsets == list(range(position["offset"] + 1, position["offset"] + 1 + len(offsets)))


# --- validators ------------------------------------------------------------------------------------------------------


async def test_who_has_the_page_is_told_so_with_the_position(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    post = await bela.post("one")
    _, page, headers = await ada.call("GET", "/feed")
    known = {"If-None-Match": headers["ETag"]}
    assert headers["ETag"].startswith('W/"')
    assert headers["Cache-Control"] == "private, no-cache"

    status, body, again = await ada.call("GET", "/feed", headers=known)
    assert (status, body) == (304, b"")
    assert again["ETag"] == headers["ETag"]
    assert again["Live-Position"].startswith(f"me={page['position']['epoch']}:")

    await bela.ok("PATCH", f"/posts/{post['id']}", {"text": "two"})
    status, body, other = await ada.call("GET", "/feed", headers=known)
    assert (status, body["items"][0]["text"]) == (200, "two")
    assert other["ETag"] != headers["ETag"]
    assert (await ada.call("GET", "/feed", headers={"If-None-Match": '"none", ' + other["ETag"]}))[0] == 304


async def test_the_viewers_own_like_changes_the_validator(person):
    ada = await person("Ada")
    post = await ada.post("mine")
    _, _, before = await ada.call("GET", "/feed")
    await ada.ok("PUT", f"/posts/{post['id']}/like")
    status, page, _ = await ada.call("GET", "/feed", headers={"If-None-Match": before["ETag"]})
    assert (status, page["items"][0]["liked"]) == (200, True)


# --- by rank ---------------------------------------------------------------------------------------------------------


async def ranked(somebody, limit=2):
    """(ids of all pages of `order=top`, the cursors between them)."""
    path, found, cursors = f"/feed?order=top&limit={limit}", [], []
    while True:
        page = await somebody.ok("GET", path + (f"&cursor={cursors[-1]}" if cursors else ""))
        found.extend(post["id"] for post in page["items"])
        if page["next"] is None:
            return found, cursors
        cursors.append(page["next"])


async def test_top_shows_first_what_others_did_more_with(person):
    ada, bela, cleo = await person("Ada"), await person("Béla"), await person("Cleo")
    for one, other in ((ada, bela), (ada, cleo), (bela, cleo)):
        await one.befriend(other)
    made = [(await bela.post(f"n{n}"))["id"] for n in range(5)]
    await cleo.ok("PUT", f"/posts/{made[1]}/like")
    await cleo.ok("POST", f"/posts/{made[3]}/comments", {"text": "well"})
    await counted(ada, made[3], comments=1)
    await counted(ada, made[1], likes=1)
    found, cursors = await ranked(ada)
    assert found == [made[3], made[1], made[4], made[2], made[0]]
    assert len(cursors) == 2


async def counted(somebody, post_id, **numbers):
    """Waits until a post's counters have caught up."""

    async def caught_up():
        return numbers.items() <= (await somebody.ok("GET", f"/posts/{post_id}"))["counts"].items()

    await comes_true(caught_up)


async def comes_true(happens):
    for _ in range(200):
        if await happens():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("this did not come true within 10 s")


async def test_a_ranking_stays_as_it_was_and_hides_what_is_gone(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = [(await bela.post(f"n{n}"))["id"] for n in range(6)][::-1]
    first = await ada.ok("GET", "/feed?order=top&limit=2")
    await bela.post("late")
    await bela.ok("DELETE", f"/posts/{made[3]}")
    await ada.ok("PUT", f"/posts/{made[5]}/like")
    second = await ada.ok("GET", f"/feed?order=top&limit=2&cursor={first['next']}")
    third = await ada.ok("GET", f"/feed?order=top&limit=2&cursor={second['next']}")
    found = [post["id"] for page in (first, second, third) for post in page["items"]]
    assert (found, third["next"]) == ([made[0], made[1], made[2], made[4], made[5]], None)


async def test_a_cursor_of_one_order_is_none_of_the_other(person):
    ada, eve = await person("Ada"), await person("Eve")
    for n in range(4):
        await ada.post(f"secret {n}")
        await eve.post("plain")
    top = (await ada.ok("GET", "/feed?order=top&limit=2"))["next"]
    recent = (await ada.ok("GET", "/feed?limit=2"))["next"]
    await ada.refused(422, "GET", f"/feed?cursor={top}")
    await ada.refused(422, "GET", f"/feed?order=top&cursor={recent}")
    refused = await eve.refused(422, "GET", f"/feed?order=top&cursor={top}")
    assert "first page" in refused["detail"]
    await ada.refused(422, "GET", "/feed?order=sideways")


# --- while the workers stand still -----------------------------------------------------------------------------------


async def test_a_feed_lacks_nothing_that_is_committed_while_no_worker_runs(cluster, member):
    ada, bela, cleo = await member("Ada"), await member("Béla"), await member("Cleo")
    await ada.befriend(bela)
    before = await bela.post("before")
    assert [post["id"] for post in await ada.everything("/feed")] == [before["id"]]
    with cluster.no_worker():
        late = [(await bela.post(f"late {n}"))["id"] for n in range(5)]
        own = (await ada.post("own"))["id"]
        await cleo.post("of a stranger", "public")
        secret = await bela.post("for myself", "only_me")
        for limit in (1, 2, 20):
            assert [p["id"] for p in await ada.everything("/feed", limit)] == [own, *late[::-1], before["id"]]
        await bela.ok("DELETE", f"/posts/{late[2]}")
        await bela.ok("PATCH", f"/posts/{secret['id']}", {"visibility": "friends"})
        await cleo.ok("PUT", f"/friends/{ada.id}")
        await ada.ok("PUT", f"/friends/{cleo.id}")
        found = [post["text"] for post in await ada.everything("/feed", 3)]
        assert found == ["for myself", "of a stranger", "own", "late 4", "late 3", "late 1", "late 0", "before"]

    async def fanned_out():
        return [post["text"] for post in await ada.everything("/feed", 3)] == found

    await comes_true(fanned_out)
