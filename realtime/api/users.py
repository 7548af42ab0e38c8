"""People: sign up, profiles, search, their posts."""

from __future__ import annotations

import msgspec

from feed import people, posts
from feed.accounts import Origin, SignedIn
from feed.objects import Post, User
from feed.pages import Page
from realtime.addresses import network_of
from realtime.edge import Call


class SignUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new account."""

    username: str
    password: str
    name: str
    email: str | None = None


def origin(call: Call) -> Origin:
    """Where a sign-in comes from, as the devices list shows it."""
    device = call.request.headers.get("User-Agent", "")
    printable = "".join(c for c in device if c.isprintable())
    return Origin(printable or "unknown", call.address)


async def sign_up(call: Call, body: SignUp) -> SignedIn:
    """Makes an account and signs it in."""
    await call.edge.limits.count(call.edge.limits.sign_up_address, "sign-up", network_of(call.address))
    signed_in = await call.edge.accounts.sign_up(
        username=body.username, password=body.password, name=body.name, email=body.email, origin=origin(call)
    )
    call.cookie = signed_in.token
    return signed_in


async def show(call: Call) -> User:
    """A person."""
    return await people.person(call.stores, call.viewer, call.id())


async def search(call: Call, limit: int) -> Page[User]:
    """People by name."""
    query = (call.query("q") or "")[:200]
    return await people.search(call.stores, call.viewer, query, cursor=call.query("cursor"), limit=limit)


async def list_posts(call: Call, limit: int) -> Page[Post]:
    """A person's posts."""
    return await posts.of_person(call.stores, call.viewer, call.id(), cursor=call.query("cursor"), limit=limit)
