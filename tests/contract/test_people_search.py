"""GET /users/{id} and GET /users?q=."""

from __future__ import annotations

import secrets
from urllib.parse import quote


def word():
    return "q" + "".join(secrets.choice("bcdfghjklmnp") for _ in range(9))


async def found(viewer, query):
    return {user["id"] for user in await viewer.everything(f"/users?q={quote(query)}", 100)}


async def test_a_person_is_shown_with_the_relation_of_the_viewer(person):
    ada, bela = await person("Ada"), await person("Béla")

    async def relations():
        mine, theirs = await ada.ok("GET", f"/users/{bela.id}"), await bela.ok("GET", f"/users/{ada.id}")
        return mine["relation"], theirs["relation"]

    assert await relations() == ("none", "none")
    await ada.ok("PUT", f"/friends/{bela.id}")
    assert await relations() == ("requested", "asked")
    await bela.ok("PUT", f"/friends/{ada.id}")
    assert await relations() == ("friends", "friends")
    seen = await ada.ok("GET", f"/users/{ada.id}")
    assert seen["relation"] == "self"
    assert seen == (await ada.ok("GET", "/me"))["user"]


async def test_a_name_is_found_by_its_beginning(person):
    name = word()
    ada, viewer = await person(name), await person()
    # Punctuation parts words and stands for nothing else.
    for query in (
        "%",
        "_",
        f"{name[:3]}%{name[4:6]}",
        "_" * len(name),
        "\\",
        "'",
        '"',
        "' OR '1'='1",
        "~",
        "@",
        "()",
        "<",
    ):
        status, page, _ = await viewer.call("GET", f"/users?limit=100&q={quote(query)}")
        assert status in (200, 422), (query, status, page)
        if status == 200:
            assert ada.id not in [user["id"] for user in page["items"]], query
    sign = await person(f"{name}_%x")
    assert sign.id in await found(viewer, name)


async def test_a_query_that_is_missing_or_odd_does_no_harm(person):
    viewer = await person()
    for query in ("/users", "/users?q=", "/users?q=%20", "/users?q=%00", "/users?q=%FF", "/users?q=" + "a" * 2000):
        status, page, _ = await viewer.call("GET", query)
        assert status in (200, 400, 422), (query, status)
        assert status != 200 or page["items"] == []


async def test_people_who_blocked_each_other_do_not_find_each_other(person):
    name = word()
    ada, eve = await person(name), await person(f"Eve {name}")
    assert await found(ada, name) == {ada.id, eve.id}
    await ada.ok("PUT", f"/blocks/{eve.id}")
    assert eve.id not in await found(ada, name)
    assert ada.id not in await found(eve, name)


async def test_the_pages_of_a_search_have_every_match_once(person):
    name = word()
    people = [await person(f"{name} {n}") for n in range(7)]
    viewer = await person()
    for limit in (1, 2, 3, 7, 100):
        items = await viewer.everything(f"/users?q={name}", limit)
        assert sorted(user["id"] for user in items) == sorted(one.id for one in people)
    assert {user["relation"] for user in items} == {"none"}
