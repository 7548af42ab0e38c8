"""The product's feeds, streams and workers on small stores, beside what is true; and all that can happen to them.

A `World` is made once and emptied for each run. `World.step` does one step of a run: it begins something, or lets
something that is under way ask its next question. What is answered is compared with `truth` there and then.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import orjson
from msgspec import UNSET
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from db import engine, outbox, schema
from db.redis import Redis
from db.settings import Settings
from feed import comments, feed_page, friends, likes, posts, streams, timelines
from feed.errors import Invalid, NotFound
from feed.events import COMMENTS, HIDDEN, POSTS, TO_FORGET
from feed.grants import Grants
from feed.objects import Post
from feed.pages import decode, encode
from feed.post_cache import PostCache
from feed.revocations import Revocation, Revocations
from feed.stores import Stores
from feed.streams import Item, Streams, Top, me
from feed.streams import post as post_stream
from feed.timelines import Timelines
from realtime.live.hub import Hub, Live
from realtime.live.protocol import payload_of
from tests.model.engines import Connection, RedisClient
from tests.model.stage import CURRENT, Operation, Stage
from tests.model.truth import Truth, Watch
from workers import dispatch, fan_out_post
from workers.dispatch import LEASE, Dispatcher

START = datetime(2026, 11, 21, 3, tzinfo=UTC)
PEOPLE = 6
LISTENERS = 2  # of them with an open socket
BLOCKED = ((2, 1), (5, 6), (3, 4))  # who blocks whom from the start, in a wild run
KEEPS, SLACK = 5, 1  # ids of a timeline, and how far it may outgrow that: few, so that floors matter
SLICE = 2  # recipients of one run of the fan-out
STREAM_KEEPS = 50  # items of a log: some replays reach beyond it
UNFINISHED = 10  # tasks behind which a feed is read from the database
POSTS_AT_MOST = 30
AT_ONCE = 5  # operations side by side, besides those that sleep
RUNS = [0, 0, 1, 3, 9, 30]  # questions that one asks before another one gets its turn
NAP, NAPS = 0.06, (20, 200)  # how often one falls asleep before its next question, and for how many steps
WORKERS = 2
CACHED = 10  # posts that the process keeps: some have to be read again
VISIBILITIES = ["friends", "friends", "public", "only_me"]
LIMITS = [1, 2, 3, 5, 40]
LUA_SLACK = "local AGED, SLACK = 8, 32"

# What can begin: its share in a wild run, and in a calm one, where timelines live long enough to be cut.
DEEDS = (
    ("_write_post", 12, 22),
    ("_share", 4, 4),
    ("_edit", 6, 8),
    ("_hide_or_show", 6, 12),
    ("_delete", 4, 4),
    ("_ask", 9, 1),
    ("_part", 4, 1),
    ("_block", 5, 1),
    ("_unblock", 2, 1),
    ("_like", 6, 3),
    ("_comment", 7, 3),
    ("_uncomment", 1, 1),
    ("_read_feed", 22, 22),
    ("_read_top", 3, 3),
    ("_read_post", 9, 4),
    ("_search", 2, 2),
    ("_read_person", 2, 2),
    ("_read_likers", 7, 3),
    ("_read_comments", 9, 3),
    ("_replay", 20, 20),
    ("_look", 18, 18),
    ("_crash", 2, 3),
    ("_leases_move", 2, 3),
    ("_flush", 1, 0),
    ("_expire", 2, 1),
    ("_take_over", 1, 1),
    ("_remember", 1, 1),
    ("_fall_back", 1, 0),
)


class Wrong(AssertionError):
    """The product has answered what is not true."""


class Listener:
    """An open connection: keeps what the hub sends until it is judged."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.denied: frozenset[int] = frozenset()
        self.lagging = False
        self.frames: list[dict[str, Any]] = []

    def send(self, frame: bytes, _item: Item) -> None:
        self.frames.append(orjson.loads(payload_of(frame)))

    def reply(self, frame: bytes) -> None:
        return None

    send_volatile = reply

    def counts_changed(self, _post: int) -> None:
        return None


class World:
    """One site. `sql` holds the database that a run begins with; `trace` tells what this run did."""

    def __init__(self, redis_url: str) -> None:
        self.stack = ExitStack()
        self.stage = Stage()
        self._sqlite = sqlite3.connect(":memory:", isolation_level=None)
        self.stack.callback(self._sqlite.close)
        self._template = sqlite3.connect(":memory:")
        self.stack.callback(self._template.close)
        self._client = RedisClient(redis_url, self._gate)
        self._client.asked = self._scripted
        self._patch()
        self.settings = Settings(database_url="sqlite+aiosqlite:///model.db", database_pool=20, redis_url=redis_url)
        self.redis = Redis(self._client, lambda _: None, connections=1000)  # type: ignore[arg-type,return-value]
        text = self.redis._scripts["append"].text
        assert LUA_SLACK in text
        small = text.replace(LUA_SLACK, f"local AGED, SLACK = 8, {SLACK}")
        digest = hashlib.sha1(small.encode()).hexdigest()  # noqa: S324 - how EVALSHA names a script
        self.redis._scripts["append"] = type(self.redis._scripts["append"])(small, digest)
        self._append = digest
        self._people = list(range(1, PEOPLE + 1))

    def _patch(self) -> None:
        async def connect() -> Connection:
            return Connection(self._sqlite, self._gate)

        def make(url: str, **options: Any) -> Any:
            return create_async_engine(url, async_creator=connect, **options)

        for where, name, value in (
            (engine, "create_async_engine", make),
            (fan_out_post, "SLICE", SLICE),
            (dispatch, "AT_ONCE", 1),  # one question at a time: lanes follow each other, in whatever order they stand
            (dispatch, "BATCH_WITHIN", 1e9),
            (engine, "READ_WITHIN", 1e9),
            (streams, "TIMELINE_KEEPS", KEEPS),
            (timelines, "TIMELINE_KEEPS", KEEPS),
            (feed_page, "TIMELINE_KEEPS", KEEPS),
            (feed_page, "UNFINISHED", UNFINISHED),
        ):
            self.stack.enter_context(mock.patch.object(where, name, value))

    async def _gate(self, about: str) -> None:
        assert not self._sqlite.in_transaction, "a transaction asks another store"
        await self.stage.gate(about)

    # --- a run -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Makes the database that every run begins with. Called once."""
        self.stores = await self._open_stores()
        await self.stores.sql.write(lambda connection: connection.run_sync(schema.metadata.create_all))
        now = START - timedelta(days=1)
        people = [
            {"id": n, "username": f"u{n}", "name": f"U{n}", "password_hash": "", "created_at": now}
            for n in self._people
        ]

        async def fill(connection: Any) -> None:
            await connection.execute(insert(schema.users), people)
            await connection.execute(
                insert(schema.relation_meta), [{"user_id": n, "friends": 0, "version": 1} for n in self._people]
            )
            leases = [{"partition": n, "owner": "", "fence": 0, "expires_at": now} for n in range(outbox.PARTITIONS)]
            await connection.execute(insert(schema.outbox_leases), leases)

        await self.stores.sql.write(fill)
        self._sqlite.backup(self._template)

    async def _open_stores(self) -> Stores:
        sql = engine.Database.open(self.settings)
        self._write, sql.write = sql.write, self._written  # type: ignore[method-assign]
        return Stores(
            sql,
            self.redis,
            Streams(self.redis, keep=STREAM_KEEPS, window=3600.0),
            Timelines(self.redis),
            lambda: None,  # type: ignore[arg-type]
            lambda _news: None,  # type: ignore[arg-type]
            clock=self._clock,
            post_cache=PostCache(most=CACHED),
        )

    async def _written(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """A transaction: one gate, then all of it, and at its commit the same is true here."""
        await self._gate("write")
        operation = CURRENT.get()
        if operation is not None and operation.allowed is not None:
            operation.right = operation.allowed()
        result = await self._write(work)
        if operation is not None and operation.committed is not None:
            operation.committed(result)
        return result

    def _clock(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    async def begin(self, *, calm: bool) -> None:
        """Empties everything for a new run."""
        self.calm = calm
        for operation in list(self.stage.operations):
            await self.stage.kill(operation)
        self._template.backup(self._sqlite)
        self._client.now.flushall()
        self._now = START
        self.truth = Truth(self._people)
        self.stage.steps = 0
        self.trace: list[str] = []
        self.texts = (f"t{n}" for n in itertools.count(1))
        self.positions: dict[str, list[Top]] = {}
        self.snapshot: list[tuple[bytes, int, bytes]] = []
        self.appended: list[tuple[str, str, bytes, list[str]]] = []
        self.workers = [Dispatcher(self.stores) for _ in range(WORKERS)]
        self.looks: list[Operation | None] = [None] * WORKERS
        object.__setattr__(self.stores, "post_cache", PostCache(most=CACHED))
        self.known = Revocations(self.stores.sql, self._clock, window=3600.0)
        self.grants, self.node = Grants(self.stores, self.known), Grants(self.stores, self.known)
        self.replaying = False
        self.hub = Hub(self.known)
        self.hub.wants_repair = lambda stream: self._begin_anew(stream.name)
        self.known.on_learned = self._learned
        self.unsure, self.heard = True, -1
        self.listeners = {me(user): Listener(user) for user in self._people[:LISTENERS]}
        await self.known.look()
        for name, listener in self.listeners.items():
            self.hub.connect(listener)
            subscription = self.hub.subscribe(listener, name, "me")
            top = await self.stores.streams.join(name, "model")
            self.hub.streams[name].start(top)
            subscription.open(top)
        for pair in itertools.combinations(self._people, 2):
            if sum(pair) % 3:
                await friends.ask(self.stores, *pair)
                await friends.ask(self.stores, *reversed(pair))
                self.truth.friends.add(frozenset(pair))
        for pair in () if calm else BLOCKED:
            await friends.block(self.stores, *pair)
            self.truth.block(*pair)
        await self.lease(0)

    async def step(self, chance: random.Random) -> None:
        """One step of a run. Raises Wrong."""
        awake = [one for one in self.stage.operations if one.sleeps_until <= self.stage.steps]
        if len(awake) >= AT_ONCE or (awake and chance.random() < 0.72):
            operation = chance.choice(awake)
            if len(awake) > 1 and chance.random() < NAP:
                operation.sleeps_until = self.stage.steps + chance.randint(*NAPS)
                return
            operation.runs_on = chance.choice(RUNS)
            self.trace.append(f"  {operation.name}: {operation.at}")
            await self.stage.advance(operation)
        else:
            await self._begin_something(chance)
        await self._deliver()
        if chance.random() < 0.15:
            self.check_timeline(chance.choice(self._people))

    async def end(self) -> None:
        """Everything comes to its end; then every feed is exactly what is true, warm and cold."""
        await self.stage.finish()
        await self._deliver()
        await self.drain()
        for limit in (3, 20):
            for user in self._people:
                await self.read_feed(user, limit)
                self.check_timeline(user)
            self._client.now.flushall()
        await self._check_counts()

    async def drain(self) -> None:
        """The workers do what is left. Raises Wrong when something of it failed."""
        self._now += timedelta(seconds=LEASE + 1)
        await self.workers[0].hold_leases()
        while await self.workers[0].step():
            await self._deliver()
        left = self._rows("SELECT id, job, payload, fault FROM outbox WHERE state <> 'done' OR fault IS NOT NULL")
        if left:
            raise Wrong(f"tasks failed: {left}")

    def pass_time(self, much: timedelta) -> None:
        self._now += much

    async def close(self) -> None:
        """Ends everything, and undoes what was put in place of other things."""
        for operation in list(self.stage.operations):
            await self.stage.kill(operation)
        await self.stores.close()
        self.stack.close()

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._sqlite.execute(query, values).fetchall()

    # --- what can happen ---------------------------------------------------------------------------------------------

    async def _begin_something(self, chance: random.Random) -> None:
        names, wild, calm = zip(*DEEDS, strict=True)
        name = chance.choices(names, calm if self.calm else wild)[0]
        begun = getattr(self, name)(chance)
        if begun is not None:
            await begun

    async def _start(self, name: str, work: Callable[[Operation], Coroutine[Any, Any, Any]]) -> Operation:
        self.trace.append(f"{name} begins")
        return await self.stage.start(name, work)

    async def _change(
        self,
        name: str,
        act: Callable[[], Coroutine[Any, Any, Any]],
        allowed: Callable[[], bool],
        committed: Callable[[Any], None],
    ) -> None:
        """A write: carried out if and only if `allowed` at its turn."""

        async def work(operation: Operation) -> None:
            operation.allowed, operation.committed = allowed, committed
            try:
                await act()
            except NotFound:
                if operation.right:
                    raise Wrong(f"{name}: refused") from None
            else:
                if not operation.right:
                    raise Wrong(f"{name}: carried out")

        await self._start(name, work)

    def _pair(self, chance: random.Random) -> tuple[int, int]:
        one, other = chance.sample(self._people, 2)
        return one, other

    def _any_post(self, chance: random.Random) -> int | None:
        """Mostly one of the newest: what happens to one post right after each other is where the faults are."""
        ids = list(self.truth.posts)
        return chance.choice(ids[-3:] if chance.random() < 0.6 else ids) if ids else None

    async def _write_post(self, chance: random.Random) -> None:
        if len(self.truth.posts) >= POSTS_AT_MOST:
            return await self._delete(chance)
        author, visibility, text = chance.choice(self._people), chance.choice(VISIBILITIES), next(self.texts)
        return await self._change(
            f"{author} writes {text} for {visibility}",
            lambda: posts.create(self.stores, author, words=text, visibility=visibility, media=[], key=None),
            lambda: True,
            lambda result: self.truth.write(result[0], author, text, visibility),
        )

    async def _share(self, chance: random.Random) -> None:
        post_id = self._any_post(chance)
        if post_id is None or len(self.truth.posts) >= POSTS_AT_MOST:
            return
        author, visibility, text = chance.choice(self._people), chance.choice(VISIBILITIES), next(self.texts)

        def original() -> int:
            return self.truth.posts[post_id].shared or post_id

        await self._change(
            f"{author} shares post {post_id} with {text} for {visibility}",
            lambda: posts.share(self.stores, author, post_id, words=text, visibility=visibility, key=None),
            lambda: self.truth.sees(author, post_id) and self.truth.sees(author, original()),
            lambda result: self.truth.write(result[0], author, text, visibility, original()),
        )

    async def _edit(self, chance: random.Random) -> None:
        post_id = self._any_post(chance)
        if post_id is None:
            return
        text = next(self.texts) if chance.random() < 0.5 else None
        visibility = chance.choice(VISIBILITIES) if text is None or chance.random() < 0.5 else None
        await self._edit_to(post_id, text, visibility)

    async def _edit_to(self, post_id: int, text: str | None, visibility: str | None) -> None:
        author = self.truth.posts[post_id].author

        async def act() -> None:
            await posts.edit(self.stores, author, post_id, words=text or UNSET, visibility=visibility or UNSET)

        await self._change(
            f"{author} edits post {post_id} to {text} for {visibility}",
            act,
            lambda: post_id in self.truth.posts,
            lambda _: self.truth.edit(post_id, text, visibility),
        )

    async def _hide_or_show(self, chance: random.Random) -> None:
        """What was for its author alone is for friends, and the other way round."""
        post_id = self._any_post(chance)
        if post_id is None:
            return
        post = self.truth.posts[post_id]
        visibility = "friends" if post.visibility == "only_me" else "only_me"
        await self._edit_to(post_id, next(self.texts) if chance.random() < 0.4 else None, visibility)

    async def _delete(self, chance: random.Random) -> None:
        post_id = self._any_post(chance)
        if post_id is None:
            return
        author = self.truth.posts[post_id].author
        await self._change(
            f"{author} deletes post {post_id}",
            lambda: posts.delete(self.stores, author, post_id),
            lambda: post_id in self.truth.posts,
            lambda _: self.truth.delete(post_id),
        )

    async def _ask(self, chance: random.Random) -> None:
        one, other = self._pair(chance)
        asked = self.truth.asked.get(frozenset((one, other)))
        if asked == one:
            one, other = other, one
        await self._change(
            f"{one} asks {other}",
            lambda: friends.ask(self.stores, one, other),
            lambda: self.truth.meets(one, other),
            lambda _: self.truth.ask(one, other),
        )

    async def _part(self, chance: random.Random) -> None:
        one, other = self._pair(chance)
        await self._change(
            f"{one} removes {other}",
            lambda: friends.remove(self.stores, one, other),
            lambda: self.truth.meets(one, other),
            lambda _: self.truth.part(one, other),
        )

    def _may_block(self, one: int, other: int) -> Callable[[], bool]:
        return lambda: (one, other) in self.truth.blocks or (other, one) not in self.truth.blocks

    async def _block(self, chance: random.Random) -> None:
        one, other = self._pair(chance)
        await self._change(
            f"{one} blocks {other}",
            lambda: friends.block(self.stores, one, other),
            self._may_block(one, other),
            lambda _: self.truth.block(one, other),
        )

    async def _unblock(self, chance: random.Random) -> None:
        if not self.truth.blocks:
            return
        one, other = chance.choice(sorted(self.truth.blocks))
        await self._change(
            f"{one} unblocks {other}",
            lambda: friends.unblock(self.stores, one, other),
            self._may_block(one, other),
            lambda _: self.truth.unblock(one, other),
        )

    async def _like(self, chance: random.Random) -> None:
        person, post_id, active = chance.choice(self._people), self._any_post(chance), chance.random() < 0.7
        if post_id is None:
            return

        def committed(_: Any) -> None:
            fans = self.truth.posts[post_id].likes
            (fans.add if active else fans.discard)(person)
            self.truth.changed()

        await self._change(
            f"{person} likes post {post_id}: {active}",
            lambda: likes.set_like(self.stores, person, post_id, active=active),
            lambda: self.truth.sees(person, post_id),
            committed,
        )

    async def _comment(self, chance: random.Random) -> None:
        person, post_id, text = chance.choice(self._people), self._any_post(chance), next(self.texts)
        if post_id is None:
            return
        await self._change(
            f"{person} comments {text} on post {post_id}",
            lambda: comments.create(self.stores, person, post_id, words=text, key=None),
            lambda: self.truth.sees(person, post_id),
            lambda result: self.truth.say(result[0], post_id, person, text),
        )

    async def _uncomment(self, chance: random.Random) -> None:
        if not self.truth.comments:
            return
        number = chance.choice(list(self.truth.comments))
        comment = self.truth.comments[number]
        await self._change(
            f"{comment.author} deletes comment {number}",
            lambda: comments.delete(self.stores, comment.author, number),
            lambda: number in self.truth.comments and self.truth.sees(comment.author, comment.post),
            lambda _: self.truth.unsay(number),
        )

    # --- what is read ------------------------------------------------------------------------------------------------

    async def _answer(self, name: str, viewer: int, read: Callable[[Watch], Coroutine[Any, Any, None]]) -> None:
        async def work(_: Operation) -> None:
            watch = Watch(self.truth, viewer)
            try:
                await read(watch)
            except Wrong as error:
                raise Wrong(f"{name}: {error}") from None
            finally:
                watch.close()

        await self._start(name, work)

    async def _read_feed(self, chance: random.Random) -> None:
        viewer, limit = chance.choice(self._people), chance.choice(LIMITS)
        cursor = None
        if self.truth.posts and chance.random() < 0.4:
            cursor = encode("feed", chance.choice(list(self.truth.posts)) + chance.randint(0, 1))

        async def work(_: Operation) -> None:
            await self._walk(viewer, cursor, limit)

        await self._start(f"{viewer} reads the feed by {limit} from {cursor}", work)

    async def read_feed(self, viewer: int, limit: int = 20) -> None:
        """Reads a feed to its end, and compares it. Raises Wrong."""
        await self._walk(viewer, None, limit)

    async def _walk(self, viewer: int, cursor: str | None, limit: int) -> None:
        """Every page to the end; each is judged by what was true while it was made."""
        while True:
            watch = Watch(self.truth, viewer)
            try:
                page = await feed_page.recent(self.stores, viewer, cursor=cursor, limit=limit)
                self._judge_page(viewer, page, cursor, limit, watch)
            finally:
                watch.close()
            self._note(me(viewer), Top(page.position.epoch, page.position.offset))
            if page.next is None:
                return
            cursor = page.next

    def _judge_page(self, viewer: int, page: feed_page.FeedPage, cursor: str | None, limit: int, watch: Watch) -> None:
        top = decode("feed", cursor, 2**53)
        end = decode("feed", page.next, 0)
        ids = [int(post.id) for post in page.items]
        if ids != sorted(ids, reverse=True) or len(set(ids)) != len(ids) or len(ids) > limit:
            raise Wrong(f"order {ids}")
        if not all(end <= number < top for number in ids) or (page.next is not None and end >= top):
            raise Wrong(f"{ids} is not within {end}..{top}")
        self._judge_posts(viewer, page.items, watch)
        if foreign := set(ids) - watch.feed:
            raise Wrong(f"posts of others: {foreign}")
        if holes := {number for number in watch.certain if end <= number < top} - set(ids):
            raise Wrong(f"holes: {holes} in {ids}, {end}..{top}")

    def _judge_posts(self, viewer: int, items: list[Post], watch: Watch) -> None:
        for post in items:
            if (int(post.id), post.text) not in watch.texts:
                raise Wrong(f"{viewer} was told {post.text} of post {post.id}")
            if isinstance(post.shared, Post):
                self._judge_posts(viewer, [post.shared], watch)
            elif post.shared is not None and int(post.shared.id) in watch.certain_posts:
                raise Wrong(f"{viewer} was told that post {post.shared.id} is gone")

    async def _read_top(self, chance: random.Random) -> None:
        viewer, limit = chance.choice(self._people), chance.choice(LIMITS)

        async def work(_: Operation) -> None:
            told: list[int] = []
            cursor = None
            while True:
                watch = Watch(self.truth, viewer)
                try:
                    page = await feed_page.top(self.stores, viewer, cursor=cursor, limit=limit)
                except Invalid:
                    return  # the ranking was lost with the store
                finally:
                    watch.close()
                self._judge_posts(viewer, page.items, watch)
                told += [int(post.id) for post in page.items]
                if len(set(told)) < len(told):
                    raise Wrong(f"twice: {told}")
                if cursor is None and limit > POSTS_AT_MOST and (holes := watch.certain - set(told)):
                    raise Wrong(f"holes: {holes} in {told}")
                cursor = page.next
                if cursor is None:
                    return

        await self._start(f"{viewer} reads the ranked feed by {limit}", work)

    async def _search(self, chance: random.Random) -> None:
        viewer, post_id = chance.choice(self._people), self._any_post(chance)
        if post_id is None:
            return
        words = self.truth.posts[post_id].text

        async def read(watch: Watch) -> None:
            page = await posts.with_words(self.stores, viewer, words, cursor=None, limit=20)
            self._judge_posts(viewer, page.items, watch)

        await self._answer(f"{viewer} searches {words}", viewer, read)

    async def _read_post(self, chance: random.Random) -> None:
        viewer, post_id = chance.choice(self._people), self._any_post(chance)
        if post_id is None:
            return

        async def read(watch: Watch) -> None:
            try:
                self._judge_posts(viewer, [await posts.read(self.stores, viewer, post_id)], watch)
            except NotFound:
                if post_id in watch.certain_posts:
                    raise Wrong("not found") from None

        await self._answer(f"{viewer} reads post {post_id}", viewer, read)

    async def _read_person(self, chance: random.Random) -> None:
        viewer, person, limit = chance.choice(self._people), chance.choice(self._people), chance.choice(LIMITS)

        async def read(watch: Watch) -> None:
            try:
                page = await posts.of_person(self.stores, viewer, person, cursor=None, limit=limit)
            except NotFound:
                if person in watch.certain_people:
                    raise Wrong("not found") from None
                return
            if person not in watch.people:
                raise Wrong("found")
            self._judge_posts(viewer, page.items, watch)

        await self._answer(f"{viewer} reads the posts of {person}", viewer, read)

    async def _read_likers(self, chance: random.Random) -> None:
        viewer, post_id = chance.choice(self._people), self._any_post(chance)
        if post_id is None:
            return

        async def read(watch: Watch) -> None:
            try:
                page = await likes.likers(self.stores, viewer, post_id, cursor=None, limit=20)
            except NotFound:
                return
            if not watch.sees(post_id) or {int(user.id) for user in page.items} - watch.people:
                raise Wrong(f"{[user.id for user in page.items]}")

        await self._answer(f"{viewer} reads who likes post {post_id}", viewer, read)

    async def _read_comments(self, chance: random.Random) -> None:
        viewer, post_id = chance.choice(self._people), self._any_post(chance)
        if post_id is None:
            return

        async def read(watch: Watch) -> None:
            try:
                page = await comments.of_post(self.stores, viewer, post_id, cursor=None, limit=100)
            except NotFound:
                return
            told = {(int(comment.id), comment.text) for comment in page.items}
            if not watch.sees(post_id) or told - watch.comments:
                raise Wrong(f"told {told - watch.comments}")
            mine = {one for one in watch.certain_comments if one[0] in self.truth.comments}
            if holes := {one for one in mine if self.truth.comments[one[0]].post == post_id} - told:
                raise Wrong(f"holes: {holes}")

        await self._answer(f"{viewer} reads the comments of post {post_id}", viewer, read)

    # --- streams -----------------------------------------------------------------------------------------------------

    def _note(self, name: str, top: Top) -> None:
        """Somebody stands here, and may come back."""
        known = self.positions.setdefault(name, [])
        if known and known[-1].epoch != top.epoch:
            known.clear()
        known.append(top)
        del known[2:-3]

    async def _replay(self, chance: random.Random) -> None:
        """A client comes back: the edge's order of asking, as in `realtime.live.joining`.

        One at a time: the questions of several become one, which would wait at the gate of another one.
        """
        if self.replaying:
            return
        viewer, post_id, part = chance.choice(self._people), self._any_post(chance), chance.random()
        name = me(viewer) if post_id is None or chance.random() < 0.8 else post_stream(post_id)
        pick = chance.random()

        async def read(watch: Watch) -> None:
            with self.stage.at_once():  # the edge looks every half second, and is told besides
                await self._learn_all()
            if name != me(viewer) and not await self.grants.sees_post(viewer, post_id):  # type: ignore[arg-type]
                return
            known = self.positions.get(name, [])
            start = known[max(0, int(pick * 2 * len(known)) - len(known))] if known else None
            for kind, data in await self.replayed(viewer, name, start, part):
                self._judge_event(viewer, kind, data, watch)

        async def alone(watch: Watch) -> None:
            self.replaying = True
            try:
                await read(watch)
            finally:
                self.replaying = False

        await self._answer(f"{viewer} resumes {name}", viewer, alone)

    async def replayed(
        self, viewer: int, name: str, start: Top | None, part: float = 0.0
    ) -> list[tuple[str, dict[str, Any]]]:
        """(kind, data) of what a viewer gets from a position on, else from that part of the log; none when it is not
        bridged."""
        top = await self.stores.streams.join(name)
        start = start or Top(top.epoch, int(part * top.offset))
        self._note(name, top)
        if start.epoch != top.epoch or start.offset > top.offset:
            return []
        reading = await self.stores.streams.read(name, start.epoch, start.offset, top.offset)
        items = reading.items or []
        bodies = await self.stores.streams.payloads([item.event_id for item in items])
        if None in bodies:
            return []
        with self.stage.at_once():
            await self._learn_all()
        allowed = await self.grants.sees_items(viewer, items)
        separated = await self.grants.separated(viewer)
        return [
            (item.kind, orjson.loads(body)["data"])
            for item, body in zip(items, bodies, strict=True)
            if body is not None
            and item.offset in allowed
            and (item.actor not in separated or item.kind in TO_FORGET)
            and (item.kind != HIDDEN or name == me(viewer))
        ]

    def judge_event(self, viewer: int, kind: str, data: dict[str, Any]) -> None:
        """Raises Wrong unless the viewer may be told this now."""
        watch = Watch(self.truth, viewer)
        watch.close()
        self._judge_event(viewer, kind, data, watch)

    def _judge_event(self, viewer: int, kind: str, data: dict[str, Any], watch: Watch) -> None:
        if kind in POSTS:
            told = (int(data["id"]), data["text"])
            if told not in watch.handed or not watch.sees(told[0]):
                raise Wrong(f"{kind} tells {viewer} {told}")
        elif kind in COMMENTS:
            if (int(data["id"]), data["text"]) not in watch.comments:
                raise Wrong(f"{kind} tells {viewer} {data}")
        elif kind.startswith("friend.") and int(data["id"]) not in watch.people:
            raise Wrong(f"{kind} tells {viewer} of {data['id']}")

    def _scripted(self, digest: str, arguments: tuple[Any, ...]) -> None:
        """Whatever was appended to a listener's stream comes to its node."""
        if digest == self._append:
            count = int(arguments[0])
            event_id, reference, body = arguments[count + 1 : count + 4]
            names = [name for name in arguments[count + 13 :] if name in self.listeners]
            if names:
                self.appended.append((event_id, reference, body, names))

    async def _deliver(self) -> None:
        """What was published reaches the hub, after what ended somebody's rights."""
        appended, self.appended = self.appended, []
        for event_id, reference, body, names in appended:
            await self._learn_all()
            for name in names:
                keys = self.redis.keys
                epoch = self._client.now.hget(keys.meta(name), "epoch")
                last = self._client.now.xrevrange(keys.log(name), count=1)
                if epoch is None or not last or last[0][1][b"i"].decode() != event_id:
                    continue
                kind, actor, about, version = reference.split(" ")
                offset = int(last[0][0].split(b"-")[0])
                item = Item(offset, event_id, kind, int(actor), int(about), int(version))
                self.hub.receive(name, Live(epoch.decode(), item, body))
        for listener in self.listeners.values():
            frames, listener.frames = listener.frames, []
            watch = Watch(self.truth, listener.user_id)
            for frame in frames:
                if frame["type"] == "event":
                    self._judge_event(listener.user_id, frame["event"], frame["data"], watch)
            watch.close()

    async def _learn_all(self) -> None:
        """The node hears of what ended somebody's rights."""
        if self.truth.changes == self.heard:
            return
        self.heard = self.truth.changes
        await self.known.look()
        if self.unsure:
            for listener in self.listeners.values():
                self.hub.deny(listener, await self.node.separated(listener.user_id))
            self.unsure = False

    def _learned(self, _news: list[Revocation]) -> None:
        self.unsure = True

    def _begin_anew(self, name: str) -> None:
        """The node's look finds that the log does not bridge."""
        state = self._client.now.hmget(self.redis.keys.meta(name), "epoch", "top")
        if state[0] is not None:
            self.hub.streams[name].restart(Top(state[0].decode(), int(state[1])))

    # --- the workers, and what happens to them -----------------------------------------------------------------------

    async def lease(self, number: int) -> None:
        """Takes the leases that are free, and renews."""
        await self.workers[number].hold_leases()

    async def _look(self, chance: random.Random) -> None:
        number = chance.randrange(WORKERS)
        look = self.looks[number]
        if look is None or look.done or look.killed:
            await self.look(number)

    async def look(self, number: int) -> Operation:
        """A worker begins to do what waits."""

        async def work(_: Operation) -> None:
            await self.workers[number].step()

        self.looks[number] = look = await self._start(f"worker {number} looks", work)
        return look

    async def _crash(self, chance: random.Random) -> None:
        """A worker dies where it stands; another one begins in its place, without its memory."""
        number = chance.randrange(WORKERS)
        self.trace.append(f"worker {number} is killed")
        look = self.looks[number]
        if look is not None and not look.done:
            await self.stage.kill(look)
        self.looks[number] = None
        self.workers[number] = Dispatcher(self.stores)

    async def _leases_move(self, chance: random.Random) -> None:
        """The one that has the leases sleeps through them; it goes on when it wakes."""
        number = chance.randrange(WORKERS)
        self.trace.append(f"worker {number} takes every lease")
        self._now += timedelta(seconds=LEASE + 1)
        await self.lease(number)

    # --- the store forgets -------------------------------------------------------------------------------------------

    async def _again(self) -> None:
        """Listening nodes find out, and begin anew."""
        for name in self.listeners:
            self.hub.streams[name].restart(await self.stores.streams.join(name, "model"))

    async def _flush(self, _chance: random.Random) -> None:
        self.trace.append("FLUSHALL")
        self._client.now.flushall()
        await self._again()

    async def _remember(self, _chance: random.Random) -> None:
        """A replica that will be promoted stops hearing its primary now."""
        self.trace.append("replica stops")
        now = self._client.now
        self.snapshot = []
        for key in now.keys("*"):
            dump = now.dump(key)
            if dump is not None:
                self.snapshot.append((key, max(0, now.pttl(key)), dump))

    async def _fall_back(self, _chance: random.Random) -> None:
        """It is promoted: an older state, and another run id, so every run id that was kept is another one."""
        self.trace.append("failover")
        now = self._client.now
        now.flushall()
        for key, life, dump in self.snapshot:
            now.restore(key, life, dump)
            if key.startswith((b"floor:", b"meta:")):
                now.hset(key, "run_id", "of another life")
        await self._again()

    def _expire(self, chance: random.Random) -> None:
        """Nobody looked for thirty days; or a builder took longer than its lease."""
        user = chance.choice(self._people)
        self.trace.append(f"timeline of {user} expires")
        self._client.now.delete(self.redis.keys.floor(me(user)), self.redis.keys.timeline(me(user)))

    def _take_over(self, chance: random.Random) -> None:
        """A builder's lease ends this millisecond."""
        floor = self.redis.keys.floor(me(chance.choice(self._people)))
        self.trace.append(f"lease of {floor} ends")
        if self._client.now.hexists(floor, "until"):
            self._client.now.hset(floor, "until", 1)

    # --- what must hold ----------------------------------------------------------------------------------------------

    def check_timeline(self, user: int) -> None:
        """Not too long; and above its floor it has every post of the feed but those that are still being fanned out."""
        now, keys = self._client.now, self.redis.keys
        ids = {int(one) for one in now.zrange(keys.timeline(me(user)), 0, -1)}
        if len(ids) > KEEPS + SLACK:
            raise Wrong(f"timeline of {user} has {len(ids)} ids")
        run_id, relations, floor = now.hmget(keys.floor(me(user)), "run_id", "relations", "floor")
        version = self._rows("SELECT version FROM relation_meta WHERE user_id = ?", user)[0][0]
        if run_id is None or run_id == b"of another life" or relations is None or int(relations) != version:
            return
        if below := {post_id for post_id in ids if post_id < int(floor)}:
            raise Wrong(f"timeline of {user} has {below} below {int(floor)}")
        feed = {post_id for post_id in self.truth.sight(user).feed if post_id >= int(floor)}
        if holes := feed - ids - self._pending():
            raise Wrong(f"timeline of {user} lacks {holes} above {int(floor)}")

    def _pending(self) -> set[int]:
        """Posts that are being fanned out."""
        rows = self._rows("SELECT payload FROM outbox WHERE state = 'pending' AND job = 'fan_out_post'")
        tasks = [orjson.loads(payload) for (payload,) in rows]
        return {task["post_id"] for task in tasks if task["kind"] == "post.created"}

    async def _check_counts(self) -> None:
        for post in self.truth.posts.values():
            said = sum(comment.post == post.id for comment in self.truth.comments.values())
            shared = sum(other.shared == post.id for other in self.truth.posts.values())
            found = self._rows("SELECT likes, comments, shares FROM post_counts WHERE post_id = ?", post.id)
            if found != [(len(post.likes), said, shared)]:
                raise Wrong(f"counts of post {post.id}: {found}")
