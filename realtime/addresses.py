"""The client's address behind trusted proxies."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

Networks = Sequence[IPv4Network | IPv6Network]
UNKNOWN = "unknown"  # the address of a peer that has none, as on a unix socket


def client_address(peer: str | None, forwarded: str | None, trusted: Networks) -> str:
    """The last address in X-Forwarded-For that no trusted proxy wrote; the peer when it is not a trusted proxy.

    Read from the right: whatever stands left of the first untrusted address is the client's own claim.
    """
    current = _normal(peer)
    if current is None:
        return UNKNOWN
    hops = [hop.strip() for hop in (forwarded or "").split(",") if hop.strip()]
    while within(current, trusted) and hops:
        hop = _normal(hops.pop())
        if hop is None:
            break
        current = hop
    return current


def address_of(request: web.Request, trusted: Networks) -> str:
    """The client's address of a request, or UNKNOWN."""
    return client_address(request.remote, forwarded_for(request), trusted)


def forwarded_for(request: web.Request) -> str:
    """The whole of X-Forwarded-For, which proxies may have added as several headers."""
    return ", ".join(request.headers.getall("X-Forwarded-For", ()))


def network_of(address: str) -> str:
    """Whom a limit counts: an IPv4 address, or the /64 that an IPv6 subscriber is given whole."""
    if ":" not in address:
        return address
    return str(ip_network(f"{address}/64", strict=False))


def within(address: str, networks: Networks) -> bool:
    """Whether an address stands in one of the networks. Raises ValueError for what is no address."""
    parsed = ip_address(address)
    return any(parsed in network for network in networks if network.version == parsed.version)


def _normal(text: str | None) -> str | None:
    """The address without port and IPv4-in-IPv6 wrapping, or None when it is none."""
    if not text:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)
