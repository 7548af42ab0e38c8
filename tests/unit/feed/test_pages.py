"""Cursors come back as they were given, and nothing else passes for one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.errors import Invalid
from feed.pages import NEWEST, decode, encode

NAMES = st.sampled_from(["feed", "posts", "comments", "likes", "friends", "requests", "blocks", "people"])


def made_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@given(NAMES, st.integers(0, NEWEST))
def test_a_cursor_comes_back_as_the_key_that_it_was_made_of(name: str, key: int) -> None:
    assert decode(name, encode(name, key), 0) == key


@given(NAMES, st.integers(0, NEWEST))
def test_a_cursor_can_stand_in_a_url_as_it_is(name: str, key: int) -> None:
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in encode(name, key))


def test_without_a_cursor_a_list_begins_at_its_start() -> None:
    assert decode("feed", None, NEWEST) == NEWEST


@given(NAMES, NAMES, st.integers(0, NEWEST))
def test_a_cursor_of_another_list_is_refused(name: str, other: str, key: int) -> None:
    if name != other:
        with pytest.raises(Invalid):
            decode(other, encode(name, key), 0)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "x",
        "\u00e9",
        "not a cursor",
        encode("feed", 5) + "=",
        encode("feed", 5) + "\n",
        made_of(""),
        made_of("1.feed"),
        made_of("1.feed."),
        made_of("2.feed.5"),
        made_of("1.feed.5.6"),
        made_of("1.feed.-1"),
        made_of(f"1.feed.{NEWEST + 1}"),
        made_of("1.feed." + "9" * 5000),
        made_of("1.feed.five"),
        made_of("1.feed.\u0665"),
        made_of("1.feed.5 OR 1=1"),
    ],
)
def test_a_forged_cursor_is_refused_with_its_place(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode("feed", cursor, 0)
    assert [fault.pointer for fault in caught.value.faults] == ["/cursor"]


@pytest.mark.parametrize("text", ["1.feed.+5", "1.feed. 5", "1.feed.5\n", "1.feed.0_5", "1.feed.05", "1.feed.-0"])
def test_a_number_that_this_service_would_not_have_written_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        decode("feed", made_of(text), 0)


@given(st.text(max_size=40))
def test_any_text_is_a_key_in_range_or_refused(cursor: str) -> None:
    try:
        key = decode("feed", cursor, 0)
    except Invalid:
        return
    assert 0 <= key <= NEWEST
