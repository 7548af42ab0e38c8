"""The door of an edge: so many sockets, so many a second, so many that have not said who they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from db.settings import Settings
from feed.errors import Busy
from realtime.live import admission as module
from realtime.live.admission import RETRY_AFTER, UNGREETED, UNGREETED_PER_NETWORK, Admission, Ticket

MOST, PER_SECOND = 10_000, 5


class Door:
    """An admission on a clock that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, most: int = MOST, per_second: int = PER_SECOND) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.edge: Any = SimpleNamespace(draining=False, settings=Settings(trusted_proxies=("10.0.0.0/8",)))
        self.admission = Admission(most=most, per_second=per_second)

    def knock(self, *, connections: int = 0, peer: str = "203.0.113.7", forwarded: str = "") -> Ticket:
        headers = CIMultiDict({"X-Forwarded-For": forwarded} if forwarded else {})
        request: Any = SimpleNamespace(remote=peer, headers=headers)
        return self.admission.admit(request, self.edge, connections)

    def refused(self, **knock: Any) -> bool:
        try:
            self.knock(**knock)
        except Busy:
            return True
        return False


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Door:
    """A door without a rate that a test would meet."""
    return Door(monkeypatch, per_second=1_000_000)


def test_so_many_a_second_are_taken_in_and_time_makes_room_again(door: Door) -> None:
    assert [door.refused() for _ in range(PER_SECOND + 1)] == [False] * PER_SECOND + [True]
    door.now += 2 / PER_SECOND
    assert [door.refused() for _ in range(3)] == [False, False, True]


def test_a_quiet_hour_saves_up_one_second_and_no_more(door: Door) -> None:
    door.now += 3600.0
    assert [door.refused() for _ in range(PER_SECOND + 1)] == [False] * PER_SECOND + [True]


def test_who_is_refused_takes_nobodys_turn(door: Door) -> None:
    for _ in range(PER_SECOND + 100):
        door.refused()
    door.now += 1.0
    assert [door.refused() for _ in range(PER_SECOND)] == [False] * PER_SECOND


def test_a_refusal_says_when_to_come_back(door: Door) -> None:
    door.admission.close()
    waits = set()
    for _ in range(200):
        with pytest.raises(Busy) as caught:
            door.knock()
        waits.add(caught.value.retry_after)
    assert waits == set(range(RETRY_AFTER[0], RETRY_AFTER[1] + 1))


def test_a_full_process_takes_nobody_until_one_has_gone(wide: Door) -> None:
    assert wide.refused(connections=MOST)
    assert not wide.refused(connections=MOST - 1)


def test_a_closed_door_and_a_draining_edge_take_nobody(wide: Door) -> None:
    wide.edge.draining = True
    assert wide.refused()
    wide.edge.draining = False
    assert not wide.refused()
    wide.admission.close()
    assert wide.refused()


def test_one_address_cannot_hold_more_places_than_its_own(wide: Door) -> None:
    tickets = [wide.knock() for _ in range(UNGREETED_PER_NETWORK)]
    assert wide.refused()
    assert not wide.refused(peer="203.0.113.8")
    tickets[0].greeted()
    assert not wide.refused()


def test_an_ipv6_subscriber_is_counted_by_its_whole_network(wide: Door) -> None:
    for number in range(UNGREETED_PER_NETWORK):
        wide.knock(peer=f"2001:db8:0:1::{number + 1:x}")
    assert wide.refused(peer="2001:db8:0:1:ffff::1")
    assert not wide.refused(peer="2001:db8:0:2::1")


def test_behind_a_trusted_proxy_the_client_is_counted_and_not_the_proxy(wide: Door) -> None:
    for _ in range(UNGREETED_PER_NETWORK):
        wide.knock(peer="10.0.0.1", forwarded="198.51.100.1")
    assert wide.refused(peer="10.0.0.2", forwarded="198.51.100.1")
    assert not wide.refused(peer="10.0.0.1", forwarded="198.51.100.2")


def test_all_networks_together_cannot_hold_the_door_shut(wide: Door) -> None:
    tickets = [wide.knock(peer=f"203.0.{number // 250}.{number % 250 + 1}") for number in range(UNGREETED)]
    assert wide.refused(peer="198.51.100.1")
    tickets[0].leave()
    assert not wide.refused(peer="198.51.100.1")


def test_a_ticket_frees_its_place_once(wide: Door) -> None:
    first, second = wide.knock(), wide.knock()
    for _ in range(3):
        first.greeted()
        first.leave()
    assert (wide.admission._waiting, dict(wide.admission._ungreeted)) == (1, {"203.0.113.7": 1})
    second.leave()
    assert (wide.admission._waiting, dict(wide.admission._ungreeted)) == (0, {})
