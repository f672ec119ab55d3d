"""Waiting without sleeping, threads that say what they raise, scripts in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from runtime import WorkerPool

ROOT = Path(__file__).resolve().parent.parent.parent

#: How long anything may take that a healthy pool does at once, in seconds; for a busy machine.
DEADLINE = 30.0


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until a condition holds; fail at the deadline."""
    give_up_at = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up_at, f"{what} did not come true in {DEADLINE} s"
        pause.wait(0.001)


def in_threads(count: int, function: Callable[[int], object]) -> None:
    """Call a function with 0, 1, ... in as many threads at once; raise what any of them raised."""
    raised: list[BaseException] = []
    together = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            together.wait(DEADLINE)
            function(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    give_up_at = time.monotonic() + 2 * DEADLINE
    for thread in threads:
        thread.join(max(0.0, give_up_at - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if raised:
        raise raised[0]


def threads_of(pool: WorkerPool, kind: str = "") -> list[str]:
    """The names of a pool's threads that are alive: all, or its ``thread``, ``clock`` ones."""
    begin = f"{pool.config.name}-{kind}"
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(begin)]


def run_script(
    code: str, *arguments: str, timeout: float = DEADLINE, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, where warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done
