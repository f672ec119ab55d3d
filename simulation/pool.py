"""The worker pool on a virtual clock: the same ``WorkerPool``, over another host."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from runtime import JournalTo, WorkerPool, WorkerPoolConfig
from runtime.config import check_int, check_seconds, seconds_to_ns
from runtime.core.records import Transition
from runtime.engine import Engine
from runtime.host import Host
from runtime.observers import Detail, Observer, StepSink
from runtime.recorder import StepDigest
from runtime.view import PoolView
from simulation.host import VirtualHost

__all__ = ["SimulatedWorkerPool"]


class SimulatedWorkerPool(WorkerPool):
    """A ``WorkerPool`` whose time is virtual: hours pass in milliseconds, the same at each run.

    Tasks are ``Modelled(...)``, or ordinary functions that use ``current_attempt().sleep`` for the
    time they take; any other work takes no virtual time. Waiting for a result lets time pass.

    Args:
        config: as for a ``WorkerPool``.
        seed: keys what modelled tasks draw, and the jitter unless ``config`` sets its own seed.
        journal: as for a ``WorkerPool``.
        observers: as for a ``WorkerPool``.

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
    ) -> None:
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
        self._virtual = VirtualHost(engine, self._seed)
        return self._virtual

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
