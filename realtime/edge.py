"""What a request handler works with: one frozen bundle, built by `realtime.app`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from db.s3 import Objects
from db.settings import Settings
from feed.accounts import Accounts, Session
from feed.background import Background
from feed.errors import Unauthenticated
from feed.idempotency import Key
from feed.stores import Stores
from feed.usage import Usage
from realtime.limits import Limits

if TYPE_CHECKING:
    from realtime.live.gateway import Gateway


@dataclass(slots=True)
class Edge:
    """One edge process. `draining` is set once, when it stops taking new work."""

    settings: Settings
    stores: Stores
    objects: Objects
    accounts: Accounts
    limits: Limits
    background: Background
    gateway: Gateway
    usage: Usage
    draining: bool = False


EDGE = web.AppKey("edge", Edge)


@dataclass(slots=True)
class Call:
    """One request: parsed, limited, proved. Handlers may set `headers`, `cookie` and `validator` of the answer."""

    request: web.Request
    edge: Edge
    session: Session | None
    address: str
    key: Key | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cookie: str | None = None  # a token to set, '' to clear
    validator: Any = None  # what the answer's ETag is made of

    @property
    def viewer(self) -> int:
        """The id of the signed-in user. Raises Unauthenticated."""
        return self.proved.user_id

    @property
    def proved(self) -> Session:
        """The sign-in. Raises Unauthenticated."""
        if self.session is None:
            raise Unauthenticated
        return self.session

    @property
    def stores(self) -> Stores:
        """The stores of this edge."""
        return self.edge.stores

    def id(self, name: str = "id") -> int:
        """A numeric id of the path; the router lets nothing else through."""
        return int(self.request.match_info[name])

    def query(self, name: str) -> str | None:
        """A query parameter."""
        value: str | None = self.request.query.get(name)
        return value
