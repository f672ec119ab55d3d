"""``fit``: a scenario from a recording, and how well it stands for it.

Retries are not like first attempts: they are made because something went wrong, which may be over,
or not. So where ten of them have ended they are fitted by themselves, as a what-if draws them
(``simulation.recording.draws``).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime import WorkerPoolConfig
from runtime.core import CoreSettings
from runtime.core.records import (
    UNSET,
    AbortRequested,
    CancelRequested,
    ResizeRequested,
    TaskSubmitted,
)
from runtime.journal import Journal
from simulation.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Uniform,
)
from simulation.fit.arrivals import ArrivalFit, fit_arrivals
from simulation.fit.durations import REJECTED, DurationFit, fit_durations
from simulation.fit.failures import FailureFit, fit_failures
from simulation.models import Fails, Modelled
from simulation.outcome import measure
from simulation.recording.draws import FEWEST
from simulation.recording.read import Recording
from simulation.scenario import Scenario
from simulation.statistics import Interval
from simulation.statistics.prediction import next_value
from simulation.whatif.answer import DishonestError
from simulation.whatif.measures import check_runs
from simulation.whatif.parallel import Workers
from simulation.whatif.runs import Trial, run_all
from simulation.whatif.trust import LARGEST_ERROR
from simulation.whatif.work import Work, open_work
from simulation.workload import Batch, SyntheticWorkload

__all__ = ["COMPARED", "AttemptFit", "Compared", "Fit", "GroupFit", "fit"]

#: Measures of the scenario that are held against the recording.
COMPARED: Final = ("makespan_seconds", "success_rate", "attempts", "task_seconds_p95")
#: Replications of the scenario: enough for an interval of the next run without a distribution.
_RUNS: Final = 39


@dataclass(frozen=True)
class AttemptFit:
    """Attempts of a group.

    Args:
        durations: how long they take.
        failures: how they fail.
    """

    durations: DurationFit
    failures: FailureFit


@dataclass(frozen=True)
class GroupFit:
    """A group of tasks of one priority.

    Args:
        group: its name.
        priority: its priority.
        tasks: how many.
        arrivals: how they come.
        durations: how long their attempts take; their first ones, where there are ``retries``.
        failures: how they fail.
        retries: the same of their retries, where enough have ended to fit them by themselves.
    """

    group: str
    priority: int
    tasks: int
    arrivals: ArrivalFit
    durations: DurationFit
    failures: FailureFit
    retries: AttemptFit | None

    @property
    def attempts(self) -> list[tuple[str, AttemptFit]]:
        """What was fitted, each with what it is of: ``""`` for all attempts."""
        one = AttemptFit(self.durations, self.failures)
        if self.retries is None:
            return [("", one)]
        return [("first attempts", one), ("retries", self.retries)]


@dataclass(frozen=True)
class Compared:
    """A measure of the scenario beside the recording's.

    Args:
        measure: which.
        recorded: in the recording.
        simulated: of the scenario: the mean, and where one run lies, 95 times in 100.
        error: (simulated - recorded) / recorded; of a rate, simulated - recorded.
    """

    measure: str
    recorded: float
    simulated: Interval
    error: float


@dataclass(frozen=True)
class Fit:
    """A scenario from a recording.

    Args:
        path: the journal.
        text: the scenario, as a file.
        scenario: the same, read.
        groups: what was fitted.
        compared: the scenario beside the recording.
        runs: replications of the scenario.
        seed: the first seed.
        notes: what the scenario leaves out, each a sentence.
    """

    path: str
    text: str
    scenario: Scenario
    groups: list[GroupFit]
    compared: list[Compared]
    runs: int
    seed: int
    notes: list[str]


def fit(
    journal: Work | Journal | str | Path,
    *,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    processes: int | None = 1,
    client: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Make a scenario that stands for a recording.

    Args:
        journal: a journal, or its path.
        runs: replications of the scenario that are held against the recording; 39 by default.
        seed: keys the tests, and is the first replication's.
        force: whether to answer also where the scenario does not stand for the recording.
        processes: how many compute; ``None`` for one a processor. The answer is the same.
        client: computes in their place, see ``Workers``.
        progress: called with the runs done and their number.

    Returns:
        The scenario and how well it fits.

    Raises:
        JournalError: the journal cannot be used.
        NondeterminismError: it does not replay.
        DishonestError: it is no recording of a whole run, or the scenario's makespan is more than
            10% off; in the second case its ``answer`` is the fit.
        ValueError: there is nothing in it that could be fitted.
        WorkerLostError: a worker process was killed.
    """
    check_runs(runs, seed)
    if not isinstance(journal, Work) and str(journal).endswith(".toml"):
        raise ValueError(f"{journal}: is a scenario already; fit takes a journal")
    work = open_work(journal, force=force)
    recording = work.recording
    if recording is None:
        raise ValueError(f"{work.path}: is a scenario already; fit takes a journal")
    measures = measure(recording.run)
    groups = _groups(recording, measures["makespan_seconds"], seed)
    config = _config(recording.settings)
    scenario = Scenario(config, SyntheticWorkload(_batches(groups)))
    count = runs or _RUNS
    opened = open_work(scenario)
    with Workers(opened, processes=processes, client=client) as workers:
        trial = Trial(opened.settings)
        (found,) = run_all(workers, opened, [trial], count, seed, progress)
    sides, _ = found.never()
    compared = [
        _compared(name, measures[name], next_value([side.measures[name] for side in sides]))
        for name in COMPARED
    ]
    notes = [*_notes(recording, groups), *work.notes]
    text = _text(work.path, config, groups, compared, notes)
    answer = Fit(work.path, text, scenario, groups, compared, count, seed, notes)
    makespan = compared[0]
    if not abs(makespan.error) <= LARGEST_ERROR and not force:
        raise DishonestError(
            f"{work.path}: the fitted scenario's makespan is {makespan.error:+.1%} off the "
            f"recording's {makespan.recorded:,.3f} s; more than {LARGEST_ERROR:.0%} is too much "
            f"for it to stand for the recording{_hint(recording, makespan)}. What-ifs of the "
            f"recording itself need no scenario: replay, sweep and recommend take the journal",
            answer,
        )
    return answer


def _hint(recording: Recording, makespan: Compared) -> str:
    """What is most likely amiss."""
    if any(outage.sure for outage in recording.outages):
        return " (it met an outage, which a scenario fitted to it does not have)"
    one = makespan.simulated
    if one.low <= makespan.recorded <= one.high:
        return (
            f" (one run of it takes {one.low:,.3f} to {one.high:,.3f} s, so it may be chance: when "
            f"its longest tasks come)"
        )
    return ""


def _groups(recording: Recording, makespan: float, seed: int) -> list[GroupFit]:
    tasks: dict[tuple[str, int], list[int]] = defaultdict(list)
    submitted: dict[int, int] = {}
    for at_ns, part in recording.arrivals:
        if isinstance(part, TaskSubmitted):
            tasks[part.group, part.priority].append(part.task)
            submitted[part.task] = at_ns
    first = min(submitted.values())
    found = []
    for (group, priority), numbers in tasks.items():
        if not _durations(recording, numbers)[0]:
            raise ValueError(
                f"group {group!r}: no attempt of its {len(numbers)} tasks came to its end, so "
                f"there is no duration to fit"
            )
        apart = all(
            len(_durations(recording, numbers, kind)[0]) >= FEWEST for kind in (False, True)
        )
        one = _attempts(recording, numbers, False if apart else None, seed)
        instants = sorted((submitted[task] - first) / 1e9 for task in numbers)
        found.append(
            GroupFit(
                group,
                priority,
                len(numbers),
                fit_arrivals(instants, makespan, seed),
                one.durations,
                one.failures,
                _attempts(recording, numbers, True, seed) if apart else None,
            )
        )
    return found


def _attempts(
    recording: Recording, tasks: Sequence[int], retries: bool | None, seed: int
) -> AttemptFit:
    seen, censored = _durations(recording, tasks, retries)
    return AttemptFit(fit_durations(seen, censored, seed), fit_failures(recording, tasks, retries))


def _durations(
    recording: Recording, tasks: Sequence[int], retries: bool | None = None
) -> tuple[list[int], list[int]]:
    """Those seen, and bounds of those cut off; of retries, of first attempts, or of all."""
    wanted = set(tasks)
    seen = [
        did.duration_ns
        for (task, attempt), did in recording.done.items()
        if task in wanted and retries in (None, attempt > 1) and did.duration_ns is not None
    ]
    censored = [
        bound
        for (task, attempt), bound in recording.censored.items()
        if task in wanted and retries in (None, attempt > 1)
    ]
    return seen, censored


def _config(settings: CoreSettings) -> WorkerPoolConfig:
    def seconds(ns: int | None) -> float | None:
        return None if ns is None else ns / 1e9

    return WorkerPoolConfig(
        max_workers=settings.max_workers,
        task_timeout_seconds=seconds(settings.timeout_ns),
        max_retries=settings.max_retries,
        backoff_base_seconds=settings.backoff_base_ns / 1e9,
        backoff_max_seconds=settings.backoff_max_ns / 1e9,
        jitter=settings.jitter,
        ageing_seconds=seconds(settings.ageing_ns),
        max_abandoned_threads=settings.max_abandoned,
        seed=settings.seed,
    )


def _batches(groups: list[GroupFit]) -> Iterator[Batch]:
    for one in groups:
        model = _model(one)
        for burst in one.arrivals.bursts:
            yield Batch(
                burst.tasks,
                model,
                rate_per_second=one.arrivals.rate_per_second,
                start_seconds=burst.start_seconds,
                priority=one.priority,
                group=one.group,
            )


def _model(one: GroupFit) -> Modelled:
    fits = [fitted for _, fitted in one.attempts]
    outcomes = [fitted.failures.fails for fitted in fits]
    return Modelled(
        [fitted.durations.distribution for fitted in fits], outcomes if any(outcomes) else None
    )


def _compared(name: str, recorded: float, simulated: Interval) -> Compared:
    if name.endswith("_rate"):
        error = simulated.mean - recorded
    elif recorded:
        error = (simulated.mean - recorded) / recorded
    else:
        error = 0.0 if simulated.mean == 0 else math.inf
    return Compared(name, recorded, simulated, error)


def _notes(recording: Recording, groups: list[GroupFit]) -> list[str]:
    notes = []
    for one in groups:
        where = f"group {one.group!r}: "
        arrivals = one.arrivals
        for of, fitted in one.attempts:
            notes += _notes_on(where + (f"{of}: " if of else ""), fitted)
        if arrivals.kind == "poisson" and min(arrivals.gaps_p_value, arrivals.even_p_value) < (
            REJECTED / 2  # two tests
        ):
            notes.append(
                f"{where}its arrivals are no Poisson process (gaps: p = "
                f"{arrivals.gaps_p_value:.2g}, evenness: p = {arrivals.even_p_value:.2g}); a "
                f"scenario has no other kind that is spread out"
            )
    specs = recording.specs.values()
    for count, what in (
        (sum(spec.timeout_ns is not UNSET for spec in specs), "timeout of their own"),
        (sum(spec.max_retries is not UNSET for spec in specs), "number of retries of their own"),
        (sum(spec.deadline_at_ns is not None for spec in specs), "deadline"),
    ):
        if count:
            notes.append(f"{count} tasks have a {what}; a scenario's tasks have none")
    stops = sum(
        isinstance(part, CancelRequested | AbortRequested) for _, part in recording.arrivals
    )
    if stops:
        notes.append(f"cancels and aborts are left out ({stops} in the recording)")
    resizes = sum(isinstance(part, ResizeRequested) for _, part in recording.arrivals)
    if resizes:
        notes.append(
            f"resizes are left out ({resizes} in the recording): the scenario "
            f"has {recording.settings.max_workers} workers from beginning to end"
        )
    return notes


def _notes_on(where: str, fitted: AttemptFit) -> list[str]:
    notes = []
    durations = fitted.durations
    if durations.beyond:
        notes.append(
            f"{where}{durations.beyond:.1%} of the attempts took longer than any that was seen "
            f"to end; their durations are the {durations.kind}'s extrapolation"
        )
        if durations.p_value < REJECTED:
            notes.append(f"{where}the {durations.kind} does not fit (p = {durations.p_value})")
    return notes + [where + note for note in fitted.failures.notes]


# ------------------------------------------------------------------------------------- as a file


def _text(
    path: str,
    config: WorkerPoolConfig,
    groups: list[GroupFit],
    compared: list[Compared],
    notes: list[str],
) -> str:
    makespan = compared[0]
    lines = [
        f"# Fitted to {_comment(Path(path).name)} by 'python -m simulation fit'.",
        f"# Makespan: {makespan.recorded:.3f} s recorded, {makespan.simulated.mean:.3f} s here.",
        *(f"# Note: {_comment(note)}" for note in notes),
        "",
        "[pool]",
    ]
    for name in (
        "max_workers",
        "task_timeout_seconds",
        "max_retries",
        "backoff_base_seconds",
        "backoff_max_seconds",
        "jitter",
        "ageing_seconds",
        "max_abandoned_threads",
        "seed",
    ):
        value = getattr(config, name)
        if value is not None:
            lines.append(f"{name} = {_value(value)}")
        elif name == "task_timeout_seconds":
            lines.append(f"{name} = 1e9  # none was set")
    for one in groups:
        for number, burst in enumerate(one.arrivals.bursts, 1):
            of = len(one.arrivals.bursts)
            lines += ["", "[[tasks]]" + (f"  # burst {number} of {of}" if of > 1 else "")]
            lines += [f"count = {burst.tasks}", f"group = {_value(one.group)}"]
            if one.priority:
                lines.append(f"priority = {one.priority}")
            if burst.start_seconds:
                lines.append(f"start_seconds = {_value(burst.start_seconds)}")
            if one.arrivals.rate_per_second is not None:
                lines.append(f"rate_per_second = {_value(one.arrivals.rate_per_second)}")
            fits = [fitted for _, fitted in one.attempts]
            durations = [_distribution(fitted.durations.distribution) for fitted in fits]
            lines += _by_attempt("duration", durations)
            if any(fitted.failures.fails for fitted in fits):
                lines += _by_attempt("fails", [_fails(fitted.failures.fails) for fitted in fits])
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _value(value: Any) -> str:
    """A TOML value; a JSON string is one where it has no surrogates and no DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _distribution(distribution: Distribution) -> str:
    match distribution:
        case Constant(seconds):
            return _value(float(seconds))
        case Exponential(mean):
            return f"{{ exponential = {{ mean = {mean!r} }} }}"
        case LogNormal(median, sigma):
            return f"{{ lognormal = {{ median = {median!r}, sigma = {sigma!r} }} }}"
        case Uniform(low, high):
            return f"{{ uniform = {{ low = {low!r}, high = {high!r} }} }}"
        case Empirical(values):
            return f"{{ empirical = {{ values = {list(values)!r} }} }}"
    raise TypeError(f"{distribution!r}: no distribution of a scenario")


def _by_attempt(name: str, values: list[str]) -> list[str]:
    """One value for all attempts, or one for first attempts and one for retries."""
    if len(set(values)) == 1:
        return [f"{name} = {values[0]}"]
    first, retries = values
    return [
        f"{name} = [",
        f"    {first},  # first attempts",
        f"    {retries},  # retries",
        "]",
    ]


def _fails(fails: Fails | None) -> str:
    if fails is None:
        return "{ probability = 0.0 }"
    parts = [f"probability = {fails.probability!r}", f"error = {_value(fails.error)}"]
    if not fails.retryable:
        parts.append("retryable = false")
    if fails.retry_after_seconds is not None:
        parts.append(f"retry_after_seconds = {fails.retry_after_seconds!r}")
    return f"{{ {', '.join(parts)} }}"
