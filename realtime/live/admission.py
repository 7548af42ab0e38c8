"""Whom an edge takes in: so many sockets, so many a second, so many that have not said who they are.

Refused is 503 with Retry-After, before the upgrade: a storm of clients that come back cannot kill a node, it queues up.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter

from aiohttp import web

from feed import metrics
from feed.errors import Busy
from realtime.addresses import client_address, network_of
from realtime.edge import Edge

UNGREETED = 2000  # sockets that have not said hello yet: at 10 s each nobody can hold the door shut for long
UNGREETED_PER_NETWORK = 500  # of one address (IPv6: of its /64); people behind one router come back together
RETRY_AFTER = (1, 5)  # seconds: a refused client comes back between these


class Admission:
    """The door of one process."""

    def __init__(self, *, most: int, per_second: int) -> None:
        self._most = most
        self._per_second = per_second
        self._tokens = float(per_second)
        self._filled_at = time.monotonic()
        self._ungreeted: Counter[str] = Counter()
        self._waiting = 0
        self._open = True

    def close(self) -> None:
        """Takes nobody in any more."""
        self._open = False

    def admit(self, request: web.Request, edge: Edge, connections: int) -> Ticket:
        """A ticket for one more socket. Raises Busy."""
        forwarded = ", ".join(request.headers.getall("X-Forwarded-For", ()))
        network = network_of(client_address(request.remote, forwarded, edge.settings.trusted_proxies))
        reason = self._reason(edge, connections, network)
        if reason:
            metrics.LIVE_REFUSED.labels(reason).inc()
            least, most = RETRY_AFTER
            raise Busy(
                "This server takes no more live connections now. Try again, or another one.",
                retry_after=least + secrets.randbelow(most - least + 1),
            )
        self._tokens -= 1
        self._ungreeted[network] += 1
        self._waiting += 1
        return Ticket(self, network)

    def greeted(self, network: str) -> None:
        """One has said who it is, or has gone."""
        self._waiting -= 1
        self._ungreeted[network] -= 1
        if not self._ungreeted[network]:
            del self._ungreeted[network]

    def _reason(self, edge: Edge, connections: int, network: str) -> str:
        now = time.monotonic()
        self._tokens = min(float(self._per_second), self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if edge.draining or not self._open:
            return "draining"
        if connections >= self._most:
            return "full"
        if self._tokens < 1:
            return "rate"
        if self._waiting >= UNGREETED or self._ungreeted[network] >= UNGREETED_PER_NETWORK:
            return "ungreeted"
        return ""


class Ticket:
    """One socket's way in; `greeted` once it is known who it is, `leave` in the end."""

    def __init__(self, admission: Admission, network: str) -> None:
        self._admission: Admission | None = admission
        self._network = network

    def greeted(self) -> None:
        """Frees the place among those who have not said hello."""
        if self._admission is not None:
            self._admission.greeted(self._network)
            self._admission = None

    leave = greeted
