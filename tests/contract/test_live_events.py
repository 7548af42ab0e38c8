"""Server-sent events: the live protocol where websockets are blocked."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.events import listen, refusal
from tests.people import PATIENCE


def marks(frame):
    return frame["event"], frame["data"]["id"]


def comparable(frames, *types):
    return [frame for frame in frames if frame["type"] in types]


async def test_the_answer_is_an_event_stream_that_nobody_stores(person):
    ada = await person("Ada")
    events = await listen(ada)
    assert events.answer.headers["Cache-Control"] == "private, no-store"
    welcome = events.frames[0]
    assert (welcome["user"], welcome["streams"].keys()) == (ada.id, {"me"})
    me = welcome["streams"]["me"]
    assert events.ids[0] == f"me={me['epoch']}:{me['offset']}"


async def test_the_same_messages_arrive_as_by_websocket(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    made = await ada.post("talk")
    stream = f"post:{made['id']}"
    socket = await bela.live()
    await socket.ask({"type": "subscribe", "id": 1, "stream": stream}, type="subscribed")
    await socket.ask({"type": "watch", "id": 2, "posts": [made["id"]]}, type="counts")
    events = await listen(bela, f"?streams=me,{stream}&watch={made['id']}")
    assert events.frames[0]["streams"].keys() == {"me", stream}
    remark = await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": "one"})
    await ada.ok("PATCH", f"/comments/{remark['id']}", {"text": "uno"})
    await ada.ok("PATCH", f"/posts/{made['id']}", {"text": "talked"})
    await ada.ok("PUT", f"/posts/{made['id']}/like")
    await ada.ok("DELETE", f"/comments/{remark['id']}")
    last = (await ada.post("last"))["id"]
    # The order of two posts, and of two streams, is nobody's promise: each has come once the last of them has.
    wanted = {("comment.deleted", remark["id"]), ("post.created", last)}
    for client in (socket, events):
        heard = []
        while not wanted <= set(heard) or heard.count(("post.edited", made["id"])) < 2:
            await client.next()
            heard = [(frame["event"], frame["data"]["id"]) for frame in comparable(client.frames, "event")]
    for name in ("me", stream):
        told = [[f for f in comparable(c.frames, "event") if f["stream"] == name] for c in (socket, events)]
        assert told[1]
        assert told[1] == told[0][-len(told[1]) :]
    while not comparable(events.frames, "counts"):
        await events.next()


async def test_every_id_is_the_position_after_its_message(person):
    ada = await person("Ada")
    made = await ada.post("talk")
    stream = f"post:{made['id']}"
    events = await listen(ada, f"?streams=me,{stream}")
    at = {name: (told["epoch"], told["offset"]) for name, told in events.frames[0]["streams"].items()}
    for n in range(3):
        await ada.ok("POST", f"/posts/{made['id']}/comments", {"text": str(n)})
        await ada.post(str(n))
    seen = 0
    while seen < 6:
        frame = await events.next()
        if frame["type"] == "event":
            seen += 1
            at[frame["stream"]] = (at[frame["stream"]][0], frame["offset"])
        assert set(events.position.split(",")) == {f"{name}={epoch}:{offset}" for name, (epoch, offset) in at.items()}


async def test_last_event_id_resumes_without_a_hole_or_a_double(person):
    ada, bela = await person("Ada"), await person("Béla")
    await ada.befriend(bela)
    talk = await ada.post("talk")
    query = f"?streams=me,post:{talk['id']}"
    events = await listen(bela, query)
    seen = (await ada.post("seen"))["id"]
    while (await events.until(type="event", event="post.created"))["data"]["id"] != seen:
        pass
    await events.close()
    missed = [(await ada.post(f"missed {n}"))["id"] for n in range(3)]
    remarks = [(await ada.ok("POST", f"/posts/{talk['id']}/comments", {"text": f"missed {n}"}))["id"] for n in range(2)]
    back = await listen(bela, query, events.position)
    assert all(told["recovered"] for told in back.frames[0]["streams"].values())
    late = (await ada.post("after"))["id"]
    while (await back.until(type="event", event="post.created"))["data"]["id"] != late:
        pass
    got = [f["data"]["id"] for f in back.frames if f.get("event") == "post.created"]
    assert got == [*missed, late]
    while len([f for f in back.frames if f.get("event") == "comment.created"]) < len(remarks):
        await back.next()
    assert [f["data"]["id"] for f in back.frames if f.get("event") == "comment.created"] == remarks


async def test_a_cut_after_any_message_of_a_replay_resumes_with_the_next_one(person):
    ada = await person("Ada")
    events = await listen(ada)
    await events.close()
    made = [(await ada.post(f"missed {n}"))["id"] for n in range(4)]
    position, got = events.position, []
    for _ in range(12):  # each connection reads its welcome and one item, then is cut
        back = await listen(ada, "?streams=me", position)
        assert back.frames[0]["streams"]["me"]["recovered"]
        if len(got) == len(made):
            break
        frame = await back.until(type="event")
        got.append(frame["data"]["id"])
        position = back.position
        await back.close()
    assert got == made


async def test_a_cut_right_after_the_welcome_of_a_resume_loses_nothing(person):
    ada = await person("Ada")
    events = await listen(ada)
    await events.close()
    made = await ada.post("missed")
    greeted = await listen(ada, "?streams=me", events.position)
    await greeted.close()
    back = await listen(ada, "?streams=me", greeted.ids[0])
    assert back.frames[0]["streams"]["me"]["recovered"]
    assert (await back.until(type="event"))["data"]["id"] == made["id"]


@pytest.mark.parametrize("position", ["me=nowhere:0", "me=00000000:5"])
async def test_an_unknown_position_is_not_recovered(person, position):
    ada = await person("Ada")
    await ada.ok("GET", "/feed")
    events = await listen(ada, "?streams=me", position)
    told = events.frames[0]["streams"]["me"]
    assert told["recovered"] is False
    assert events.position == f"me={told['epoch']}:{told['offset']}"
    made = await ada.post("live all the same")
    assert (await events.until(type="event"))["data"]["id"] == made["id"]


async def test_a_position_beyond_the_top_is_not_recovered(person):
    ada = await person("Ada")
    first = await listen(ada)
    me = first.frames[0]["streams"]["me"]
    back = await listen(ada, "?streams=me", f"me={me['epoch']}:{me['offset'] + 5}")
    assert back.frames[0]["streams"]["me"] == {**me, "recovered": False}


async def test_me_is_always_on_and_a_position_of_another_stream_is_no_subscription_of_it(person):
    ada = await person("Ada")
    made = await ada.post("talk")
    events = await listen(ada, f"?streams=post:{made['id']}")
    assert events.frames[0]["streams"].keys() == {"me", f"post:{made['id']}"}
    bare = await listen(ada, "", events.position)
    assert bare.frames[0]["streams"].keys() == {"me"}
    await ada.post("another")
    assert (await bare.until(type="event"))["stream"] == "me"


async def test_nobody_listens_without_signing_in(person, guest):
    ada = await person("Ada")
    for authorization in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {ada.token}x"}):
        assert await refusal(guest, **authorization) == 401
    for name in ("token", "access_token", "session"):
        assert await refusal(guest, f"?streams=me&{name}={ada.token}") in (400, 401)


@pytest.mark.parametrize(
    "origin",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}],
)  # fmt: skip
async def test_the_cookie_opens_nothing_for_a_foreign_page(person, guest, origin):
    ada = await person("Ada")
    assert await refusal(guest, Cookie=f"session={ada.token}", **origin) == 403


async def test_the_sites_own_page_listens_with_the_cookie(site, person):
    ada = await person("Ada")
    for own in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": site.url}):  # a GET of one's own site has no Origin
        events = await listen(ada, headers={"Cookie": f"session={ada.token}", **own})
        assert events.frames[0]["user"] == ada.id


async def test_a_stream_that_may_not_be_followed_is_answered_by_an_error_and_the_others_go_on(person):
    ada, eve = await person("Ada"), await person("Eve")
    secret = await eve.post("secret")
    mine = await ada.post("mine")
    refused = [f"post:{secret['id']}", "post:9007199254740991"]
    events = await listen(ada, f"?streams=me,{refused[0]},{refused[1]},post:{mine['id']}&watch={secret['id']}")
    assert events.frames[0]["streams"].keys() == {"me", f"post:{mine['id']}"}
    errors = [await events.until(type="error") for _ in refused]
    assert {error["code"] for error in errors} == {"forbidden_or_missing"}
    for stream in refused:
        assert [error for error in errors if stream in error["detail"]]
    await eve.ok("POST", f"/posts/{secret['id']}/comments", {"text": "psst"})
    await ada.ok("POST", f"/posts/{mine['id']}/comments", {"text": "hello"})
    await events.until(type="event", stream=f"post:{mine['id']}")
    assert not [f for f in events.frames if f["type"] == "counts"]
    assert not [f for f in events.frames if f.get("stream") in refused]


@pytest.mark.parametrize(
    "query",
    ["?streams=nonsense", "?streams=me;post:1", "?streams=post:x", "?streams=post:0", "?streams=%00", "?watch=x",
     "?watch=-1", "?watch=1;2", "?streams=" + ",".join(f"post:{n}" for n in range(1, 102)),
     "?watch=" + ",".join(map(str, range(1, 202)))],
)  # fmt: skip
async def test_a_malformed_query_is_400(somebody, query):
    assert await refusal(somebody, query) == 400


@pytest.mark.parametrize(
    "position",
    ["me", "me=", "me=a", "me=a:", "me=a:x", "me=a:-1", "me=a:1.5", "me=a:9223372036854775808", "nonsense=a:1",
     "post:x=a:1", "me=a:1;post:1=a:1", "x" * 5000, "\u00e9"],
    ids=range(13),
)  # fmt: skip
async def test_a_malformed_position_is_400(somebody, position):
    assert await refusal(somebody, **{"Last-Event-ID": position}) == 400


def test_the_endpoint_is_documented(documents):
    """The contract: what it does not say stands in the documents that the server serves."""
    responses = documents.openapi["paths"]["/api/v1/live/events"]["get"]["responses"]
    assert {"200", "400", "401", "403", "503"} <= responses.keys()
    assert "text/event-stream" in responses["200"]["content"]
    assert "/api/v1/live/events" in str(documents.asyncapi["channels"])


async def test_other_methods_are_refused(somebody):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await somebody.call(method, "/live/events"))[0] == 405


async def test_asking_for_the_head_alone_opens_nothing(somebody):
    async with asyncio.timeout(PATIENCE):
        async with somebody.http.head(f"{somebody.api}/live/events", headers=somebody.headers) as answer:
            assert answer.status in (200, 405)
            assert await answer.read() == b""


async def test_signing_out_ends_it_and_the_reconnect_is_refused(person, guest):
    ada = await person("Ada")
    phone = await ada.again()
    ending, staying = await listen(ada), await listen(phone)
    await ada.ok("DELETE", "/sessions/current")
    await ending.ended()
    assert await refusal(ada, **{"Last-Event-ID": ending.position}) == 401
    made = await phone.post("still here")
    assert (await staying.until(type="event"))["data"]["id"] == made["id"]
    assert [frame["type"] for frame in ending.frames] in (["welcome"], ["welcome", "bye"])


async def test_heartbeats_come_as_comments(own_site):
    _, person = await own_site(SOCIAL_PING_SECONDS="1")
    ada = await person("Ada")
    events = await listen(ada)
    await events.beats(3)
    await ada.post("between the beats")
    await events.until(type="event")
    await events.beats(1)
