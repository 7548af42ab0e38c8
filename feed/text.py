"""Rules for what people type: normal form, length in code points, folding for search and uniqueness."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from zoneinfo import available_timezones

from feed.errors import Fault

USERNAME = re.compile(r"[a-z0-9_.]{3,30}")
EMAIL = re.compile(r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"]{1,189}")
LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
WORD = re.compile(r"\w+")
TERM_LENGTH = 30  # code points of a search term that are kept
# Embeddings, overrides and isolates: in a name they turn around what stands behind it.
DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Letters by their category that show nothing (Hangul fillers, Braille blank).
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
RAW_LENGTH = 4  # code points before NFC per code point after it, at most, in any written language
MARKS = 30  # combining marks in a row
SEARCH_WORDS = 4  # words of a query that are used; each costs one index range
PASSWORD = (8, 256)


def clean(text: str, pointer: str, *, least: int = 0, most: int, lines: bool = False) -> str:
    """NFC, outer white space removed; raises Fault when too short, too long, or holding control characters.

    `lines` allows line breaks and tabs. Lengths are code points after NFC.
    """
    text = normal(bounded(text, pointer, most)).strip()
    allowed = "\n\t" if lines else ""
    if lines:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in text):
        raise Fault(pointer, "Control characters cannot be stored here; remove them.")
    if not lines and any(c in DIRECTION for c in text):
        raise Fault(pointer, "Characters that turn the writing direction cannot stand here; remove them.")
    if least and not is_visible(text):
        text = ""
    if len(text) < least:
        raise Fault(pointer, "This must not be empty." if least == 1 else f"At least {least} characters, please.")
    if len(text) > most:
        raise Fault(pointer, f"At most {most} characters; this has {len(text)}.")
    return text


def is_visible(text: str) -> bool:
    """True when at least one character leaves a mark."""
    return any(c not in BLANK and unicodedata.category(c)[0] not in "CZ" for c in text)


def username(text: str, pointer: str = "/username") -> str:
    """The folded username; raises Fault."""
    folded = text.casefold() if len(text) <= 30 else ""
    if not USERNAME.fullmatch(folded):
        raise Fault(pointer, "3 to 30 of the letters a-z, digits, underscore and dot.")
    return folded


def email(text: str, pointer: str = "/email") -> str:
    """An address that could exist; raises Fault. Only a mail that arrives proves more."""
    text = normal(bounded(text, pointer, 254)).strip()
    if not EMAIL.fullmatch(text) or any(unicodedata.category(c) == "Cc" for c in text):
        raise Fault(pointer, "This does not look like an e-mail address.")
    return text


def locale(text: str, pointer: str = "/locale") -> str:
    """A BCP 47 language tag; raises Fault."""
    if len(text) > 35 or not LOCALE.fullmatch(text):
        raise Fault(pointer, "A language tag such as `en` or `pt-BR`.")
    return text


def timezone(text: str, pointer: str = "/timezone") -> str:
    """A time zone of the IANA database; raises Fault."""
    if text not in available_timezones():
        raise Fault(pointer, "A time zone of the IANA database such as `Europe/Budapest`.")
    return text


def password(text: str, *, username: str = "", pointer: str = "/password") -> str:
    """The password as it will be hashed (NFC); raises Fault when too short, too long, or among the common ones."""
    text = normal(bounded(text, pointer, PASSWORD[1]))
    if not PASSWORD[0] <= len(text) <= PASSWORD[1]:
        raise Fault(pointer, f"{PASSWORD[0]} to {PASSWORD[1]} characters.")
    folded = text.casefold()
    if folded in _common() or (username and folded == username):
        raise Fault(pointer, "This password is among the first that an attacker tries. Choose another one.")
    return text


def bounded(text: str, pointer: str, most: int) -> str:
    """The text, once it is sure that normalising it is cheap; raises Fault.

    Putting a run of combining marks in order takes time that grows with its square: 60,000 of them stop a process for
    ten seconds. The limit of 30 is the Stream-Safe Text Format of Unicode (UAX #15, 13).
    """
    if len(text) > most * RAW_LENGTH:
        raise Fault(pointer, f"At most {most} characters; this has more.")
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > MARKS:
            raise Fault(pointer, f"At most {MARKS} marks on one letter, please.")
    return text


def normal(text: str) -> str:
    """NFC: the same characters typed on two devices are the same password."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Lower case without accents: how names are searched."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def terms(*texts: str) -> list[str]:
    """The folded words that a name or username is found by."""
    return sorted({word[:TERM_LENGTH] for text in texts for word in WORD.findall(fold(text))})


@cache
def _common() -> frozenset[str]:
    """Leaked passwords by frequency (the list that zxcvbn ships)."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD[0])
