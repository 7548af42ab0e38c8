"""Cursors and pages: a position in a list by key, never by number of rows.

A cursor is opaque to clients, tied to its list by name, and grants nothing: what may be seen is decided by the viewer
of each request. A page may be short or empty and still have a `next`; `next: null` is the end.
"""

from __future__ import annotations

import base64
import binascii
from typing import Generic, TypeVar

import msgspec

from feed.errors import Fault, Invalid

T = TypeVar("T")
DEFAULT, MOST = 20, 100  # items of a page
NEWEST = 2**53  # above every id: where a list that descends begins
REFILLS = 5  # reads of one page before it is answered short: what is filtered out must not cost unbounded work


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list."""

    items: list[T]
    next: str | None


def encode(name: str, key: int) -> str:
    """The cursor that continues list `name` behind `key`."""
    return base64.urlsafe_b64encode(f"1.{name}.{key}".encode()).rstrip(b"=").decode()


def list_of(cursor: str) -> str:
    """The name of the list that a cursor says it is of; '' for any other text. `decode` proves it."""
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").split(".")[1]
    except (ValueError, binascii.Error, UnicodeError, IndexError):
        return ""


def decode(name: str, cursor: str | None, start: int) -> int:
    """The key that a cursor of list `name` holds, or `start` without one. Raises Invalid for any other text."""
    if cursor is None:
        return start
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        version, _, key = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(".")
        value = int(key)
    except (ValueError, binascii.Error, UnicodeError):
        version, value = "", -1
    if version != "1" or not 0 <= value <= NEWEST or encode(name, value) != cursor:
        raise Invalid([Fault("/cursor", "Use the `next` of the page before, unchanged, or no cursor at all.")])
    return value
