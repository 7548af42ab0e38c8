"""The table at the top of `realtime.live.session`, line by line: no loop, no clock, no socket."""

from __future__ import annotations

import pytest

from realtime.live import protocol
from realtime.live.protocol import At, Code, ErrorFrame
from realtime.live.session import (
    BURST,
    ERRORS_ALLOWED,
    FLOOD_ALLOWED,
    HELLO_WITHIN,
    PONG_WITHIN,
    PROVE_WITHIN,
    RATE,
    Close,
    Effect,
    Join,
    Leave,
    Prove,
    Renew,
    Send,
    Session,
    Type,
    WatchCounts,
)

START = 1000.0  # monotonic seconds
WALL = 1_800_000_000.0  # seconds since 1970
PING = 25.0
FAR = WALL + 86_400.0
HELLO = '{"type":"hello"}'
PONG = '{"type":"pong"}'


def greeting() -> Session:
    return Session(START, PING)


def proving() -> Session:
    session = greeting()
    session.received(HELLO, START)
    return session


def opened(expires_at: float = FAR) -> Session:
    session = proving()
    session.proved(expires_at, START)
    return session


def closed() -> Session:
    session = opened()
    session.received_binary()
    return session


def error(effects: list[Effect]) -> ErrorFrame:
    """The one error that the effects send."""
    assert len(effects) == 1
    assert isinstance(effects[0], Send)
    assert isinstance(effects[0].message, ErrorFrame)
    return effects[0].message


def closing(effects: list[Effect]) -> Code | None:
    """The code that the effects close with."""
    codes = [effect.code for effect in effects if isinstance(effect, Close)]
    return codes[0] if codes else None


# --- greeting --------------------------------------------------------------------------------------------------------


def test_hello_asks_for_its_token_to_be_proved_and_carries_the_positions() -> None:
    session = greeting()
    text = '{"type":"hello","token":"sr_1","resume":{"me":{"epoch":"a","offset":7}}}'
    assert session.received(text, START) == [Prove("sr_1", {"me": At("a", 7)})]
    assert session.state == "proving"


def test_a_hello_without_a_token_leaves_the_proof_to_the_cookie_or_header() -> None:
    assert greeting().received(HELLO, START) == [Prove(None, {})]


def test_who_says_nothing_for_ten_seconds_is_told_no_hello() -> None:
    session = greeting()
    assert session.tick(START + HELLO_WITHIN - 0.01, WALL) == ([], False)
    effects, ping = session.tick(START + HELLO_WITHIN, WALL)
    assert closing(effects) == protocol.NO_HELLO
    assert not ping
    assert session.state == "closed"


def test_chatter_that_is_no_hello_does_not_extend_the_deadline() -> None:
    session = greeting()
    session.received(PONG, START + HELLO_WITHIN - 1)
    assert closing(session.tick(START + HELLO_WITHIN, WALL)[0]) == protocol.NO_HELLO


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        ('{"type":"subscribe","id":7,"stream":"post:1"}', 7),
        ('{"type":"watch","id":"w","posts":[]}', "w"),
        (PONG, None),
        ('{"type":"typing","post_id":"1"}', None),
        ('{"type":"refresh","token":"t"}', None),
    ],
)
@pytest.mark.parametrize("make", [greeting, proving])
def test_nothing_else_is_taken_before_hello_is_proved(make: object, text: str, request_id: object) -> None:
    session = make()  # type: ignore[operator]
    before = session.state
    answer = error(session.received(text, START))
    assert (answer.code, answer.id) == ("invalid", request_id)
    assert session.state == before


def test_a_frame_that_is_not_understood_does_not_cost_the_greeting() -> None:
    session = greeting()
    assert error(session.received("nonsense", START)).code == "malformed"
    assert session.received(HELLO, START) == [Prove(None, {})]


@pytest.mark.parametrize("make", [proving, opened])
def test_a_second_hello_is_an_error_and_changes_nothing(make: object) -> None:
    session = make()  # type: ignore[operator]
    before = session.state
    assert error(session.received(HELLO, START)).code == "already_greeted"
    assert session.state == before


# --- proving ---------------------------------------------------------------------------------------------------------


def test_a_proof_that_the_stores_do_not_give_in_time_is_not_waited_for() -> None:
    session = proving()
    last = START + HELLO_WITHIN + PROVE_WITHIN
    assert session.tick(last - 0.01, WALL) == ([], False)
    assert closing(session.tick(last, WALL)[0]) == protocol.NO_STORE
    assert session.state == "closed"


def test_a_proof_opens_the_conversation() -> None:
    session = proving()
    session.proved(FAR, START)
    assert session.state == "open"


# --- open ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ('{"type":"subscribe","id":1,"stream":"post:9"}', Join("post:9", None, 1)),
        (
            '{"type":"subscribe","id":"a","stream":"me","from":{"epoch":"e","offset":3}}',
            Join("me", At("e", 3), "a"),
        ),
        ('{"type":"unsubscribe","id":2,"stream":"post:9"}', Leave("post:9", 2)),
        ('{"type":"watch","id":3,"posts":["5","6","5"]}', WatchCounts(frozenset({5, 6}), 3)),
        ('{"type":"typing","post_id":"12"}', Type(12)),
        ('{"type":"refresh","token":"sr_new"}', Renew("sr_new")),
    ],
)
def test_every_message_has_its_effect(text: str, effect: Effect) -> None:
    assert opened().received(text, START) == [effect]


def test_the_own_stream_cannot_be_unsubscribed() -> None:
    answer = error(opened().received('{"type":"unsubscribe","id":4,"stream":"me"}', START))
    assert (answer.code, answer.id) == ("invalid", 4)


@pytest.mark.parametrize("kind", ["pong", "ack"])
def test_what_the_client_has_handled_is_kept(kind: str) -> None:
    session = opened()
    session.received('{"type":"ack","streams":{"me":1,"post:1":4}}', START)
    assert session.received(f'{{"type":"{kind}","streams":{{"me":5}}}}', START) == []
    assert session.handled == {"me": 5, "post:1": 4}


@pytest.mark.parametrize("make", [greeting, proving, opened])
def test_a_binary_frame_closes_with_1003(make: object) -> None:
    session = make()  # type: ignore[operator]
    assert closing(session.received_binary()) == protocol.NOT_TEXT
    assert session.state == "closed"


# --- pings -----------------------------------------------------------------------------------------------------------


def test_a_ping_is_due_every_ping_seconds_of_a_client_that_answers() -> None:
    session = opened()
    assert session.tick(START + PING - 0.01, WALL) == ([], False)
    for round_ in (1, 2, 3):
        now = START + round_ * PING
        assert session.tick(now, WALL) == ([], True)
        assert session.tick(now + 0.25, WALL) == ([], False)
        session.received(PONG, now + 1)


def test_silence_for_ten_seconds_after_a_ping_ends_it() -> None:
    session = opened()
    pinged = START + PING
    session.tick(pinged, WALL)
    assert session.tick(pinged + PONG_WITHIN - 0.01, WALL) == ([], False)
    assert closing(session.tick(pinged + PONG_WITHIN, WALL)[0]) == protocol.NO_PONG


@pytest.mark.parametrize("text", [PONG, '{"type":"ack","streams":{"me":1}}', "nonsense"])
def test_whatever_is_heard_after_a_ping_proves_the_peer_alive(text: str) -> None:
    session = opened()
    session.tick(START + PING, WALL)
    session.received(text, START + PING + 9)
    assert session.tick(START + PING + PONG_WITHIN, WALL) == ([], False)


def test_what_was_heard_before_the_ping_does_not_answer_it() -> None:
    session = opened()
    session.received(PONG, START + PING - 1)
    session.tick(START + PING, WALL)
    assert closing(session.tick(START + PING + PONG_WITHIN, WALL)[0]) == protocol.NO_PONG


def test_pings_faster_than_the_patience_do_not_renew_it() -> None:
    session = Session(START, 4.0)
    session.received(HELLO, START)
    session.proved(FAR, START)
    pings = [session.tick(START + seconds, WALL) for seconds in (4, 8, 12)]
    assert pings == [([], True)] * 3
    assert closing(session.tick(START + 4 + PONG_WITHIN, WALL)[0]) == protocol.NO_PONG


def test_a_peer_that_is_taking_its_replay_is_not_pinged_and_its_silence_means_nothing() -> None:
    session = opened()
    session.tick(START + PING, WALL)
    session.replaying = True
    assert session.tick(START + PING + 3 * PONG_WITHIN, WALL) == ([], False)
    taken = START + PING + 3 * PONG_WITHIN
    session.replayed()
    assert session.tick(taken, WALL) == ([], True)
    assert closing(session.tick(taken + PONG_WITHIN, WALL)[0]) == protocol.NO_PONG


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_the_token_ends_by_the_wall_clock() -> None:
    session = opened(expires_at=WALL + 60)
    assert session.tick(START + 1, WALL + 59.9) == ([], False)
    assert closing(session.tick(START + 1, WALL + 60)[0]) == protocol.TOKEN_EXPIRED


def test_a_renewed_token_carries_on_where_the_old_one_ends() -> None:
    session = opened(expires_at=WALL + 60)
    session.renewed(WALL + 120)
    assert session.tick(START + 1, WALL + 119) == ([], False)
    assert closing(session.tick(START + 1, WALL + 120)[0]) == protocol.TOKEN_EXPIRED


def test_an_older_token_does_not_shorten_what_was_proved() -> None:
    session = opened(expires_at=WALL + 60)
    session.renewed(WALL + 10)
    assert session.tick(START + 1, WALL + 59) == ([], False)


# --- errors and floods -----------------------------------------------------------------------------------------------


def test_fifty_errors_are_forgiven_and_the_next_one_is_not() -> None:
    session = opened()
    for number in range(ERRORS_ALLOWED):
        assert error(session.received("nonsense", START + number)).code == "malformed"
    effects = session.received("nonsense", START + ERRORS_ALLOWED)
    assert closing(effects) == protocol.TOO_MANY_ERRORS
    assert session.state == "closed"


def test_a_burst_is_taken_and_what_exceeds_it_is_refused_but_not_done() -> None:
    session = opened()
    taken = int(BURST) - 1  # hello was the first
    assert [session.received(PONG, START) for _ in range(taken)] == [[]] * taken
    answer = error(session.received('{"type":"typing","post_id":"1"}', START))
    assert answer.code == "rate_limited"
    assert session.state == "open"


def test_the_rate_comes_back_with_time() -> None:
    session = opened()
    for _ in range(int(BURST)):
        session.received(PONG, START)
    second = [session.received(PONG, START + 1) for _ in range(int(RATE) + 1)]
    assert second[:-2] == [[]] * (int(RATE) - 1)  # one token short: the message that emptied it was refused
    assert error(second[-1]).code == "rate_limited"


def test_a_steady_client_at_the_rate_is_never_refused() -> None:
    session = opened()
    assert all(session.received(PONG, START + number / RATE) == [] for number in range(2000))


def test_idle_time_does_not_save_up_more_than_one_burst() -> None:
    session = opened()
    later = START + 3600
    answers = [session.received(PONG, later) for _ in range(int(BURST) + 1)]
    assert answers[:-1] == [[]] * int(BURST)
    assert error(answers[-1]).code == "rate_limited"


def test_a_flood_is_warned_then_closed_as_a_flood_and_not_as_errors() -> None:
    session = opened()
    for _ in range(int(BURST) - 1):
        session.received(PONG, START)
    warnings = [error(session.received(PONG, START)).code for _ in range(FLOOD_ALLOWED)]
    assert set(warnings) == {"rate_limited"}
    assert closing(session.received(PONG, START)) == protocol.RATE_LIMITED
    assert session.state == "closed"


# --- closed ----------------------------------------------------------------------------------------------------------


def test_nothing_comes_out_of_a_closed_conversation() -> None:
    session = closed()
    assert session.received(HELLO, START) == []
    assert session.received("nonsense", START) == []
    assert session.received_binary() == []
    assert session.tick(START + 10_000, FAR + 1) == ([], False)
    assert session.state == "closed"


# --- what the gateway learns from it ---------------------------------------------------------------------------------


def test_an_event_stream_is_pinged_and_its_silence_means_nothing() -> None:
    session = opened()
    session.mute = True
    for round_ in (1, 2, 3):
        assert session.tick(START + round_ * PING, WALL) == ([], True)
        assert session.tick(START + round_ * PING + PONG_WITHIN, WALL) == ([], False)


@pytest.mark.parametrize(
    ("text", "active"),
    [
        ('{"type":"typing","post_id":"1"}', True),
        ('{"type":"watch","id":1,"posts":[]}', True),
        ('{"type":"subscribe","id":1,"stream":"post:1"}', True),
        (PONG, False),
        ('{"type":"ack","streams":{"me":1}}', False),
        ("nonsense", False),
    ],
)
def test_only_words_of_its_own_accord_show_that_somebody_is_there(text: str, active: bool) -> None:
    session = opened()
    session.received(text, START + 60)
    assert session.active_at == (START + 60 if active else START)
