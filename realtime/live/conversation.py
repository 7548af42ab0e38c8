"""What clients ask for, carried out: greeting, joining, watching, typing, renewing. Knows connections, not sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from db import posts
from db.errors import StoreUnavailable
from feed import typing
from feed.accounts import Session as SignIn
from feed.errors import Disabled
from feed.grants import Grants
from feed.revocations import Revocations
from feed.stores import Stores
from feed.streams import Top
from feed.streams import post as post_stream
from realtime.live import protocol
from realtime.live.connection import Connection, Ending
from realtime.live.hub import Hub
from realtime.live.inbox import Inbox
from realtime.live.joining import Joiner, Outcome, Refused
from realtime.live.presence import Presences
from realtime.live.protocol import At, ErrorFrame, Joined, PostCounts
from realtime.live.rights import Rights, no_stream
from realtime.live.sender import CONGESTED
from realtime.live.session import Join, Leave, Prove, Renew, Send, Type, WatchCounts

PACE = 0.02  # seconds between looks at a socket that is still taking its replay
REPLAY_WITHIN = 30.0  # seconds that a socket has to take its replay before it is a slow reader
GREETING_AT_ONCE = 64  # greetings under way in this process: what a reconnect storm may ask of the stores at once


class Conversations:
    """Carries out what the sessions of this node's connections ask for."""

    def __init__(
        self,
        stores: Stores,
        grants: Grants,
        revocations: Revocations,
        hub: Hub,
        inbox: Inbox,
        rights: Rights,
        presences: Presences,
        *,
        ping_seconds: int,
        max_per_user: int,
    ) -> None:
        self._stores = stores
        self._grants = grants
        self._revocations = revocations
        self._hub = hub
        self._inbox = inbox
        self._rights = rights
        self._presences = presences
        self._joiner = Joiner(stores.streams, grants, hub, inbox)
        self._ping_seconds = ping_seconds
        self._max_per_user = max_per_user
        self._greeting = asyncio.Semaphore(GREETING_AT_ONCE)
        self.on_admitted: Callable[[int], None] = lambda _user_id: None  # set by the owner before the first connection

    async def carry_out(
        self,
        connection: Connection,
        effect: Send | Prove | Join | Leave | WatchCounts | Type | Renew,
        token: str | None,
    ) -> None:
        """Carries out one effect. `token` came with the upgrade. Raises Ending, StoreUnavailable."""
        match effect:
            case Send(message=message):
                connection.say(message)
            case Prove(token=given, resume=resume):
                await self.greet(connection, token, given, resume)
            case Join(stream=stream, start=start, request_id=request_id):
                await self._subscribe(connection, stream, start, request_id)
            case Leave(stream=stream, request_id=request_id):
                subscription = connection.subscriptions.pop(stream, None)
                if subscription is not None:
                    self._hub.unsubscribe(subscription)
                connection.say(protocol.Unsubscribed(request_id, stream))
            case WatchCounts(posts=wanted, request_id=request_id):
                await self._watch(connection, set(wanted), request_id)
            case Type(post_id=post_id):
                if await self._grants.sees_post(connection.user_id, post_id):
                    await typing.tell(self._stores, connection.user_id, post_id)
                else:
                    connection.say(no_stream(post_stream(post_id)))
            case Renew(token=renewed):
                await self._renew(connection, renewed)

    def leave(self, connection: Connection) -> None:
        """Takes a connection out of the hub; its socket counts until it is gone."""
        self._hub.watch(connection, frozenset(), connection.watched)
        connection.watched = frozenset()
        for subscription in connection.subscriptions.values():
            self._hub.unsubscribe(subscription)
        connection.subscriptions.clear()
        if connection in self._hub.receivers:
            self._hub.disconnect(connection)
            self._presences.left(connection.user_id)

    # --- hello -------------------------------------------------------------------------------------------------------

    async def greet(
        self, connection: Connection, token: str | None, given: str | None, resume: Mapping[str, At | None]
    ) -> None:
        """Proves the token, joins `me` and every stream of `resume`, answers welcome, replays, opens the gates.

        Raises Ending, StoreUnavailable.
        """
        async with self._greeting:
            await self._admit(connection, token, given)
            outcomes, errors = await self._join_all(connection, resume)
        assert connection.sign_in is not None  # noqa: S101 - it was admitted
        connection.session.proved(connection.sign_in.expires_at.timestamp(), time.monotonic())
        streams = {label: Joined(o.top.epoch, o.top.offset, o.recovered) for label, o in outcomes.items()}
        welcome = protocol.Welcome(
            connection.id, str(connection.user_id), self._ping_seconds, protocol.MAX_MESSAGE, streams
        )
        connection.say(welcome)
        for error in errors:
            connection.say(error)
        for outcome in outcomes.values():
            await self._open(connection, outcome)

    async def _prove(self, token: str | None, given: str | None) -> SignIn:
        """The sign-in of the one token that came, with the upgrade or with hello. Raises Ending."""
        chosen = token or given
        if chosen is None or (token is not None and given is not None and token != given):
            raise Ending(protocol.BAD_TOKEN)
        try:
            sign_in = await self._grants.sign_in(chosen)
        except Disabled as error:
            raise Ending(protocol.DISABLED) from error
        if sign_in is None:
            raise Ending(protocol.BAD_TOKEN)
        return sign_in

    async def _admit(self, connection: Connection, token: str | None, given: str | None) -> None:
        since = self._revocations.moment()
        sign_in = await self._prove(token, given)
        connection.user_id, connection.sign_in = sign_in.user_id, sign_in
        if len(self._hub.by_user.get(sign_in.user_id, ())) >= self._max_per_user:
            raise Ending(protocol.TOO_MANY_CONNECTIONS)
        self._hub.connect(connection)
        self._presences.came(connection.user_id)
        # From now on a revocation finds this connection; after one in between the token is proved again.
        if self._revocations.touched(since, ("session", sign_in.id), ("account", sign_in.user_id)):
            await self._prove(token, given)
        await self._rights.separate(connection)
        self.on_admitted(sign_in.user_id)

    async def _join_all(
        self, connection: Connection, resume: Mapping[str, At | None]
    ) -> tuple[dict[str, Outcome], list[ErrorFrame]]:
        outcomes: dict[str, Outcome] = {}
        errors: list[ErrorFrame] = []
        for label in ["me", *(label for label in resume if label != "me")]:
            try:
                outcomes[label] = await self._join(connection, label, resume.get(label))
            except Refused:
                errors.append(no_stream(label))
        # One may have been revoked while the next one was joined; that error has been said.
        return {label: o for label, o in outcomes.items() if label in connection.subscriptions}, errors

    async def _join(self, connection: Connection, label: str, start: At | None) -> Outcome:
        """Joins a stream; one that is on already is joined anew from the position given."""
        if len(connection.subscriptions) >= protocol.MOST_STREAMS and label not in connection.subscriptions:
            raise Refused
        previous = connection.subscriptions.pop(label, None)
        if previous is not None:
            self._hub.unsubscribe(previous)  # first: what the new one replays must not come from the old one too
        generation = self._rights.generation
        outcome = await self._joiner.join(connection, label, start)
        outcome.generation = generation
        connection.subscriptions[label] = outcome.subscription
        if self._rights.generation != generation and label != "me":
            await self._rights.recheck(connection)
            if label not in connection.subscriptions:
                raise Refused
        return outcome

    async def _open(self, connection: Connection, outcome: Outcome) -> None:
        """Sends the replay at the socket's own pace, then opens the gate."""
        deadline = time.monotonic() + REPLAY_WITHIN
        connection.session.replaying = True
        subscription = outcome.subscription
        for frame in outcome.frames:
            while connection.sender.queued > CONGESTED and not connection.sender.closed:
                if time.monotonic() > deadline:
                    raise Ending(protocol.SLOW_READER)
                await asyncio.sleep(PACE)
            if connection.subscriptions.get(subscription.label) is not subscription:
                break  # taken away meanwhile
            later = self._rights.generation != outcome.generation
            if later and frame.item is not None and self._grants.doubts(connection.user_id, frame.item):
                break  # a right ended while the socket took its time: opening behind the log is a resync
            subscription.offset = frame.offset
            connection.reply(frame.bytes)
        connection.session.replayed()
        if connection.subscriptions.get(subscription.label) is subscription:
            subscription.open(Top(subscription.epoch, subscription.offset))

    # --- later -------------------------------------------------------------------------------------------------------

    async def _subscribe(self, connection: Connection, label: str, start: At | None, request_id: str | int) -> None:
        if len(connection.subscriptions) >= protocol.MOST_STREAMS and label not in connection.subscriptions:
            return connection.say(ErrorFrame("limit", f"At most {protocol.MOST_STREAMS} streams.", request_id))
        try:
            outcome = await self._join(connection, label, start)
        except Refused:
            return connection.say(no_stream(label, request_id))
        except StoreUnavailable:
            if label == "me":
                raise  # without it the connection is good for nothing
            detail = "This stream cannot be joined now. Subscribe again in a moment."
            return connection.say(ErrorFrame("rate_limited", detail, request_id))
        top = outcome.top
        connection.say(protocol.Subscribed(request_id, label, top.epoch, top.offset, outcome.recovered))
        return await self._open(connection, outcome)

    async def _watch(self, connection: Connection, wanted: set[int], request_id: str | int) -> None:
        """Watches those posts that the viewer may see, and sends their present numbers."""
        try:
            generation = self._rights.generation
            seen = await self._grants.sees_posts(connection.user_id, wanted)
            self._hub.watch(connection, seen, connection.watched)
            connection.watched = seen
            await self._inbox.watch(seen)
            # Read after this node is told of changes: what is shown is never older than what follows.
            async with self._stores.sql.read() as sql:
                rows = await posts.counts(sql, seen)
        except StoreUnavailable:
            return connection.say(ErrorFrame("limit", "Counts are not available now; watch again.", request_id))
        for row in rows.values():
            self._hub.set_counts(row.post_id, PostCounts(row.version, row.likes, row.comments, row.shares))
        connection.tell_counts()  # of what is still watched: a recheck may have taken some meanwhile
        if self._rights.generation != generation:
            await self._rights.recheck(connection)
        return None

    async def _renew(self, connection: Connection, token: str) -> None:
        try:
            sign_in = await self._grants.sign_in(token)
        except StoreUnavailable:
            return  # the present token still holds; the client tries again before it expires
        except Disabled as error:
            raise Ending(protocol.DISABLED) from error
        if sign_in is None or sign_in.user_id != connection.user_id:
            raise Ending(protocol.BAD_TOKEN)
        connection.sign_in = sign_in
        if self._revocations.signed_out(sign_in.id):
            raise Ending(protocol.BAD_TOKEN)
        connection.session.renewed(sign_in.expires_at.timestamp())
