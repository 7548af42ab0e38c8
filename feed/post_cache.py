"""What posts say, once per version and process, for every viewer alike.

Nothing in it depends on the viewer: rights, `liked`, relations and counts are read for each answer and added after. An
entry is never changed: an edit makes another version, and the old one is used no more.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from msgspec import UNSET

from feed.objects import Post

MOST = 20_000  # posts; the least recently used go first
MOST_TEXT = 16_000_000  # code points of all that they hold together: some 64 MB at most
AROUND = 500  # code points that the rest of a post, a name or a tag in it counts for, generously

# (post id, version of the post, version of its author's profile)
Key: TypeAlias = tuple[int, int, int]


class PostCache:
    """Posts without viewer fields by key."""

    def __init__(self, most: int = MOST, most_text: int = MOST_TEXT) -> None:
        self._most = most
        self._most_text = most_text
        self._kept: OrderedDict[Key, Post] = OrderedDict()
        self._text = 0

    def get(self, key: Key) -> Post | None:
        """The post, None when it has to be read."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def put(self, key: Key, post: Post) -> None:
        """Keeps a post that was read outside of any transaction that writes."""
        if key in self._kept:
            return
        self._kept[key] = post
        self._text += _size(post)
        while len(self._kept) > self._most or self._text > self._most_text:
            _, gone = self._kept.popitem(last=False)
            self._text -= _size(gone)


def _size(post: Post) -> int:
    named = len(post.mentions) if post.mentions is not UNSET else 0
    return len(post.text) + len(post.author.bio) + AROUND * (1 + named + len(post.tags))
