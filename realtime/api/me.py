"""One's own account."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from feed import people
from feed.accounts import Profile
from feed.errors import NotFound
from feed.export import archive
from feed.objects import User
from realtime.edge import Call


class Me(msgspec.Struct, frozen=True):
    """The caller. No kind of notification exists yet that could be unseen."""

    user: User
    unseen_notifications: int


class ChangeMe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes to one's own profile; what is left out stays."""

    name: str | UnsetType = UNSET
    bio: str | UnsetType = UNSET
    avatar_media_id: str | UnsetType | None = UNSET
    locale: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET


class Erase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password, as proof."""

    password: str


class ChangePassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The present and the new password."""

    current: str
    new: str


async def show(call: Call) -> Me:
    """The caller."""
    return Me(await people.person(call.stores, call.viewer, call.viewer), 0)


async def change(call: Call, body: ChangeMe) -> Me:
    """Changes the caller's profile."""
    if body.avatar_media_id not in (UNSET, None):
        raise NotFound("media")  # nobody has any yet
    profile = Profile(name=body.name, bio=body.bio, locale=body.locale, timezone=body.timezone)
    return Me(await call.edge.accounts.change_profile(call.viewer, profile), 0)


async def erase(call: Call, body: Erase) -> None:
    """Ends the caller's account."""
    await _count_proof(call)
    await call.edge.accounts.erase(call.viewer, body.password)
    call.cookie = ""


async def change_password(call: Call, body: ChangePassword) -> None:
    """Changes the caller's password; all other sign-ins end."""
    await _count_proof(call)
    await call.edge.accounts.change_password(call.proved, current=body.current, new=body.new)


async def export(call: Call) -> web.Response:
    """All that the caller owns."""
    return web.Response(
        body=await archive(call.stores, call.viewer),
        content_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="social-export.zip"'},
    )


async def _count_proof(call: Call) -> None:
    """A stolen sign-in must not be good for guessing the password behind it."""
    await call.edge.limits.count(call.edge.limits.sign_in_account, "prove", str(call.viewer))
