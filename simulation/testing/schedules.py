"""One test under many schedules: searched, made small, and told so that it can be run again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from runtime.tracebacks import said_to_users
from simulation.explore.properties import Broken
from simulation.explore.shrink import shrink
from simulation.explore.strategies import Pct, RandomChoice, Strategy, Systematic
from simulation.explore.tape import Tape, TapeError, departures
from simulation.explore.token import is_token, read_token, write_token
from simulation.testing.bench import Bench, Seen
from simulation.world.errors import BlockedOutsideError
from simulation.world.patches import close_world, open_world

__all__ = ["Found", "Schedules", "TapeError", "replay", "search"]
__tracebackhide__ = said_to_users

_PROBES: Final = 4  # schedules that each strategy has before the next one's turn
_ALLOWANCE: Final = 300  # runs that may be spent on making a failure small
_SHRINKING_SECONDS: Final = 20.0  # of real time, likewise
_DEPARTURES: Final = 2

_NO_FAILURES: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, TapeError)

Run = Callable[[], object]


class Found(msgspec.Struct, frozen=True):
    """A schedule under which a test fails.

    Args:
        seed: of its pools.
        token: the schedule.
        how: where it comes from, for people.
        strikes: what in it was not ordinary, a line each.
    """

    seed: int
    token: str
    how: str
    strikes: list[str]


class Schedules:
    """Runs one test under schedules.

    Args:
        bench: where its pools are made.
        run: the test.
        passing: what a run may raise that is no failure: a skip.
        begin: called before each run, as what an earlier one printed is no longer of interest.
        of: the test's name, as its tokens have it.

    Attributes:
        first: what the pools did under the ordinary schedule, for the audit.
        found: the schedule of the run that failed.
        runs: how often the test was run.
    """

    def __init__(
        self,
        bench: Bench,
        run: Run,
        passing: tuple[type[BaseException], ...],
        begin: Callable[[], object],
        of: str,
    ) -> None:
        self._bench = bench
        self._run = run
        self._begin = begin
        self._passing = passing
        self.of = of
        self.first: list[Seen] = []
        self.found: Found | None = None
        self.runs = 0

    def one(self, tape: Tape) -> BaseException | None:
        """Run the test once.

        Args:
            tape: the schedule.

        Returns:
            What it raised, ``None`` where it passed.
        """
        bench = self._bench
        bench.close()
        bench.tape = tape
        self._begin()
        error: BaseException | None = None
        try:
            self._run()
        except BaseException as raised:
            if isinstance(raised, (*_NO_FAILURES, *self._passing)):
                raise
            error = raised
        self.runs += 1
        if not self.first and not departures(tape.values):
            self.first = bench.seen()
        try:
            bench.damage_journals()
        except Broken as broken:
            error = error or broken
        self._strikes = bench.strikes()
        tape.end()
        try:
            bench.close(error)
        except Exception as raised:
            error = error or raised
        return error

    def plainly(self) -> None:
        """Run the test once, on the pools that users make, which stay open until its end.

        Raises:
            BaseException: what the test raised.
        """
        __tracebackhide__ = True
        self._run()
        self.first = self._bench.seen()

    def tell(self, tape: Tape, how: str) -> None:
        """Note the schedule of the run that has just failed."""
        token = write_token(self._bench.seed, tape.values, self.of)
        self.found = Found(self._bench.seed, token, how, self._strikes)


def search(schedules: Schedules, most: int, seed: int, kept: str | None) -> bool:
    """Run a test under schedules, until it fails under one; then make that small, and raise.

    Args:
        schedules: the test.
        most: schedules, the ordinary one included.
        seed: of the search.
        kept: the token of a schedule under which it failed before: it is run first.

    Returns:
        Whether a kept schedule was run, which passes now.

    Raises:
        BaseException: what the test raised under the schedule that was found.
    """
    __tracebackhide__ = True
    open_world()  # once, rather than with the pools of each schedule
    try:
        if kept is not None and is_token(kept):  # it may be of an older version
            tape = Tape(read_token(kept)[1])
            error = schedules.one(tape)
            if error is not None:
                schedules.tell(tape, "kept from an earlier run")
                raise error
        for strategy, tape in _tapes(seed, most):
            error = schedules.one(tape)
            if error is not None:
                _raise_small(schedules, tape, error, strategy)
    finally:
        close_world()
    return kept is not None


def replay(schedules: Schedules, values: list[int]) -> None:
    """Run a test under exactly one schedule.

    Args:
        schedules: the test.
        values: its tape.

    Raises:
        TapeError: the schedule is of another test, or of another version of it.
        BaseException: what the test raised.
    """
    __tracebackhide__ = True
    tape = Tape(values, strict=True)
    error = schedules.one(tape)
    if error is not None:
        schedules.tell(tape, "replayed")
        raise error


def _raise_small(schedules: Schedules, tape: Tape, error: BaseException, strategy: str) -> None:
    """Make a failing schedule small, run it once more, and raise what that raises."""
    __tracebackhide__ = True
    after, kind = schedules.runs, _kind(error)
    if not departures(tape.values):
        schedules.tell(tape, "the ordinary schedule")
        raise error
    found = f"found after {after} schedule{'s' if after > 1 else ''} by the {strategy} strategy"
    if isinstance(error, BlockedOutsideError) or "pytest-timeout" in str(error):
        schedules.tell(tape, f"{found}, and not made small: each run would take as long")
        raise error

    until = time.monotonic() + _SHRINKING_SECONDS

    def fails(candidate: Tape) -> bool:
        if time.monotonic() > until:
            return False
        found = schedules.one(candidate)
        return found is not None and _kind(found) == kind

    values = shrink(tape.values, fails, _ALLOWANCE)
    small = Tape(values)
    again = schedules.one(small)
    if again is None or _kind(again) != kind:
        schedules.tell(tape, f"{found}, but not seen again: the test is not deterministic")
        raise error
    left = departures(values)
    schedules.tell(
        small,
        f"{found}, shrunk to {left} departure{'s' if left > 1 else ''} from the ordinary one",
    )
    raise again


def _kind(error: BaseException) -> tuple[Any, ...]:
    """What tells one failure from another: its type, and the line that raised it."""
    trace = error.__traceback__
    at = None
    while trace is not None:
        code = trace.tb_frame.f_code
        at = code.co_filename, code.co_name, trace.tb_lineno
        trace = trace.tb_next
    return type(error), at


def _tapes(seed: int, most: int) -> Iterator[tuple[str, Tape]]:
    """A few tapes of each strategy in turn; the ordinary schedule is the first of all."""
    strategies: dict[str, Strategy] = {
        "systematic": Systematic(_DEPARTURES),
        "random": RandomChoice(seed),
        "pct": Pct(seed),
    }
    going = {name: strategy.tapes() for name, strategy in strategies.items()}
    count = 0
    while going:
        for name, tapes in list(going.items()):
            for _ in range(_PROBES):
                if count == most:
                    return
                tape = next(tapes, None)
                if tape is None:
                    del going[name]
                    break
                count += 1
                yield name, tape
