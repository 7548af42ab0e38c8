"""Sign-ins: open, list, end."""

from __future__ import annotations

import msgspec

from feed.accounts import Device, SignedIn
from feed.pages import Page
from feed.text import fold
from realtime.addresses import network_of
from realtime.api.users import origin
from realtime.edge import Call


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A username and its password."""

    username: str
    password: str


async def open_session(call: Call, body: SignIn) -> SignedIn:
    """Signs in."""
    limits = call.edge.limits
    network = network_of(call.address)
    await limits.count(limits.sign_in_address, "sign-in", network)
    # Per account and address: a stranger who guesses cannot lock the owner out from elsewhere.
    await limits.count(limits.sign_in_account, "sign-in-to", fold(body.username[:64]), network)
    signed_in = await call.edge.accounts.sign_in(username=body.username, password=body.password, origin=origin(call))
    call.cookie = signed_in.token
    return signed_in


async def list_sessions(call: Call) -> Page[Device]:
    """The caller's devices."""
    return Page(await call.edge.accounts.devices(call.proved), None)


async def end(call: Call) -> None:
    """Signs a device out."""
    session_id = call.id()
    await call.edge.accounts.sign_out(call.viewer, session_id)
    if session_id == call.proved.id:
        call.cookie = ""


async def end_current(call: Call) -> None:
    """Signs out."""
    await call.edge.accounts.sign_out(call.viewer, call.proved.id)
    call.cookie = ""
