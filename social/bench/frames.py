"""Just enough of RFC 6455 for a scripted client: masked text frames out, unmasked frames in. No I/O.

Fragments and extensions are refused: the server under test sends neither, and a client that knew them would cost
more than what it measures.
"""

from __future__ import annotations

import secrets

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FINAL, MASKED = 0x80, 0x80


class Unexpected(Exception):
    """Bytes that this client does not speak."""


def masked(payload: bytes, *, opcode: int = TEXT, key: bytes | None = None) -> bytes:
    """A client's frame (5.2, 5.3) with a fresh masking key, or the four bytes given."""
    key = secrets.token_bytes(4) if key is None else key
    size = len(payload)
    pattern = key * (size // 4 + 1)
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(pattern[:size], "big")
    return _head(opcode, size) + key + mixed.to_bytes(size, "big")


def _head(opcode: int, size: int) -> bytes:
    first = bytes((FINAL | opcode,))
    if size < 126:
        return first + bytes((MASKED | size,))
    if size < 65_536:
        return first + bytes((MASKED | 126,)) + size.to_bytes(2, "big")
    return first + bytes((MASKED | 127,)) + size.to_bytes(8, "big")


class Incoming:
    """Bytes in, whole frames out; a frame cut by the network waits for its rest."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(opcode, payload) of every frame that is complete now. Raises Unexpected."""
        data = self._rest + data if self._rest else data
        frames: list[tuple[int, bytes]] = []
        position, end = 0, len(data)
        while end - position >= 2:
            first, size = data[position], data[position + 1]
            if not first & FINAL or first & 0x70 or size & MASKED:
                raise Unexpected(f"A frame that begins with {data[position : position + 2].hex()}.")
            start = position + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if start > end:
                    break
                size = int.from_bytes(data[position + 2 : start], "big")
            if start + size > end:
                break
            frames.append((first & 0x0F, data[start : start + size]))
            position = start + size
        self._rest = data[position:]
        return frames
