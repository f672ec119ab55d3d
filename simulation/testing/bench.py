"""The pools of one test: made by its fixture, closed with each run of it, known to assertions."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, Final, Self

import msgspec

from runtime import WorkerPool, WorkerPoolConfig
from runtime.core.records import Transition
from runtime.core.stories import Sentence, tell
from runtime.observers import Observer
from runtime.stories import Stories
from runtime.tracebacks import said_to_users
from simulation.explore.faults import check_faults
from simulation.explore.pools import ExploredPool
from simulation.explore.tape import Tape
from simulation.pool import SimulatedWorkerPool

__all__ = ["Bench", "Seen", "open_benches", "story_of"]
__tracebackhide__ = said_to_users

_VIRTUAL_OPTIONS: Final = ("journal", "observers", "epoch", "carrier", "watchdog_seconds")
_REAL_OPTIONS: Final = ("journal", "observers")

#: The benches of the tests that run now, the innermost last.
open_benches: Final[list[Bench]] = []


class Seen(msgspec.Struct, frozen=True):
    """What one pool did in one run of a test.

    Args:
        digest: the fingerprint of its decisions.
        transitions: all of them.
        names: the tasks' names, by number.
        escaped: threads that were started outside tasks while it was open.
    """

    digest: str
    transitions: list[Transition]
    names: dict[int, str]
    escaped: list[str] = []


class _WatchedPool(WorkerPool):
    """A pool on real threads that keeps its tasks' stories."""

    def _own_observers(self) -> list[Observer]:
        self.stories = Stories()
        return [self.stories]


class Bench:
    """Makes the pools of one test.

    Args:
        seed: of pools that are given none.
        virtual: on virtual time, else on real threads.

    Attributes:
        seed: of pools that are given none.
        tape: where the choices of virtual pools are made, ``None`` for the ordinary.
        pools: those made in this run of the test, in order.
        maker: ``make``, as tests are given it.
    """

    def __init__(self, seed: int = 0, *, virtual: bool = True) -> None:
        self.seed = seed
        self.virtual = virtual
        self.tape: Tape | None = None
        self.faults = check_faults(["order"])
        self.pools: list[WorkerPool] = []
        self._stack = contextlib.ExitStack()
        self.maker = _Maker(self)

    def make(self, config: WorkerPoolConfig | None = None, **options: Any) -> Any:
        """Make a pool.

        Args:
            config: as for a ``WorkerPool``.
            options: fields of the configuration, and keyword arguments of the pool.

        Returns:
            The pool; it is closed with the test.
        """
        __tracebackhide__ = True
        taken = _VIRTUAL_OPTIONS if self.virtual else _REAL_OPTIONS
        own = {name: options.pop(name) for name in taken if name in options}
        seed = options.pop("seed", self.seed) if self.virtual else 0
        _check_options(options, taken)
        if config is None:
            config = WorkerPoolConfig(**options)
        elif options:
            config = config.replace(**options)
        pool: WorkerPool
        if not self.virtual:
            pool = _WatchedPool(config, **own)
        elif self.tape is None:
            pool = SimulatedWorkerPool(config, seed, **own)
        else:
            pool = ExploredPool(self.tape, self.faults, config, seed, **own)
        self.pools.append(pool)
        return self._stack.enter_context(pool)

    def seen(self) -> list[Seen]:
        """What each virtual pool of this run did so far."""
        return [
            Seen(pool.digest, list(pool.transitions), _names(pool.transitions), pool.escaped)
            for pool in self.pools
            if isinstance(pool, SimulatedWorkerPool)
        ]

    def strikes(self) -> list[str]:
        """What was not ordinary in this run, a line each."""
        return [
            line for pool in self.pools if isinstance(pool, ExploredPool) for line in pool.strikes
        ]

    def damage_journals(self) -> None:
        """Perhaps damage the journals of this run's pools, as the tape says.

        Raises:
            Broken: the damage passes for the truth.
        """
        for pool in self.pools:
            if isinstance(pool, ExploredPool):
                pool.damage_journal()

    def close(self, error: BaseException | None = None) -> None:
        """Close this run's pools; others may be made after that.

        Args:
            error: what the run raised: what is pending is aborted then.
        """
        stack, self._stack = self._stack, contextlib.ExitStack()
        self.pools = []
        stack.__exit__(type(error) if error is not None else None, error, None)

    def __enter__(self) -> Self:
        open_benches.append(self)
        return self

    def __exit__(self, *args: object) -> None:
        open_benches.remove(self)
        self.close()


def _check_options(options: Iterable[str], own: Iterable[str]) -> None:
    """Raise where there is no such option, with the nearest one that there is."""
    known = [*(field.name for field in dataclasses.fields(WorkerPoolConfig)), *own]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"there is no option {name!r}: {hint}")


class _Maker:
    """What tests are given, and see where they fail: ``Bench.make``, with a name."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __call__(self, config: WorkerPoolConfig | None = None, **options: Any) -> Any:
        """Make a pool: see ``Bench.make``."""
        __tracebackhide__ = True
        return self._bench.make(config, **options)

    def __repr__(self) -> str:
        if self._bench.virtual:
            return "<simulated_pool: max_workers=..., seed=...>"
        return "<worker_pool on real threads: max_workers=...>"


def _names(transitions: Iterable[Transition]) -> dict[int, str]:
    return {
        t.task: getattr(t.detail, "name", "") for t in transitions if t.cause is None and t.detail
    }


def story_of(task_id: str, pool: WorkerPool | None = None) -> list[Sentence]:
    """One task's story.

    Args:
        task_id: what ``submit_task`` returned.
        pool: whose task it is; ``None`` looks among the pools of the running test.

    Returns:
        Its sentences, in order.

    Raises:
        LookupError: no pool, or more than one, has such a task, or the pool keeps no stories.
    """
    pools = [pool] if pool is not None else [p for bench in open_benches for p in bench.pools]
    found = []
    for one in pools:
        with contextlib.suppress(KeyError):
            found.append(_story_in(one, task_id))
    if len(found) == 1:
        return found[0]
    if found:
        raise LookupError(f"{len(found)} pools of this test have a task {task_id!r}: say pool=")
    where = f"pool {pool.config.name!r} has" if pool is not None else "no pool of this test has"
    mend = "" if pool is not None else "; of a pool that no fixture made, say pool="
    raise LookupError(f"{where} {'no ' if pool is not None else 'a '}task {task_id!r}{mend}")


def _story_in(pool: WorkerPool, task_id: str) -> list[Sentence]:
    if isinstance(pool, _WatchedPool):
        return pool.stories.of(task_id)
    if isinstance(pool, SimulatedWorkerPool):
        number = pool.task_number(task_id)
        return list(tell(t for t in pool.transitions if t.task == number))
    raise LookupError(
        f"pool {pool.config.name!r} keeps no stories: make it with the fixture worker_pool, or "
        f"give it observers=[stories] and ask runtime.stories.Stories"
    )
