"""GET /posts?q= and ?tag=: visible posts, newest first."""

from __future__ import annotations

import secrets
from urllib.parse import quote

import pytest


def word():
    return "q" + "".join(secrets.choice("bcdfghjklmnp") for _ in range(11))


async def found(viewer, limit=100, **query):
    ((name, value),) = query.items()
    return [post["id"] for post in await viewer.everything(f"/posts?{name}={quote(value)}", limit)]


async def test_exactly_one_of_words_and_tag_must_be_given(somebody):
    await somebody.refused(422, "GET", "/posts")
    await somebody.refused(422, "GET", "/posts?q=a&tag=b")
    await somebody.refused(422, "GET", "/posts?q=a&cursor=x")
    of_tags = (await somebody.ok("GET", "/posts?tag=nothing&limit=1"))["next"]
    assert of_tags is None
    for query in ("q=", "q=%2B", "tag=", "tag=1", "tag=%23", f"tag={'a' * 51}", "tag=a%20b%20%25"):
        assert (await somebody.ok("GET", f"/posts?{query}"))["items"] == []


async def test_pages_of_a_tag_join_without_a_hole(person):
    ada = await person("Ada")
    tag = word()
    made = [(await ada.post(f"{n} #{tag} and more", "public"))["id"] for n in range(5)]
    await ada.post(f"#{tag}s #x{tag} {tag} x#{tag}", "public")
    for limit in (1, 2, 5):
        assert await found(ada, limit, tag=tag) == made[::-1]
    assert await found(ada, tag=f"#{tag.upper()}") == made[::-1]
    assert await found(ada, 2, q=f"{tag} more") == made[::-1]


async def test_tags_are_shown_folded_and_follow_edits(person):
    ada = await person("Ada")
    tag = word()
    made = await ada.post(f"#É{tag} #Étude_{tag} #1 #{tag}が", "public")
    assert made["tags"] == [f"e{tag}", f"etude_{tag}", f"{tag}が"]
    assert await found(ada, tag=f"e{tag}") == [made["id"]] == await found(ada, tag=f"É{tag}")
    edited = await ada.ok("PATCH", f"/posts/{made['id']}", {"text": f"#other{tag}"})
    assert edited["tags"] == [f"other{tag}"]
    assert await found(ada, tag=f"e{tag}") == [] == await found(ada, q=f"etude_{tag}")
    assert await found(ada, tag=f"other{tag}") == [made["id"]] == await found(ada, q=f"other{tag}")
    await ada.ok("DELETE", f"/posts/{made['id']}")
    assert await found(ada, tag=f"other{tag}") == [] == await found(ada, q=f"other{tag}")


async def test_all_words_must_be_there_and_the_last_may_be_unfinished(person):
    ada = await person("Ada")
    one, two = word(), word()
    both, first = [(await ada.post(text, "public"))["id"] for text in (f"{one} the {two}", f"a {one}")]
    assert await found(ada, q=one) == [first, both] == await found(ada, q=one[:-2])
    assert await found(ada, q=f"{two} {one}") == [both] == await found(ada, q=f"{one} {two[:6]}")
    assert await found(ada, q=f"{two[:6]} {one}") == []
    assert await found(ada, q=f"{one} the") == [both]
    assert await found(ada, q=f"{one} a") == [first]
    assert await found(ada, q=f"{one} {word()}") == []


async def test_nothing_of_a_query_is_an_operator(person):
    ada = await person("Ada")
    one, two = word(), word()
    made = (await ada.post(f"{one} {two}", "public"))["id"]
    for sign in "+-*\"()~<>@'%\\:^{};,./?!#$&=|":
        for query in (
            f"{sign}{one}",
            f"{one}{sign} {two}",
            f"{one} {sign} {two}",
            f"{sign}{sign}{one}{sign} {two}{sign}",
        ):
            assert await found(ada, q=query) == [made], query
    for query in (
        f"{one} NOT {two}",
        f"{one} OR nothing{two}",
        f"NEAR({one} {two})",
        f"words:{one}",
        f'"{two} {one}" -',
    ):
        assert await found(ada, q=query) == ([made] if query.startswith('"') else []), query


@pytest.mark.parametrize("visibility", ["public", "friends", "only_me"])
async def test_search_tells_each_viewer_only_of_what_that_one_may_see(person, visibility):
    ada, friend, stranger, blocked, blocking = [
        await person(name) for name in ("Ada", "Friend", "Stranger", "Blocked", "Blocking")
    ]
    tag = word()
    await ada.befriend(friend)
    await ada.ok("PUT", f"/blocks/{blocked.id}")
    await blocking.ok("PUT", f"/blocks/{ada.id}")
    made = [(await ada.post(f"#{tag} {n}", visibility))["id"] for n in range(8)][::-1]
    sees = {"public": (ada, friend, stranger), "friends": (ada, friend), "only_me": (ada,)}[visibility]
    for viewer in (ada, friend, stranger, blocked, blocking):
        for query in (f"q={tag}", f"tag={tag}"):
            assert [post["id"] for post in await viewer.everything(f"/posts?{query}", 3)] == (
                made if viewer in sees else []
            )
            if viewer in (friend, stranger) and viewer not in sees:
                # Not even the length of a page tells of it.
                assert await viewer.ok("GET", f"/posts?{query}&limit=1") == {"items": [], "next": None}
    for post in made:
        await ada.ok("PATCH", f"/posts/{post}", {"visibility": "only_me"})
    for viewer in (friend, stranger):
        assert await found(viewer, q=tag) == [] == await found(viewer, tag=tag)


async def test_a_share_is_found_by_its_own_words_only(person):
    ada, bela = await person("Ada"), await person("Béla")
    one, two = word(), word()
    original = await ada.post(one, "public")
    made = await bela.ok("POST", f"/posts/{original['id']}/shares", {"text": two, "visibility": "public"})
    assert await found(bela, q=one) == [original["id"]]
    assert await found(bela, q=two) == [made["id"]]
    await ada.ok("DELETE", f"/posts/{original['id']}")
    assert (await bela.ok("GET", f"/posts?q={two}"))["items"][0]["shared"] == {"id": original["id"], "gone": True}


async def test_posts_of_a_person_who_left_are_not_found(person):
    ada, bela = await person("Ada"), await person("Béla")
    tag = word()
    await ada.post(f"#{tag}", "public")
    await ada.ok("DELETE", "/me", {"password": ada.password})
    assert await found(bela, q=tag) == [] == await found(bela, tag=tag)


async def test_neither_the_length_of_a_page_nor_its_cursor_tells_of_what_is_hidden(person):
    ada, eve = await person("Ada"), await person("Eve")
    rare, tag = word(), word()
    mine = await eve.post(f"{rare} #{tag}", "only_me")
    for visibility in ("public", "only_me", "public"):
        await ada.post(f"{rare} #{tag}", visibility)
    await ada.ok("PUT", f"/blocks/{eve.id}")
    for query in (f"q={rare}", f"tag={tag}"):
        page = await eve.ok("GET", f"/posts?{query}&limit=1")
        assert ([post["id"] for post in page["items"]], page["next"]) == ([mine["id"]], None)


async def test_a_single_letter_is_no_beginning(person):
    ada = await person("Ada")
    rare = word()
    both, alone = [(await ada.post(text, "only_me"))["id"] for text in (f"{rare} xylem", f"{rare} x")]
    assert await found(ada, q=f"{rare} xy") == [both]
    assert await found(ada, q=f"{rare} x") == [alone]
