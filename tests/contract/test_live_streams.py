"""Subscribe, unsubscribe, watch, resume: every stream is a log, and a gap is always told."""

from __future__ import annotations

import pytest


def sub(told, stream, **more):
    return {"type": "subscribe", "id": told, "stream": stream, **more}


@pytest.mark.parametrize(
    "stream",
    ["post:0", "post:../", "post:", "post:-1", "post:01", "post:1 ", "post:*", "post:9007199254740991", "post:1e3",
     "POST:1",
     "post:\u0661", "user:1", "me:1", "me ", "ME", "feed:*", "feed:1", "*", "post:1,post:2",
     "post:99999999999999999999999",
     "__proto__", "post:1\u0000", "admin", "post:1:likes", "notifications:1"],
)  # fmt: skip
async def test_a_stream_that_is_not_there_is_refused(somebody, stream):
    live = await somebody.live()
    frame = await live.ask(sub(1, stream), id=1)
    assert (frame["type"], frame["code"]) == ("error", "forbidden_or_missing"), frame
    await live.barrier()


async def test_the_stream_of_another_user_and_an_invisible_post_answer_like_a_missing_one(person):
    ada, eve = await person(), await person()
    made = await ada.post("secret")
    live = await eve.live()
    streams = (f"me:{ada.id}", f"post:{made['id']}", "post:9007199254740991")
    answers = [await live.ask(sub(1, stream), id=1) for stream in streams]
    for stream, answer in zip(streams, answers, strict=True):
        answer["detail"] = answer["detail"].replace(stream, "STREAM")
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["code"] == "forbidden_or_missing"


async def test_me_may_be_named_again_and_resumes_on_the_open_socket(person):
    ada = await person()
    live = await ada.live()
    start = live.frames[0]["streams"]["me"]
    made = [(await ada.post(f"n{n}"))["id"] for n in range(3)]
    for post in made:
        assert (await live.until(type="event"))["data"]["id"] == post
    answer = await live.ask(sub(1, "me", **{"from": {"epoch": start["epoch"], "offset": start["offset"] + 1}}), id=1)
    assert (answer["type"], answer["recovered"]) == ("subscribed", True)
    assert answer["offset"] == start["offset"] + 3
    again = [await live.until(type="event") for _ in range(2)]
    assert [frame["data"]["id"] for frame in again] == made[1:]
    answer = await live.ask(sub(2, "me"), id=2)
    assert (answer["type"], answer["recovered"], answer["offset"]) == ("subscribed", False, start["offset"] + 3)
    late = await ada.post("after")
    assert (await live.until(type="event"))["data"]["id"] == late["id"]
    await live.quiet(0.4, type="event")


async def test_a_thread_is_followed_until_it_is_unsubscribed(person):
    ada = await person()
    made = await ada.post("talk")
    stream, path = f"post:{made['id']}", f"/posts/{made['id']}/comments"
    live = await ada.live()
    joined = await live.ask(sub("a", stream), id="a")
    assert (joined["type"], joined["stream"], joined["recovered"]) == ("subscribed", stream, False)
    await ada.ok("POST", path, {"text": "one"})
    frame = await live.until(type="event", stream=stream)
    assert frame["offset"] == joined["offset"] + 1
    left = await live.ask({"type": "unsubscribe", "id": "b", "stream": stream}, id="b")
    assert (left["type"], left["stream"]) == ("unsubscribed", stream)
    await ada.ok("POST", path, {"text": "two"})
    await live.quiet(0.6, type="event", stream=stream)
    at = {"epoch": joined["epoch"], "offset": frame["offset"]}
    back = await live.ask(sub("c", stream, **{"from": at}), id="c")
    assert (back["recovered"], back["offset"]) == (True, frame["offset"] + 1)
    assert (await live.until(type="event", stream=stream))["data"]["text"] == "two"


async def test_subscribing_twice_does_not_double_what_comes(person):
    ada = await person()
    made = await ada.post("talk")
    live = await ada.live()
    for n in range(3):
        assert (await live.ask(sub(n, f"post:{made['id']}"), id=n))["type"] == "subscribed"
    await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "one"})
    await live.until(type="event", event="comment.created")
    await live.quiet(0.5, type="event", event="comment.created")


async def test_unsubscribing_what_was_not_subscribed_is_answered(somebody):
    live = await somebody.live()
    for n, stream in enumerate(("post:1", "nonsense")):
        assert (await live.ask({"type": "unsubscribe", "id": n, "stream": stream}, id=n))["type"] in (
            "unsubscribed",
            "error",
        )


async def test_me_cannot_be_switched_off(person):
    ada = await person()
    live = await ada.live()
    await live.ask({"type": "unsubscribe", "id": 1, "stream": "me"}, id=1)
    made = await ada.post("still on")
    assert (await live.until(type="event", event="post.created"))["data"]["id"] == made["id"]


async def test_several_streams_resume_in_one_hello_and_a_refused_one_is_told(person):
    ada, eve = await person("Ada"), await person("Eve")
    live = await ada.live()
    posts = [await ada.post(f"talk {n}") for n in range(2)]
    seen = [await live.until(type="event", event="post.created") for _ in posts]
    hidden = await eve.post("secret")
    streams = [f"post:{post['id']}" for post in posts]
    at = {"me": {"epoch": live.frames[0]["streams"]["me"]["epoch"], "offset": seen[-1]["offset"]}}
    for n, stream in enumerate(streams):
        joined = await live.ask(sub(n, stream), id=n)
        at[stream] = {k: joined[k] for k in ("epoch", "offset")}
    await live.socket.close()
    for n, post in enumerate(posts):
        for m in range(n + 1):
            await ada.ok("POST", f"/posts/{post['id']}/comments", {"text": f"missed {n} {m}"})
    created = await ada.post("missed post")
    wanted = {f"post:{hidden['id']}": {"epoch": "x", "offset": 0}, "nonsense": {"epoch": "x", "offset": 0}}
    back = await ada.live({**at, **wanted})
    told = back.frames[0]["streams"]
    assert told.keys() == at.keys()
    assert all(entry["recovered"] for entry in told.values())
    need = {"me": [created["id"]], streams[0]: ["missed 0 0"], streams[1]: ["missed 1 0", "missed 1 1"]}
    errors = 0
    while sum(f["type"] == "event" for f in back.frames) < 4 or errors < 2:
        errors += (await back.next())["type"] == "error"
    for stream, values in need.items():
        frames = [f for f in back.frames if f["type"] == "event" and f["stream"] == stream]
        assert [f["data"]["id"] if stream == "me" else f["data"]["text"] for f in frames] == values
        assert [f["offset"] for f in frames] == [at[stream]["offset"] + 1 + n for n in range(len(values))]
        assert frames[-1]["offset"] >= told[stream]["offset"]
    assert {f["code"] for f in back.frames if f["type"] == "error"} == {"forbidden_or_missing"}


async def test_an_offset_beyond_the_top_is_not_recovered(person):
    ada = await person()
    live = await ada.live()
    here = live.frames[0]["streams"]["me"]
    for beyond in (1, 1000, 2**52):
        at = {"epoch": here["epoch"], "offset": here["offset"] + beyond}
        back = await ada.live({"me": at})
        told = back.frames[0]["streams"]["me"]
        assert (told["recovered"], told["offset"]) == (False, here["offset"])
        answer = await live.ask(sub(1, "me", **{"from": at}), id=1)
        assert (answer["recovered"], answer["offset"]) == (False, here["offset"])
        await back.socket.close()


async def test_the_position_itself_is_recovered_with_nothing_to_follow(person):
    ada = await person()
    live = await ada.live()
    await ada.post("before")
    item = await live.until(type="event")
    here = {"epoch": live.frames[0]["streams"]["me"]["epoch"], "offset": item["offset"]}
    back = await ada.live({"me": here})
    assert back.frames[0]["streams"]["me"] == {**here, "recovered": True}
    await back.quiet(0.5, type="event")
    late = await ada.post("after")
    frame = await back.until(type="event")
    assert (frame["data"]["id"], frame["offset"]) == (late["id"], here["offset"] + 1)


async def test_watching_more_than_two_hundred_posts_is_an_error(person):
    ada = await person()
    made = await ada.post("watched")
    live = await ada.live()
    await live.ask({"type": "watch", "id": 1, "posts": [made["id"]]}, type="counts")
    ids = [str(n) for n in range(1, 202)]
    frame = await live.ask({"type": "watch", "id": 2, "posts": ids}, type="error")
    assert frame["code"] in ("limit", "invalid")
    assert frame["id"] == 2
    await ada.ok("PUT", f"/posts/{made['id']}/like")
    while (await live.until(type="counts"))["posts"].get(made["id"], {}).get("likes") != 1:
        pass
    await live.send({"type": "watch", "id": 3, "posts": ids[:200]})
    await live.barrier()
    assert not [f for f in live.frames if f["type"] == "error" and f.get("id") == 3]


async def test_a_new_watch_list_replaces_the_old_one(person):
    ada = await person()
    one, two = await ada.post("one"), await ada.post("two")
    live = await ada.live()
    await live.ask({"type": "watch", "id": 1, "posts": [one["id"]]}, type="counts")
    first = await live.ask({"type": "watch", "id": 2, "posts": [two["id"]]}, type="counts")
    assert two["id"] in first["posts"]
    await live.barrier()
    seen = len(live.frames)
    await ada.ok("PUT", f"/posts/{one['id']}/like")
    await ada.ok("PUT", f"/posts/{two['id']}/like")
    while (await live.until(type="counts"))["posts"].get(two["id"], {}).get("likes") != 1:
        pass
    assert one["id"] not in {post for f in live.frames[seen:] if f["type"] == "counts" for post in f["posts"]}


async def test_all_devices_get_the_same_items_at_the_same_offsets(person):
    ada = await person()
    phone = await ada.again()
    lives = [await ada.live(), await phone.live(), await ada.live()]
    made = [(await ada.post(f"n{n}"))["id"] for n in range(5)]
    seen = []
    for live in lives:
        frames = [await live.until(type="event") for _ in made]
        seen.append([(frame["offset"], frame["id"], frame["data"]["id"]) for frame in frames])
    assert seen[0] == seen[1] == seen[2]
    assert len({event for _, event, _ in seen[0]}) == 5
    assert {post for _, _, post in seen[0]} == set(made)
    assert [offset for offset, _, _ in seen[0]] == list(range(seen[0][0][0], seen[0][0][0] + 5))


async def test_acts_acknowledged_one_after_another_come_in_that_order(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    live = await bela.live()
    made = [(await ada.post(f"n{n}"))["id"] for n in range(20)]
    frames = [await live.until(type="event", event="post.created") for _ in made]
    assert [frame["data"]["id"] for frame in frames] == made


async def test_a_creation_never_comes_after_its_edit_or_deletion(person):
    ada, bela = await person(), await person()
    await ada.befriend(bela)
    live = await bela.live()
    for n in range(15):
        made = await ada.post(f"n{n}")
        await ada.ok("PATCH", f"/posts/{made['id']}", {"text": f"edited {n}"})
        await ada.ok("DELETE", f"/posts/{made['id']}")
    gone: list[str] = []
    while len(gone) < 15:
        frame = await live.until(type="event", stream="me")
        if frame["event"] == "post.deleted":
            gone.append(frame["data"]["id"])
        elif frame["event"].startswith("post."):
            assert frame["data"]["id"] not in gone, f"{frame['event']} after post.deleted"
    await live.quiet(0.5, type="event")
