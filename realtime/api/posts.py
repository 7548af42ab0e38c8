"""Posts, their comments and likes, the feed that they make, and what of them trends."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from feed import comments, feed_page, likes, posts, trending
from feed import typing as typists
from feed.errors import Fault, Invalid
from feed.feed_page import FeedPage
from feed.likes import Liked
from feed.objects import Comment, Post, PostVersion, User, Visibility
from feed.pages import Page
from feed.trending import Trending
from realtime.edge import Call
from realtime.live.protocol import PostId

ORDERS = {"recent": feed_page.recent, "top": feed_page.top}


class NewPost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A post to write. Text or media must be there."""

    visibility: Visibility
    text: str = ""
    media: list[str] = []


class NewShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A post that shares another one: for whom, and what to say to it."""

    visibility: Visibility
    text: str = ""


class ChangePost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    text: str | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET


class NewComment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comment's text."""

    text: str


class TypingOn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The post that a comment is being written on."""

    post_id: PostId


async def create(call: Call, body: NewPost) -> Post:
    """Writes a post."""
    return await posts.create(
        call.stores, call.viewer, words=body.text, visibility=body.visibility, media=body.media, key=call.key
    )


async def share(call: Call, body: NewShare) -> Post:
    """Shares a post."""
    return await posts.share(
        call.stores, call.viewer, call.id(), words=body.text, visibility=body.visibility, key=call.key
    )


async def search(call: Call, limit: int) -> Page[Post]:
    """Posts by words or by tag."""
    words, tag, cursor = call.query("q"), call.query("tag"), call.query("cursor")
    if words is not None and tag is None:
        return await posts.with_words(call.stores, call.viewer, words, cursor=cursor, limit=limit)
    if tag is not None and words is None:
        return await posts.with_tag(call.stores, call.viewer, tag, cursor=cursor, limit=limit)
    detail = "Give exactly one of `q` (words) and `tag`."
    raise Invalid([Fault("/q", detail), Fault("/tag", detail)], detail)


async def history(call: Call, limit: int) -> Page[PostVersion]:
    """Earlier versions of one's own post."""
    return await posts.history(call.stores, call.viewer, call.id(), cursor=call.query("cursor"), limit=limit)


async def show(call: Call) -> Post:
    """A post."""
    return await posts.read(call.stores, call.viewer, call.id())


async def change(call: Call, body: ChangePost) -> Post:
    """Edits one's own post."""
    return await posts.edit(call.stores, call.viewer, call.id(), words=body.text, visibility=body.visibility)


async def delete(call: Call) -> None:
    """Deletes one's own post."""
    await posts.delete(call.stores, call.viewer, call.id())


async def feed(call: Call, limit: int) -> FeedPage:
    """The caller's feed, newest first or by rank."""
    read = ORDERS.get(call.query("order") or "recent")
    if read is None:
        raise Invalid([Fault("/order", "`recent` (newest first) or `top` (by rank).")])
    page = await read(call.stores, call.viewer, cursor=call.query("cursor"), limit=limit)
    call.headers["Live-Position"] = f"{page.position.stream}={page.position.epoch}:{page.position.offset}"
    # Without the position: it moves with every event, also with those that leave the page as it is.
    call.validator = (page.items, page.next)
    return page


async def trends(call: Call, limit: int) -> Trending:
    """What trends, as the caller may see it."""
    return await trending.read(call.stores, call.viewer, limit=limit)


async def list_comments(call: Call, limit: int) -> Page[Comment]:
    """A post's comments."""
    return await comments.of_post(call.stores, call.viewer, call.id(), cursor=call.query("cursor"), limit=limit)


async def comment(call: Call, body: NewComment) -> Comment:
    """Comments on a post."""
    return await comments.create(call.stores, call.viewer, call.id(), words=body.text, key=call.key)


async def change_comment(call: Call, body: NewComment) -> Comment:
    """Edits one's own comment."""
    return await comments.edit(call.stores, call.viewer, call.id(), words=body.text)


async def delete_comment(call: Call) -> None:
    """Deletes a comment."""
    await comments.delete(call.stores, call.viewer, call.id())


async def typing(call: Call, body: TypingOn) -> None:
    """Tells those who follow a post that the caller is writing."""
    await typists.announce(call.stores, call.viewer, int(body.post_id))


async def like(call: Call) -> Liked:
    """Likes a post."""
    return await likes.set_like(call.stores, call.viewer, call.id(), active=True)


async def unlike(call: Call) -> Liked:
    """Takes a like back."""
    return await likes.set_like(call.stores, call.viewer, call.id(), active=False)


async def list_likes(call: Call, limit: int) -> Page[User]:
    """Who likes a post."""
    return await likes.likers(call.stores, call.viewer, call.id(), cursor=call.query("cursor"), limit=limit)
