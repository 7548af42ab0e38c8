"""One whole site on a Redis Cluster: web and worker processes of their own, people over HTTP and websocket alone."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
import pytest_asyncio
import redis

from db.redis import Redis
from db.settings import Settings
from feed.errors import TooMany
from realtime.limits import Limits
from tests import people
from tests.sites import SOCIAL, Site, system


@pytest.fixture(scope="module")
def site(mariadb_database: Callable[[], str], cluster_url: str) -> Iterator[Site]:
    running = system(mariadb_database(), cluster_url)
    yield running
    running.stop()


@pytest_asyncio.fixture
async def friends(site: Site, http: aiohttp.ClientSession) -> AsyncIterator[tuple[people.Person, people.Person]]:
    ada, bela = await people.sign_up(http, site.api, "Ada"), await people.sign_up(http, site.api, "Béla")
    await ada.befriend(bela)
    yield ada, bela


async def told(live: people.Live, post: dict[str, str]) -> int:
    """The offset at which a post arrives."""
    while (frame := await live.until(type="event", event="post.created"))["data"]["id"] != post["id"]:
        pass
    return int(frame["offset"])


async def test_a_post_arrives_live_and_a_position_resumes(friends: tuple[people.Person, people.Person]) -> None:
    ada, bela = friends
    live = await bela.live()
    offset = await told(live, await ada.post("hello over a cluster"))
    epoch = live.frames[0]["streams"]["me"]["epoch"]
    await live.socket.close()
    missed = [await ada.post(f"missed {number}") for number in range(3)]
    watcher = await ada.live()  # what its author has been told has reached the friends too
    await told(watcher, await ada.post("last"))
    again = await bela.live({"me": {"epoch": epoch, "offset": offset}})
    assert again.frames[0]["streams"]["me"]["recovered"] is True
    assert [await told(again, post) for post in missed] == [offset + 1, offset + 2, offset + 3]


async def test_an_edge_that_lost_its_subscription_resumes_under_the_open_socket(
    friends: tuple[people.Person, people.Person], cluster_url: str
) -> None:
    ada, bela = friends
    live = await bela.live()
    await told(live, await ada.post("first"))  # that they are friends is told in the same round as this, or before
    before = await told(live, await ada.post("before"))
    assert cut(cluster_url) > 0
    made = [await ada.post(f"after {number}") for number in range(3)]
    assert [await told(live, post) for post in made] == [before + 1, before + 2, before + 3]


async def test_counts_and_a_thread_are_heard_over_the_cluster(friends: tuple[people.Person, people.Person]) -> None:
    ada, bela = friends
    made = await ada.post("like me")
    live = await ada.live()
    await live.send({"type": "watch", "id": "w", "posts": [made["id"]]})
    await live.until(type="counts")
    await live.send({"type": "subscribe", "id": "s", "stream": f"post:{made['id']}"})
    await live.until(type="subscribed", id="s")
    await bela.ok("PUT", f"/posts/{made['id']}/like")
    assert (await live.until(type="counts"))["posts"][made["id"]]["likes"] == 1
    said = await bela.ok("POST", f"/posts/{made['id']}/comments", {"text": "gladly"})
    assert (await live.until(type="event", event="comment.created"))["data"]["id"] == said["id"]


async def test_doctor_prints_what_a_live_user_takes(
    site: Site, friends: tuple[people.Person, people.Person], mariadb_url: str, cluster_url: str
) -> None:
    ada, bela = friends
    await told(await bela.live(), await ada.post("something to keep"))
    said = await asyncio.to_thread(doctor, cluster_url)
    assert re.search(r"^ok +redis +redis [\d.]+, [\d.]+ MiB of 3 primaries used$", said, re.MULTILINE), said
    found = re.search(
        r"^ok +streams +([\d,]+) bytes per live user \(mean of (\d+)\); no timelines$", said, re.MULTILINE
    )
    assert found, said
    assert 100 < int(found[1].replace(",", "")) < 100_000
    assert int(found[2]) >= 2


async def test_limits_are_counted_in_the_cluster_by_all_processes_together(cluster_url: str) -> None:
    settings = Settings(redis_url=cluster_url, sign_in_per_account="3/minute")
    one, other = Limits(settings), Limits(settings)
    name = people.fresh("limited")
    try:
        for limits in (one, other, one):
            await limits.count(limits.sign_in_account, name)
        with pytest.raises(TooMany):
            await other.count(other.sign_in_account, name)
    finally:
        await one.close()
        await other.close()
    store = Redis.open(settings)
    try:
        assert len(await store.sample(f"LIMITS:*{name}*", 10)) == 1
    finally:
        await store.close()


async def test_limits_are_counted_here_while_no_cluster_answers() -> None:
    limits = Limits(Settings(redis_url="redis+cluster://127.0.0.1:1", sign_in_per_account="2/minute"))
    try:
        for _ in range(2):
            await limits.count(limits.sign_in_account, "somebody")
        with pytest.raises(TooMany):
            await limits.count(limits.sign_in_account, "somebody")
    finally:
        await limits.close()


def cut(cluster_url: str) -> int:
    """Has each server cut its subscriptions; returns how many (an edge that loses one lets the others go)."""
    with redis.RedisCluster.from_url(cluster_url.replace("+cluster", "")) as client:
        killed = [
            node.redis_connection.execute_command("CLIENT", "KILL", "TYPE", "pubsub") for node in client.get_primaries()
        ]
    return sum(killed)


def doctor(cluster_url: str) -> str:
    done = subprocess.run(
        [*SOCIAL, "doctor"],
        env={"SOCIAL_REDIS_URL": cluster_url, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr
