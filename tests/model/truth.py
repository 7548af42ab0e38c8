"""What is true, written down a second time: people, pairs, blocks, posts; who may see what, from the contract alone.

Nothing of the product is used here. `Sight` is what a viewer may be told at one moment; `Watch` gathers every moment
while an answer is being made: it may tell what was true at any of them, and must tell what was true at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

WIDTH = {"only_me": 0, "friends": 1, "public": 2}


@dataclass
class Post:
    """A post as it is now."""

    id: int
    author: int
    text: str
    visibility: str
    shared: int | None = None
    likes: set[int] = field(default_factory=set)


class Comment(NamedTuple):
    """A comment that is not deleted."""

    post: int
    author: int
    text: str


class Sight(NamedTuple):
    """What one viewer may be told now: (post, text), ids of the feed, people, (comment, text)."""

    texts: set[tuple[int, str]]
    feed: set[int]
    people: set[int]
    comments: set[tuple[int, str]]


class Truth:
    """Everything that was committed."""

    def __init__(self, people: list[int]) -> None:
        self.people = people
        self.friends: set[frozenset[int]] = set()
        self.asked: dict[frozenset[int], int] = {}  # pair -> who asked
        self.blocks: set[tuple[int, int]] = set()  # (who blocks, whom)
        self.posts: dict[int, Post] = {}
        self.comments: dict[int, Comment] = {}
        self.handed: dict[int, set[tuple[int, str]]] = {person: set() for person in people}  # see `_hand`
        self.watches: list[Watch] = []
        self.changes = 0

    # --- what happens ------------------------------------------------------------------------------------------------

    def write(self, post_id: int, author: int, text: str, visibility: str, shared: int | None = None) -> None:
        self.posts[post_id] = Post(post_id, author, text, visibility, shared)
        self.changed()

    def edit(self, post_id: int, text: str | None, visibility: str | None) -> None:
        post = self.posts[post_id]
        narrowed = visibility is not None and WIDTH[visibility] < WIDTH[post.visibility]
        post.text, post.visibility = text or post.text, visibility or post.visibility
        if narrowed:
            self._withdraw(post_id)
        self.changed()

    def delete(self, post_id: int) -> None:
        del self.posts[post_id]
        self.comments = {number: one for number, one in self.comments.items() if one.post != post_id}
        self._withdraw(post_id)
        self.changed()

    def ask(self, person: int, other: int) -> None:
        pair = frozenset((person, other))
        if pair not in self.friends and self.asked.setdefault(pair, person) == other:
            del self.asked[pair]
            self.friends.add(pair)
        self.changed()

    def part(self, person: int, other: int) -> None:
        pair = frozenset((person, other))
        self.friends.discard(pair)
        self.asked.pop(pair, None)
        self.changed()

    def block(self, person: int, other: int) -> None:
        self.blocks.add((person, other))
        self.part(person, other)

    def unblock(self, person: int, other: int) -> None:
        self.blocks.discard((person, other))
        self.changed()

    def say(self, number: int, post_id: int, author: int, text: str) -> None:
        self.comments[number] = Comment(post_id, author, text)
        self.changed()

    def unsay(self, number: int) -> None:
        del self.comments[number]
        self.changed()

    # --- who may see what --------------------------------------------------------------------------------------------

    def meets(self, viewer: int, person: int) -> bool:
        return (viewer, person) not in self.blocks and (person, viewer) not in self.blocks

    def sees(self, viewer: int, post_id: int) -> bool:
        post = self.posts.get(post_id)
        if post is None or not self.meets(viewer, post.author):
            return False
        if viewer == post.author or post.visibility == "public":
            return True
        return post.visibility == "friends" and frozenset((viewer, post.author)) in self.friends

    def in_feed(self, viewer: int, post_id: int) -> bool:
        author = self.posts[post_id].author
        return self.sees(viewer, post_id) and (viewer == author or frozenset((viewer, author)) in self.friends)

    def sight(self, viewer: int) -> Sight:
        seen = {post_id: post for post_id, post in self.posts.items() if self.sees(viewer, post_id)}
        return Sight(
            {(post_id, post.text) for post_id, post in seen.items()},
            {post_id for post_id in seen if self.in_feed(viewer, post_id)},
            {person for person in self.people if self.meets(viewer, person)},
            {(n, c.text) for n, c in self.comments.items() if c.post in seen and self.meets(viewer, c.author)},
        )

    def likers(self, viewer: int, post_id: int) -> set[int]:
        return {person for person in self.posts[post_id].likes if self.meets(viewer, person)}

    def changed(self) -> None:
        self.changes += 1
        self._hand()
        for watch in self.watches:
            watch.note()

    def _hand(self) -> None:
        """`handed`: texts that a replay may tell a viewer who sees the post now.

        Those that the viewer could once see, and that were not withdrawn since: a text is withdrawn from those from
        whom its post was hidden by its author. What was written while a post was for others is never theirs.
        """
        for viewer in self.people:
            self.handed[viewer].update((i, post.text) for i, post in self.posts.items() if self.sees(viewer, i))

    def _withdraw(self, post_id: int) -> None:
        for viewer in self.people:
            if not self.sees(viewer, post_id):
                self.handed[viewer] = {one for one in self.handed[viewer] if one[0] != post_id}


class Watch:
    """What a viewer may be told, and must be, by an answer whose making began now."""

    def __init__(self, truth: Truth, viewer: int) -> None:
        self._truth, self._viewer = truth, viewer
        now = truth.sight(viewer)
        self.texts, self.feed, self.people, self.comments = map(set, now)
        self.certain = set(now.feed)
        self.certain_posts = {post_id for post_id, _ in now.texts}
        self.certain_people = set(now.people)
        self.certain_comments = set(now.comments)
        self.handed = set(truth.handed[viewer])
        truth.watches.append(self)

    def note(self) -> None:
        now = self._truth.sight(self._viewer)
        self.texts |= now.texts
        self.feed |= now.feed
        self.people |= now.people
        self.comments |= now.comments
        self.certain &= now.feed
        self.certain_posts &= {post_id for post_id, _ in now.texts}
        self.certain_people &= now.people
        self.certain_comments &= now.comments
        self.handed |= self._truth.handed[self._viewer]

    def sees(self, post_id: int) -> bool:
        """Whether the viewer could see a post at some moment."""
        return any(one == post_id for one, _ in self.texts)

    def close(self) -> None:
        self._truth.watches.remove(self)
