"""The rest of a run: when it ends, and how likely it is in time.

A journal that ends in the middle of a run is simulated again from its beginning, under the setting
that it has. Attempts that ended do what they did, so the run comes to where it is now by itself;
what is open is drawn, anew in each of R replications:

* an attempt that runs now takes longer than it has run so far, and is drawn from those of its group
  that did; one that has not begun, from all of its group. Those that still run count there as
  *censored* (Kaplan-Meier): leaving them out would take the work for shorter than it is, since what
  has ended by now is the short part of it;
* the pool that is drawn from is itself resampled in each replication, since what was seen so far
  is one sample (``simulation.statistics.resampling``);
* of an attempt that has run longer than all but m of its group, nobody has seen the like with a
  probability of 1 / (m + 1); it then goes on beyond the longest, and among the longest a duration
  lies between two (``simulation.statistics.tails``). For the tail, attempts that still run count
  with the time that they were watched;
* retries are drawn from retries. Where few have ended and some still run, most of what those come
  to lies beyond all that retries have shown: there a retry is taken to be like any attempt of its
  group that has run as long, and not for one longer than them all;
* few retries have ended, early or late in a run, and often none of them has failed again: an
  attempt that is drawn to succeed fails with a probability that is drawn for what so few ends leave
  open, apart for first attempts and for retries.

No task is expected beyond those that were submitted. The interval is one of the *next* value: where
this very run's end lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from random import Random
from typing import Final

from msgspec.structs import replace as replace_in

from runtime.config import check_int
from runtime.core import CoreSettings
from runtime.core.keyed import Purpose, uniform
from runtime.journal import Header, Journal, read_journal
from simulation.models import Behaviour, Fails
from simulation.outcome import measure
from simulation.recording.arrivals import AUTO
from simulation.recording.draws import FEWEST, Draw
from simulation.recording.following import following_of
from simulation.recording.read import Recording, read_recording
from simulation.recording.workload import RecordedWorkload
from simulation.replay import replay
from simulation.simulate import Run, simulate
from simulation.statistics.intervals import Interval
from simulation.statistics.prediction import expansion, next_value
from simulation.statistics.rates import wilson
from simulation.statistics.tails import Curve, Tail, tail_of
from simulation.statistics.unseen import unseen_rate
from simulation.whatif.nextrun import NextRun, Sample
from simulation.whatif.replication import keyed
from simulation.workload import Sampler

__all__ = ["Forecast", "NothingSeenError", "forecast"]

#: Replications by default, and with so many tasks that each takes a while.
_RUNS, _RUNS_OF_MANY, _MANY = 199, 39, 3_000
_UNSEEN: Final = Fails(error="Unseen")
_KEY: Final = 0x464F_5245  # keeps these draws apart from others under the same seed


class NothingSeenError(ValueError):
    """There is nothing to forecast from: no attempt of a group has ended so far."""


@dataclass(frozen=True)
class Forecast:
    """When a run ends.

    Args:
        at: when this was asked, in epoch seconds.
        open_tasks: tasks that had not ended then.
        ended_tasks: tasks that had.
        ends_at: when the last task ends, in epoch seconds.
        remaining_seconds: the same from ``at`` on.
        success_rate: of all tasks, at the end.
        deadline: what was asked about, in epoch seconds.
        meets_deadline: the probability that the last task ends by then, with what the number of
            replications leaves open of it.
        runs: replications.
        seed: the first of their seeds.
        notes: what to bear in mind.
    """

    at: float
    open_tasks: int
    ended_tasks: int
    ends_at: Interval
    remaining_seconds: Interval
    success_rate: Interval
    deadline: float | None
    meets_deadline: Interval | None
    runs: int
    seed: int
    notes: list[str] = field(default_factory=list)


def forecast(
    journal: Journal | str | Path,
    *,
    at_ns: int | None = None,
    deadline: float | None = None,
    older: Journal | str | Path | None = None,
    runs: int | None = None,
    seed: int = 0,
) -> Forecast:
    """Forecast the rest of a run from its journal so far.

    Args:
        journal: the journal of a run that goes on, or its path; it may be read while it is written.
        at_ns: the present, in nanoseconds on that pool's clock; the journal's last instant by
            default.
        deadline: an instant in epoch seconds: how likely does everything end by then?
        older: the journal of an older run of the same kind, for groups of which too few attempts
            have ended; where no task was submitted yet, all that it did is expected.
        runs: replications; 199 by default, 39 where there are more than 3,000 tasks.
        seed: keys the draws.

    Returns:
        The forecast.

    Raises:
        JournalError: a journal cannot be used.
        NondeterminismError: it does not replay.
        NothingSeenError: no attempt of a group has ended, and there is no older journal.
        TypeError: an argument of the wrong type.
        ValueError: ``runs`` is not positive.
    """
    if deadline is not None and (
        isinstance(deadline, bool) or not isinstance(deadline, int | float)
    ):
        raise TypeError(f"deadline={deadline!r}: must be an instant in epoch seconds")
    if runs is not None:
        check_int("runs", runs, 1, 1_000_000)
    read = _replayed(journal)
    now_ns = read.records[-1].at if read.records else 0
    if at_ns is not None:
        now_ns = max(now_ns, at_ns)
    past = None if older is None else read_recording(_replayed(older))
    recording = read_recording(read)
    notes: list[str] = []
    if recording.specs:
        notes += _notes_on_what_may_come(recording, past)
        tasks, ended = len(recording.specs), len(recording.run.ends)
        rest = _Rest(recording, past, now_ns)
        one_run: Callable[[int], Run] = rest.run
        seen = rest.seen
    elif past is not None:
        tasks, ended = len(past.specs), 0
        whole = _Whole(Sample(past), recording.settings, now_ns)
        one_run = whole.run
        seen = tasks
    else:
        raise NothingSeenError(
            f"{read.path}: no task was submitted yet; with the journal of an older run, its work "
            f"is expected"
        )
    wanted = runs or (_RUNS if tasks <= _MANY else _RUNS_OF_MANY)
    made = [one_run(key) for key in range(seed, seed + wanted)]
    ends: list[float] = [
        max(run.ended_at_ns[-1], now_ns) if run.ended_at_ns else now_ns for run in made
    ]
    lost = sum(run.unfinished > 0 for run in made)
    if lost:
        notes.append(f"in {lost} of {wanted} replications some tasks never end")
        ends = [math.inf if run.unfinished else end for run, end in zip(made, ends, strict=True)]
    return _summary(read.header, now_ns, tasks, ended, seen, made, ends, deadline, seed, notes)


def _notes_on_what_may_come(recording: Recording, past: Recording | None) -> list[str]:
    """That tasks may come which were not submitted yet: nobody knows of them."""
    notes = []
    judged = following_of(recording)
    if judged.leaders or judged.possible:
        notes.append(
            f"{_times(len(judged.leaders or judged.possible))} tasks were submitted when others "
            f"had ended: what has not been submitted yet, such as a next phase, is not in this"
        )
    more = 0 if past is None else len(past.specs) - len(recording.specs)
    if more > 0:
        notes.append(
            f"the older run had {more:,} more tasks than were submitted so far: they are not in "
            f"this"
        )
    return notes


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _summary(
    header: Header,
    now_ns: int,
    tasks: int,
    ended: int,
    seen: int,
    made: list[Run],
    ends: list[float],
    deadline: float | None,
    seed: int,
    notes: list[str],
) -> Forecast:
    remaining = _time_left([(end - now_ns) / 1e9 for end in ends], seen)
    at = (now_ns + header.epoch_ns) / 1e9
    in_time = None
    if deadline is not None:
        kept = sum((end + header.epoch_ns) / 1e9 <= deadline for end in ends)
        in_time = wilson(kept, len(ends))
    return Forecast(
        at=at,
        open_tasks=tasks - ended,
        ended_tasks=ended,
        ends_at=replaced(
            remaining, mean=at + remaining.mean, low=at + remaining.low, high=at + remaining.high
        ),
        remaining_seconds=remaining,
        success_rate=next_value([measure(run)["success_rate"] for run in made]),
        deadline=deadline,
        meets_deadline=in_time,
        runs=len(made),
        seed=seed,
        notes=notes,
    )


def _time_left(left: list[float], seen: int) -> Interval:
    """Where the time left lies, with room for how few attempts were seen.

    Args:
        left: seconds, of each replication; infinite where something never ends.
        seen: attempts that were drawn from.
    """
    found = next_value(left)
    if not math.isfinite(found.high):
        return found
    factor = expansion(seen)
    return replaced(
        found,
        # not before the earliest replication: what runs now takes its time, however few were seen
        low=max(min(left), found.mean - factor * (found.mean - found.low)),
        high=found.mean + factor * (found.high - found.mean),
    )


def _replayed(journal: Journal | str | Path) -> Journal:
    read = journal if isinstance(journal, Journal) else read_journal(journal)
    found = replay(read)
    found.raise_for_divergence()
    return found.journal


class _Whole:
    """A run that has not begun: all that the older one did, from now on."""

    def __init__(self, sample: Sample, settings: CoreSettings, now_ns: int) -> None:
        self._sample = sample
        self._settings = settings
        self._now = now_ns

    def run(self, seed: int) -> Run:
        # under another setting its phases would come at other instants
        workload = NextRun(self._sample, self._settings, self._sample.luck(seed), arrivals=AUTO)
        run = simulate(workload, keyed(self._settings, seed), seed)
        run.ended_at_ns = [self._now + at for at in run.ended_at_ns]
        return run


class _Rest:
    """A run that goes on.

    Args:
        recording: so far.
        past: an older run.
        now_ns: the present.
    """

    def __init__(self, recording: Recording, past: Recording | None, now_ns: int) -> None:
        self._recording = recording
        for key, begun_at in recording.begun_at.items():
            if key not in recording.stopped_at:  # it runs now
                recording.censored[key] = now_ns - begun_at
        recording.last_at = now_ns
        self._groups: dict[str, list[int]] = {}
        for task, _ in recording.begun_at:
            self._groups.setdefault(recording.specs[task].group, []).append(task)
        ended = {end.task for end in recording.run.ends}
        open_groups = {spec.group for task, spec in recording.specs.items() if task not in ended}
        few = [g for g in sorted(open_groups) if len(recording.by_group.get(g, ())) < FEWEST]
        if past is not None:
            for group in few:
                self._groups.setdefault(group, []).extend(_take_over(recording, past, group))
        empty = [group for group in few if not recording.by_group.get(group)]
        if empty:
            raise NothingSeenError(
                f"no attempt of {', '.join(map(repr, empty))} has ended so far, so nobody knows "
                f"how long one takes; ask later, or give the journal of an older run"
            )
        self._groups = {group: list(dict.fromkeys(tasks)) for group, tasks in self._groups.items()}
        self.seen = min((len(recording.by_group[group]) for group in open_groups), default=0)
        running: dict[str, list[int]] = {group: [] for group in recording.by_group}
        for (task, _), bound in recording.censored.items():
            running.setdefault(recording.specs[task].group, []).append(bound)
        self._tails: dict[str, Tail] = {
            group: tail_of([took for took, _ in attempts], running[group])
            for group, attempts in recording.by_group.items()
        }
        self._ended: dict[tuple[str, bool], int] = {}
        self._failures: dict[str, Fails] = {}
        for (task, attempt), did in recording.done.items():
            group = recording.specs[task].group
            kind = group, attempt > 1
            self._ended[kind] = self._ended.get(kind, 0) + 1
            if did.failure is not None:
                self._failures.setdefault(group, did.failure)

    def run(self, seed: int) -> Run:
        workload = self.workload(seed)
        return simulate(workload, keyed(self._recording.settings, seed), seed)

    def workload(self, seed: int) -> _Continued:
        draw = Random((_KEY << 64) | seed).random
        pool: list[int] = []
        for group in sorted(self._groups):
            tasks = self._groups[group]
            pool += [tasks[int(draw() * len(tasks))] for _ in tasks]
        curves = {group: tail.drawn(draw) for group, tail in self._tails.items()}
        unseen = {}
        for group in self._tails:
            firsts, retries = (self._ended.get((group, retry), 0) for retry in (False, True))
            unseen[group, False] = unseen_rate(firsts, draw())
            # a retry may do better or worse; what is known of firsts counts for a few of them
            unseen[group, True] = unseen_rate(retries + min(FEWEST, firsts), draw())
        return _Continued(
            self._recording,
            keyed(self._recording.settings, seed),
            pool,
            curves,
            unseen,
            self._failures,
        )


def _take_over(recording: Recording, past: Recording, group: str) -> list[int]:
    """Put an older run's attempts beside the recorded ones, under numbers that no task has."""
    taken = []
    for (task, attempt), begun_at in past.begun_at.items():
        if past.specs[task].group != group:
            continue
        old, new = (task, attempt), (-task, attempt)
        taken.append(-task)
        recording.specs[-task] = past.specs[task]
        recording.begun_at[new] = begun_at - past.last_at - 1  # before this run
        for name in ("done", "censored", "fates", "heeded"):
            known = getattr(past, name)
            if old in known:
                getattr(recording, name)[new] = known[old]
    recording.by_group[group] = sorted(
        [*recording.by_group.get(group, ()), *past.by_group.get(group, ())],
        key=lambda attempt: attempt[0],
    )
    return taken


class _Continued(RecordedWorkload):
    """What ended does what it did; what is open is drawn."""

    def __init__(
        self,
        recording: Recording,
        settings: CoreSettings,
        pool: list[int],
        curves: dict[str, Curve],
        unseen: dict[tuple[str, bool], float],
        failures: dict[str, Fails],
    ) -> None:
        super().__init__(recording, settings, pool=pool)
        self._curves = curves
        self._unseen = unseen
        self._failures = failures

    def sampler(self, seed: int) -> Sampler:
        recording = self._recording
        known = super().sampler(seed)

        def sample(task: int, attempt: int) -> Behaviour:
            key = task, attempt
            behaviour = known(task, attempt)
            if key in recording.stopped_at:
                return behaviour
            group = recording.specs[task].group
            bound = recording.censored.get(key, -1)
            curve, took = self._curves[group], behaviour.duration_ns
            chance = curve.beyond(bound)
            u = uniform(seed, task, attempt, Purpose.CHOICE)
            if u < chance:
                took = round(curve.exceed(1.0 - u / chance, bound))
            elif took is None:
                took = round(curve.draw(1.0 - u, self.unknown.get(key, bound)))
            else:
                took = round(curve.tail.between(took, u, bound))
            took = max(took, bound + 1)
            failure = behaviour.failure
            if failure is None and u >= 1.0 - self._unseen[group, attempt > 1]:
                failure = self._failures.get(group, _UNSEEN)
            return replace_in(behaviour, duration_ns=took, failure=failure)

        return sample

    def _take(self, task: int, attempt: int, draw: Draw) -> Behaviour:
        if draw.duration_ns is None:
            # Few like it have ended: it is like any that ran as long. Where none did, those that
            # still run say that it takes longer than all; but how likely that is, the curve says,
            # and it is not to be said twice.
            group = self._recording.specs[task].group
            u = uniform(self._seed, task, attempt, Purpose.OUTCOME)
            bound = self._recording.censored.get((task, attempt), -1)
            seen = self._pools().draw_seen(group, u, draw.longer_than_ns)
            if seen.duration_ns is None:
                seen = self._pools().draw_seen(group, u, bound)
            draw = seen if seen.duration_ns is not None else draw
        return super()._take(task, attempt, draw)
