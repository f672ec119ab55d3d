"""A schedule as one word: version, seed and departures of a tape, with a checksum.

A token is ``tc2-`` (the tapes of ``tc1-`` had other menus) and the base 32 of: the seed; each
departure as its distance from the one before and its value, all as variable-length integers; and a
CRC-32.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import Final

__all__ = ["TokenError", "read_token", "write_token"]

_VERSION: Final = "tc2-"
_LONGEST: Final = 1_000_000


class TokenError(ValueError):
    """A word that is no token."""


def write_token(seed: int, values: Sequence[int]) -> str:
    """Write a schedule as a token.

    Args:
        seed: the run's seed.
        values: the tape; zeros at its end do not matter.

    Returns:
        The token: letters, digits and one hyphen.

    Example:
        >>> read_token(write_token(7, [0, 0, 3, 0]))
        (7, [0, 0, 3])
    """
    body = bytearray()
    _write(body, seed)
    last = -1
    for place, value in enumerate(values):
        if value:
            _write(body, place - last)
            _write(body, value)
            last = place
    whole = bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "big")
    return _VERSION + base64.b32encode(whole).decode().rstrip("=").lower()


def read_token(token: str) -> tuple[int, list[int]]:
    """Read a token.

    Args:
        token: what ``write_token`` wrote.

    Returns:
        The seed, and the tape up to its last departure.

    Raises:
        TokenError: it is no token, of another version, or was changed on its way.
    """
    head, hyphen, text = token.strip().lower().partition("-")
    if not hyphen or not head.startswith("tc"):
        raise TokenError(f"{token!r} is no token: one begins with {_VERSION}")
    if head + hyphen != _VERSION:
        raise TokenError(f"{token!r} is of version {head!r}; this program reads {_VERSION}")
    try:
        whole = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise TokenError(f"{token!r} is damaged: copy the whole of it") from None
    body, check = whole[:-4], whole[-4:]
    spelt = base64.b32encode(whole).decode().rstrip("=").lower()
    if not body or zlib.crc32(body).to_bytes(4, "big") != check or spelt != text:
        raise TokenError(f"{token!r} is damaged: its checksum is another; copy the whole of it")
    numbers = _read(body)
    values: list[int] = []
    for gap, value in zip(numbers[1::2], numbers[2::2], strict=True):
        if len(values) + gap > _LONGEST:
            raise TokenError(f"{token!r} is longer than {_LONGEST} choices")
        values.extend([0] * (gap - 1))
        values.append(value)
    return numbers[0], values


def _write(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _read(body: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in body:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return numbers
