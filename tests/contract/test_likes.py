"""Likes: idempotent acts, exact answers, counts that settle."""

from __future__ import annotations

import asyncio


async def test_liking_and_taking_it_back_are_idempotent_and_told_with_the_own_act(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("like me")
    path = f"/posts/{made['id']}/like"
    for _ in range(3):
        assert await bela.ok("PUT", path) == {"likes": 1, "liked": True}
    assert await ada.ok("PUT", path) == {"likes": 2, "liked": True}
    assert (await bela.ok("GET", f"/posts/{made['id']}"))["liked"] is True
    assert [post["liked"] for post in await bela.everything("/feed")] == [True]
    for _ in range(3):
        assert await bela.ok("DELETE", path) == {"likes": 1, "liked": False}
    assert (await bela.ok("GET", f"/posts/{made['id']}"))["liked"] is False
    likers = await bela.everything(f"/posts/{made['id']}/likes")
    assert [(user["id"], user["relation"]) for user in likers] == [(ada.id, "friends")]


async def test_many_at_once_are_counted_exactly(person):
    ada = await person("Ada")
    fans = [await person(f"Fan {n}") for n in range(12)]
    made = await ada.post("like me", "public")
    path = f"/posts/{made['id']}/like"
    answers = await asyncio.gather(*(fan.ok("PUT", path) for fan in fans for _ in range(3)))
    assert all(answer["liked"] and 1 <= answer["likes"] <= 12 for answer in answers)
    await ada.settled(made["id"], likes=12)
    for limit in (1, 5, 12):
        likers = await ada.everything(f"/posts/{made['id']}/likes", limit)
        assert sorted(user["id"] for user in likers) == sorted(fan.id for fan in fans)
    await asyncio.gather(*(fan.ok("DELETE", path) for fan in fans for _ in range(2)))
    await ada.settled(made["id"], likes=0)
    assert await ada.everything(f"/posts/{made['id']}/likes") == []


async def test_liking_and_unliking_at_once_leave_count_and_list_agreed(person):
    ada = await person("Ada")
    made = await ada.post("like me", "public")
    path = f"/posts/{made['id']}/like"
    await asyncio.gather(*(ada.ok(method, path) for _ in range(10) for method in ("PUT", "DELETE")))
    likers = await ada.everything(f"/posts/{made['id']}/likes")
    await ada.settled(made["id"], likes=len(likers))
    assert (await ada.ok("GET", f"/posts/{made['id']}"))["liked"] is bool(likers)


async def test_a_like_needs_no_body_and_refuses_what_does_not_exist(person):
    ada = await person()
    for method in ("PUT", "DELETE"):
        await ada.refused(404, method, "/posts/9007199254740991/like")
    await ada.refused(404, "GET", "/posts/9007199254740991/likes")


async def test_counts_rise_in_version_on_a_watched_post(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("watch me")
    live = await ada.live()
    frames = [await live.ask({"type": "watch", "id": 1, "posts": [made["id"]]}, type="counts")]
    for method, likes in (("PUT", 1), ("DELETE", 0), ("PUT", 1)):
        await bela.ok(method, f"/posts/{made['id']}/like")
        while (frame := await live.until(type="counts"))["posts"][made["id"]]["likes"] != likes:
            frames.append(frame)
        frames.append(frame)
    versions = [frame["posts"][made["id"]]["version"] for frame in frames]
    assert versions == sorted(versions)
    assert len(set(versions)) >= 4
    assert not {"liked", "relation"} & frames[-1]["posts"][made["id"]].keys()


async def test_counts_come_at_most_four_times_a_second(person):
    ada = await person("Ada")
    made = await ada.post("watch me")
    live = await ada.live()
    await live.ask({"type": "watch", "id": 1, "posts": [made["id"]]}, type="counts")
    clock = asyncio.get_running_loop().time
    seen: list[float] = []

    async def count():
        while True:
            await live.until(wait=5, type="counts")
            seen.append(clock())

    reader = asyncio.create_task(count())
    began = clock()
    while clock() - began < 2:
        await ada.ok("PUT", f"/posts/{made['id']}/like")
        await ada.ok("DELETE", f"/posts/{made['id']}/like")
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert 1 <= len(seen) <= 10, seen
