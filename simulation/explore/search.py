"""The search: run schedules until one fails, make it small, and say how to run it again."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from runtime.config import check_int
from runtime.core import Core
from runtime.core.invariants import InvariantBroken
from runtime.core.states import TaskState
from runtime.core.stories import tell
from simulation.explore.coverage import Coverage, Summary
from simulation.explore.faults import check_faults, check_modelled
from simulation.explore.properties import Broken
from simulation.explore.shrink import shrink
from simulation.explore.strategies import STRATEGIES, Pct, RandomChoice, Strategy, Systematic
from simulation.explore.tape import Tape, TapeError, departures
from simulation.explore.token import read_token, write_token
from simulation.explore.world import CoreMaker, World, told
from simulation.scenario import Property, Scenario, ScenarioError, read_scenario
from simulation.world.patches import close_world, open_world

__all__ = ["Failure", "Report", "Target", "explore", "replay_token", "run_schedule"]

#: What is explored: a TOML scenario, its path, or a function that sets up a world.
Target = str | Path | Scenario | Callable[[World], object]
_SETUP = Callable[[World], object]
_PROBES: Final = 4  # schedules that each strategy has before the next one's turn


class Failure(msgspec.Struct, frozen=True):
    """A schedule that fails, made small.

    Args:
        name: the property.
        message: what was found.
        token: the schedule, for ``replay_token``.
        departures: choices that are not the ordinary one.
        found_after: schedules that were run until it was found.
        strategy: which found it.
        digest: of the decisions up to the failure.
        story: the schedule, a line a step; what was not ordinary stands before its step.
    """

    name: str
    message: str
    token: str
    departures: int
    found_after: int
    strategy: str
    digest: str
    story: list[str]


class Report(msgspec.Struct, frozen=True):
    """What came of a search.

    Args:
        schedules: how many were run, without those that made a failure small.
        failure: what was found, ``None`` for nothing.
        coverage: what was seen.
        exhausted: whether every tape within the bound was run.
        digest: of the last run's decisions, where the search was cut off by ``schedules``.
    """

    schedules: int
    failure: Failure | None
    coverage: Summary
    exhausted: bool
    digest: str


def explore(
    target: Target,
    schedules: int = 1_000,
    seed: int = 0,
    *,
    strategy: str | None = None,
    departures: int = 2,
    faults: Iterable[str] | None = None,
    core: CoreMaker = Core,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Search for a schedule in which something goes wrong.

    Args:
        target: a scenario, its TOML file, or a function that sets up a ``World``.
        schedules: how many to run at most.
        seed: of the search, and of what tasks draw.
        strategy: ``random``, ``pct`` or ``systematic``; ``None`` for all of them in turn, as far as
            ``departures`` bounds the last.
        departures: choices that may depart from the ordinary, for ``systematic``.
        faults: which faults are on, ``None`` for all.
        core: what makes the core.
        progress: told how many schedules were run of how many.

    Returns:
        What came of it.

    Raises:
        ValueError: an argument is out of bounds, or the scenario cannot be used.

    Example:
        >>> from simulation import Modelled
        >>> def scenario(world):
        ...     world.configure(max_workers=1)
        ...     slow = world.submit("slow", Modelled(duration=3))
        ...     world.always(lambda: world.outcome(slow) != "cancelled", "nobody cancels")
        >>> report = explore(scenario, schedules=300)
        >>> report.failure.name, report.failure.departures
        ('always nobody cancels', 1)
    """
    check_int("schedules", schedules, 1, 1_000_000_000)
    check_int("seed", seed, 0, (1 << 63) - 1)
    check_int("departures", departures, 0, 10)
    enabled = check_faults(faults)
    if faults is not None and isinstance(target, str | Path | Scenario):
        check_modelled(enabled)
    set_up = _set_up(target)
    coverage = Coverage()
    wanted: dict[str, bool] = {}
    done, digest = 0, ""
    searches = [
        (name, search, search.tapes()) for name, search in _searches(strategy, seed, departures)
    ]
    with ExitStack() as stack:
        for name, tape in _in_turn([(name, tapes) for name, _, tapes in searches]):
            world, error = _run(set_up, tape, seed, enabled, core)
            done += 1
            if world.pools and done == 1:  # once, rather than with the pools of each schedule
                open_world()
                stack.callback(close_world)
            coverage.add(world.seen)
            for sometimes, seen in world.properties.wanted.items():
                wanted[sometimes] = seen or wanted.get(sometimes, False)
            if error is not None:
                of = _called(target)
                failure = _small(set_up, tape, seed, enabled, core, error, done, name, of)
                return Report(done, failure, coverage.summary(), False, failure.digest)
            if progress is not None:
                progress(done, schedules)
            if done == schedules:
                digest = world.digest
                break
    for _, _, tapes in searches:
        next(tapes, None)  # whether the last that was run was the last of all
    exhausted = any(search.exhausted for _, search, _ in searches)
    never = [name for name, seen in wanted.items() if not seen]
    found = None
    if never:
        found = Failure(
            f"sometimes {never[0]}",
            f"sometimes {never[0]}: was never seen in {done} schedules",
            write_token(seed, (), _called(target)),
            0,
            done,
            "all",
            digest,
            [],
        )
    return Report(done, found, coverage.summary(), exhausted, digest)


def replay_token(
    target: Target, token: str, *, faults: Iterable[str] | None = None, core: CoreMaker = Core
) -> Report:
    """Run exactly one schedule again.

    Args:
        target: as for ``explore``, and the same one.
        token: of the schedule.
        faults: as for ``explore``.
        core: what makes the core.

    Returns:
        What came of it, not made smaller.

    Raises:
        TokenError: it is no token, or of another scenario.
        TapeError: it is not of this scenario.
    """
    seed, values = read_token(token, _called(target))
    enabled = check_faults(faults)
    world, error = _run(_set_up(target), Tape(values, strict=True), seed, enabled, core)
    coverage = Coverage()
    coverage.add(world.seen)
    failure = None
    if error is not None:
        failure = _failure(world, error, values, seed, 1, "replay", _called(target))
    return Report(1, failure, coverage.summary(), False, world.digest)


def run_schedule(
    target: Target, values: Sequence[int] = (), seed: int = 0, *, core: CoreMaker = Core
) -> World:
    """Run one schedule and look at its world.

    Args:
        target: as for ``explore``.
        values: the tape.
        seed: of what tasks draw.
        core: what makes the core.

    Returns:
        The world, after its end.
    """
    world, error = _run(_set_up(target), Tape(values), seed, check_faults(None), core)
    if error is not None:
        raise error
    return world


# ---------------------------------------------------------------- parts of it


def _called(target: Target) -> str:
    """What tells a scenario from others in a token: its function's name, or its file's."""
    if isinstance(target, str | Path):
        return Path(target).name
    return getattr(target, "__qualname__", "")


def _set_up(target: Target) -> _SETUP:
    if isinstance(target, str | Path):
        target = read_scenario(target)
    if not isinstance(target, Scenario):
        return target
    scenario = target
    if scenario.workload.machine is not None:
        raise ScenarioError(
            "cpu_share and [backends]: an exploration moves the ends of attempts itself, so what "
            "they meet means nothing in it; leave them out"
        )

    def set_up(world: World) -> None:
        config = scenario.config
        world.use((config.replace(seed=world.seed) if config.seed == 0 else config).core_settings())
        workload = scenario.workload
        world.arrive(workload.arrivals(world.seed), workload.sampler(world.seed))
        for wanted in scenario.properties:
            getattr(world, wanted.kind)(_predicate(world, wanted), wanted.text)

    return set_up


_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq,
    "!=": operator.ne, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip


def _predicate(world: World, wanted: Property) -> Callable[[], bool]:
    """What a scenario's file demands, as a function."""
    compare, number, count = _COMPARE[wanted.compare], wanted.number, wanted.count
    if count == "now_seconds":
        return lambda: compare(world.now_ns / 1e9, number)
    if count == "abandoned":
        return lambda: compare(world.core.abandoned, number)
    state = TaskState[count.upper()]
    return lambda: compare(world.core.counts()[state], number)


def _run(
    set_up: _SETUP, tape: Tape, seed: int, faults: frozenset[str], core: CoreMaker
) -> tuple[World, Exception | None]:
    world = World(tape, seed, faults, core)
    log = logging.getLogger("twinclock")
    before, log.disabled = log.disabled, True  # of thousands of pools nobody wants to read
    try:
        set_up(world)
    except TapeError:
        raise
    except Exception as error:  # a scenario that runs a pool itself asserts what it demands
        if not world.pools and not isinstance(error, AssertionError):
            raise
        return world, error
    finally:
        log.disabled = before
    try:
        world.run()
    except TapeError:
        raise
    except Exception as error:  # whatever a core with a bug raises is a find
        return world, error
    return world, None


def _name(error: Exception) -> str:
    if isinstance(error, Broken):
        return error.name
    if isinstance(error, InvariantBroken):
        return f"invariant {error.number}"
    return f"no {type(error).__name__}"


def _searches(strategy: str | None, seed: int, departures: int) -> list[tuple[str, Strategy]]:
    if strategy is not None and strategy not in STRATEGIES:
        raise ValueError(f"no strategy {strategy!r}: there are {', '.join(STRATEGIES)}")
    made: dict[str, Callable[[], Strategy]] = {
        "systematic": lambda: Systematic(departures),
        "random": lambda: RandomChoice(seed),
        "pct": lambda: Pct(seed),
    }
    return [(name, make()) for name, make in made.items() if strategy in (None, name)]


def _in_turn(searches: list[tuple[str, Iterator[Tape]]]) -> Iterator[tuple[str, Tape]]:
    """A few tapes of each in turn, until all have ended."""
    going = list(searches)
    while going:
        for entry in list(going):
            name, tapes = entry
            for _ in range(_PROBES):
                tape = next(tapes, None)
                if tape is None:
                    going.remove(entry)
                    break
                yield name, tape


def _small(
    set_up: _SETUP,
    tape: Tape,
    seed: int,
    faults: frozenset[str],
    core: CoreMaker,
    error: Exception,
    found_after: int,
    strategy: str,
    of: str,
) -> Failure:
    name = _name(error)

    def fails(candidate: Tape) -> bool:
        _, found = _run(set_up, candidate, seed, faults, core)
        return found is not None and _name(found) == name

    values = shrink(tape.values, fails)
    world, found = _run(set_up, Tape(values), seed, faults, core)
    if found is None:  # not the same twice: tell what was seen, and that it was not seen again
        message = f"{name}: not seen again in a second run of the same schedule"
        raise RuntimeError(f"the scenario is not deterministic: {message}")
    return _failure(world, found, values, seed, found_after, strategy, of)


def _failure(
    world: World,
    error: Exception,
    values: Sequence[int],
    seed: int,
    found_after: int,
    strategy: str,
    of: str,
) -> Failure:
    return Failure(
        _name(error),
        f"{error}",
        write_token(seed, values, of),
        departures(values),
        found_after,
        strategy,
        world.digest,
        _story(world),
    )


def _story(world: World) -> list[str]:
    lines = []
    for pool in world.pools:
        lines += [f"  * {strike.strip()}" for strike in pool.strikes]
        named = pool.told
        lines += [f"{named(told.task)}: {told.line().strip()}" for told in tell(pool.transitions)]
    strikes = world.strikes
    for index, step in enumerate(world.steps):
        lines.extend(f"  * {what}" for at, what in strikes if at == index)
        lines.append(told(step))
    lines.extend(f"  * {what}" for at, what in strikes if at >= len(world.steps))
    return lines
