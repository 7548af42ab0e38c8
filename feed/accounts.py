"""Accounts and sign-ins: made, proved, changed, exported, erased.

A token is 256 random bits and stored only as its SHA-256; the session row is the sign-in, deleting it is the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from db import outbox, users
from db.engine import Record
from db.errors import DuplicateKey, StoreUnavailable
from feed import text, views
from feed.errors import Busy, Conflict, Disabled, Fault, Invalid, NotFound, Unauthenticated
from feed.objects import Timestamp, User, timestamp
from feed.passwords import Passwords
from feed.revocations import Revocation
from feed.stores import Stores

log = structlog.get_logger(__name__)

TOKEN_PREFIX = "sr_"  # noqa: S105 - lets secret scanners recognise a leaked one
TOKEN_LENGTH = 100
DEVICE_LENGTH = 200
USED_EVERY = timedelta(minutes=5)  # how exactly "last used" is kept: a write per request would be for nobody
TOUCH_WITHIN = 0.5  # seconds that a request waits to note its sign-in's use


class Session(msgspec.Struct, frozen=True):
    """A proved sign-in."""

    id: int
    user_id: int
    expires_at: datetime


class SignedIn(msgspec.Struct, frozen=True):
    """What a new sign-in gets: the only time the token is told."""

    user: User
    token: str
    expires_at: Timestamp


class Device(msgspec.Struct, frozen=True):
    """A sign-in as its owner sees it."""

    id: str
    device: str
    address: str
    created_at: Timestamp
    used_at: Timestamp
    expires_at: Timestamp
    current: bool


class Origin(msgspec.Struct, frozen=True):
    """Where a sign-in comes from."""

    device: str
    address: str


class Profile(msgspec.Struct, frozen=True):
    """Changes to one's own profile; UNSET stays as it is."""

    name: str | UnsetType = UNSET
    bio: str | UnsetType = UNSET
    locale: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET


class Accounts:
    """The accounts of one database. `session_days` is how long a sign-in lasts."""

    def __init__(self, stores: Stores, passwords: Passwords, *, session_days: float) -> None:
        self._stores = stores
        self._passwords = passwords
        self._touching: set[int] = set()
        self._lifetime = timedelta(days=session_days)

    async def sign_up(self, *, username: str, password: str, name: str, email: str | None, origin: Origin) -> SignedIn:
        """Makes an account and its first sign-in. Raises Invalid, Conflict (username taken), Busy."""
        faults: list[Fault] = []
        folded = _collect(faults, lambda: text.username(username))
        name = _collect(faults, lambda: text.clean(name, "/name", least=1, most=100))
        address = _collect(faults, lambda: text.email(email)) if email is not None else None
        password = _collect(faults, lambda: text.password(password, username=folded))
        if faults:
            raise Invalid(faults)
        encoded = await self._passwords.hash(password)

        async def work(connection: AsyncConnection) -> SignedIn:
            user_id = await users.add(
                connection,
                username=folded,
                name=name,
                email=address,
                password_hash=encoded,
                now=self._stores.clock(),
            )
            await users.set_terms(connection, user_id, text.terms(folded, name))
            return await self._open(connection, user_id, origin)

        try:
            return await self._stores.sql.write(work)
        except DuplicateKey as error:
            raise Conflict(
                "This username is taken. Choose another one.", code="username_taken", pointer="/username"
            ) from error

    async def sign_in(self, *, username: str, password: str, origin: Origin) -> SignedIn:
        """Opens a sign-in. Raises Unauthenticated with one text, after one time, whatever was wrong."""
        try:
            folded = text.username(username)
        except Fault:
            folded = ""
        async with self._stores.sql.read() as connection:
            row = await users.by_username(connection, folded) if folded else None
        known = row is not None and row.state in ("active", "disabled")
        given = _typed(password)
        fits = await self._passwords.verify(row.password_hash if row and known else None, given)
        if row is None or not fits:
            raise Unauthenticated("Wrong username or password.", code="wrong_credentials")
        if row.state == "disabled":
            raise Disabled
        renewed = await self._passwords.hash(given) if self._passwords.outdated(row.password_hash) else None

        async def work(connection: AsyncConnection) -> SignedIn:
            # A password that was changed while this one was being verified ends every other sign-in, this one too.
            await _still(connection, row)
            if renewed is not None:
                await users.change(connection, row.id, password_hash=renewed)
            return await self._open(connection, row.id, origin)

        return await self._stores.sql.write(work)

    async def authenticate(self, token: str) -> Session | None:
        """The sign-in of a token, or None when it is unknown or expired. Raises Disabled."""
        digest = digest_of(token)
        if digest is None:
            return None
        async with self._stores.sql.read() as connection:
            rows = await users.sessions_by_token(connection, [digest])
        session = proved(rows.get(digest), self._stores.clock())
        if session is not None and self._stores.clock() - rows[digest].used_at > USED_EVERY:
            await self._touch(session.id, self._stores.clock())
        return session

    async def devices(self, session: Session) -> list[Device]:
        """The sign-ins of the session's user, newest first."""
        async with self._stores.sql.read() as connection:
            rows = await users.sessions_of(connection, session.user_id, self._stores.clock())
        return [
            Device(
                id=str(row.id),
                device=row.device,
                address=row.address,
                created_at=timestamp(row.created_at),
                used_at=timestamp(row.used_at),
                expires_at=timestamp(row.expires_at),
                current=row.id == session.id,
            )
            for row in rows
        ]

    async def sign_out(self, user_id: int, session_id: int) -> None:
        """Ends one sign-in of a user and closes its sockets. Raises NotFound for anything else."""
        ended = await self._stores.sql.write(lambda c: self._end(c, user_id, only=session_id))
        if not ended:
            raise NotFound("device")
        self._stores.tell_edges(*ended)

    async def change_password(self, session: Session, *, current: str, new: str) -> None:
        """Sets a new password; every other sign-in ends. Raises Invalid for a wrong or unfit one."""
        row = await self._prove(session.user_id, current, "/current")
        try:
            new = text.password(new, username=row.username, pointer="/new")
        except Fault as fault:
            raise Invalid([fault]) from fault
        encoded = await self._passwords.hash(new)

        async def work(connection: AsyncConnection) -> list[Revocation]:
            await _still(connection, row)
            await users.change(connection, session.user_id, password_hash=encoded)
            return await self._end(connection, session.user_id, but=session.id)

        self._stores.tell_edges(*await self._stores.sql.write(work))

    async def change_profile(self, user_id: int, profile: Profile) -> User:
        """Changes one's own profile and returns it. Raises Invalid."""
        faults: list[Fault] = []
        values: dict[str, Any] = {}
        if profile.name is not UNSET:
            given = profile.name
            values["name"] = _collect(faults, lambda: text.clean(given, "/name", least=1, most=100))
        if profile.bio is not UNSET:
            bio = profile.bio
            values["bio"] = _collect(faults, lambda: text.clean(bio, "/bio", most=500, lines=True))
        if profile.locale is not UNSET:
            locale = profile.locale
            values["locale"] = _collect(faults, lambda: text.locale(locale))
        if profile.timezone is not UNSET:
            timezone = profile.timezone
            values["timezone"] = _collect(faults, lambda: text.timezone(timezone))
        if faults:
            raise Invalid(faults)

        async def work(connection: AsyncConnection) -> User:
            row = await users.lock(connection, user_id)
            if row is None:
                raise NotFound("account")
            if values:
                await users.change(connection, user_id, **values)
                if "name" in values:
                    await users.set_terms(connection, user_id, text.terms(row.username, values["name"]))
            return views.user((await users.profiles(connection, [user_id]))[user_id], "self")

        return await self._stores.sql.write(work)

    async def erase(self, user_id: int, password: str) -> None:
        """Ends an account: invisible and signed out with this commit, its rows removed by a job that may resume."""
        row = await self._prove(user_id, password, "/password")

        async def work(connection: AsyncConnection) -> list[Revocation]:
            await _still(connection, row)
            await users.change(connection, user_id, state="erasing")
            now = self._stores.clock()
            await outbox.add(connection, f"user:{user_id}", [("erase_user", {"user_id": user_id})], now)
            ended = await self._end(connection, user_id)
            return [*ended, await self._stores.revoke(connection, "account", user_id)]

        self._stores.tell_edges(*await self._stores.commit(work))

    async def _touch(self, session_id: int, now: datetime) -> None:
        """Notes the use of a sign-in, unless somebody else is at it; a read must not fail because a write would."""
        if session_id in self._touching:
            return
        self._touching.add(session_id)
        try:
            async with asyncio.timeout(TOUCH_WITHIN):
                await self._stores.sql.write(lambda c: users.touch_session(c, session_id, now))
        except (StoreUnavailable, TimeoutError) as error:
            log.debug("session_not_touched", cause=str(error))
        finally:
            self._touching.discard(session_id)

    def close(self) -> None:
        """Lets the hashing threads go."""
        self._passwords.close()

    async def _prove(self, user_id: int, password: str, pointer: str) -> Record:
        async with self._stores.sql.read() as connection:
            row = await users.account(connection, user_id)
        if row is None or not await self._passwords.verify(row.password_hash, _typed(password)):
            raise Invalid([Fault(pointer, "This is not your password.")], "The password does not fit.")
        return row

    async def _open(self, connection: AsyncConnection, user_id: int, origin: Origin) -> SignedIn:
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._stores.clock()
        expires_at = now + self._lifetime
        await users.add_session(
            connection,
            user_id=user_id,
            token_hash=hashlib.sha256(token.encode()).digest(),
            device=origin.device[:DEVICE_LENGTH],
            address=origin.address,
            now=now,
            expires_at=expires_at,
        )
        row = (await users.profiles(connection, [user_id]))[user_id]
        return SignedIn(views.user(row, "self"), token, timestamp(expires_at))

    async def _end(self, connection: AsyncConnection, user_id: int, **which: int) -> list[Revocation]:
        """Ends sign-ins of a user: all, `only` one, or all `but` one."""
        ended = await users.end_sessions(connection, user_id, **which)
        return [await self._stores.revoke(connection, "session", session_id, user_id) for session_id in ended]


async def _still(connection: AsyncConnection, proved: Record) -> None:
    """Locks an account; raises Busy when it is not any more what its password was proved against."""
    row = await users.lock(connection, proved.id)
    if row is None or row.state != "active" or row.password_hash != proved.password_hash:
        raise Busy("This account has just been changed. Try again.")


def _typed(password: str) -> str:
    """A password to verify, in normal form; one that could never have been set fits nobody's hash."""
    try:
        return text.normal(text.bounded(password, "/password", text.PASSWORD[1]))
    except Fault:
        return ""


def digest_of(token: str) -> bytes | None:
    """What is stored of a token; None for what can be none."""
    if not (token.startswith(TOKEN_PREFIX) and token.isascii() and len(token) <= TOKEN_LENGTH):
        return None
    return hashlib.sha256(token.encode()).digest()


def proved(row: Record | None, now: datetime) -> Session | None:
    """The sign-in of a row that was found by its token. Raises Disabled."""
    if row is None or row.expires_at <= now or row.state not in ("active", "disabled"):
        return None
    if row.state == "disabled":
        raise Disabled
    return Session(row.id, row.user_id, row.expires_at)


def _collect(faults: list[Fault], check: Any) -> Any:
    """Runs a check; a Fault joins the others so that a form shows all of them at once."""
    try:
        return check()
    except Fault as fault:
        faults.append(fault)
        return ""
