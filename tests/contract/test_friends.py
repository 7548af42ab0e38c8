"""Friendship as a state machine, seen from both sides and live."""

from __future__ import annotations

import asyncio


async def relation(viewer, other):
    return (await viewer.ok("GET", f"/users/{other.id}"))["relation"]


async def requests(viewer):
    return {(r["user"]["id"], r["direction"]) for r in await viewer.everything("/friend-requests")}


async def friends(viewer):
    return {user["id"] for user in await viewer.everything("/friends")}


async def test_asking_is_idempotent_and_seen_from_both_sides(person):
    ada, bela = await person("Ada"), await person("Béla")
    for _ in range(3):
        assert await ada.ok("PUT", f"/friends/{bela.id}") == {"state": "requested"}
    assert await requests(ada) == {(bela.id, "out")}
    assert await requests(bela) == {(ada.id, "in")}
    page = await bela.ok("GET", "/friend-requests")
    assert page["items"][0].keys() == {"user", "direction", "at"}
    assert page["items"][0]["user"]["relation"] == "asked"
    assert (await ada.ok("GET", "/friend-requests"))["items"][0]["user"]["relation"] == "requested"
    assert await friends(ada) == await friends(bela) == set()


async def test_asking_back_accepts_and_stays_accepted(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.ok("PUT", f"/friends/{bela.id}")
    for who, other in ((bela, ada), (bela, ada), (ada, bela)):
        assert await who.ok("PUT", f"/friends/{other.id}") == {"state": "friends"}
    assert await friends(ada) == {bela.id}
    assert await friends(bela) == {ada.id}
    assert await requests(ada) == await requests(bela) == set()
    (shown,) = (await ada.ok("GET", "/friends"))["items"]
    assert shown["relation"] == "friends"
    assert shown["online"] in (True, False)


async def test_a_request_can_be_withdrawn(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.ok("PUT", f"/friends/{bela.id}")
    assert (await ada.call("DELETE", f"/friends/{bela.id}"))[0] == 204
    assert await requests(ada) == await requests(bela) == set()
    assert await ada.ok("PUT", f"/friends/{bela.id}") == {"state": "requested"}
    assert await bela.ok("PUT", f"/friends/{ada.id}") == {"state": "friends"}


async def test_a_request_can_be_declined_and_asked_anew(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.ok("PUT", f"/friends/{bela.id}")
    assert (await bela.call("DELETE", f"/friends/{ada.id}"))[0] == 204
    assert await requests(ada) == await requests(bela) == set()
    assert (await relation(ada, bela), await relation(bela, ada)) == ("none", "none")
    assert await bela.ok("PUT", f"/friends/{ada.id}") == {"state": "requested"}
    assert await requests(ada) == {(bela.id, "in")}


async def test_either_side_ends_a_friendship_and_ending_twice_is_no_error(person):
    ada, bela = await person("Ada"), await person("Béla")
    for ending, other in ((ada, bela), (bela, ada)):
        await ada.befriend(bela)
        for _ in range(2):
            assert (await ending.call("DELETE", f"/friends/{other.id}"))[0] == 204
        assert await friends(ada) == await friends(bela) == set()
        assert (await relation(ada, bela), await relation(bela, ada)) == ("none", "none")


async def test_nobody_befriends_themselves_or_nobody(person):
    ada = await person()
    status, _, _ = await ada.call("PUT", f"/friends/{ada.id}")
    assert status in (409, 422)
    assert await requests(ada) == set()
    assert await friends(ada) == set()
    await ada.refused(404, "PUT", "/friends/9007199254740991")
    status, _, _ = await ada.call("DELETE", "/friends/9007199254740991")
    assert status in (204, 404)


async def test_requests_that_cross_make_one_friendship(person):
    pairs = [(await person(), await person()) for _ in range(6)]
    states = await asyncio.gather(
        *(one.ok("PUT", f"/friends/{two.id}") for pair in pairs for one, two in (pair, pair[::-1]))
    )
    assert [state["state"] for state in states].count("friends") >= 6
    for ada, bela in pairs:
        assert await friends(ada) == {bela.id}
        assert await friends(bela) == {ada.id}
        assert await requests(ada) == await requests(bela) == set()


async def test_many_equal_requests_at_once_are_one(person):
    ada, bela = await person(), await person()
    live = await bela.live()
    answers = await asyncio.gather(*(ada.call("PUT", f"/friends/{bela.id}") for _ in range(20)))
    assert {(status, body["state"]) for status, body, _ in answers} == {(200, "requested")}
    assert await requests(bela) == {(ada.id, "in")}
    await live.until(type="event", event="friend.requested")
    await live.quiet(0.5, type="event", event="friend.requested")


async def test_accepting_and_withdrawing_at_once_leave_both_sides_agreed(person):
    for _ in range(5):
        ada, bela = await person(), await person()
        await ada.ok("PUT", f"/friends/{bela.id}")
        await asyncio.gather(ada.call("DELETE", f"/friends/{bela.id}"), bela.call("PUT", f"/friends/{ada.id}"))
        mirror = {"none": "none", "friends": "friends", "requested": "asked", "asked": "requested"}
        assert await relation(bela, ada) == mirror[await relation(ada, bela)]
        assert (bela.id in await friends(ada)) == (ada.id in await friends(bela))


async def test_the_friends_of_others_are_not_told(person):
    ada, bela, eve = await person(), await person(), await person()
    await ada.befriend(bela)
    await eve.refused(404, "GET", f"/users/{ada.id}/friends")
    assert await friends(eve) == set()


async def test_lists_of_friends_and_requests_have_every_one_once_on_pages(person):
    ada = await person("Ada")
    people = [await person(f"F {n}") for n in range(8)]
    await asyncio.gather(*(one.ok("PUT", f"/friends/{ada.id}") for one in people))
    for limit in (1, 3, 8, 100):
        items = await ada.everything("/friend-requests", limit)
        assert sorted(item["user"]["id"] for item in items) == sorted(one.id for one in people)
    await asyncio.gather(*(ada.ok("PUT", f"/friends/{one.id}") for one in people))
    for limit in (1, 3, 8, 100):
        items = await ada.everything("/friends", limit)
        assert sorted(item["id"] for item in items) == sorted(one.id for one in people)


async def test_friends_come_with_the_position_of_the_stream(person):
    ada, bela = await person("Ada"), await person("Béla")
    _, _, headers = await ada.call("GET", "/friends")
    stream, _, rest = headers["Live-Position"].partition("=")
    epoch, _, offset = rest.rpartition(":")
    assert stream == "me"
    await bela.ok("PUT", f"/friends/{ada.id}")
    live = await ada.live({"me": {"epoch": epoch, "offset": int(offset)}})
    assert live.frames[0]["streams"]["me"]["recovered"] is True
    assert (await live.until(type="event", event="friend.requested"))["data"]["id"] == bela.id


async def test_friendship_moves_on_both_open_connections(person):
    ada, bela = await person("Ada"), await person("Béla")
    at_ada, at_bela = await ada.live(), await bela.live()
    await ada.befriend(bela)
    assert (await at_bela.until(type="event", event="friend.requested"))["data"]["id"] == ada.id
    assert (await at_ada.until(type="event", event="friend.accepted"))["data"]["id"] == bela.id
    assert (await at_bela.until(type="event", event="friend.accepted"))["data"]["id"] == ada.id
    await bela.ok("DELETE", f"/friends/{ada.id}")
    assert (await at_ada.until(type="event", event="friend.removed"))["data"]["id"] == bela.id
    assert (await at_bela.until(type="event", event="friend.removed"))["data"]["id"] == ada.id


async def test_old_posts_of_a_new_friend_are_in_the_feed_and_leave_with_the_friendship(person):
    ada, bela = await person("Ada"), await person("Béla")
    shared, public = await ada.post("older"), await ada.post("open", "public")
    assert await bela.everything("/feed") == []
    await ada.befriend(bela)

    async def feed():
        return {post["id"] for post in await bela.everything("/feed")}

    assert await feed() == {shared["id"], public["id"]}
    await ada.ok("DELETE", f"/friends/{bela.id}")
    assert await feed() == set()
    await bela.refused(404, "GET", f"/posts/{shared['id']}")
    await bela.ok("GET", f"/posts/{public['id']}")
