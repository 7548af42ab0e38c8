"""The product with one protection taken out: `python -m social.chaos.sabotage PROTECTION web|worker|up ...`.

A chaos run on it must fail; one that passes has a checker that sees nothing. Each function takes out exactly one
protection, at the seams named here; a seam that is not there any more stops the start, rather than sabotage nothing.

    dedupe       the append script is shown an empty memory of event ids each time: a repeated job appends again
    gap-fill     the hub lets later items through, never asks for a repair, and the inbox never compares tops
    epoch-check  a resume of another life of the log counts as one of this life
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any


def dedupe() -> None:
    """Takes out: an event id that a stream has seen changes nothing."""
    from db.redis import Redis

    whole = Redis.run

    async def run(self: Redis, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if script == "append":
            # the third key of each recipient is what it remembers; one that nobody has used is empty
            keys = [f"{key}:{secrets.token_hex(4)}" if key.startswith("seen:") else key for key in keys]
        return await whole(self, script, keys, args)

    _replace(Redis, "run", run)


def gap_fill() -> None:
    """Takes out: a hole is seen, held and repaired."""
    from realtime.live.hub import Live, LiveStream, Offer, Subscription
    from realtime.live.inbox import Inbox

    in_order, to_its_turn = LiveStream.receive, Subscription.offer

    def receive(self: LiveStream, item: Live) -> None:
        if self.top_known and item.epoch == self.epoch and item.offset > self.offset:
            self.offset = item.offset - 1
        in_order(self, item)

    def offer(self: Subscription, offer: Offer) -> None:
        if self.opened and offer.epoch == self.epoch and offer.offset > self.offset:
            self.offset = offer.offset - 1
        to_its_turn(self, offer)

    async def nothing(_self: Inbox) -> None:
        await asyncio.sleep(0)

    _replace(LiveStream, "receive", receive)
    _replace(Subscription, "offer", offer)
    _replace(Inbox, "check", nothing)


def epoch_check() -> None:
    """Takes out: offsets of different lives of a log do not compare."""
    from realtime.live.joining import Joiner
    from realtime.live.protocol import At

    whole: Any = Joiner._replay

    async def replay(self: Joiner, *arguments: Any) -> Any:
        *others, start, top = arguments
        return await whole(self, *others, At(top.epoch, min(start.offset, top.offset)), top)

    _replace(Joiner, "_replay", replay)


PROTECTIONS: dict[str, Callable[[], None]] = {"dedupe": dedupe, "gap-fill": gap_fill, "epoch-check": epoch_check}


def _replace(owner: type, name: str, value: Any) -> None:
    if name not in vars(owner):
        sys.exit(f"sabotage: {owner.__name__}.{name} is gone; find the seam where the protection lives now.")
    setattr(owner, name, value)


def main(arguments: Sequence[str]) -> None:
    """Takes the protection out, then is `social`."""
    from social import cli

    if not arguments or arguments[0] not in PROTECTIONS:
        sys.exit(f"usage: python -m social.chaos.sabotage {'|'.join(PROTECTIONS)} COMMAND ...")
    PROTECTIONS[arguments[0]]()
    sys.argv = ["social", *arguments[1:]]
    cli.main()


if __name__ == "__main__":
    main(sys.argv[1:])
