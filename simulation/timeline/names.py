"""Tasks' names where people read them.

A name may be anything that a program got from somewhere: a whole prompt, or text with the escape
sequences by which a terminal is told to change its title.
"""

from __future__ import annotations

from typing import Final

__all__ = ["printable", "shown"]

_LONGEST: Final = 60


def printable(text: str) -> str:
    """A text with what a terminal would obey, or not show, as escapes; lines stay lines.

    Args:
        text: any.

    Example:
        >>> printable("\\x1b[31mred")
        '\\\\x1b[31mred'
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


def shown(name: str, longest: int = _LONGEST) -> str:
    """A name in one line, its end left out where it is long.

    Args:
        name: any.
        longest: the most characters of it.

    Example:
        >>> shown("two\\nlines"), shown("a long one", 6)
        ('two\\\\nlines', 'a lon…')
    """
    if len(name) > longest:
        name = name[: longest - 1] + "…"
    return printable(name).replace("\n", "\\n")
