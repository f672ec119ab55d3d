"""What of a traceback a test shows: frames of this package help nobody who has made a mistake."""

from __future__ import annotations

from typing import Any

__all__ = ["said_to_users"]


def said_to_users(raised: Any) -> bool:
    """Whether an exception says to a user what to do, so that our frames in it help nobody.

    As ``__tracebackhide__`` of a module it leaves these out of what pytest shows.

    Args:
        raised: pytest's ``ExceptionInfo``.

    Returns:
        Whether it is one of this package's, or of a wrong argument.
    """
    kind = raised.type
    ours = kind.__module__.partition(".")[0] in {"runtime", "simulation"}
    return ours or kind in {TypeError, ValueError}
