"""Grants on a real database, with every statement counted: yes from memory, no always asked, nothing kept too long."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts, relations, users
from feed import grants as module
from feed.errors import Disabled
from feed.grants import Grants
from feed.revocations import STALE, Revocation, Revocations
from feed.stores import Stores
from feed.streams import Item

START = datetime(2026, 11, 21, 3, tzinfo=UTC)
WINDOW = 600.0
TOKEN = "sr_" + "t" * 40
_names = itertools.count(1)


def replace_version(one: Item, version: int) -> Item:
    return msgspec.structs.replace(one, version=version)


class Site:
    """Stores, what an edge knows of revocations, and its grants. `asked` are the statements of readers."""

    def __init__(self, stores: Stores) -> None:
        self.passed = 0.0
        self.stores = replace(stores, clock=lambda: START + timedelta(seconds=self.passed))
        self.known = Revocations(stores.sql, self.stores.clock, window=WINDOW, monotonic=lambda: 1000.0 + self.passed)
        self.grants = Grants(self.stores, self.known)
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] | None = None
        event.listen(stores.sql._fresh.sync_engine, "after_cursor_execute", self._executed)

    def _executed(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM revocations" not in statement:
            self.asked.append(statement)
            happening, self.meanwhile = self.meanwhile, None
            if happening is not None:
                happening()

    def pass_time(self, seconds: float = 0.01) -> None:
        self.passed += seconds

    async def look(self) -> None:
        """A look, and the moment after it."""
        await self.known.look()
        self.pass_time()

    def learn(self, kind: Any, subject: int, other: int = 0) -> None:
        self.known.learn([Revocation(next(_names), kind, subject, other)])
        self.pass_time()

    async def write(self, work: Callable[[AsyncConnection], Any]) -> Any:
        return await self.stores.sql.write(work)

    async def person(self, *, state: str = "active") -> int:
        async def work(connection: AsyncConnection) -> int:
            name = f"u{next(_names)}"
            added = await users.add(connection, username=name, name=name, email=None, password_hash="x", now=START)
            await users.change(connection, added, state=state)
            return added

        made: int = await self.write(work)
        return made

    async def post(self, author_id: int, visibility: str = "public") -> int:
        made: int = await self.write(
            lambda c: posts.add(c, author_id=author_id, text="x", visibility=visibility, now=START)
        )
        return made

    async def befriend(self, one: int, other: int, *, state: str = "friends") -> None:
        async def work(connection: AsyncConnection) -> None:
            await relations.lock_pair(connection, one, other, START)
            await relations.set_pair(connection, one, other, state=state, asked_by=None, now=START)

        await self.write(work)

    async def block(self, one: int, other: int) -> None:
        await self.write(lambda c: relations.add_block(c, one, other, START))

    async def sign_in(self, user_id: int, *, hours: float = 1.0) -> int:
        made: int = await self.write(
            lambda c: users.add_session(
                c,
                user_id=user_id,
                token_hash=hashlib.sha256(TOKEN.encode()).digest(),
                device="",
                address="",
                now=START,
                expires_at=START + timedelta(hours=hours),
            )
        )
        return made


@pytest_asyncio.fixture
async def site(stores: Stores) -> AsyncIterator[Site]:
    made = Site(stores)
    await made.look()
    yield made


def item(offset: int, actor: int, about: int, *, kind: str = "post.created", version: int = 1) -> Item:
    return Item(offset, f"o{offset}", kind, actor, about, version)


# --- sign-ins --------------------------------------------------------------------------------------------------------


async def test_a_sign_in_is_proved_once_and_then_known(site: Site) -> None:
    user_id = await site.person()
    session_id = await site.sign_in(user_id)
    for _ in range(3):
        session = await site.grants.sign_in(TOKEN)
        assert session is not None
        assert (session.id, session.user_id) == (session_id, user_id)
        site.pass_time()
    assert len(site.asked) == 1


@pytest.mark.parametrize("text", ["", "t" * 40, "sr_" + "x" * 200, "sr_\u00e9"])
async def test_what_can_be_no_token_asks_nobody(site: Site, text: str) -> None:
    assert await site.grants.sign_in(text) is None
    assert site.asked == []


async def test_an_unknown_token_is_asked_for_again(site: Site) -> None:
    assert await site.grants.sign_in(TOKEN) is None
    await site.sign_in(await site.person())
    assert await site.grants.sign_in(TOKEN) is not None


async def test_a_known_sign_in_ends_when_it_expires(site: Site) -> None:
    await site.sign_in(await site.person(), hours=0.1)
    assert await site.grants.sign_in(TOKEN) is not None
    site.pass_time(359.0)
    await site.look()
    assert await site.grants.sign_in(TOKEN) is not None
    site.pass_time(1.0)
    await site.look()
    assert await site.grants.sign_in(TOKEN) is None


@pytest.mark.parametrize("kind", ["session", "account"])
async def test_a_revocation_ends_a_known_sign_in(site: Site, kind: str) -> None:
    user_id = await site.person()
    session_id = await site.sign_in(user_id)
    await site.grants.sign_in(TOKEN)
    site.pass_time()
    await site.write(lambda c: users.end_sessions(c, user_id))
    site.learn(kind, session_id if kind == "session" else user_id)
    assert await site.grants.sign_in(TOKEN) is None


async def test_a_disabled_account_is_refused_and_not_remembered(site: Site) -> None:
    user_id = await site.person(state="disabled")
    await site.sign_in(user_id)
    for _ in range(2):
        with pytest.raises(Disabled):
            await site.grants.sign_in(TOKEN)
    assert len(site.asked) == 2
    await site.write(lambda c: users.change(c, user_id, state="active"))
    assert await site.grants.sign_in(TOKEN) is not None


async def test_a_sign_out_between_the_reading_and_the_keeping_wins(site: Site) -> None:
    user_id = await site.person()
    session_id = await site.sign_in(user_id)
    site.meanwhile = lambda: site.learn("session", session_id, user_id)
    assert await site.grants.sign_in(TOKEN) is not None  # the row was read before
    await site.write(lambda c: users.end_sessions(c, user_id))
    site.pass_time()
    assert await site.grants.sign_in(TOKEN) is None


# --- blocks ----------------------------------------------------------------------------------------------------------


async def test_blocks_are_read_once_for_many_and_then_known(site: Site) -> None:
    people = [await site.person() for _ in range(4)]
    await site.block(people[0], people[1])
    await site.block(people[2], people[0])
    expected = [{people[1], people[2]}, {people[0]}, {people[0]}, set()]
    for _ in range(2):
        assert await asyncio.gather(*map(site.grants.separated, people)) == expected
        site.pass_time()
    assert len(site.asked) == 1


async def test_a_block_ends_what_is_known_of_both_and_of_nobody_else(site: Site) -> None:
    one, other, third = [await site.person() for _ in range(3)]
    await asyncio.gather(*map(site.grants.separated, (one, other, third)))
    site.pass_time()
    await site.block(one, other)
    site.learn("parted", *sorted((one, other)))
    site.asked.clear()
    assert await asyncio.gather(*map(site.grants.separated, (one, other, third))) == [{other}, {one}, set()]
    assert len(site.asked) == 1


async def test_a_block_between_the_reading_and_the_keeping_wins(site: Site) -> None:
    one, other = await site.person(), await site.person()
    site.meanwhile = lambda: site.learn("parted", *sorted((one, other)))
    assert await site.grants.separated(one) == set()
    await site.block(one, other)
    site.pass_time()
    assert await site.grants.separated(one) == {other}


# --- following a post ------------------------------------------------------------------------------------------------


async def test_a_yes_comes_from_memory_and_a_no_is_asked_again(site: Site) -> None:
    author, friend, stranger = [await site.person() for _ in range(3)]
    await site.befriend(author, friend)
    post_id = await site.post(author, "friends")
    for _ in range(3):
        assert await site.grants.sees_post(friend, post_id)
        assert await site.grants.sees_post(author, post_id)
        site.pass_time()
    asked = len(site.asked)
    assert not await site.grants.sees_post(stranger, post_id)
    await site.befriend(author, stranger)
    assert await site.grants.sees_post(stranger, post_id)
    assert len(site.asked) > asked
    assert not await site.grants.sees_post(friend, post_id + 1)


@pytest.mark.parametrize("what", ["post", "account", "parted"])
async def test_a_revocation_ends_a_grant(site: Site, what: str) -> None:
    author, friend = await site.person(), await site.person()
    await site.befriend(author, friend)
    post_id = await site.post(author, "friends")
    assert await site.grants.sees_post(friend, post_id)
    site.pass_time()
    if what == "post":
        await site.write(lambda c: posts.change(c, post_id, visibility="only_me"))
        site.learn("post", post_id, 2)
    elif what == "account":
        await site.write(lambda c: users.change(c, author, state="disabled"))
        site.learn("account", author)
    else:
        await site.befriend(author, friend, state="none")
        site.learn("parted", *sorted((author, friend)))
    assert not await site.grants.sees_post(friend, post_id)


async def test_a_right_that_is_still_there_after_a_revocation_is_granted_anew(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    post_id = await site.post(author)
    await site.grants.sees_post(viewer, post_id)
    site.pass_time()
    site.learn("parted", *sorted((author, viewer)))
    asked = len(site.asked)
    assert await site.grants.sees_post(viewer, post_id)
    again = len(site.asked)
    assert again > asked
    site.pass_time()
    assert await site.grants.sees_post(viewer, post_id)
    assert len(site.asked) == again


async def test_a_revocation_between_the_reading_and_the_keeping_wins(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    post_id = await site.post(author)
    site.meanwhile = lambda: site.learn("post", post_id, 2)
    assert await site.grants.sees_post(viewer, post_id)
    await site.write(lambda c: posts.change(c, post_id, visibility="only_me"))
    site.pass_time()
    assert not await site.grants.sees_post(viewer, post_id)


async def test_a_node_that_may_have_missed_a_revocation_asks(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    post_id = await site.post(author)
    await site.grants.sees_post(viewer, post_id)
    site.pass_time(STALE)
    asked = len(site.asked)
    await site.write(lambda c: posts.change(c, post_id, visibility="only_me"))
    assert not await site.grants.sees_post(viewer, post_id)
    assert len(site.asked) > asked


async def test_grants_survive_a_short_absence_of_the_table(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    post_id = await site.post(author)
    await site.grants.sees_post(viewer, post_id)
    site.pass_time(STALE)
    assert await site.grants.sees_post(viewer, post_id)
    await site.look()
    asked = len(site.asked)
    assert await site.grants.sees_post(viewer, post_id)
    assert len(site.asked) == asked


async def test_the_grants_of_a_kind_are_bounded_and_the_least_used_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    author, viewer = await site.person(), await site.person()
    first, second, third = [await site.post(author) for _ in range(3)]
    for post_id in (first, second, first, third):
        await site.grants.sees_post(viewer, post_id)
        site.pass_time()
    asked = len(site.asked)
    await site.grants.sees_post(viewer, first)
    assert len(site.asked) == asked
    await site.grants.sees_post(viewer, second)
    assert len(site.asked) > asked


async def test_which_posts_are_seen_is_asked_of_the_database_each_time(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    public, private = await site.post(author), await site.post(author, "only_me")
    for _ in range(2):
        assert await site.grants.sees_posts(viewer, {public, private, private + 1}) == {public}
    assert len(site.asked) == 8
    assert await site.grants.sees_posts(viewer, set()) == set()


# --- items of a replay -----------------------------------------------------------------------------------------------


async def test_items_that_nothing_is_about_cost_no_statement(site: Site) -> None:
    items = [item(offset, actor=9, about=offset) for offset in range(1, 200)]
    site.learn("parted", 1, 8)
    site.learn("post", 1000, 5)
    assert await site.grants.sees_items(1, items) == set(range(1, 200))
    assert site.asked == []


async def test_only_what_a_revocation_could_be_about_is_asked_for(site: Site) -> None:
    author, viewer, third = [await site.person() for _ in range(3)]
    kept, lost, narrowed = (
        await site.post(author),
        await site.post(author, "friends"),
        await site.post(third, "only_me"),
    )
    site.learn("parted", *sorted((author, viewer)))
    site.learn("post", narrowed, 2)
    items = [
        item(1, author, kept),
        item(2, author, lost),
        item(3, third, narrowed),
        item(4, third, 12345),
        item(5, author, 0, kind="author.hidden"),
        item(6, author, 0, kind="friend.removed"),
    ]
    assert await site.grants.sees_items(viewer, items) == {1, 4, 5, 6}
    doubted = [one.offset for one in items if site.grants.doubts(viewer, one)]
    assert doubted == [1, 2, 3, 6]
    assert len(site.asked) == 4


async def test_an_earlier_version_of_a_doubted_post_is_told_by_its_newer_item_alone(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    shown_again = await site.post(author)
    for words in ("for myself", "for everybody"):
        await site.write(lambda c, words=words: posts.change(c, shown_again, text=words))
    site.learn("post", shown_again, 2)
    items = [item(1, author, shown_again), replace_version(item(2, author, shown_again), 3)]
    assert await site.grants.sees_items(viewer, items) == {2}


async def test_a_deleted_comment_and_whom_a_block_separates_are_not_seen(site: Site) -> None:
    author, viewer, blocked = [await site.person() for _ in range(3)]
    post_id = await site.post(author)

    async def comment(who: int) -> int:
        made: int = await site.write(
            lambda c: posts.add_comment(c, post_id=post_id, author_id=who, text="x", now=START)
        )
        return made

    living, deleted, hidden = await comment(author), await comment(author), await comment(blocked)
    await site.write(lambda c: posts.change_comment(c, deleted, deleted_at=START))
    await site.block(viewer, blocked)
    site.learn("parted", *sorted((viewer, blocked)))
    for gone in (deleted, living):
        site.learn("comment", gone, 2)
    items = [item(n, a, about, kind="comment.created") for n, a, about in ((1, author, living), (2, author, deleted))]
    items.append(item(3, blocked, hidden, kind="comment.created"))
    assert await site.grants.sees_items(viewer, items) == {1}


async def test_a_node_that_may_have_missed_a_revocation_asks_for_every_item(site: Site) -> None:
    author, viewer = await site.person(), await site.person()
    seen, lost = await site.post(author), await site.post(author, "only_me")
    items = [item(1, author, seen), item(2, author, lost), item(3, author, 0, kind="author.hidden")]
    assert await site.grants.sees_items(viewer, items) == {1, 2, 3}
    site.pass_time(STALE)
    assert await site.grants.sees_items(viewer, items) == {1, 3}


async def test_five_hundred_viewers_who_come_back_together_are_one_batch(site: Site) -> None:
    async def crowd(connection: AsyncConnection) -> list[int]:
        async def one(number: int) -> int:
            name = f"crowd{number}"
            return await users.add(connection, username=name, name=name, email=None, password_hash="x", now=START)

        return [await one(number) for number in range(500)]

    author = await site.person()
    viewers = await site.write(crowd)
    await site.befriend(author, viewers[0])
    await site.block(author, viewers[1])
    public, private = await site.post(author), await site.post(author, "friends")
    for viewer in viewers:
        site.learn("parted", *sorted((author, viewer)))
    items = [item(1, author, public), item(2, author, private)]
    found = await asyncio.gather(*(site.grants.sees_items(viewer, items) for viewer in viewers))
    assert found[:3] == [{1, 2}, set(), {1}]
    assert all(seen == {1} for seen in found[2:])
    assert len(site.asked) == 4  # posts, people, friendships, blocks
