"""All that a user owns, as JSON files in a ZIP."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from db import post_texts, posts, relations, users
from db.engine import Record
from feed.errors import NotFound
from feed.pages import NEWEST
from feed.stores import Stores

PAGE = 500  # rows read at a time


async def archive(stores: Stores, user_id: int) -> bytes:
    """The ZIP of one user. Raises NotFound."""
    async with stores.sql.read(stale=True) as connection:
        row = await users.account(connection, user_id)
        if row is None:
            raise NotFound("account")
        account = _plain(row, but="password_hash")
        files = {
            "account.json": account,
            "sessions.json": [
                _plain(r, but="token_hash") for r in await users.sessions_of(connection, user_id, stores.clock())
            ],
            "friends.json": [str(i) for i in await relations.friends_of(connection, user_id)],
            "blocks.json": [str(i) for i in await relations.blocked_by(connection, user_id, after=0, limit=100_000)],
            "posts.json": await _posts_of(connection, user_id),
            "comments.json": [_plain(r) for r in await posts.all_comments_by(connection, user_id)],
            "likes.json": [str(i) for i in await posts.all_likes_by(connection, user_id)],
        }
    return await asyncio.to_thread(_zip, files)


async def _posts_of(connection: AsyncConnection, user_id: int) -> list[dict[str, Any]]:
    """Every post that is not deleted, newest first, with what it shares, whom it names and what edits replaced."""
    found: list[dict[str, Any]] = []
    more: dict[int, dict[str, list[Any]]]
    before = NEWEST
    while ids := await posts.newest_of(connection, user_id, before=before, limit=PAGE):
        rows = await posts.by_ids(connection, ids)
        more = {post_id: {"mentions": [], "history": []} for post_id in ids}
        for row in await post_texts.named_in(connection, ids):
            more[row.post_id]["mentions"].append({"id": str(row.id), "username": row.username})
        for row in await post_texts.versions(connection, ids, before=NEWEST):
            more[row.post_id]["history"].append(_plain(row, but="post_id"))
        found.extend({**_plain(rows[post_id]), **more[post_id]} for post_id in ids)
        before = ids[-1]
    return found


def _plain(row: Record, *, but: str = "") -> dict[str, Any]:
    """A row as JSON can hold it, ids as strings like everywhere in the contract."""
    return {
        str(name): str(value) if value is not None and (name == "id" or name.endswith("_id")) else value
        for name, value in row._mapping.items()
        if name != but
    }


def _zip(files: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, orjson.dumps(content, option=orjson.OPT_INDENT_2))
    return buffer.getvalue()
