"""The order of `order=top`: what a viewer most likely wants to see first, from facts that anybody can check.

    score = affinity x engagement x freshness

    affinity    1 + ln(1 + likes + 2 comments) that the viewer gave to the author's posts within 90 days
    engagement  1 + ln(1 + likes + 2 comments + 3 shares) that the post has from everybody
    freshness   2 ^ (-age / 12 h)

The shape is that of EdgeRank, as Facebook described it at its F8 conference of 2010: the product of the affinity of
viewer and author, a weight of the interactions, and a decay by time. The logarithms are ours: the thousandth like says
less than the first. Equal input gives equal order; equal scores go by id, the newer one first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db import posts
from feed.audience import Audience

COMMENT, SHARE = 2, 3  # what a comment and a share count in likes: they cost their maker more
HALF_LIFE = timedelta(hours=12)  # a feed is read once or twice a day
AFFINITY_OF = timedelta(days=90)  # acts that are older tell of another time


class Candidate(msgspec.Struct, frozen=True):
    """What the rank of a post depends on. `given` = the viewer's acts on the author's posts, weighted."""

    id: int
    created_at: datetime
    given: int
    likes: int
    comments: int
    shares: int


def score(candidate: Candidate, now: datetime) -> float:
    """The score of the formula above; a clock that runs behind makes nothing younger than new."""
    affinity = 1 + math.log1p(candidate.given)
    received = candidate.likes + COMMENT * candidate.comments + SHARE * candidate.shares
    age = max(timedelta(0), now - candidate.created_at)
    freshness: float = 0.5 ** (age / HALF_LIFE)
    return affinity * (1 + math.log1p(received)) * freshness


def rank(candidates: Iterable[Candidate], now: datetime) -> list[int]:
    """Ids by descending score."""
    return [c.id for c in sorted(candidates, key=lambda c: (-score(c, now), -c.id))]


async def ranked(connection: AsyncConnection, viewer_id: int, ids: list[int], now: datetime) -> list[int]:
    """Those of these posts that the viewer may see, best first."""
    rows = await posts.as_seen_by(connection, viewer_id, ids)
    audience = Audience.of_authors(viewer_id, rows.values())
    seen = [row for row in rows.values() if audience.sees_post(row)]
    authors = {row.author_id for row in seen} - {viewer_id}
    given = await posts.acts_given(connection, viewer_id, authors, since=now - AFFINITY_OF, comment_counts=COMMENT)
    return rank(
        (
            Candidate(row.id, row.created_at, given.get(row.author_id, 0), row.likes, row.comments, row.shares)
            for row in seen
        ),
        now,
    )
