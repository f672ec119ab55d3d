"""A schedule as one word: version, what it is a schedule of, seed and departures of a tape, with a
checksum.

A token is ``tc3-`` and the base 32 of: three bytes of a hash of the name of its test or scenario,
since a schedule means nothing in another one; the seed; each departure as its distance from the one
before and its value, all as variable-length integers; and a CRC-32. The tapes of ``tc1-`` had other
menus, and a ``tc2-`` does not say whose it is.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import Final

__all__ = ["ForeignTokenError", "TokenError", "is_of", "is_token", "read_token", "write_token"]

_VERSION: Final = "tc3-"
_NAME_BYTES: Final = 3
_LONGEST: Final = 1_000_000


class TokenError(ValueError):
    """A word that is no token."""


class ForeignTokenError(TokenError):
    """A token of another test or scenario."""


def write_token(seed: int, values: Sequence[int], of: str = "") -> str:
    """Write a schedule as a token.

    Args:
        seed: the run's seed.
        values: the tape; zeros at its end do not matter.
        of: the name of the test or scenario whose schedule it is.

    Returns:
        The token: letters, digits and one hyphen.

    Example:
        >>> read_token(write_token(7, [0, 0, 3, 0]))
        (7, [0, 0, 3])
    """
    body = bytearray(_hash(of))
    _write(body, seed)
    last = -1
    for place, value in enumerate(values):
        if value:
            _write(body, place - last)
            _write(body, value)
            last = place
    whole = bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "big")
    return _VERSION + base64.b32encode(whole).decode().rstrip("=").lower()


def is_of(token: str, of: str) -> bool:
    """Whether a token is of a test or scenario.

    Args:
        token: what ``write_token`` wrote.
        of: its name.

    Raises:
        TokenError: it is no token.

    Example:
        >>> is_of(write_token(0, [1], "test_a"), "test_a"), is_of(write_token(0, [1], "a"), "b")
        (True, False)
    """
    return _body(token)[:_NAME_BYTES] == _hash(of)


def is_token(token: str) -> bool:
    """Whether a word is a token that this version reads."""
    try:
        read_token(token)
    except TokenError:
        return False
    return True


def read_token(token: str, of: str | None = None) -> tuple[int, list[int]]:
    """Read a token.

    Args:
        token: what ``write_token`` wrote.
        of: the name of the test or scenario that is to be run; ``None`` where that does not matter.

    Returns:
        The seed, and the tape up to its last departure.

    Raises:
        TokenError: it is no token, of another version, or was changed on its way.
        ForeignTokenError: it is of another test or scenario.
    """
    body = _body(token)
    if of is not None and body[:_NAME_BYTES] != _hash(of):
        raise ForeignTokenError(
            f"{token!r} is of another test or scenario than {of}: it fits only the one that "
            f"printed it, under the same name"
        )
    numbers = _read(body[_NAME_BYTES:])
    values: list[int] = []
    for gap, value in zip(numbers[1::2], numbers[2::2], strict=True):
        if len(values) + gap > _LONGEST:
            raise TokenError(f"{token!r} is longer than {_LONGEST} choices")
        values.extend([0] * (gap - 1))
        values.append(value)
    return numbers[0], values


def _hash(of: str) -> bytes:
    return zlib.crc32(of.encode()).to_bytes(4, "big")[:_NAME_BYTES]


def _body(token: str) -> bytes:
    """What a token holds, checked to be what was written."""
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
    if len(body) <= _NAME_BYTES or zlib.crc32(body).to_bytes(4, "big") != check or spelt != text:
        raise TokenError(f"{token!r} is damaged: its checksum is another; copy the whole of it")
    return body


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
