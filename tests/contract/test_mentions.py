"""@username in a post: whom it names, for whom."""

from __future__ import annotations


def named(post):
    return [(mention["id"], mention["username"]) for mention in post["mentions"]]


def who(*people):
    return [(person.id, person.user["username"]) for person in people]


async def test_a_post_names_people_once_in_the_order_of_its_text(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    a, b, c = (one.user["username"] for one in (ada, bela, carl))
    text = f"(@{c.upper()}), @{b}! and @{c}. Not me@{a}, nor x@{a}.org, https://example.org/@{a}, @{a}é, @nobody_{a}"
    made = await ada.post(text, "public")
    assert named(made) == who(carl, bela)
    for viewer in (ada, bela, carl):
        assert named(await viewer.ok("GET", f"/posts/{made['id']}")) == who(carl, bela)
    edited = await ada.ok("PATCH", f"/posts/{made['id']}", {"text": f"@{b} alone"})
    assert named(edited) == who(bela)
    assert named((await carl.everything(f"/users/{ada.id}/posts"))[0]) == who(bela)


async def test_nobody_is_named_to_those_who_may_not_see_that_person(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    made = await ada.post(f"with @{bela.user['username']} and @{carl.user['username']}", "public")
    await bela.ok("PUT", f"/blocks/{carl.id}")
    for viewer, hidden, seen in ((carl, bela, [carl]), (bela, carl, [bela]), (ada, None, [bela, carl])):
        told = await viewer.ok("GET", f"/posts/{made['id']}")
        assert named(told) == who(*seen)
        assert hidden is None or f"'{hidden.id}'" not in str(told)
    shared = await ada.ok("POST", f"/posts/{made['id']}/shares", {"visibility": "public"})
    assert named((await carl.ok("GET", f"/posts/{shared['id']}"))["shared"]) == who(carl)


async def test_an_author_names_only_whom_that_one_may_see(person):
    ada, bela, carl = await person("Ada"), await person("Béla"), await person("Carl")
    await ada.ok("PUT", f"/blocks/{bela.id}")
    await carl.ok("PUT", f"/blocks/{ada.id}")
    made = await ada.post(f"@{bela.user['username']} @{carl.user['username']}", "public")
    assert named(made) == []
    await ada.ok("DELETE", f"/blocks/{bela.id}")
    assert named(await bela.ok("GET", f"/posts/{made['id']}")) == []  # nothing was written then


async def test_a_person_who_left_is_named_no_more(person):
    ada, bela = await person("Ada"), await person("Béla")
    made = await ada.post(f"bye @{bela.user['username']}", "public")
    assert named(made) == who(bela)
    await bela.ok("DELETE", "/me", {"password": bela.password})
    told = await ada.ok("GET", f"/posts/{made['id']}")
    assert (named(told), told["text"]) == ([], made["text"])


async def test_events_name_nobody(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    live = await bela.live()
    made = await ada.post(f"hi @{bela.user['username']} #hello")
    told = (await live.until(type="event", event="post.created"))["data"]
    assert (told["id"], told["tags"]) == (made["id"], ["hello"])
    assert "mentions" not in told
