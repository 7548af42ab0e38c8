"""A client in small: what it holds was read once and is kept up by live events alone, by the rules of the contract.

`agree` compares it with a fresh read: old state + events == fresh state. What no event can bring is read again, as
clients do:

    friend.accepted     the feed (their old posts are no events), and what is followed
    resync              the stream's state
    a post unknown so far, or with a `shared`
                        the post: `liked`, `relation` and the shared post are the viewer's, events do not have them
    friend.removed      their posts leave the feed; author.hidden: all of that person goes

Not compared, since the contract has no event for it: one's own acts on another device (`liked`, requests sent), names
and texts of profiles, `online`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from tests.people import PATIENCE, Person

FOLLOWED = 20  # posts of the feed whose comments are followed
LOOK = 0.1  # seconds between looks whether the last events have come
OVER = {4500, 4501}  # close codes after which nobody comes back

State = dict[str, Any]


class Reader:
    """Somebody's open page."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.posts: dict[str, dict[str, Any]] = {}
        self.friends: set[str] = set()
        self.asking: set[str] = set()  # whose requests wait for an answer
        self.comments: dict[str, dict[str, dict[str, Any]]] = {}  # followed post -> its comments
        self.positions: dict[str, tuple[str, int]] = {}
        self.over = False
        self.faults: list[str] = []
        self._told: dict[str, str] = {}  # request -> stream

    async def open(self) -> None:
        """Joins first, then reads: what comes meanwhile waits in the socket."""
        self._socket = await self.person.http.ws_connect(f"{self.person.api}/live", headers=self.person.headers)
        await self._send({"type": "hello"})
        while (frame := orjson.loads((await self._socket.receive()).data))["type"] != "welcome":
            pass
        self.positions["me"] = (frame["streams"]["me"]["epoch"], frame["streams"]["me"]["offset"])
        await self._read_all()
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._socket.close()

    async def agree(self) -> None:
        """Waits until everything was heard and what is held equals a fresh read. Raises AssertionError otherwise."""
        until = asyncio.get_running_loop().time() + PATIENCE
        while not self.over and (held := self._held()) != (fresh := await self._fresh()):
            if asyncio.get_running_loop().time() > until:
                differing = {name: (held[name], fresh[name]) for name in held if held[name] != fresh[name]}
                raise AssertionError(f"{self.person.id} holds, and would read: {differing}")
            await asyncio.sleep(LOOK)
        if self._task.done() and not self.over:
            self._task.result()
        assert not self.faults, self.faults

    # --- state -------------------------------------------------------------------------------------------------------

    def _held(self) -> State:
        return {
            "position": self.positions["me"],
            "feed": sorted(map(_plain, self.posts.values()), key=lambda post: -int(post["id"])),
            "friends": self.friends,
            "asking": self.asking,
            "comments": {post_id: list(map(_words, told.values())) for post_id, told in self.comments.items() if told},
        }

    async def _fresh(self) -> State:
        position = (await self.person.ok("GET", "/feed?limit=1"))["position"]
        posts = await self._list("/feed")
        comments = {post_id: await self._list_or_none(f"/posts/{post_id}/comments") for post_id in self.comments}
        return {
            "position": (position["epoch"], position["offset"]),
            "feed": list(map(_plain, posts)),
            "friends": {user["id"] for user in await self._list("/friends")},
            "asking": await self._requests(),
            "comments": {post_id: list(map(_words, told)) for post_id, told in comments.items() if told},
        }

    async def _requests(self) -> set[str]:
        return {one["user"]["id"] for one in await self._list("/friend-requests") if one["direction"] == "in"}

    async def _list(self, path: str) -> list[dict[str, Any]]:
        items, cursor = [], ""
        while cursor is not None:
            page = await self.person.ok("GET", f"{path}?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            items += page["items"]
            cursor = page["next"]
        return items

    async def _list_or_none(self, path: str) -> list[dict[str, Any]]:
        status, page, _ = await self.person.call("GET", f"{path}?limit=100")
        assert status in (200, 404), (path, status)
        return page["items"] if status == 200 else []

    async def _read_all(self) -> None:
        """The state from its start; of two copies of a post the newer one stays."""
        read = {post["id"]: post for post in await self._list("/feed")}
        self.posts = {post_id: _newer(self.posts.get(post_id), post) for post_id, post in read.items()}
        self.friends = {user["id"] for user in await self._list("/friends")}
        self.asking = await self._requests()
        await self._attend()

    async def _attend(self) -> None:
        """Follows and watches what is in the feed."""
        await self._send({"type": "watch", "id": "watch", "posts": list(self.posts)[:200]})
        for post_id in list(self.posts)[:FOLLOWED]:
            if post_id not in self.comments:
                self.comments[post_id] = {}
                await self._send({"type": "subscribe", "id": f"s{post_id}", "stream": f"post:{post_id}"})

    # --- events ------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        async for message in self._socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            frame = orjson.loads(message.data)
            handle = getattr(self, f"_on_{frame['type']}", None)
            if handle is not None:
                await handle(frame)
        self.over = self._socket.close_code in OVER
        if not self.over:
            self.faults.append(f"closed with {self._socket.close_code}")

    async def _on_ping(self, _frame: dict[str, Any]) -> None:
        await self._send({"type": "pong"})

    async def _on_subscribed(self, frame: dict[str, Any]) -> None:
        self.positions[frame["stream"]] = (frame["epoch"], frame["offset"])
        await self._read_comments(frame["stream"])

    async def _on_error(self, frame: dict[str, Any]) -> None:
        """A stream has ended, or was refused: what it was about is dropped where it is not read any more."""
        stream = frame.get("stream") or (f"post:{frame['id'][1:]}" if str(frame.get("id", "")).startswith("s") else "")
        self.comments.pop(stream.removeprefix("post:"), None)
        self.positions.pop(stream, None)

    async def _on_resync(self, frame: dict[str, Any]) -> None:
        self.positions[frame["stream"]] = (frame["epoch"], frame["offset"])
        if frame["stream"] == "me":
            await self._read_all()
        else:
            await self._read_comments(frame["stream"])

    async def _on_skip(self, frame: dict[str, Any]) -> None:
        self._move(frame["stream"], frame["offset"], frame["to"])

    async def _on_counts(self, frame: dict[str, Any]) -> None:
        for post_id, counts in frame["posts"].items():
            post = self.posts.get(post_id)
            if post is not None and counts["version"] > post["counts"]["version"]:
                post["counts"] = counts

    async def _on_event(self, frame: dict[str, Any]) -> None:
        self._move(frame["stream"], frame["offset"], frame["offset"])
        kind, data = frame["event"], frame["data"]
        match kind:
            case "post.created" | "post.edited":
                await self._have_post(data, frame["stream"])
            case "post.deleted" | "post.hidden":
                if kind == "post.deleted" or self._author(data["id"]) != self.person.id:
                    self.posts.pop(data["id"], None)
            case "author.hidden":
                self._forget(data["user_id"])
                for told in self.comments.values():
                    for one in [one for one in told.values() if one["author"]["id"] == data["user_id"]]:
                        del told[one["id"]]
            case "friend.requested":
                self.asking.add(data["id"])
            case "friend.accepted":
                await self._read_all()
            case "friend.removed":
                self._forget(data["id"])
            case "comment.created" | "comment.edited":
                told = self.comments.get(frame["stream"].removeprefix("post:"))
                if told is not None and (kind == "comment.created" or data["id"] in told):
                    told[data["id"]] = _newer(told.get(data["id"]), data)
            case "comment.deleted":
                self.comments.get(frame["stream"].removeprefix("post:"), {}).pop(data["id"], None)

    def _move(self, stream: str, first: int, last: int) -> None:
        epoch, offset = self.positions.get(stream, ("", first - 1))
        if first != offset + 1:
            self.faults.append(f"{stream} jumps from {offset} to {first}")
        self.positions[stream] = (epoch, last)

    def _author(self, post_id: str) -> str:
        post = self.posts.get(post_id)
        return post["author"]["id"] if post is not None else ""

    def _forget(self, user_id: str) -> None:
        self.friends.discard(user_id)
        self.asking.discard(user_id)
        self.posts = {post_id: post for post_id, post in self.posts.items() if post["author"]["id"] != user_id}

    async def _have_post(self, post: dict[str, Any], stream: str) -> None:
        """Takes a post in: on `me` it belongs to the feed, elsewhere only what is there is changed."""
        old = self.posts.get(post["id"])
        if old is None and stream != "me":
            return
        if old is not None and post["version"] <= old["version"]:
            return
        if old is None or post["shared"] is not None:
            status, post, _ = await self.person.call("GET", f"/posts/{post['id']}")
            if status == 404:
                return  # gone meanwhile, which is told behind
        self.posts[post["id"]] = _newer(old, post)
        await self._attend()

    async def _read_comments(self, stream: str) -> None:
        post_id = stream.removeprefix("post:")
        if post_id in self.comments:
            told = await self._list_or_none(f"/posts/{post_id}/comments")
            self.comments[post_id] = {one["id"]: one for one in told}

    async def _send(self, message: dict[str, Any]) -> None:
        if not self._socket.closed:
            await self._socket.send_str(orjson.dumps(message).decode())


def _newer(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """The copy with the higher version; counts have a version of their own."""
    if old is None:
        return new
    newer = new if new["version"] >= old["version"] else old
    if "counts" not in newer:
        return newer
    return {**newer, "counts": max(old["counts"], new["counts"], key=lambda counts: counts["version"])}


def _plain(post: dict[str, Any]) -> dict[str, Any]:
    """What is compared of a post."""
    shared = post["shared"]
    names = ("id", "version", "text", "visibility", "edited_at", "counts")
    return {
        **{name: post[name] for name in names},
        "author": post["author"]["id"],
        "shared": shared and (shared["id"], shared.get("text"), shared.get("gone", False)),
    }


def _words(comment: dict[str, Any]) -> tuple[str, int, str, str]:
    return comment["id"], comment["version"], comment["author"]["id"], comment["text"]
