"""The words of posts: what is stored, what is asked for, and the last look at the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.post_texts import spelled
from feed import search
from feed.search import Term

ALPHABET = (
    "ab\u00e9Z09_ -+*\"'\u0434\u0130\u00df\u4e2d\u6587\u5b57\u304c\u30ab"
    "\u0e44\u0e17\u0e22\u0939\u093f\ud55c\U00020000\U0001f600"
)
WORDS = st.text(ALPHABET, max_size=30)


def finds(query: search.Query, words: list[str]) -> bool:
    """What an engine would say that has these words."""
    return all(
        any(word.startswith(term.word) if term.prefix else word == term.word for word in words) for term in query.terms
    )


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        ("The caf\u00e9, the CAFE!", ["cafe", "the"]),
        ("don't x_y a-b 42", ["42", "a", "b", "don", "t", "x_y"]),
        ("\u4e2d\u6587\u5b57", ["\u4e2d\u6587", "\u5b57", "\u6587\u5b57"]),
        ("iPhone\u624b\u673a", ["iphone", "\u624b\u673a", "\u673a"]),
        ("\u30ab\u3099", ["\u30ac"]),  # a voiced kana is one letter
        ("\U0001f600 +*-", []),
    ],
)
def test_a_text_is_folded_words_and_pairs_of_scripts_without_spaces(words: str, stored: list[str]) -> None:
    assert search.index(words) == sorted(stored)


@pytest.mark.parametrize(
    ("typed", "terms"),
    [
        ("Caf\u00e9 au la", [("cafe", False), ("au", False), ("la", True)]),
        ("\u4e2d\u6587\u5b57", [("\u4e2d\u6587", False), ("\u6587\u5b57", False)]),
        ("\u4e2d tea", [("\u4e2d", True), ("tea", True)]),
        ('+"a" -(b)*', [("a", False), ("b", False)]),
        ("* ~ @ < >", []),
    ],
)
def test_the_last_word_of_a_query_may_go_on(typed: str, terms: list[tuple[str, bool]]) -> None:
    assert search.query(typed).terms == [Term(*term) for term in terms]


def test_a_query_is_bounded() -> None:
    assert len(search.query(" ".join("abcdefghij")).words) == search.QUERY_WORDS
    assert len(search.query("\u4e2d\u6587" * 100).terms) == search.QUERY_TERMS


@pytest.mark.parametrize(
    ("typed", "words", "found"),
    [
        ("tea mi", "milk tea", True),
        ("mi tea", "milk tea", False),
        ("\u6587\u5b57", "\u4e2d\u6587\u5b57\u5178", True),
        ("\u4e2d\u5b57", "\u4e2d\u6587 \u6587\u5b57", False),
        ("\u6587\u5b57\u5178", "\u6587\u5b57 \u5b57\u5178", False),  # both pairs are there, the word is not
        ("x" * 60, "x" * 59, False),  # longer than what the engines keep of it
        ("x" * 60, "x" * 61, True),
    ],
)
def test_the_text_itself_decides(typed: str, words: str, found: bool) -> None:
    assert search.query(typed).found_in(words) is found


@given(WORDS, WORDS)
def test_whatever_is_in_the_text_is_found_by_its_words(typed: str, words: str) -> None:
    query = search.query(typed)
    if query.found_in(words):
        assert finds(query, search.index(words))


@given(WORDS, WORDS, st.data())
def test_a_text_is_found_by_each_of_its_words(before: str, after: str, data: st.DataObject) -> None:
    words = f"{before} \u4e2d\u6587 word {after}"
    parts = data.draw(st.permutations(words.split()))
    query = search.query(" ".join(parts[:3]))
    assert query.found_in(words)
    assert finds(query, search.index(words))


@given(WORDS)
def test_each_word_is_spelled_as_the_engines_take_it(words: str) -> None:
    for word in search.index(words):
        assert spelled(word).isascii()
        assert spelled(word).isalnum()
        assert 3 <= len(spelled(word)) <= 84


@given(st.text(ALPHABET, min_size=1, max_size=30), st.text(ALPHABET, min_size=1, max_size=30))
def test_a_beginning_is_spelled_as_a_beginning_and_nothing_else_is(a: str, b: str) -> None:
    assert spelled(a + b).startswith(spelled(a))
    if spelled(b).startswith(spelled(a)) and len(a.encode()) <= 40:
        assert b.startswith(a)
