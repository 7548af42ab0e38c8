"""The client's address: what trusted proxies wrote is believed, what clients claim is not."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.addresses import client_address

NETS = (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))
PROXY, CLIENT, LIAR = "10.0.0.1", "203.0.113.7", "198.51.100.1"


@pytest.mark.parametrize("forwarded", [None, "", LIAR, f"{LIAR}, {PROXY}", "10.0.0.9"])
def test_a_peer_that_is_no_trusted_proxy_speaks_for_nobody(forwarded: str | None) -> None:
    assert client_address(CLIENT, forwarded, NETS) == CLIENT


def test_without_trusted_proxies_the_header_means_nothing() -> None:
    assert client_address(PROXY, CLIENT, ()) == PROXY


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (CLIENT, CLIENT),
        (f"{LIAR}, {CLIENT}", CLIENT),
        (f"{LIAR},{CLIENT} , 10.0.0.8,10.0.0.9", CLIENT),
        (f"10.6.6.6, {CLIENT}, 10.0.0.9", CLIENT),
        (f", ,{CLIENT},", CLIENT),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("", PROXY),
        (None, PROXY),
    ],
)
def test_behind_trusted_proxies_the_last_untrusted_hop_is_the_client(forwarded: str | None, address: str) -> None:
    assert client_address(PROXY, forwarded, NETS) == address


@pytest.mark.parametrize("garbage", ["unknown", "_hidden", "999.1.1.1", "localhost", "1.2.3", "[::1", "' OR 1=1"])
def test_a_hop_that_is_no_address_ends_the_walk_at_the_proxy_that_reported_it(garbage: str) -> None:
    expected = "::1" if garbage == "[::1" else PROXY
    assert client_address(PROXY, f"{LIAR}, {garbage}", NETS) == expected


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
    ],
)
def test_one_client_has_one_spelling(hop: str, address: str) -> None:
    assert client_address(PROXY, hop, NETS) == address
    assert client_address(hop, None, NETS) == address


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "10.0.0.1:80", "fd00::1", "[fd00::1]:80"])
def test_a_proxy_is_known_in_every_spelling(peer: str) -> None:
    assert client_address(peer, CLIENT, NETS) == CLIENT


@pytest.mark.parametrize("peer", [None, "", "/run/social.sock", "not an address"])
def test_a_peer_without_an_address_is_unknown_whatever_it_claims(peer: str | None) -> None:
    assert client_address(peer, CLIENT, NETS) == "unknown"


@given(st.text(max_size=50), st.text(max_size=80))
def test_no_header_makes_a_client_look_like_a_proxys_inside(claims: str, more: str) -> None:
    """Whatever stands left of the real client, the answer stays the real client."""
    assert client_address(PROXY, f"{claims},{more},{CLIENT}", NETS) == CLIENT
