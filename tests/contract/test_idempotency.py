"""Idempotency-Key: same key and body, one object; other body, 422; every person keys for themselves."""

from __future__ import annotations

import asyncio

import pytest

POST = {"text": "once", "visibility": "friends"}


def key(value):
    return {"Idempotency-Key": value}


async def test_the_same_key_and_body_give_the_same_post_later_too(person):
    ada = await person()
    first = await ada.ok("POST", "/posts", POST, headers=key("a"))
    await ada.ok("PATCH", f"/posts/{first['id']}", {"text": "edited"})
    status, again, _ = await ada.call("POST", "/posts", POST, headers=key("a"))
    assert status == 201
    assert again["id"] == first["id"]
    other = await ada.ok("POST", "/posts", POST, headers=key("b"))
    assert other["id"] != first["id"]
    assert len(await ada.everything("/feed")) == 2


async def test_without_a_key_every_request_is_a_post(person):
    ada = await person()
    assert len({(await ada.ok("POST", "/posts", POST))["id"] for _ in range(3)}) == 3


async def test_another_body_under_the_same_key_is_refused(person):
    ada = await person()
    made = await ada.ok("POST", "/posts", POST, headers=key("k"))
    for body in ({**POST, "text": "twice"}, {**POST, "visibility": "public"}):
        await ada.refused(422, "POST", "/posts", body, headers=key("k"))
    assert await ada.everything("/feed") == [made]


async def test_a_refused_request_does_not_use_up_its_key(person):
    ada = await person()
    await ada.refused(422, "POST", "/posts", {"text": "once"}, headers=key("k"))
    assert (await ada.call("POST", "/posts", POST, headers=key("k")))[0] == 201


async def test_keys_belong_to_their_user(person):
    ada, bela = await person(), await person()
    one = await ada.ok("POST", "/posts", POST, headers=key("shared"))
    two = await bela.ok("POST", "/posts", POST, headers=key("shared"))
    three = await bela.ok("POST", "/posts", {**POST, "text": "other"}, headers=key("third"))
    assert len({one["id"], two["id"], three["id"]}) == 3
    assert two["author"]["id"] == bela.id


async def test_the_key_holds_on_other_devices_of_the_same_user(person):
    ada = await person()
    phone = await ada.again()
    one = await ada.ok("POST", "/posts", POST, headers=key("k"))
    assert (await phone.ok("POST", "/posts", POST, headers=key("k")))["id"] == one["id"]


@pytest.mark.parametrize(
    "value", ["a" * 129, "with space", "é", "tab\there", ""], ids=["long", "space", "accent", "tab", "empty"]
)
async def test_a_key_that_is_no_visible_ascii_or_too_long_is_refused(person, value):
    ada = await person()
    status, _, _ = await ada.call("POST", "/posts", POST, headers=key(value))
    assert status in (400, 422)
    assert await ada.everything("/feed") == []


@pytest.mark.parametrize("value", ["a" * 128, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "0"], ids=["long", "signs", "zero"])
async def test_every_visible_ascii_key_of_up_to_128_characters_works(person, value):
    ada = await person()
    made = [await ada.ok("POST", "/posts", POST, headers=key(value)) for _ in range(2)]
    assert made[0]["id"] == made[1]["id"]


async def test_a_key_is_compared_with_its_case(person):
    ada = await person()
    made = {(await ada.ok("POST", "/posts", POST, headers=key(value)))["id"] for value in ("Key", "key", "KEY")}
    assert len(made) == 3


async def test_fifty_equal_comments_at_once_are_one_row_and_one_event(person):
    ada = await person()
    made = await ada.post("talk")
    path = f"/posts/{made['id']}/comments"
    live = await ada.live()
    await live.ask({"type": "subscribe", "id": 1, "stream": f"post:{made['id']}"}, type="subscribed")
    answers = await asyncio.gather(*(ada.call("POST", path, {"text": "once"}, headers=key("k")) for _ in range(50)))
    assert {status for status, _, _ in answers} == {201}
    assert len({comment["id"] for _, comment, _ in answers}) == 1
    assert len(await ada.everything(path)) == 1
    await live.until(type="event", event="comment.created")
    await live.quiet(0.7, type="event", event="comment.created")
    await ada.settled(made["id"], comments=1)


async def test_a_key_of_a_post_does_not_serve_a_comment(person):
    ada = await person()
    made = await ada.ok("POST", "/posts", POST, headers=key("k"))
    path = f"/posts/{made['id']}/comments"
    status, said, _ = await ada.call("POST", path, {"text": "once"}, headers=key("k"))
    assert (status == 201 and said["post_id"] == made["id"]) or status == 422
    second = await ada.post("another")
    one = await ada.ok("POST", path, {"text": "same words"}, headers=key("c"))
    status, two, _ = await ada.call("POST", f"/posts/{second['id']}/comments", {"text": "same words"}, headers=key("c"))
    assert status == 422 or (status == 201 and two["id"] != one["id"] and two["post_id"] == second["id"])


async def test_different_bodies_racing_for_one_key_make_one_post(person):
    ada = await person()
    bodies = [{**POST, "text": f"t{n % 2}"} for n in range(20)]
    answers = await asyncio.gather(*(ada.call("POST", "/posts", body, headers=key("k")) for body in bodies))
    assert {status for status, _, _ in answers} == {201, 422}
    assert len({post["id"] for status, post, _ in answers if status == 201}) == 1
    assert len(await ada.everything("/feed")) == 1
