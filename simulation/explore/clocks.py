"""The clock of an explored pool: what is chosen about instants.

In which order the stimuli of one instant are told, and which of the strands that are due at one
instant steps back behind the others; whether a sleep, a wait's time or a modelled attempt is late
or slow; whether the core is woken late, or not before something else happens. And what comes from
outside, once an instant at which anything is told: an abort, a drain, a cancel, a resize; a pause
of everything; a burst of failures; a wake for nothing; a completion told twice.

Where nothing is left to happen, faults are over: a lost wake comes, and what hangs returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import simpy
from msgspec import structs

from runtime.core.errors import InvalidTransition
from runtime.core.invariants import check
from runtime.core.records import (
    AbortRequested,
    AttemptFailed,
    AttemptSucceeded,
    CancelRequested,
    DrainRequested,
    ResizeRequested,
    StartAttempt,
    Stimulus,
    TimeElapsed,
)
from runtime.core.stories import in_seconds
from runtime.engine import Engine, Raised
from simulation.clock import NEVER, arrive
from simulation.explore.faults import (
    Completion,
    InjectedError,
    Menu,
    TooManyError,
    finish_menu,
    order_menu,
    outside_menu,
    struck,
    wake_menu,
)
from simulation.explore.properties import Broken
from simulation.explore.tape import Tape
from simulation.world.loop import StrandClock
from simulation.world.strands import Strand

__all__ = ["ExploredClock"]

_SLEEP: Final = ("", "late", "slow")
_SECOND: Final = 1_000_000_000
_BURST: Final = 3
#: Tasks of which one may be cancelled at one instant: the first live ones.
_MOST_CANCELLED: Final = 8


class ExploredClock(StrandClock[Strand]):
    """A ``StrandClock`` whose choices are on a tape.

    Args:
        engine: the pool's.
        decide: as for a ``VirtualClock``.
        carry_out: as for a ``VirtualClock``.
        tape: where choices are made.
        faults: which faults are on.

    Attributes:
        strikes: what was not ordinary, a line each.
        burst: how many attempts are still to fail in a row.
        hanging: strands that never come home, until faults are over.
        last: the last completion that the core was told.
        starts: the attempt that is being started.
        order: the menu of a strand whose turn has come, among others.
        at_lock: that of one at a lock, among others.
        alone_at_lock: that of one at a lock, alone.
    """

    def __init__(
        self, engine: Engine, decide: Any, carry_out: Any, tape: Tape, faults: frozenset[str]
    ) -> None:
        super().__init__(engine.core, decide, carry_out)
        self._engine, self._tape, self._faults = engine, tape, faults
        self.strikes: list[str] = []
        self.burst = 0
        self.hanging: list[Strand] = []
        self._hanging_models: list[tuple[Completion, Any]] = []
        self.last: Completion | None = None
        self.starts: StartAttempt | None = None
        self._sleep = Menu(_SLEEP, faults)
        self.order = Menu(("", "order"), faults)
        self.at_lock = Menu(("", "order", "late_lock"), faults)
        self.alone_at_lock = Menu(("", "late_lock"), faults)
        self._stood_back: set[int] = set()
        self._between = False  # two instants
        self._stood_still = False
        self._lost = NEVER  # the deadline of which the core is not told

    def strike(self, fault: str, what: str) -> None:
        """Note what was not ordinary."""
        self.strikes.append(f"{in_seconds(self.now):>12}  {fault}: {what}")

    # ------------------------------------------------------------ who is next

    def crowded(self) -> bool:
        """Whether anything else is due at this instant."""
        return bool(self.due) or self._event_at <= self.now

    def next_due(self) -> Strand | None:
        """The next strand; perhaps it steps back once, behind all else of its instant."""
        while True:
            self._between = True
            strand = super().next_due()
            self._between = False
            if strand is None:
                if self._faults_are_over():
                    continue
                return None
            number = strand.number
            if number in self._stood_back or not self.crowded() or strand.over:
                self._stood_back.discard(number)
                return strand
            if not self._tape.choose(self.order, number):
                return strand
            self.strike("order", f"{strand.told} is next, and others run first")
            self._stood_back.add(number)
            self.at(0, self._again, strand)

    def _again(self, event: simpy.Event) -> None:
        strand: Any = event.value
        self.due.append(strand)

    def _faults_are_over(self) -> bool:
        """Let happen what a fault withholds, where nothing else is left to; whether there was."""
        _, until_ns = self._aim
        if self.came_true or (until_ns is not None and self.now >= until_ns):
            return False
        if self._core.wake_at_ns < self._wake_at:  # a lost wake
            super()._mind_deadline()
            return True
        hanging, self.hanging = self.hanging, []
        for strand in hanging:
            self.at(0, self._again, strand)
        models, self._hanging_models = self._hanging_models, []
        for end, payload in models:
            super().happen_at(self.now, structs.replace(end, ended_at_ns=self.now), payload)
        return bool(hanging or models)

    # ------------------------------------------------------------ late ends

    def happen_at(self, at_ns: int, stimulus: Stimulus, payload: Any) -> None:
        """Let a modelled attempt end, perhaps later or otherwise."""
        start = self.starts
        if isinstance(stimulus, AttemptSucceeded | AttemptFailed) and start is not None:
            menu = finish_menu(start.timeout_at_ns is not None, self._faults)
            name = menu.names[self._tape.choose(menu, stimulus.task)]
            if not name and self.burst:
                self.burst -= 1
                name = "burst"
            if name == "hang":
                self.strike(
                    name, f"{self._engine.told(start.task, start.attempt)} never comes home"
                )
                self._hanging_models.append((stimulus, payload))
                return
            if name:
                self.strike(name, self._engine.told(start.task, start.attempt))
                stimulus, payload = self._otherwise(name, start, at_ns, stimulus, payload)
                at_ns = stimulus.ended_at_ns
        super().happen_at(at_ns, stimulus, payload)

    def _otherwise(
        self, name: str, start: StartAttempt, at_ns: int, end: Completion, payload: Any
    ) -> tuple[Completion, Any]:
        """How a modelled attempt ends that a fault strikes, and what it brings home."""
        now = self.now
        new = struck("fail" if name == "burst" else name, start, now, at_ns - now, end)
        if type(new) is type(end) and getattr(new, "error", "") == getattr(end, "error", ""):
            return new, payload
        if isinstance(new, AttemptSucceeded):
            return new, self._engine.jobs[start.task].fn.value
        error: BaseException = InjectedError(f"the fault {name!r}")
        if name == "base_exception":
            error = KeyboardInterrupt(f"the fault {name!r}")
        elif name == "retry_after":
            error = TooManyError(f"the fault {name!r}")
        return new, Raised(error)

    def time_up_in(self, after_ns: int, callback: Callable[[Any], None], value: Any = None) -> None:
        """Let a strand's sleep or wait end, perhaps late."""
        strand: Strand = value[0]
        place = self._tape.choose(self._sleep, strand.number)
        if place:
            after_ns += 1 if place == 1 else after_ns
            self.strike(_SLEEP[place], f"what {strand.told} waits for ends later")
        self.at(after_ns, callback, value)

    def _mind_deadline(self) -> None:
        """Wake the core when its next deadline comes; perhaps late, or not before all else."""
        wake = self._core.wake_at_ns
        if wake == self._lost:  # and so it is until something happens after it
            return
        menu = wake_menu(self._faults)
        name = menu.names[self._tape.choose(menu, 0)]
        if not name:
            super()._mind_deadline()
            return
        at = in_seconds(wake).strip()
        if name == "late_timer":
            self.strike(name, f"the core's wake at {at} comes 1 ns late")
            self._wake_at = wake
            self.at(max(0, wake - self.now) + 1, self._woken)
        else:
            self.strike(name, f"the core's wake at {at} is lost")
            self._wake_at, self._lost = NEVER, wake

    # ------------------------------------------------------------ what comes from outside

    def settle(self) -> None:
        """Let the core decide on what has happened, perhaps on one thing alone and first."""
        gathered = self._gathered
        if self._stood_still:  # the end of a pause, which is followed by no other one
            self._stood_still = False
        elif gathered and self._outside():
            return
        while len(gathered) > 1:
            place = self._tape.choose(order_menu(len(gathered), self._faults), 0)
            if not place:
                break
            first = gathered.pop(place - 1)
            self.strike("order", f"{type(first[0]).__name__} is told alone and first")
            self.decide(*first)
        super().settle()

    def _outside(self) -> bool:
        """Perhaps something comes from outside; whether this instant goes on at a later one."""
        live = self._core.live()[:_MOST_CANCELLED]
        menu = outside_menu(len(live), self._faults)
        place = self._tape.choose(menu, 0)
        name = menu.names[place]
        if not name:
            return False
        if name == "cancel":
            task = live[place - len(menu.names)]
            self.strike(name, f"{self._engine.told(task)} is cancelled")
            self._gathered.append((CancelRequested(task), None))
        elif name == "abort":
            self.strike(name, "all that is pending is aborted")
            self._gathered.append((AbortRequested(), None))
        elif name == "drain":
            self.strike(name, "no more tasks are taken")
            self._gathered.append((DrainRequested(), None))
        elif name == "resize":
            again = menu.names[place - 1] == name
            workers = self._engine.core.settings.max_workers if again else 1
            self.strike(name, f"to {workers} workers")
            self._gathered.append((ResizeRequested(workers), None))
        elif name == "burst":
            self.strike(name, f"the next {_BURST} attempts fail")
            self.burst = _BURST
        elif name == "wake":
            self.strike(name, "the core is woken although nothing is due")
            self.decide(TimeElapsed(), None)
        elif name == "twice":
            self._tell_twice()
        else:
            self.strike(name, "everything stands still for 2 s")
            self.now += 2 * _SECOND
            self.at(0, arrive)
            self._stood_still = self._between
            return self._between  # all that falls into the pause is told together, at its end
        return False

    def _tell_twice(self) -> None:
        last = self.last
        self.strike("twice", "the last completion is told again" if last else "there is none yet")
        if last is None:
            return
        try:
            self._core.handle(self.now, last)
        except InvalidTransition:
            check(self._core)
            return
        raise Broken("a result told twice is refused", f"{last!r} was taken a second time")
