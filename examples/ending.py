"""How a program ends on Ctrl-C, or where nobody reads its output to the end: without a word."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

__all__ = ["quietly"]


def quietly(main: Callable[[], None]) -> None:
    """Run a program, and let it end on Ctrl-C or where whoever reads what it prints has gone.

    Args:
        main: the program. What its output cannot spell is printed as escapes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # not where it is closed
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            main()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # now, since nobody could catch it at the interpreter's end
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
