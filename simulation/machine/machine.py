"""What attempts meet while they run: a CPU that they share, and backends that they call.

An attempt *waits* (for a service, a disk, a clock) and *computes*, by turns. Waiting takes as long
as it takes, whoever else is there, unless it is a call of a declared backend. Computing shares the
CPU. An attempt that is alone takes its duration, of which its CPU is a part.

How waiting and computing alternate is in no journal. It is assumed that an attempt computes half of
its CPU, waits, and computes the other half; ``docs/contention.md`` says how little that matters,
and why.

There is no clock here: a host says what time it is, asks when something will happen next, and
comes back then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

from simulation.machine.backends import Backend, BackendRun, Step
from simulation.machine.sharing import NEVER, Sharing
from simulation.models import Behaviour, Fails

__all__ = ["Cpu", "Machine", "MachineRun"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processors that attempts share.

    Args:
        cores: how many compute at once: 1 where the interpreter has a GIL.
        attempt_ns: what the pool itself computes for an attempt, in nanoseconds.
        efficiency: what so many that compute at once get done together, to what they would get
            done on processors that lose nothing; the last holds for all that are more.
    """

    cores: int = 1
    attempt_ns: int = 0
    efficiency: tuple[float, ...] = (1.0,)

    def rate(self, jobs: int) -> Fraction:
        """What so many that compute at once get done, in processors.

        Args:
            jobs: how many, 1 or more.

        Example:
            >>> float(Cpu(cores=2).rate(3)), float(Cpu(efficiency=(1.0, 0.9)).rate(5))
            (2.0, 0.9)
        """
        share = self.efficiency[min(jobs, len(self.efficiency)) - 1]
        return min(jobs, self.cores) * Fraction(round(share * 1_000_000), 1_000_000)


@dataclass(frozen=True, slots=True)
class Machine:
    """What attempts meet.

    Args:
        cpu: what they compute on; ``None`` where nobody waits for anybody.
        backends: what they call.

    Raises:
        ValueError: two backends of one name, or a group that calls two.
    """

    cpu: Cpu | None = None
    backends: tuple[Backend, ...] = ()
    by_group: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_group: dict[str, int] = {}
        names: set[str] = set()
        for index, backend in enumerate(self.backends):
            if backend.name in names:
                raise ValueError(f"backend {backend.name!r}: declared twice")
            names.add(backend.name)
            for group in backend.groups:
                other = by_group.setdefault(group, index)
                if other != index:
                    raise ValueError(
                        f"group {group!r}: calls two backends, {self.backends[other].name!r} and "
                        f"{backend.name!r}: a group calls one"
                    )
        object.__setattr__(self, "by_group", by_group)


class _Attempt:
    """An attempt on its way: where it is, and what comes next."""

    __slots__ = ("after_ns", "backend", "before_ns", "ends", "failure", "gone", "key", "wait_ns")

    def __init__(self, key: Any, backend: BackendRun | None, failure: Fails | None) -> None:
        self.key = key
        self.backend = backend
        self.failure = failure
        self.before_ns = 0  # to compute before it waits
        self.wait_ns: int | None = 0
        self.after_ns = 0  # to compute after it has waited
        self.ends = False  # whether it only has to compute what it computes now
        self.gone = False


class MachineRun:
    """A machine in a simulated run.

    Args:
        machine: what was declared.
        ended: called with the instant, the attempt's key and how it failed (``None`` where it
            succeeded) when an attempt has ended. It may end while it is begun.

    Attributes:
        next_at_ns: when something happens next; ``NEVER`` where nothing will.

    Example:
        >>> ends = []
        >>> run = MachineRun(Machine(Cpu()), lambda at_ns, key, failure: ends.append((at_ns, key)))
        >>> for key in "ab":
        ...     run.begin(0, key, "default", Behaviour(3_000, cpu_ns=2_000))
        >>> while run.next_at_ns != NEVER:
        ...     run.advance(run.next_at_ns)
        >>> ends  # 2 µs computing the first halves, 1 µs waiting, 2 µs computing the others
        [(5000, 'a'), (5000, 'b')]
    """

    def __init__(self, machine: Machine, ended: Callable[[int, Any, Fails | None], None]) -> None:
        self._ended = ended
        self._cpu = None if machine.cpu is None else Sharing(machine.cpu.rate)
        self._attempt_ns = 0 if machine.cpu is None else machine.cpu.attempt_ns
        self._by_group = machine.by_group
        self._backends = [
            BackendRun(backend, self._plan, self._compute_again, self._end)
            for backend in machine.backends
        ]
        self._shared = [run for run in self._backends if run.sharing is not None]
        self._timers: list[tuple[int, int, Step, _Attempt]] = []  # heap: at, count
        self._count = 0
        self._there: dict[Any, _Attempt] = {}
        self.next_at_ns: int = NEVER

    def begin(self, now_ns: int, key: Any, group: str, behaviour: Behaviour) -> None:
        """An attempt begins.

        Args:
            now_ns: the present.
            key: what it is called; no two of one key may be there at once.
            group: the group of its task.
            behaviour: what it does when it is alone.
        """
        index = self._by_group.get(group)
        backend = None if index is None else self._backends[index]
        attempt = _Attempt(key, backend, behaviour.failure)
        cpu_ns = 0 if self._cpu is None else behaviour.cpu_ns
        attempt.before_ns = cpu_ns // 2
        attempt.after_ns = cpu_ns - attempt.before_ns
        duration_ns = behaviour.duration_ns
        attempt.wait_ns = None if duration_ns is None else max(0, duration_ns - cpu_ns)
        attempt.before_ns += self._attempt_ns
        self._there[key] = attempt
        if attempt.before_ns and self._cpu is not None:
            self._cpu.add(now_ns, attempt.before_ns, attempt)
        else:
            self._wait(now_ns, attempt)
        self._look()

    def leave(self, now_ns: int, key: Any) -> None:
        """An attempt leaves what it does, where it has not ended.

        Args:
            now_ns: the present.
            key: which.
        """
        attempt = self._there.pop(key, None)
        if attempt is None:
            return
        attempt.gone = True
        if self._cpu is not None and attempt in self._cpu:
            self._cpu.remove(now_ns, attempt)
        if attempt.backend is not None:
            attempt.backend.leave(now_ns, attempt)
        self._look()

    def advance(self, now_ns: int) -> None:
        """Let happen what happens now.

        Args:
            now_ns: the present: ``next_at_ns``, or before it, when nothing happens.
        """
        timers = self._timers
        cpu = self._cpu
        while self.next_at_ns <= now_ns:
            if cpu is not None and cpu.next_at_ns <= now_ns:
                self._computed(now_ns, cpu.take(now_ns))
            elif timers and timers[0][0] <= now_ns:
                _, _, step, attempt = heappop(timers)
                if not attempt.gone:
                    step(now_ns, attempt)
            else:
                for run in self._shared:
                    assert run.sharing is not None
                    if run.sharing.next_at_ns <= now_ns:
                        run.end(now_ns, run.sharing.take(now_ns))
            self._look()

    def _look(self) -> None:
        """When does something happen next?"""
        timers, cpu = self._timers, self._cpu
        at = timers[0][0] if timers else NEVER
        if cpu is not None and cpu.next_at_ns < at:
            at = cpu.next_at_ns
        if self._shared:
            for run in self._shared:
                assert run.sharing is not None
                at = min(at, run.sharing.next_at_ns)
        self.next_at_ns = at

    def _plan(self, at_ns: int, step: Step, attempt: _Attempt) -> None:
        self._count = count = self._count + 1
        heappush(self._timers, (at_ns, count, step, attempt))

    # ------------------------------------------------------------ an attempt's way

    def _computed(self, now_ns: int, attempt: _Attempt) -> None:
        if attempt.ends:
            self._end(now_ns, attempt, attempt.failure)
        else:
            self._wait(now_ns, attempt)

    def _wait(self, now_ns: int, attempt: _Attempt) -> None:
        wait_ns = attempt.wait_ns
        if attempt.backend is not None:
            attempt.backend.call(now_ns, attempt, wait_ns)
        elif wait_ns is not None:
            if wait_ns:
                self._plan(now_ns + wait_ns, self._compute_again, attempt)
            else:
                self._compute_again(now_ns, attempt)

    def _compute_again(self, now_ns: int, attempt: _Attempt) -> None:
        if attempt.after_ns and self._cpu is not None:
            attempt.ends = True
            self._cpu.add(now_ns, attempt.after_ns, attempt)
        else:
            self._end(now_ns, attempt, attempt.failure)

    def _end(self, now_ns: int, attempt: _Attempt, failure: Fails | None) -> None:
        del self._there[attempt.key]
        self._ended(now_ns, attempt.key, failure)
