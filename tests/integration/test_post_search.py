"""Search of posts on SQLite (FTS5) and MariaDB (FULLTEXT): the same answers, whatever the engines think of words."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import erasure, post_texts, users
from db.migrate import migrate
from db.redis import MEMORY
from db.schema import mentions, post_tags, post_versions, shares
from db.settings import Settings
from feed import posts
from feed.stores import Stores

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", params=["sqlite", "mariadb"])
async def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Stores on a migrated database."""
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('search') / 'social.db'}"
    else:
        make: Callable[[], str] = request.getfixturevalue("mariadb_database")
        url = make()
    await migrate(url)
    opened = Stores.open(Settings(database_url=url, redis_url=MEMORY))
    yield opened
    await opened.close()


async def person(stores: Stores) -> int:
    name = f"u{next(_numbers)}"

    async def work(connection: AsyncConnection) -> int:
        return await users.add(connection, username=name, name=name, email=None, password_hash="x", now=NOW)

    return await stores.sql.write(work)


async def post(stores: Stores, author: int, words: str, visibility: Any = "only_me") -> int:
    made = await posts.create(stores, author, words=words, visibility=visibility, media=[], key=None)
    return int(made.id)


async def found(stores: Stores, viewer: int, query: str) -> list[int]:
    page = await posts.with_words(stores, viewer, query, cursor=None, limit=50)
    return [int(each.id) for each in page.items]


@pytest.mark.parametrize(
    ("words", "queries", "others"),
    [
        # Stop words of InnoDB, words below its innodb_ft_min_token_size, and digits.
        ("the of a to be is 7 x", ["the", "of", "a", "to be", "is the", "7", "x", "the x"], ["on", "tho", "77", "y"]),
        ("Crème brûlée à la ZSÓFI", ["creme", "CRÈME", "zsofi", "zsófi", "brule", "a la"], ["crema", "rulee"]),
        ("straße ΣΊΣΥΦΟΣ Ёлка", ["strasse", "STRASSE", "σισυφος", "Σίσυφος", "елка", "ёл"], ["strase x", "лка"]),
        ("我今天吃了北京烤鸭 tea", ["北京", "烤", "鸭", "北京烤鸭", "今天 北京", "tea 我"], ["北鸭", "京北", "茶"]),
        ("カタカナが好き", ["カタカナ", "が好", "き", "好き"], ["カタガ", "か好", "スキ"]),
        ("ไทยภาษา", ["ไทย", "ภาษา", "ยภ"], ["ษไ"]),
        ("हिन्दी किताब", ["हिन्दी", "किता", "किताब हि"], ["न्दी"]),
        ("한국어 공부", ["한국어", "한국", "공부 한국"], ["국어"]),
        ("\U00020000\U00020001 \U0001d4d0bc", ["\U00020000\U00020001", "\U00020001", "abc"], ["\U00020002"]),
        ("don't snake_case C++ 3.14 x-y", ["don't", "don", "snake_case", "c", "c++", "3.14", "x-y"], ["dont"]),
        ("x" * 90 + " " + "語" * 90, ["x" * 90, "x" * 60, "語" * 20], ["x" * 91, "語" * 91]),
        ("w77 776f7264", ["w77", "776f"], ["word"]),  # what looks like a spelling is a word like others
    ],
    ids=["stop", "accents", "scripts", "han", "kana", "thai", "hindi", "hangul", "beyond", "signs", "long", "spelled"],
)  # fmt: skip
async def test_a_post_is_found_by_its_words(stores: Stores, words: str, queries: list[str], others: list[str]) -> None:
    author = await person(stores)
    made = await post(stores, author, words)
    for query in queries:
        assert await found(stores, author, query) == [made], query
    for query in others:
        assert await found(stores, author, query) == [], query


async def test_no_sign_is_an_operator(stores: Stores) -> None:
    author = await person(stores)
    made = await post(stores, author, "alpha beta not or and near")
    for sign in (*"+-*\"()~<>@'`%\\:^{};,./?!#$&=|\t\u3000", " NOT ", " OR ", " AND ", " NEAR("):
        for query in (f"{sign}alpha", f"alpha {sign} beta", f"{sign}{sign}alpha{sign}beta{sign}", f"alpha beta{sign}"):
            assert await found(stores, author, query) == [made], query
            assert await found(stores, author, f"{query} gamma") == [], query


async def test_pages_join_and_old_words_are_forgotten(stores: Stores) -> None:
    author = await person(stores)
    made = [await post(stores, author, f"same number{n}") for n in range(7)][::-1]
    seen: list[int] = []
    cursor = None
    while True:
        page = await posts.with_words(stores, author, "same", cursor=cursor, limit=3)
        seen += [int(each.id) for each in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == made
    await posts.edit(stores, author, made[0], words="other", visibility="public")
    await posts.delete(stores, author, made[1])
    assert await found(stores, author, "same") == made[2:]
    assert await found(stores, author, "other") == [made[0]]


async def test_words_from_before_an_edit_are_not_guessed_from_a_replica_that_lags(stores: Stores) -> None:
    author, viewer = await person(stores), await person(stores)
    made = await post(stores, author, "regrettable #secret", "public")
    await posts.edit(stores, author, made, words="harmless", visibility="public")

    async def as_it_was(connection: AsyncConnection) -> None:
        await post_texts.forget(connection, [made])
        await post_texts.add(connection, made, named=[], tags=["secret"], words=["regrettable"])

    await stores.sql.write(as_it_was)
    assert await found(stores, viewer, "regrettable") == []
    assert (await posts.with_tag(stores, viewer, "secret", cursor=None, limit=5)).items == []


async def test_a_deletion_and_an_erasure_leave_nothing_of_the_texts(stores: Stores) -> None:
    author, other = await person(stores), await person(stores)
    async with stores.sql.read() as connection:
        name = (await users.profiles(connection, [other]))[other].username
    kept = await post(stores, other, "kept words", "public")
    made = [await post(stores, author, f"@{name} #tag{author} words{author} {n}", "public") for n in range(3)]
    for post_id in made:
        await posts.edit(
            stores, author, post_id, words=f"@{name} #tag{author} words{author} edited", visibility="public"
        )
    mine = await posts.share(stores, author, kept, words="", visibility="public", key=None)
    theirs = await posts.share(stores, other, made[0], words="", visibility="public", key=None)
    await posts.delete(stores, author, made[1])
    assert await left(stores, [made[1]]) == 0
    assert await left(stores, made) > 0
    for step in erasure.STEPS:
        while await stores.sql.write(lambda connection, step=step: step(connection, author, NOW)):  # type: ignore[misc]
            pass
    assert await left(stores, [*made, int(mine.id)]) == 0
    again = await posts.read(stores, other, int(theirs.id))
    assert again.shared is not None
    assert (again.shared.id, again.shared.gone) == (str(made[0]), True)
    assert await pending(stores) >= {
        (f"post:{kept}", "refresh_counts"), (f"post:{made[0]}", "tell_shares"),
    }  # fmt: skip


async def left(stores: Stores, ids: list[int]) -> int:
    """Rows that hang on these posts, but for what others share of them."""
    total = 0
    async with stores.sql.read() as connection:
        for table in (mentions, post_tags, post_versions, shares):
            query = select(func.count()).select_from(table).where(table.c.post_id.in_(ids))
            total += (await connection.execute(query)).scalar_one()
        key = "rowid" if stores.sql.dialect == "sqlite" else "post_id"
        for post_id in ids:
            words = text(f"SELECT COUNT(*) FROM post_words WHERE {key} = :id")  # noqa: S608 - one of two names
            total += (await connection.execute(words, {"id": post_id})).scalar_one()
    return total


async def pending(stores: Stores) -> set[tuple[str, str]]:
    async with stores.sql.read() as connection:
        rows = await connection.execute(text("SELECT aggregate, job FROM outbox WHERE state = 'pending'"))
        return {(row.aggregate, row.job) for row in rows}
