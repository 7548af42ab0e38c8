"""`social why`: every verdict, on SQLite and MariaDB, with Redis and in this process; and the command itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from db import relations, schema, users
from db.migrate import migrate
from db.redis import MEMORY
from db.settings import Settings
from feed import feed_page, friends, moderation, posts
from feed.explain import Known, explain, facts, verdict
from feed.stores import Stores
from feed.streams import Event, me
from tests.sites import SOCIAL


class World:
    """Ada, whose feed is asked about, and Bob, who writes: friends."""

    def __init__(self, stores: Stores, url: str, redis_url: str) -> None:
        self.stores, self.url, self.redis_url = stores, url, redis_url
        self.ada = self.bob = 0

    async def people(self) -> None:
        self.ada, self.bob = [await self.person(name) for name in ("ada", "bob")]
        await self.befriend(self.ada, self.bob)

    async def person(self, name: str) -> int:
        now = self.stores.clock()
        return await self.stores.sql.write(
            lambda c: users.add(c, username=name, name=name, email=None, password_hash="!", now=now)
        )

    async def befriend(self, one: int, other: int) -> None:
        await friends.ask(self.stores, one, other)
        await friends.ask(self.stores, other, one)

    async def post(self, author: int, visibility: str = "friends") -> int:
        made = await posts.create(self.stores, author, words="Tea.", visibility=visibility, media=[], key=None)
        return int(made.id)

    async def done(self) -> None:
        """As if the workers had done everything, but put nothing anywhere."""
        await self.set_tasks(state="done")

    async def set_tasks(self, **values: object) -> None:
        await self.stores.sql.write(lambda c: c.execute(update(schema.outbox).values(**values)))

    async def fan_out(self, post_id: int) -> None:
        event = Event(f"o{post_id}", "post.created", self.bob, post_id, 1, b"{}")
        await self.stores.streams.append(event, [me(self.ada)], "put")

    async def read(self) -> list[int]:
        """Ada reads her feed."""
        page = await feed_page.recent(self.stores, self.ada, cursor=None, limit=50)
        return [int(item.id) for item in page.items]

    async def ask(self, post_id: int, user: str = "ada") -> tuple[str, dict[str, str]]:
        """(verdict, facts); what the verdict says is what the feed does."""
        known = await explain(self.stores, user, post_id)
        said = verdict(known)
        await self.agree(known, said)
        return said, dict(facts(known))

    async def agree(self, known: Known, said: str) -> None:
        if known.reader.id == self.ada and known.reader.state == "active":
            shown = await self.read()
            assert said.startswith("Yes") == (known.post_id in shown), (said, shown)
            if known.post_id in shown:
                assert f"at position {shown.index(known.post_id) + 1}," in said


@pytest_asyncio.fixture(params=["sqlite", "mariadb"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "sqlite":
        url, redis_url = f"sqlite+aiosqlite:///{tmp_path / 'social.db'}", MEMORY
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        url, redis_url = make(), request.getfixturevalue("redis_url")
    await migrate(url)
    stores = Stores.open(Settings(database_url=url, redis_url=redis_url))
    made = World(stores, url, redis_url)
    await made.people()
    await stores.timelines.drop(made.ada)  # the Redis is shared, and ids begin at 1 in every database
    yield made
    await stores.close()


async def test_a_cold_feed_has_it_from_the_database_and_stays_cold(world: World) -> None:
    post = await world.post(world.bob)
    known = await explain(world.stores, "@Ada", post)
    assert verdict(known).startswith(f"Yes: post {post} is in the feed of @ada, at position 1, from the database: the")
    assert "is cold (nobody has read" in verdict(known)
    assert (await explain(world.stores, str(world.ada), post)).timeline == "absent"
    await world.ask(post)


async def test_a_warm_timeline_holds_it(world: World) -> None:
    await world.read()
    post, newer = await world.post(world.bob), await world.post(world.ada)
    for each in (post, newer):
        await world.fan_out(each)
    await world.done()
    said, known = await world.ask(post)
    assert said == f"Yes: post {post} is in the feed of @ada, at position 2, from the timeline."
    assert known["timeline"].startswith("warm: built for relations of version")
    assert known["outbox"] == "no task of the post waits"


async def test_what_is_not_fanned_out_comes_from_the_outbox(world: World) -> None:
    await world.read()
    post = await world.post(world.bob)
    said, known = await world.ask(post)
    assert said.endswith("at position 1, from the outbox: the fan-out that puts it into the timeline is not done.")
    assert known["outbox"].startswith("fan_out_post (post.created) pending for ")


async def test_a_parked_task_shows_its_age_and_fault(world: World) -> None:
    await world.read()
    post = await world.post(world.bob)
    made = world.stores.clock() - timedelta(seconds=90)
    await world.set_tasks(state="parked", attempts=10, fault="ValueError: tea", created_at=made)
    said, known = await world.ask(post)
    assert "from the outbox" in said
    assert known["outbox"].startswith("fan_out_post (post.created) parked for 9")
    assert known["outbox"].endswith("s, 10 attempts: ValueError: tea")


async def test_a_timeline_that_lacks_it_is_a_fault(world: World) -> None:
    await world.read()
    post = await world.post(world.bob)
    await world.done()
    said, known = await world.ask(post)
    assert said == (
        "No, though it should be: the timeline of @ada says that it is complete down to the first post and lacks post "
        f"{post}, which no task is about to put there."
    )
    assert known["position"] == "none"


async def test_below_the_floor_the_database_has_it(world: World) -> None:
    post, newer = await world.post(world.bob), await world.post(world.bob)
    await world.done()
    await world.read()
    keys = world.stores.redis.keys
    await world.stores.redis._client.hset(keys.floor(me(world.ada)), "floor", newer)
    await world.stores.redis._client.zrem(keys.timeline(me(world.ada)), post)
    said, _ = await world.ask(post)
    assert said.endswith(f"at position 2, from the database: the timeline is complete down to {newer} only.")


async def test_a_timeline_of_other_relations_is_out_of_date(world: World) -> None:
    await world.read()
    before = (await explain(world.stores, "ada", await world.post(world.bob))).version
    eve = await world.person("eve")
    await world.befriend(world.ada, eve)
    post = await world.post(eve)
    now = (await explain(world.stores, "ada", post)).version
    assert now > before
    said, known = await world.ask(post)
    assert f"was built for relations of version {before}, and they are at {now}" in said
    assert known["timeline"].startswith("out of date:")


@pytest.mark.parametrize(("fields", "why"), [({"run_id": "0" * 40}, "another life"), ({}, "being built")])
async def test_why_a_timeline_is_cold(world: World, fields: dict[str, str], why: str) -> None:
    await world.read()
    post = await world.post(world.bob)
    floor, client = world.stores.redis.keys.floor(me(world.ada)), world.stores.redis._client
    await (client.hset(floor, mapping=fields) if fields else client.hdel(floor, "relations"))
    known = await explain(world.stores, "ada", post)
    assert known.timeline == why
    assert "from the database: the timeline is cold" in verdict(known)


async def test_many_posts_on_their_way_mean_the_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.read()
    monkeypatch.setattr(feed_page, "UNFINISHED", 0)
    said, _ = await world.ask(await world.post(world.bob))
    assert "from the database: more than 0 posts are on their way into timelines" in said


async def test_a_deleted_post(world: World) -> None:
    post = await world.post(world.bob)
    await posts.delete(world.stores, world.bob, post)
    said, known = await world.ask(post)
    assert said.startswith(f"No: post {post} was deleted at 2")
    assert ", deleted 2" in known["post"]


async def test_an_author_who_is_switched_off(world: World) -> None:
    post = await world.post(world.bob)
    await moderation.disable(world.stores, "bob")
    said, _ = await world.ask(post)
    assert said == f"No: the account of its author @bob is disabled, so nobody sees post {post}."


async def test_a_reader_who_is_switched_off(world: World) -> None:
    post = await world.post(world.bob)
    await moderation.disable(world.stores, "ada")
    said, known = await world.ask(post)
    assert said == "No: the account of @ada is disabled, so nobody reads that feed."
    assert known["position"] == "none"


async def test_blocks_in_each_direction(world: World) -> None:
    post = await world.post(world.bob, "public")
    await friends.block(world.stores, world.ada, world.bob)
    assert (await world.ask(post))[0] == "No: @ada blocks @bob."
    # The interface refuses this one, as it hides the person; two that cross each other leave it.
    now = world.stores.clock()
    await world.stores.sql.write(lambda c: relations.add_block(c, world.bob, world.ada, now))
    assert (await world.ask(post))[0] == "No: @ada blocks @bob and @bob blocks @ada."
    await friends.unblock(world.stores, world.ada, world.bob)
    said, known = await world.ask(post)
    assert said == "No: @bob blocks @ada."
    assert known["blocks"] == "@bob blocks @ada"


async def test_those_who_are_no_friends(world: World) -> None:
    eve = await world.person("eve")
    post, public = await world.post(eve), await world.post(eve, "public")
    said, known = await world.ask(post)
    assert said == "No: @ada and @eve are no friends, and a feed holds what friends write."
    assert known["rights"] == "the reader must not see it"
    assert (await world.ask(public))[0].endswith(f"friends write, though @ada may see post {public} elsewhere.")
    await friends.ask(world.stores, world.ada, eve)
    assert (await world.ask(post))[0].startswith("No: @ada has only asked, ")
    assert (await world.ask(await world.post(world.ada), "eve"))[0].startswith("No: @ada has only asked, ")


async def test_a_post_for_its_author_alone(world: World) -> None:
    post, own = await world.post(world.bob, "only_me"), await world.post(world.ada, "only_me")
    assert (await world.ask(post))[0] == f"No: post {post} is for its author @bob alone."
    assert (await world.ask(own))[0].startswith(f"Yes: post {own} is in the feed of @ada, at position 1")


async def test_a_share_says_what_the_reader_sees_of_it(world: World) -> None:
    eve = await world.person("eve")
    await world.befriend(world.bob, eve)
    shared = await world.post(eve)
    share = int((await posts.share(world.stores, world.bob, shared, words="", visibility="friends", key=None)).id)
    said, known = await world.ask(share)
    assert said.startswith("Yes")
    assert known["share"].startswith(f"of post {shared}; a tombstone stands in its place")
    await world.befriend(world.ada, eve)
    assert (await world.ask(share))[1]["share"] == f"of post {shared}; the reader sees it"


@pytest.mark.parametrize(
    ("user", "number", "refusal"),
    [
        ("nobody", 0, "There is no user `nobody`, neither by username nor by id."),
        ("ada", 10**9, "There is no post 1000000000, and there is no trace of one."),
    ],
)
async def test_the_command_refuses_the_unknown_with_one_sentence(
    world: World, user: str, number: int, refusal: str
) -> None:
    code, output, errors = await command(world, user, number or await world.post(world.bob))
    assert (code, output, errors) == (1, "", f"social: {refusal}\n")


async def test_the_command_says_the_verdict_first(world: World) -> None:
    post = await world.post(world.bob)
    code, output, errors = await command(world, "ada", post)
    assert (code, errors) == (0, "")
    first, *rest = output.splitlines()
    assert first.startswith(f"Yes: post {post} is in the feed of @ada, at position 1, from the database")
    assert [line.split()[0] for line in rest] == [name for name, _ in facts(await explain(world.stores, "ada", post))]


async def command(world: World, user: str, post: int) -> tuple[int | None, str, str]:
    """(exit code, stdout, stderr) of `social why`."""
    run = await asyncio.create_subprocess_exec(
        *SOCIAL,
        *("why", "--user", user, "--post", str(post)),
        env={**os.environ, "SOCIAL_DATABASE_URL": world.url, "SOCIAL_REDIS_URL": world.redis_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await run.communicate()
    return run.returncode, output.decode(), errors.decode()
