"""The words that posts are found by: the same on every engine, and checked once more against the text itself.

A text becomes folded words. Scripts that put no space between words (Chinese, Japanese, Thai, ...) have runs instead,
which are found by any part of them: the engine is given their pairs of neighbours, and a look at the text decides.
That look is also what keeps a replica that lags from telling what a text said before an edit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from feed import text

QUERY_LENGTH = 200  # code points of a query that are read
QUERY_WORDS = 8  # of a query; the others are not looked at
LEAST_PREFIX = 2  # letters of a last word that may go on: half of all texts have a word that begins with an a
QUERY_TERMS = 16  # of a query that the engine is asked for; each costs a lookup in its index
# First and last code points of blocks whose scripts part words by no space (Unicode, Blocks.txt).
UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class Term(NamedTuple):
    """What the engine looks for: a word of its index, or the beginning of one."""

    word: str
    prefix: bool


class Query(NamedTuple):
    """What somebody searches: words of which all must be there; the last one may go on."""

    words: list[str]

    @property
    def terms(self) -> list[Term]:
        """What the engine can find it by; perhaps more than what it means, see `found_in`."""
        return [term for at, word in enumerate(self.words) for term in self._terms(at, word)][:QUERY_TERMS]

    def found_in(self, words: str) -> bool:
        """True when a text has all of it."""
        there = set(_runs(words))
        return all(self._is_there(at, word, there) for at, word in enumerate(self.words))

    def _terms(self, at: int, word: str) -> Iterator[Term]:
        if not _is_unspaced(word[0]):
            yield Term(word, self._is_last(at))
        elif len(word) == 1:
            yield Term(word, prefix=True)
        else:
            yield from (Term(pair, prefix=False) for pair in _pairs(word))

    def _is_there(self, at: int, word: str, there: set[str]) -> bool:
        if _is_unspaced(word[0]):
            return any(word in run for run in there)
        return word in there or (self._is_last(at) and any(run.startswith(word) for run in there))

    def _is_last(self, at: int) -> bool:
        """Whether a word may go on."""
        return at == len(self.words) - 1 and len(self.words[at]) >= LEAST_PREFIX


def query(typed: str) -> Query:
    """What was typed into a search; nothing but letters and digits has a meaning."""
    return Query(_runs(typed[:QUERY_LENGTH])[:QUERY_WORDS])


def index(words: str) -> list[str]:
    """The words that a text is found by, each once, ascending."""
    found: set[str] = set()
    for run in _runs(words):
        if _is_unspaced(run[0]):
            found.update(_pairs(run))
            found.add(run[-1])  # what no pair begins with
        else:
            found.add(run)
    return sorted(found)


def _runs(words: str) -> list[str]:
    """The folded words of a text, parted where a script without spaces begins or ends."""
    return [run for word in text.words(text.normal(text.fold(words))) for run in _by_script(word)]


def _by_script(word: str) -> Iterator[str]:
    if word.isascii():
        yield word
        return
    run = ""
    for character in word:
        # A mark goes with the letter before it, whatever its own block.
        is_mark = bool(run) and text.is_mark(character)
        if run and not is_mark and _is_unspaced(character) != _is_unspaced(run[0]):
            yield run
            run = ""
        run += character
    yield run


def _pairs(run: str) -> Iterator[str]:
    return (a + b for a, b in itertools.pairwise(run))


@lru_cache(text.KINDS_KNOWN)
def _is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in UNSPACED)
