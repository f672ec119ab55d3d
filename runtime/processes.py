"""What befalls the process: it is forked, or it exits."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
import weakref
from contextlib import suppress
from typing import Any, Protocol

from runtime import engine
from runtime.engine import Engine, Raised
from runtime.errors import ForkedPoolError

__all__ = ["Refused", "leave_child", "register", "unregister"]

_log = logging.getLogger("twinclock")


class _Host(Protocol):
    engine: Engine

    def refuse(self, error: Exception) -> None:
        """Take part in nothing more."""

    def leave(self, give_up_at: float) -> None:
        """Give what runs until an instant of ``time.monotonic``, then leave it behind."""


_hosts: weakref.WeakSet[_Host] = weakref.WeakSet()


def register(host: _Host) -> None:
    """Tell a host of forks and of the interpreter's exit from now on.

    Args:
        host: which.
    """
    _hosts.add(host)


def unregister(host: _Host) -> None:
    """Tell a host of nothing more.

    Args:
        host: which.
    """
    _hosts.discard(host)


class Refused:
    """Stands in for the lock in a forked child.

    Args:
        error: what taking it raises.
    """

    __slots__ = ("_error",)

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __enter__(self) -> None:
        raise self._error

    def __exit__(self, *exc: object) -> None:
        pass


def leave_child(refusal: Exception, payload: Any) -> None:
    """End a process that was forked by a task and has come back from it: nothing of its pool is
    here. Does nothing elsewhere.

    Args:
        refusal: why the pool takes part in nothing more.
        payload: what the task brought; a ``SystemExit`` has its say.
    """
    if not isinstance(refusal, ForkedPoolError):
        return
    code = 1
    error = payload.error if isinstance(payload, Raised) else None
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        _log.critical("a task forked this process and returned in it: it ends here")
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _after_fork_in_child() -> None:
    engine.after_fork_in_child()
    for host in list(_hosts):
        host.refuse(
            ForkedPoolError(
                f"the pool {host.engine.config.name!r} was made before this process was forked; "
                f"its threads are in the parent: make a new pool in the child"
            )
        )
    _hosts.clear()


def _at_exit() -> None:
    now = time.monotonic()
    for host in list(_hosts):
        try:
            host.leave(now + host.engine.config.exit_grace_seconds)
        except Exception:  # the others are to be left properly all the same
            _log.exception("pool %r could not be left properly", host.engine.config.name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
