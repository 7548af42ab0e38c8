"""The public objects of the contract, as HTTP answers and live events carry them.

Ids are strings of digits, moments RFC 3339 in UTC with milliseconds. Fields that depend on the viewer (`relation`,
`liked`) are UNSET in events.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Id = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,15}$", description="Decimal digits; the value stays below 2^53.")]
Timestamp = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="RFC 3339, UTC, milliseconds.",
        examples=["2026-11-21T03:00:00.000Z"],
    ),
]
Relation = Literal["self", "friends", "requested", "asked", "none"]
Visibility = Literal["friends", "public", "only_me"]


def timestamp(moment: datetime) -> str:
    """The wire form of an aware moment."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class User(msgspec.Struct, frozen=True, omit_defaults=False):
    """A person. `relation` is the viewer's: `requested` = the viewer asked, `asked` = the viewer was asked."""

    id: Id
    version: int
    username: str
    name: str
    bio: str
    avatar: None = None
    relation: Relation | UnsetType = UNSET
    online: bool | UnsetType = UNSET


class Counts(msgspec.Struct, frozen=True):
    """How often a post was liked, commented on, shared. Its version is its own: compare it with live `counts`."""

    version: int
    likes: int
    comments: int
    shares: int


class Because(msgspec.Struct, frozen=True):
    """A term of a score: how many different people did it in the hour that begins there (`posts`: used a tag)."""

    kind: Literal["likes", "comments", "shares", "posts"]
    hour: Timestamp
    people: int
    points: float


class Trend(msgspec.Struct, frozen=True):
    """Why something trends: the score is the sum of the terms' points, rounded once."""

    score: float
    because: list[Because]


class GonePost(msgspec.Struct, frozen=True):
    """What stands in for a shared post that is deleted, or not for this viewer."""

    id: Id
    gone: Literal[True] = True


Shared = Annotated[
    Any,
    Meta(
        description="The post that this one shares; in events its id alone.",
        extra_json_schema={
            "anyOf": [
                {"$ref": "#/components/schemas/Post"},
                {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "string"}, "gone": {"const": True}},
                    "additionalProperties": False,
                },
                {"type": "null"},
            ]
        },
    ),
]


class Mention(msgspec.Struct, frozen=True):
    """A person whom a text names as @username."""

    id: Id
    username: str


class Post(msgspec.Struct, frozen=True):
    """A post. `liked` is the viewer's, and so is `mentions`: those named in the text whom the viewer may see.

    `shared` is a Post that shares nothing itself, a GonePost, or None. `tags` are folded and without their sign.
    `trend` comes with /trending.
    """

    id: Id
    version: int
    author: User
    text: str
    tags: list[str]
    visibility: Visibility
    media: list[Any]
    shared: Shared
    created_at: Timestamp
    edited_at: Timestamp | None
    counts: Counts
    liked: bool | UnsetType = UNSET
    mentions: list[Mention] | UnsetType = UNSET
    trend: Trend | UnsetType = UNSET


class PostVersion(msgspec.Struct, frozen=True):
    """What an edit of a post replaced."""

    version: int
    text: str
    visibility: Visibility
    replaced_at: Timestamp


class Comment(msgspec.Struct, frozen=True):
    """A comment on a post."""

    id: Id
    version: int
    post_id: Id
    author: User
    text: str
    created_at: Timestamp
    edited_at: Timestamp | None


class Position(msgspec.Struct, frozen=True):
    """Where a stream stands: resume from here and nothing that came later is missed."""

    stream: str
    epoch: str
    offset: int


class Gone(msgspec.Struct, frozen=True):
    """What is left of something that a client should drop."""

    id: Id


class HiddenAuthor(msgspec.Struct, frozen=True):
    """Drop everything of this person."""

    user_id: Id


class Refreshed(msgspec.Struct, frozen=True):
    """What trends has been worked out anew: read /trending."""

    refreshed_at: Timestamp
