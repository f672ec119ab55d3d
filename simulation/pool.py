"""The worker pool on a virtual clock: the same ``WorkerPool``, over another host."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from os import PathLike
from typing import Any, Final, get_args

from runtime import JournalTo, WorkerPool, WorkerPoolConfig
from runtime.config import check_int, check_seconds, seconds_to_ns
from runtime.core.records import Transition
from runtime.engine import Engine
from runtime.host import Host
from runtime.observers import Detail, Observer, StepSink
from runtime.recorder import StepDigest
from runtime.tracebacks import said_to_users
from runtime.view import PoolView
from simulation.host import CarrierKind, VirtualHost

__all__ = ["SimulatedWorkerPool"]
__tracebackhide__ = said_to_users

_LATEST: Final = 4e9  # in the year 2096; a float's seconds are good to a microsecond there


class SimulatedWorkerPool(WorkerPool):
    """A ``WorkerPool`` whose time is virtual: hours pass in milliseconds, the same at each run.

    Tasks are ``Modelled(...)``, or ordinary functions. Inside those, sleeping, clocks, locks,
    queues and threads are virtual, from the making of the pool until its shutdown, and for nobody
    else (``docs/scenarios.md``); any other work takes no virtual time. Waiting for a result lets
    time pass.

    Args:
        config: as for a ``WorkerPool``.
        seed: keys what modelled tasks draw, and the jitter unless ``config`` sets its own seed.
        journal: as for a ``WorkerPool``.
        observers: as for a ``WorkerPool``.
        epoch: what ``time.time()`` and ``pool.now`` are when the pool begins, in seconds.
        carrier: what runs ordinary functions: ``thread``, or ``greenlet``, which is faster and
            needs the extra of that name.
        watchdog_seconds: how long a task may block in real time before ``BlockedOutsideError``
            says where it does.

    Example:
        >>> from simulation import Fails, Modelled
        >>> with SimulatedWorkerPool(WorkerPoolConfig(max_workers=2), seed=7) as pool:
        ...     for n in range(4):
        ...         _ = pool.submit_task(f"Q{n}", Modelled(duration=30))
        ...     results = pool.wait_for_all()
        ...     print(pool.now)
        60.0
    """

    def __init__(
        self,
        config: WorkerPoolConfig | None = None,
        seed: int = 0,
        *,
        journal: str | PathLike[str] | JournalTo | None = None,
        observers: Sequence[Observer] = (),
        epoch: float = 0.0,
        carrier: CarrierKind = "thread",
        watchdog_seconds: float = 5.0,
    ) -> None:
        if isinstance(epoch, bool) or not isinstance(epoch, int | float):
            raise TypeError(f"epoch={epoch!r}: must be an instant in epoch seconds")
        if not 0 <= epoch <= _LATEST:
            raise ValueError(f"epoch={epoch!r}: must be 0 to {_LATEST:g} epoch seconds")
        check_seconds("watchdog_seconds", watchdog_seconds, positive=True)
        if carrier not in get_args(CarrierKind):
            allowed = ", ".join(get_args(CarrierKind))
            raise ValueError(f"carrier={carrier!r}: must be one of {allowed}")
        self._world_options: dict[str, Any] = {
            "epoch_ns": seconds_to_ns(epoch),
            "carrier": carrier,
            "watchdog_seconds": watchdog_seconds,
        }
        check_int("seed", seed, 0, (1 << 63) - 1)
        config = WorkerPoolConfig() if config is None else config
        if isinstance(config, WorkerPoolConfig) and config.seed == 0:
            config = config.replace(seed=seed)
        self._seed = seed
        self._log = _TransitionLog()
        self._digest = StepDigest()
        super().__init__(config, journal=journal, observers=observers)

    def _name_run(self) -> tuple[str, str]:
        return f"{self.config.name}-0.", f"{self._seed}."

    def _make_host(self, engine: Engine) -> Host:
        self._virtual = VirtualHost(engine, self._seed, **self._world_options)
        weakref.finalize(self, self._virtual.release).atexit = False
        return self._virtual

    def _close(
        self, *, wait: bool, abort: bool, timeout_ns: int | None, children: bool = False
    ) -> None:
        try:
            super()._close(wait=wait, abort=abort, timeout_ns=timeout_ns, children=children)
        finally:
            if wait:
                self._virtual.release()

    def _own_observers(self) -> list[Observer]:
        return [self._log]

    def _own_sinks(self) -> list[StepSink]:
        return [self._digest]

    def advance(self, seconds: float) -> None:
        """Let virtual time pass.

        Args:
            seconds: how much.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        check_seconds("seconds", seconds)
        self._virtual.advance(seconds_to_ns(seconds))

    def task_number(self, task_id: str) -> int:
        """The number by which ``transitions`` name a task.

        Args:
            task_id: what ``submit_task`` returned.

        Raises:
            KeyError: the pool has no such task.
        """
        return self._job(task_id).spec.task

    @property
    def escaped(self) -> list[str]:
        """The threads that were started outside its tasks while it is open: they are real."""
        return list(self._virtual.world.escaped)

    @property
    def transitions(self) -> list[Transition]:
        """Every transition so far, in order."""
        self._virtual.flush()
        return self._log.seen

    @property
    def digest(self) -> str:
        """The fingerprint of every decision so far: equal runs have equal digests."""
        self._virtual.flush()
        return self._digest.digest


class _TransitionLog:
    """Keeps every transition."""

    def __init__(self) -> None:
        self.seen: list[Transition] = []

    def attach(self, view: PoolView) -> None:
        pass

    def detail(self) -> Detail:
        return "all"

    def transitions(self, batch: Sequence[Transition]) -> None:
        self.seen.extend(batch)

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        pass

    def close(self) -> None:
        pass
