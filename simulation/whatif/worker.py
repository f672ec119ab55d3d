"""What a worker process of a sweep does: takes the work once, then one item after another.

It is a plain interpreter at the other end of a socket, not a ``multiprocessing`` child: it does not
import its parent's main program again, so a script needs no guard, and when its parent is gone, in
whatever way, the socket ends and so does the worker.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

__all__ = ["main"]

#: What a call came to, in what a worker sends back.
RETURNED: Final = "returned"
RAISED: Final = "raised"


def main(descriptor: int) -> None:
    """Serve until the other end closes.

    Args:
        descriptor: of the socket that leads to the parent.
    """
    with suppress(EOFError, OSError), Connection(descriptor) as parent:
        shared = pickle.loads(parent.recv_bytes())
        while True:
            index, function, item = parent.recv()
            parent.send((index, *_called(function, shared, item)))


def _called(function: Any, shared: Any, item: Any) -> tuple[str, Any]:
    try:
        return RETURNED, function(shared, item)
    except Exception as error:
        return RAISED, _portable(error)


def _portable(error: Exception) -> Exception:
    """The error itself where it survives the way home, else one that says the same."""
    with suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")
