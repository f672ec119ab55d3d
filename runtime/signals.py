"""The first signal drains, the second exits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self

from runtime import interrupts
from runtime.pool import WorkerPool

__all__ = ["stop_on_signals"]


class stop_on_signals:  # noqa: N801  # used like a function, as contextlib.suppress is
    """While its block runs, the first signal makes a pool take no more tasks and finish those it
    has; the second raises in the main thread, which aborts what is pending when the pool's own
    block is left.

    A program that waits for its results then ends by itself after the first signal: ``submit_task``
    raises ``PoolClosedError``, everything else goes on. The second raises ``KeyboardInterrupt`` for
    SIGINT, else ``SystemExit`` with 128 + the signal's number, as a shell reports it.

    Args:
        pool: what is drained.
        signals: which signals.

    Attributes:
        seen: the signals that came, in order.

    Raises:
        RuntimeError: on entering, where this is not the main thread: only that one may say what a
            signal does.

    Example:
        >>> with WorkerPool() as pool, stop_on_signals(pool) as stopping:
        ...     _ = pool.submit_task("t", int)
        ...     results = pool.wait_for_all()
        >>> stopping.seen
        []
    """

    def __init__(
        self,
        pool: WorkerPool,
        signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
    ) -> None:
        self._pool = pool
        self._signals = list(signals)
        self._before: dict[signal.Signals, Any] = {}
        self.seen: list[signal.Signals] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "stop_on_signals was entered in another thread than the main one: only that one "
                "may say what a signal does; enter it there"
            )
        try:
            for one in self._signals:
                self._before[one] = signal.signal(one, self._handle)
        except BaseException:  # SIGKILL, for one
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for one, before in self._before.items():
            if signal.getsignal(one) == self._handle:  # nobody else has taken it over
                interrupts.put_back(one, before)
        self._before.clear()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.seen.append(signal.Signals(signum))
        if len(self.seen) == 1:
            self._pool.shutdown(wait=False)  # waits for nothing, so a handler may call it
            outer = getattr(self._before.get(signal.Signals(signum)), "__self__", None)
            if isinstance(outer, stop_on_signals):  # of another pool
                outer._handle(signum, frame)
        else:
            error = KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(128 + signum)
            interrupts.interrupt(error, frame)
