"""Rules for what people type: normal form, length in code points, folding for search and uniqueness."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from zoneinfo import available_timezones

from feed.errors import Fault

USERNAME = re.compile(r"[a-z0-9_.]{3,30}")
EMAIL = re.compile(r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"]{1,189}")
LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
# Not inside of an e-mail address, of a longer word, or of `@name@elsewhere`; a dot at the end ends the sentence.
MENTION = re.compile(r"(?<![\w@/+=&%~#$-])@([a-z0-9_.]{2,29}[a-z0-9_])(?!\.*[\w@])")
LINK = re.compile(r"(?:\b[a-z][a-z0-9+.-]{0,30}://|\bwww\.)\S+", re.IGNORECASE)
TAG = re.compile(r"(?<![#\uff03&/])[#\uff03]")  # where one may begin
TAG_LENGTH = 50  # code points after folding
MOST_MENTIONS, MOST_TAGS = 50, 30  # of one text; what is beyond them is plain text
TERM_LENGTH = 30  # code points of a search term that are kept
ASCII_WORD = re.compile(r"[a-z0-9_]+")
KINDS_KNOWN = 8192  # code points whose kind is remembered: more than the letters of what is written on a site today
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
    """Lower case without accents, decomposed: how names, tags and posts are searched.

    What is no accent to its readers stays: a voiced kana, a vowel of Thai, the sign that joins consonants of Hindi.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join([c for c in decomposed if not _is_accent(c)])


def words(folded: str) -> list[str]:
    """The runs of letters, digits, their marks and underscores in a folded text, in their order."""
    if folded.isascii():
        return ASCII_WORD.findall(folded)
    return "".join([c if is_of_word(c) else " " for c in folded]).split()


def terms(*texts: str) -> list[str]:
    """The folded words that a name or username is found by."""
    return sorted({word[:TERM_LENGTH] for text in texts for word in words(fold(text))})


@lru_cache(KINDS_KNOWN)
def is_of_word(character: str) -> bool:
    """True for letters, digits and marks of any script, and the underscore."""
    return character == "_" or unicodedata.category(character)[0] in "LNM"


@lru_cache(KINDS_KNOWN)
def is_mark(character: str) -> bool:
    """True for what combines with the letter before it."""
    return unicodedata.category(character)[0] == "M"


def mentions(text: str) -> list[str]:
    """The folded usernames that a text names as @username, each once, in their order, MOST_MENTIONS at most."""
    names = MENTION.findall(LINK.sub(" ", text.casefold()))
    return list(dict.fromkeys(names))[:MOST_MENTIONS]


def tags(text: str) -> list[str]:
    """The folded hashtags of a text, each once, in their order, MOST_TAGS at most."""
    text = LINK.sub(" ", text)
    found: dict[str, None] = {}
    for sign in TAG.finditer(text):
        if sign.start() and is_of_word(text[sign.start() - 1]):
            continue
        end = sign.end()
        while end < len(text) and is_of_word(text[end]):
            end += 1
        folded = tag(text[sign.end() : end])
        if folded and len(found) < MOST_TAGS:
            found[folded] = None
    return list(found)


def tag(name: str) -> str:
    """A hashtag folded, with its sign or without; empty when it is none: no letter in it, or too long."""
    folded = normal("".join(c for c in fold(name) if is_of_word(c)))
    is_tag = len(folded) <= TAG_LENGTH and any(unicodedata.category(c)[0] == "L" for c in folded)
    return folded if is_tag else ""


@lru_cache(KINDS_KNOWN)
def _is_accent(character: str) -> bool:
    """By the combining class (Unicode 4.3): overlays, the points of Hebrew, Arabic and Syriac, and what stands above,
    below or beside a letter; not nukta, voicing, virama (7 to 9) nor the fixed places of other scripts."""
    place = unicodedata.combining(character)
    return place == 1 or 10 <= place <= 36 or place >= 200


@cache
def _common() -> frozenset[str]:
    """Leaked passwords by frequency (the list that zxcvbn ships)."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD[0])
