"""The checker on ledgers made by hand: one that is right, and each violation alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from social.chaos.checker import RESYNCS_FREE, check
from social.chaos.ledger import (
    ME,
    Attempt,
    Books,
    Closed,
    Final,
    Item,
    Joined,
    Pinged,
    Reading,
    Reread,
    Resynced,
    Skipped,
    Strike,
    Write,
)
from social.chaos.resp import Line, Publish
from social.chaos.schedule import KINDS, Fault

KIND = {kind.name: kind for kind in KINDS}
STREAM = "post:100"


def written(kind: str, number: int, at: float, *, about: str = "") -> Write:
    return Write(kind, "ada", f"{kind} {number}", about, str(number), [Attempt(at, at + 0.1, 201)])


def item(at: float, offset: int, write: Write, *, connection: int = 1) -> Item:
    stream = ME if write.kind == "post" else STREAM
    return Item(at, connection, stream, offset, f"{write.kind}.created", f"o{write.object}", write.object)


def strike(name: str, began: float, ended: float, part: str = "") -> Strike:
    return Strike(Fault(KIND[name], began, ended - began, 0, 0), began, ended, part)


def joined(at: float, stream: str, offset: int, *, start: tuple[str, int] | None = None, **changes: object) -> Joined:
    values = {"connection": 1, "edge": "web-1", "epoch": "e", "recovered": start is not None, **changes}
    return Joined(at=at, stream=stream, offset=offset, start=start, **values)  # type: ignore[arg-type]


@pytest.fixture
def books() -> Books:
    """Ada writes two posts, two comments and a like; Béla, her friend, reads all of it from one client."""
    posts = [written("post", 1, 1.0), written("post", 2, 2.0)]
    comments = [written("comment", 11, 3.0, about="100"), written("comment", 12, 4.0, about="100")]
    like = Write("like", "ada", "like 1", "100", "100", [Attempt(5.0, 5.1, 200)])
    entries = [
        joined(0.0, ME, 4),
        joined(0.0, STREAM, 0),
        Reread(0.1, ME, frozenset()),
        item(1.2, 5, posts[0]),
        item(2.2, 6, posts[1]),
        item(3.2, 1, comments[0]),
        item(4.2, 2, comments[1]),
        Skipped(5.0, 1, ME, 7, 9),
        Pinged(6.0, 1, {ME: 9, STREAM: 2}),
    ]
    own = [joined(0.0, ME, 0), *(item(post.invoked + 0.2, n, post) for n, post in enumerate(posts, 1))]
    return Books(
        {"ada": {"bela"}, "bela": {"ada"}},
        25.0,
        writes=[*posts, *comments, like],
        readings=[Reading("b", "bela", ("100",), entries), Reading("a", "ada", (), own)],
        final=Final(
            {"ada": {"1", "2", "100"}, "bela": {"1", "2", "100"}},
            {write.text: [write.object] for write in [*posts, *comments]},
            {"100": {"11", "12"}},
            {"100": {"ada"}},
        ),
        ended=10.0,
    )


def entries(books: Books) -> list:
    return books.readings[0].entries


def drop(books: Books, where: Callable[[object], bool]) -> None:
    entries(books)[:] = [entry for entry in entries(books) if not where(entry)]


def findings(books: Books) -> dict[str, int]:
    found = check(books).findings
    sorts = ("lost", "duplicated", "reordered", "silent", "unexpected", "bounds")
    return {sort: len(getattr(found, sort)) for sort in sorts if getattr(found, sort)}


def test_a_right_ledger_passes(books: Books) -> None:
    verdict = check(books)
    assert verdict.passed, verdict.findings
    assert (verdict.tally.acknowledged, verdict.tally.frames, verdict.tally.accepted_share) == (5, 6, 1.0)


@pytest.mark.parametrize("place", ["feeds", "comments", "likes"])
def test_what_was_acknowledged_and_is_absent_at_the_end_is_lost(books: Books, place: str) -> None:
    for ids in getattr(books.final, place).values():
        ids -= {"1", "11", "ada"}
    assert findings(books)["lost"] >= 1


def test_a_lost_tail_is_lost_and_its_seconds_count(books: Books) -> None:
    drop(books, lambda e: isinstance(e, Item) and e.object == "12")
    assert findings(books) == {"lost": 1}
    assert check(books).findings.silent_seconds == pytest.approx(5.9)


def test_a_post_and_a_comment_of_one_number_are_two_things(books: Books) -> None:
    drop(books, lambda e: isinstance(e, Item) and e.object == "12")
    entries(books).insert(3, Reread(0.2, ME, frozenset({"12"})))
    assert findings(books) == {"lost": 1}


def test_an_item_that_was_jumped_over_is_lost_and_a_silent_gap(books: Books) -> None:
    drop(books, lambda e: isinstance(e, Item) and e.object == "1")
    assert findings(books) == {"lost": 1, "silent": 1}


def test_a_re_read_after_a_resync_shows_what_was_missed(books: Books) -> None:
    drop(books, lambda e: isinstance(e, Item) and e.object in ("1", "2"))
    entries(books)[3:3] = [Resynced(2.5, 1, ME, "f", 6), Reread(2.6, ME, frozenset({"1", "2"}))]
    assert check(books).passed


def test_the_same_position_twice_is_a_duplicate(books: Books) -> None:
    entries(books).insert(4, entries(books)[3])
    assert findings(books) == {"duplicated": 1}


def test_one_event_at_two_positions_of_an_epoch_is_a_duplicate(books: Books) -> None:
    entries(books)[7] = Item(5.0, 1, ME, 7, "post.created", "o2", "2")
    entries(books)[8] = Pinged(6.0, 1, {ME: 7})
    assert findings(books) == {"duplicated": 1}


def test_an_event_that_comes_again_in_a_new_epoch_is_only_counted(books: Books) -> None:
    entries(books)[7:] = [Resynced(5.0, 1, ME, "f", 0), Item(5.1, 1, ME, 1, "post.created", "o2", "2")]
    verdict = check(books)
    assert verdict.passed
    assert verdict.tally.repeated_across_epochs == 1


def test_one_act_that_stands_twice_in_the_final_state_is_a_duplicate(books: Books) -> None:
    books.final.texts["post 1"].append("77")
    assert findings(books) == {"duplicated": 1}


def test_offsets_that_go_back_are_reordered(books: Books) -> None:
    entries(books)[8:] = [Item(6.0, 1, ME, 3, "post.created", "o70", "70")]
    assert findings(books) == {"reordered": 1, "unexpected": 1}  # nobody wrote it either


def test_comments_against_the_order_in_which_they_were_written_are_reordered(books: Books) -> None:
    first, second = books.writes[2:4]
    entries(books)[5:7] = [item(4.2, 1, second), item(4.3, 2, first)]
    assert findings(books) == {"reordered": 1}


def test_comments_that_were_written_at_the_same_time_have_no_order(books: Books) -> None:
    first, second = books.writes[2:4]
    second.attempts = [Attempt(3.05, 3.3, 201)]
    entries(books)[5:7] = [item(3.4, 1, second), item(3.4, 2, first)]
    assert check(books).passed


def test_a_resume_that_claims_to_be_complete_in_another_epoch_is_a_silent_gap(books: Books) -> None:
    entries(books)[8:] = [
        Closed(6.0, 1, 1006),
        joined(7.0, ME, 9, start=("e", 9), connection=2, epoch="f"),
    ]
    assert findings(books) == {"silent": 1}


def test_a_resume_that_goes_on_where_the_client_stood_is_right(books: Books) -> None:
    late = written("post", 3, 6.5)
    books.writes.append(late)
    books.readings[1].entries.append(item(6.7, 3, late))
    for feed in books.final.feeds.values():
        feed.add("3")
    entries(books)[8:] = [
        Closed(6.0, 1, None),
        joined(7.0, ME, 10, start=("e", 9), connection=2),
        item(7.1, 10, late, connection=2),
    ]
    verdict = check(books)
    assert verdict.passed, verdict.findings
    assert (verdict.tally.recovered, verdict.tally.reconnects) == (1, 1)


def test_what_was_refused_or_never_asked_for_is_unexpected_when_it_is_there(books: Books) -> None:
    books.writes.append(Write("post", "ada", "post 9", "", "", [Attempt(6.0, 6.1, 422)]))
    books.final.texts |= {"post 9": ["9"], "from nowhere": ["10"]}
    assert findings(books) == {"unexpected": 2, "bounds": 1}  # and 5 of 6 accepted is too few


def test_what_was_shown_and_is_not_there_is_unexpected(books: Books) -> None:
    entries(books)[7:] = [Item(6.0, 1, ME, 7, "post.created", "o70", "70")]
    assert findings(books) == {"unexpected": 1}


def test_a_failure_that_does_not_say_so_is_out_of_bounds(books: Books) -> None:
    books.strikes.append(strike("mysql-kill", 0.9, 1.2))
    books.writes[0].attempts.insert(0, Attempt(1.0, 1.0, 500))
    assert findings(books) == {"bounds": 1}


def test_a_write_whose_outcome_is_unknown_may_be_there_or_not(books: Books) -> None:
    books.writes.append(Write("post", "ada", "post 9", "", "", [Attempt(6.0, 6.1, 0), Attempt(6.2, 6.3, 503)]))
    strikes = books.strikes
    strikes.append(strike("mysql-kill", 5.9, 6.4))
    assert check(books).passed
    books.final.texts["post 9"] = ["9"]
    assert check(books).passed


def test_refusing_everything_outside_of_faults_is_no_success(books: Books) -> None:
    books.writes.append(Write("post", "ada", "post 9", "", "", [Attempt(6.0, 6.1, 503)]))
    assert findings(books) == {"bounds": 1}
    books.strikes.append(strike("mysql-kill", 5.9, 6.4))
    assert check(books).passed


def test_resyncing_again_and_again_is_no_success(books: Books) -> None:
    entries(books)[8:] = [Resynced(6.0 + n / 10, 1, ME, "e", 9) for n in range(RESYNCS_FREE + 1)]
    assert findings(books) == {"bounds": 1}
    books.strikes.append(strike("redis-flush", 5.9, 5.9))
    assert check(books).passed


def test_a_run_without_writes_or_items_proves_nothing() -> None:
    assert findings(Books({}, 25.0))["bounds"] == 2


# --- healing ---------------------------------------------------------------------------------------------------------


def lose(books: Books, seen: float) -> None:
    """The publish of the second comment to Béla's edge is lost; she sees it at `seen`."""
    books.publishes.append(Publish(4.1, "web-1", "dropped", (Line(STREAM, "e", 2),)))
    entries(books)[6] = item(seen, 2, books.writes[3])
    books.strikes.append(strike("publish-drop", 4.0, 4.15))
    books.ended = 60.0


def test_a_hole_counts_from_the_moment_at_which_it_could_be_seen(books: Books) -> None:
    lose(books, seen=9.5)
    books.publishes.append(Publish(9.0, "web-1", "passed", (Line(STREAM, "e", 3),)))
    verdict = check(books)
    assert verdict.healing.sorts["hole"] == [pytest.approx(0.5)]
    assert verdict.passed, verdict.findings


def test_a_hole_that_stays_open_is_out_of_bounds(books: Books) -> None:
    lose(books, seen=9.5)
    books.publishes.append(Publish(6.0, "web-1", "passed", (Line(STREAM, "e", 3),)))
    assert findings(books) == {"bounds": 1}


@pytest.mark.parametrize(("seen", "passes"), [(28.0, True), (31.0, False)])
def test_a_lost_tail_has_one_ping(books: Books, seen: float, passes: bool) -> None:
    lose(books, seen=seen)
    verdict = check(books)
    assert verdict.healing.sorts["tail"] == [pytest.approx(seen - 4.1)]
    assert verdict.passed is passes


@pytest.mark.parametrize(("seen", "passes"), [(15.0, True), (18.0, False)])
def test_a_deaf_inbox_counts_from_the_end_of_the_fault(books: Books, seen: float, passes: bool) -> None:
    entries(books)[6] = item(seen, 2, books.writes[3])
    books.strikes.append(strike("deaf-inbox", 3.9, 5.0, "web-1"))
    books.ended = 60.0
    verdict = check(books)
    assert verdict.healing.sorts["deaf" if passes else "quiet"] if passes else not verdict.passed
    assert verdict.passed is passes


def test_a_fault_of_another_edge_excuses_nothing(books: Books) -> None:
    entries(books)[6] = item(9.8, 2, books.writes[3])
    books.strikes.append(strike("deaf-inbox", 3.0, 3.1, "web-2"))
    books.ended = 60.0
    assert findings(books) == {"bounds": 1}


def test_a_worker_excuses_nothing_that_others_had_seen_long_before(books: Books) -> None:
    books.readings.append(Reading("c", "bela", ("100",), list(entries(books))))
    entries(books)[6] = item(9.8, 2, books.writes[3])
    books.strikes.append(strike("kill-worker", 3.0, 3.1, "worker-1"))
    books.ended = 60.0
    assert findings(books) == {"bounds": 1}
    books.readings.pop()
    assert check(books).passed


def test_a_client_counts_from_its_own_return_and_its_absence_by_itself(books: Books) -> None:
    entries(books)[6:] = [
        Closed(4.0, 1, None),
        joined(24.0, ME, 6, start=("e", 6), connection=2),
        joined(24.0, STREAM, 2, start=("e", 1), connection=2),
        item(24.1, 2, books.writes[3], connection=2),
    ]
    books.strikes.append(strike("clients-flap", 3.9, 4.0, "web-1"))
    books.ended = 60.0
    verdict = check(books)
    assert verdict.passed, verdict.findings
    assert verdict.healing.sorts["client"] == [pytest.approx(0.1)]
    assert verdict.healing.sorts["return"] == [pytest.approx(20.0)]


def test_what_was_written_after_a_fault_counts_from_its_end_too(books: Books) -> None:
    entries(books)[6] = item(15.6, 2, books.writes[3])
    books.strikes.append(strike("redis-flush", 3.5, 3.5))
    books.ended = 60.0
    assert check(books).healing.longest("deaf") == pytest.approx(12.1)
    assert findings(books) == {"bounds": 1}


def test_a_fault_of_long_ago_excuses_nothing(books: Books) -> None:
    entries(books)[6] = item(15.6, 2, books.writes[3])
    books.strikes += [strike("redis-flush", 3.5, 3.5), strike("mysql-slow", -15.0, -10.0)]
    books.ended = 60.0
    assert findings(books) == {"bounds": 1}
