"""GET /trending and the stream `trending`: explained, live, and never more than the viewer may see."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from db.settings import Settings
from social.schedule import refresh_trending
from tests.contract.events import listen, refusal
from tests.sites import SOCIAL


@pytest.fixture
def refresh(site):
    """Works trending out now, as the full hour does."""
    return lambda: refresh_trending(Settings(**site.stores))


@pytest.fixture
def talked_about(person):
    """Somebody's public post with comments of five others: (author, post, the others)."""

    async def make():
        author, *others = [await person() for _ in range(6)]
        made = await author.post("everybody talks about this", "public")
        for other in others:
            await other.ok("POST", f"/posts/{made['id']}/comments", {"text": "yes"})
        return author, made, others

    return make


async def trends(viewer):
    """post id -> item of the whole list."""
    return {item["id"]: item for item in (await viewer.ok("GET", "/trending?limit=50"))["items"]}


async def test_a_post_trends_with_its_reasons(talked_about, refresh):
    author, made, others = await talked_about()
    await others[0].ok("PUT", f"/posts/{made['id']}/like")
    await author.ok("PUT", f"/posts/{made['id']}/like")
    await refresh()
    answer = await others[0].ok("GET", "/trending?limit=50")
    assert answer["refreshed_at"]
    assert isinstance(answer["tags"], list)
    item = next(item for item in answer["items"] if item["id"] == made["id"])
    assert (item["liked"], item["author"]["id"], item["text"]) == (True, author.id, "everybody talks about this")
    because = item["trend"]["because"]
    assert item["trend"]["score"] == pytest.approx(sum(term["points"] for term in because), abs=1e-5)
    people = {kind: sum(term["people"] for term in because if term["kind"] == kind) for kind in ("comments", "likes")}
    assert people == {"comments": 5, "likes": 1}  # the author's own like is none
    assert all(term["hour"].endswith(":00:00.000Z") for term in because)
    scores = [item["trend"]["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    shown = await others[0].ok("GET", f"/posts/{made['id']}")
    assert "trend" not in shown


async def test_a_block_holds_from_the_next_read_on(talked_about, refresh, person):
    author, made, _ = await talked_about()
    eve = await person()
    await refresh()
    assert made["id"] in await trends(eve)
    await author.ok("PUT", f"/blocks/{eve.id}")
    assert made["id"] not in await trends(eve)
    assert made["id"] in await trends(author)


@pytest.mark.parametrize("visibility", ["friends", "only_me"])
async def test_a_narrowed_post_is_gone_with_the_next_read_for_everybody(talked_about, refresh, visibility):
    author, made, others = await talked_about()
    await author.befriend(others[0])
    await refresh()
    assert made["id"] in await trends(others[0])
    await author.ok("PATCH", f"/posts/{made['id']}", {"visibility": visibility})
    for viewer in (author, *others[:2]):
        assert made["id"] not in await trends(viewer)


async def test_a_deleted_post_is_gone_with_the_next_read(talked_about, refresh):
    author, made, others = await talked_about()
    await refresh()
    await author.call("DELETE", f"/posts/{made['id']}")
    assert made["id"] not in await trends(others[0])


async def test_the_answer_is_bounded_and_belongs_to_those_who_are_signed_in(somebody, guest):
    assert len((await somebody.ok("GET", "/trending?limit=1"))["items"]) <= 1
    assert len((await somebody.ok("GET", "/trending"))["items"]) <= 20
    for limit in ("0", "101", "-1", "many", "1e1"):
        await somebody.invalid("GET", f"/trending?limit={limit}", None, "/limit")
    await guest.refused(401, "GET", "/trending")


async def test_a_refresh_is_told_once_to_whoever_follows(person, refresh):
    ada, bela, carl = [await person() for _ in range(3)]
    first, second, unconcerned = await ada.live(), await bela.live(), await carl.live()
    for live in (first, second):
        joined = await live.ask({"type": "subscribe", "id": 1, "stream": "trending"}, id=1)
        assert (joined["type"], joined["stream"]) == ("subscribed", "trending")
    events = await listen(carl, "?streams=me,trending")
    await refresh()
    told = await first.until(type="event", event="trending.refreshed")
    assert (told["stream"], told["offset"]) == ("trending", joined["offset"] + 1)
    again = await second.until(type="event", event="trending.refreshed")
    streamed = await events.until(type="event", event="trending.refreshed")
    assert told["data"] == again["data"] == streamed["data"]
    assert told["id"] == again["id"] == streamed["id"]
    assert "trending=" in events.position
    assert (await ada.ok("GET", "/trending"))["refreshed_at"] >= told["data"]["refreshed_at"]
    await unconcerned.barrier()
    assert not [frame for frame in unconcerned.frames if frame.get("stream") == "trending"]
    left = await first.ask({"type": "unsubscribe", "id": 2, "stream": "trending"}, id=2)
    assert left["type"] == "unsubscribed"


async def test_a_missed_refresh_is_replayed(person, refresh):
    ada = await person()
    live = await ada.live()
    joined = await live.ask({"type": "subscribe", "id": 1, "stream": "trending"}, id=1)
    await live.socket.close()
    await refresh()
    position = {"epoch": joined["epoch"], "offset": joined["offset"]}
    back = await ada.live({"trending": position})
    assert back.frames[0]["streams"]["trending"]["recovered"] is True
    assert (await back.until(type="event", event="trending.refreshed"))["offset"] == joined["offset"] + 1


async def test_names_like_it_are_no_streams(somebody):
    live = await somebody.live()
    for stream in ("trending:1", "Trending", "trending ", "trending.refreshed"):
        answer = await live.ask({"type": "subscribe", "id": 1, "stream": stream}, id=1)
        assert answer["code"] == "forbidden_or_missing"
    assert await refusal(somebody, "?streams=me,trending2") == 400


async def test_the_command_line_refreshes(site, person, talked_about):
    _, made, others = await talked_about()
    told = {f"SOCIAL_{name.upper()}": value for name, value in site.stores.items()}
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("SOCIAL_")}, **told}
    done = await asyncio.to_thread(
        subprocess.run, [*SOCIAL, "trending", "refresh"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Trending refreshed at ")
    assert made["id"] in await trends(others[0])


@pytest.mark.timeout(90)
async def test_the_demo_shows_what_trends_soon_after_its_first_start(start_site, http):
    site = start_site("--demo")
    name, password = next(line.split(" with ") for line in site.processes[0].lines if line.startswith("sign in as"))
    body = {"username": name.removeprefix("sign in as "), "password": password}
    async with http.post(f"{site.api}/sessions", json=body) as answer:
        headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"{site.api}/trending", headers=headers) as answer:
                found = await answer.json()
            if found["items"]:
                break
            await asyncio.sleep(0.1)
    assert len({item["author"]["id"] for item in found["items"]}) == len(found["items"])


async def test_a_tag_is_shown_while_somebody_uses_it_whom_the_viewer_may_see(person, refresh):
    ada, bela, cleo, *fans = [await person() for _ in range(7)]
    tag = f"t{ada.id}x{bela.id}"
    made = {one: await one.post(f"about #{tag}", "public") for one in (ada, bela, *fans)}
    await refresh()

    async def shows(viewer):
        return tag in {one["tag"] for one in (await viewer.ok("GET", "/trending"))["tags"]}

    assert await shows(cleo)
    for fan in fans:
        await fan.ok("DELETE", f"/posts/{made[fan]['id']}")
    await ada.ok("PUT", f"/blocks/{cleo.id}")
    assert await shows(cleo)
    await bela.ok("PATCH", f"/posts/{made[bela]['id']}", {"visibility": "friends"})
    assert not await shows(cleo)
    assert await shows(bela)
    await ada.ok("DELETE", f"/posts/{made[ada]['id']}")
    assert not await shows(bela)
