"""The auditor: samples of what is derived, compared with the rows it is derived from.

    kind      sample of    compared                                            repaired
    counts    posts        counters, and what the outbox still owes them,      counted again under the counters' lock;
                           with the likes, comments and shares                 whoever watches the post is told
    friends   people       number of friends with the friendships              counted again under the number's lock
    timelines people       ids that a timeline lacks, of those it has to have  dropped: the next reader builds it

Both sides of a comparison in MySQL are read in one statement, so they are of one moment: what is written meanwhile
changes both or neither, and what is found is a fault, never a delay. Repairs compare again before they write anything.
Another kind is another entry of `KINDS`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from db import posts, relations, samples
from db.errors import StoreRefused, StoreUnavailable
from feed import counts, feed_page, metrics
from feed.stores import Stores

log = structlog.get_logger(__name__)
_RANDOM = random.Random()  # noqa: S311 - which rows are looked at is no secret


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of derived state.

    sample   ids of about this share of the objects (1 = all), random
    compare  what is wrong with one of them, in words; None when nothing is
    repair   sets it right; False when nothing was wrong any more
    """

    name: str
    sample: Callable[[Stores, float], AsyncIterator[int]]
    compare: Callable[[Stores, int], Awaitable[str | None]]
    repair: Callable[[Stores, int], Awaitable[bool]]


@dataclass(slots=True)
class Audited:
    """What one audit of a kind came to."""

    kind: str
    checked: int = 0
    drifted: int = 0
    repaired: int = 0


def _posts(stores: Stores, share: float) -> AsyncIterator[int]:
    return samples.sample(stores.sql, "posts", share, _RANDOM)


async def _compare_counts(stores: Stores, post_id: int) -> str | None:
    async with stores.sql.read() as connection:
        compared = await posts.compare_counts(connection, post_id) or {}
    wrong = [f"{name}: {told} instead of {counted}" for name, (told, counted) in compared.items() if told != counted]
    return ", ".join(wrong) or None


async def _repair_counts(stores: Stores, post_id: int) -> bool:
    repaired = await stores.sql.write(lambda c: posts.repair_counts(c, post_id, stores.clock()))
    if repaired:
        try:
            await counts.tell(stores, [post_id])
        except StoreUnavailable as error:
            log.warning("announcement_lost", cause=str(error))  # the next page has the truth
    return repaired


def _people(stores: Stores, share: float) -> AsyncIterator[int]:
    return samples.sample(stores.sql, "people", share, _RANDOM)


async def _compare_friends(stores: Stores, user_id: int) -> str | None:
    async with stores.sql.read() as connection:
        stored, counted = await relations.compare_friends(connection, user_id) or (0, 0)
    return f"friends: {stored} instead of {counted}" if stored != counted else None


async def _repair_friends(stores: Stores, user_id: int) -> bool:
    return await stores.sql.write(lambda c: relations.repair_friends(c, user_id))


async def _compare_timeline(stores: Stores, user_id: int) -> str | None:
    lacking = await feed_page.lacking(stores, user_id)
    return f"lacks {len(lacking)}, first {lacking[0]}" if lacking else None


async def _repair_timeline(stores: Stores, user_id: int) -> bool:
    if not await feed_page.lacking(stores, user_id):
        return False
    await stores.timelines.drop(user_id)
    return True


KINDS: tuple[Kind, ...] = (
    Kind("counts", _posts, _compare_counts, _repair_counts),
    Kind("friends", _people, _compare_friends, _repair_friends),
    Kind("timelines", _people, _compare_timeline, _repair_timeline),
)


async def audit(stores: Stores, share: float, kinds: Sequence[Kind] = KINDS) -> list[Audited]:
    """Compares about `share` (0 to 1) of the objects of each kind, one after the other, and repairs what has drifted.

    Raises StoreUnavailable.
    """
    results = []
    for kind in kinds:
        result = Audited(kind.name)
        results.append(result)
        if share > 0:
            async for one in kind.sample(stores, min(share, 1.0)):
                await _check(stores, kind, one, result)
    return results


async def _check(stores: Stores, kind: Kind, one: int, result: Audited) -> None:
    fault = await kind.compare(stores, one)
    result.checked += 1
    metrics.AUDIT_CHECKED.labels(kind.name).inc()
    if fault is None:
        return
    result.drifted += 1
    metrics.AUDIT_DRIFT.labels(kind.name).inc()
    log.error("drift", kind=kind.name, id=one, fault=fault)
    try:
        result.repaired += await kind.repair(stores, one)
    except StoreRefused as error:
        log.error("drift_stays", kind=kind.name, id=one, cause=str(error))
