"""One core for the threads that carry strands.

Only one of them runs at any moment, and each hands over to the next by waking it. Left to itself
the kernel wakes it on another core, which is idle just because nobody else runs: a trip through a
sleeping core each time. On one core the next thread is there at once, in a fifth of the time
(docs/decisions/0030).

Only the carriers are kept on a core: they are the world's own, and end with it. Where the system
cannot do it, they are left to the kernel.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["keep_on", "present_core"]

_STAT: Final = Path("/proc/thread-self/stat")
_PLACE: Final = 36  # of the core among the fields after the name, proc_pid_stat(5)


def present_core() -> int | None:
    """The core that the calling thread runs on.

    Returns:
        Its number; ``None`` where that is not known, or there is no choice.
    """
    try:
        if len(os.sched_getaffinity(0)) < 2:
            return None
        return int(
            _STAT.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[_PLACE]
        )
    except (AttributeError, IndexError, OSError, ValueError):  # not Linux, or not all of it
        return None


def keep_on(core: int | None, thread: int = 0) -> None:
    """Keep a thread on a core.

    Args:
        core: which; ``None`` leaves the thread as it is.
        thread: its native identity, 0 for the one that calls.
    """
    if core is None:
        return
    try:
        os.sched_setaffinity(thread, {core})
    except OSError:  # it has ended, or may not run there any more
        return
