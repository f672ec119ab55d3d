"""A recording as a workload under a setting.

An attempt does what it did in the recording, by (task, attempt). What the recording does not tell:

* an attempt that is *censored* took longer than it was given. Where a setting gives it no longer
  than that, it is abandoned again; one that heeded its token heeds again, after as long. Where it
  gives longer, a longer duration is drawn;
* an attempt that never happened (a retry that is only allowed now) is drawn, duration and outcome
  together. ``simulation.recording.draws`` says from which attempts;
* an attempt that ran in an *outage* and now runs at another time did what it did because of the
  time: it is drawn from healthy ones. One that now runs in the outage fails as attempts failed in
  it, as often; one that it stops is stopped (``simulation.recording.outages``).

**Where nobody knows.** A draw may fall beyond all that was seen: such an attempt takes longer than
any whose end is known. ``beyond`` says what it does then, and two runs with the same seed are the
two ends of what may be true:

* ``beyond="shortest"``: it succeeds just above what is known; the optimistic end;
* ``beyond="never"``: it never ends by itself; the pessimistic end.

``unknown_in(run)`` counts the attempts that make the difference: where it is 0, both are the same.
That an attempt is abandoned again makes none, unless its slot waits for it, since as many as may
be abandoned are: then it matters when it comes home (``beyond`` says so, too).
Where it is not, an answer is the span from the one to the other, or a refusal where that is too
wide. (That less time for each attempt means less for the whole is so but for anomalies of the
schedule: Graham, SIAM J. Appl. Math. 17(2), 1969.)

Draws are keyed by (seed, task, attempt, purpose), so that variants share their luck.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec.structs import replace

from runtime.core import CoreSettings
from runtime.core.keyed import Purpose, uniform
from runtime.core.records import FinishTask, Instruction, StartAttempt
from simulation.clock import Arrival
from simulation.machine.machine import Machine
from simulation.models import Behaviour, Fails
from simulation.recording.arrivals import RECORDED, Arrivals, Source
from simulation.recording.draws import INTERRUPTED, Draw, Draws, draws_of
from simulation.recording.outages import Outage
from simulation.recording.read import Recording
from simulation.simulate import Run
from simulation.statistics.survival import Lifetimes, kaplan_meier
from simulation.workload import Sampler

__all__ = ["Beyond", "RecordedWorkload"]

#: What an attempt does of which only is known that it takes longer than all that were seen.
Beyond = Literal["shortest", "never"]

_NOTHING: Final = ()


class RecordedWorkload:
    """A recording under a setting. It is for one run: it keeps what has become of the tasks.

    Args:
        recording: what was recorded.
        settings: under which it is to be simulated.
        sources: the recorded task that a task behaves like, by its number; itself where it is not
            there. So recorded tasks are resampled.
        pool: the recorded tasks whose attempts are drawn from, as often as they are named; all of
            them once by default. Resample it along with ``sources``.
        beyond: what an attempt does that takes longer than all that were seen.
        arrivals: when tasks come: as recorded, closed, or scaled.

    Attributes:
        machine: what attempts meet; as recorded, unless it is set otherwise before the run.
        drawn: attempts that were drawn so far, since the recording does not have them.
        assumed: of those drawn, retries of which the recording knows too few, so that they were
            taken to be like any attempt.
        unknown: attempts so far of which the recording cannot know how long they take, with the
            nanoseconds of which it knows that they take longer.
    """

    def __init__(
        self,
        recording: Recording,
        settings: CoreSettings,
        sources: Mapping[int, int] | None = None,
        *,
        pool: Sequence[int] | None = None,
        beyond: Beyond = "never",
        arrivals: Arrivals = RECORDED,
    ) -> None:
        self.machine: Machine | None = recording.machine
        self._recording = recording
        self._sources = {} if sources is None else sources
        self._beyond = beyond
        self._source = Source(recording, arrivals)
        self._outages = [outage for outage in recording.outages if outage.sure]
        self._failing: dict[tuple[Outage, bool], Lifetimes[Fails | None]] = {}
        self._pool = pool
        self._draws: Draws | None = None
        self._interrupted = False
        self._seed = 0
        # of the attempt that is being started, and what became of those before it
        self._now = 0
        self._limit_ns: int | None = None
        self._fates: dict[int, str] = {}
        self.drawn = 0
        self.assumed = 0
        self.unknown: dict[tuple[int, int], int] = {}
        # those that are abandoned again: until when it is known that they run
        self._again: dict[tuple[int, int], int] = {}

    @property
    def random(self) -> bool:
        """Whether another seed would have given another run, so far."""
        return self.drawn > 0

    @property
    def waiting(self) -> int:
        """Arrivals that have not come, since what they wait for has not happened."""
        return self._source.waiting

    def arrivals(self, seed: int) -> Iterator[Arrival]:
        """What comes from outside whatever happens."""
        return self._source.known()

    def react(self, now_ns: int, instruction: Instruction) -> Iterable[Arrival]:
        """Note when an attempt is started, and let come what follows it or an end."""
        if type(instruction) is StartAttempt:
            self._now = now_ns
            limit_at = instruction.timeout_at_ns
            deadline_at = self._source.deadline_at(instruction.task)
            if deadline_at is not None and (limit_at is None or deadline_at < limit_at):
                limit_at = deadline_at
            self._limit_ns = None if limit_at is None else limit_at - now_ns
            return self._source.started(now_ns, instruction)
        if type(instruction) is FinishTask:
            self._fates.pop(instruction.task, None)
            return self._source.ended(now_ns, instruction)
        return _NOTHING

    def sampler(self, seed: int) -> Sampler:
        """What attempts do: as recorded, or drawn where they were not."""
        self._seed = seed
        recording = self._recording
        done, hit, heeded, fates = recording.done, recording.hit, recording.heeded, recording.fates
        sources, outages = self._sources, self._outages
        may_heed = bool(heeded)

        def sample(task: int, attempt: int) -> Behaviour:
            key = sources.get(task, task), attempt
            behaviour = done.get(key) if key not in hit else None
            if outages:
                behaviour = self._among_outages(task, key, behaviour)
            elif behaviour is None:
                behaviour = self._healthy(task, key)
            if may_heed:
                heeds = heeded.get(key)
                if heeds is None and fates.get(key) not in ("timeout", "cancelled"):
                    heeds = self._draw_heeding(task, key)
                if heeds is not None:
                    self._again.pop((task, attempt), None)
                    behaviour = replace(behaviour, heeds_after_ns=heeds)
            if behaviour.failure is not None or self._too_long(behaviour.duration_ns):
                self._note_fate(task, behaviour)
            return behaviour

        return sample

    def unknown_in(self, run: Run) -> int:
        """How many attempts of a run went on for longer than the recording knows of.

        Args:
            run: a run of this workload.
        """
        count = sum(
            run.abandoned_after_ns.get(key, bound + 1) > bound
            for key, bound in self.unknown.items()
        )
        if run.held:
            last_at = run.ended_at_ns[-1] if run.ended_at_ns and not run.unfinished else None
            count += sum(last_at is None or until < last_at for until in self._again.values())
        return count

    # ------------------------------------------------------------ what an attempt does

    def _healthy(self, task: int, key: tuple[int, int], longer_than_ns: int = -1) -> Behaviour:
        """What one does that the recording does not tell, where no outage meets it."""
        recording = self._recording
        bound = recording.censored.get(key) if key not in recording.hit else None
        if bound is not None:
            if self._limit_ns is not None and self._limit_ns <= bound:
                self._again[task, key[1]] = self._now + bound
                return Behaviour(None if self._beyond == "never" else bound + 1)
            longer_than_ns = max(longer_than_ns, bound)
        source, attempt = key
        before = None
        if attempt > 1:
            before = self._fates.get(task) or recording.fates.get((source, attempt - 1), "timeout")
        u = uniform(self._seed, task, attempt, Purpose.DURATION)
        group = recording.specs[source].group
        return self._take(
            task, attempt, self._pools().draw(group, attempt, before, u, longer_than_ns)
        )

    def _pools(self) -> Draws:
        """Made once they are needed."""
        if self._draws is None:
            whole = self._pool is None
            self._draws = draws_of(self._recording) if whole else Draws(self._recording, self._pool)
        return self._draws

    def _take(self, task: int, attempt: int, draw: Draw) -> Behaviour:
        if draw.duration_ns is not None:
            self.drawn += 1
            self.assumed += draw.assumed
            share = self._recording.cpu_share.get(self._recording.specs[task].group, 0.0)
            cpu_ns = int(draw.duration_ns * share)
            return Behaviour(draw.duration_ns, draw.failure, None, cpu_ns)
        floor = draw.longer_than_ns
        self.unknown[task, attempt] = floor
        if self._beyond == "shortest" and (self._limit_ns is None or floor < self._limit_ns):
            return Behaviour(floor + 1)
        return Behaviour(None)

    def _too_long(self, duration_ns: int | None) -> bool:
        limit = self._limit_ns
        return duration_ns is None or (limit is not None and duration_ns > limit)

    def _note_fate(self, task: int, behaviour: Behaviour) -> None:
        if self._interrupted:
            fate = INTERRUPTED
        elif self._too_long(behaviour.duration_ns):
            fate = "timeout"
        else:
            assert behaviour.failure is not None
            fate = behaviour.failure.error
        self._fates[task] = fate

    def _draw_heeding(self, task: int, key: tuple[int, int]) -> int | None:
        """Of an attempt that was not abandoned in the recording: whether it would heed."""
        u = uniform(self._seed, task, key[1], Purpose.CHOICE)
        return self._pools().heeds_after_ns(self._recording.specs[key[0]].group, u)

    # ------------------------------------------------------------ outages

    def _among_outages(
        self, task: int, key: tuple[int, int], behaviour: Behaviour | None
    ) -> Behaviour:
        """What an attempt does where there were outages.

        Args:
            task: the task's number.
            key: the recorded attempt that it behaves like.
            behaviour: what that one did, ``None`` where that is not known, or was an outage's.
        """
        recording, now = self._recording, self._now
        group = recording.specs[key[0]].group
        begun_at = recording.begun_at.get(key)
        own = recording.hit.get(key)
        self._interrupted = False
        for outage in self._outages:
            if outage.covers(now, group):
                if begun_at is not None and outage.covers(begun_at, group):
                    if own is None:  # it got through then
                        return behaviour or self._healthy(task, key)
                    self._interrupted = True
                    took = recording.done.get(key)
                    return took or self._take(task, key[1], _hangs(recording.censored[key]))
                if self._falls_to(outage, task, key[1]):
                    return self._fails_in(outage, task, key[1], 0)
                return behaviour or self._healthy(task, key)
        at_least = -1
        if own is not None and begun_at is not None and begun_at < own.from_ns:
            at_least = own.from_ns - begun_at  # so long it ran well, until it was stopped
            if now + at_least >= own.from_ns:
                return self._stopped_again(own, task, key)
        if behaviour is None:
            behaviour = self._healthy(task, key, at_least)
        for outage in self._outages:
            until = outage.from_ns - now
            took_ns, limit_ns = behaviour.duration_ns, self._limit_ns
            if (
                outage.stops
                and group in outage.groups
                and until > 0
                and (took_ns is None or took_ns > until)
                and (limit_ns is None or limit_ns > until)
            ):
                if own is outage:
                    return self._stopped_again(own, task, key)
                met = begun_at is not None and (
                    begun_at < outage.from_ns < recording.stopped_at.get(key, recording.last_at)
                )
                if not met and self._falls_to(outage, task, key[1]):
                    return self._fails_in(outage, task, key[1], until)
        return behaviour

    def _falls_to(self, outage: Outage, task: int, attempt: int) -> bool:
        self.drawn += 1
        return uniform(self._seed, task, attempt, Purpose.OUTCOME) < outage.share

    def _stopped_again(self, outage: Outage, task: int, key: tuple[int, int]) -> Behaviour:
        """As long after the outage began as it was then."""
        self._interrupted = True
        recording = self._recording
        moved_ns = recording.begun_at[key] - self._now
        then = recording.done.get(key)
        if then is None:
            return self._take(task, key[1], _hangs(recording.censored[key] + moved_ns))
        assert then.duration_ns is not None
        return replace(then, duration_ns=then.duration_ns + moved_ns)

    def _fails_in(self, outage: Outage, task: int, attempt: int, until_ns: int) -> Behaviour:
        """As one of those that failed in it; ``until_ns`` from now it begins."""
        self._interrupted = True
        kinds = self._failing.get((outage, until_ns > 0))
        if kinds is None:
            kinds = _failures_in(self._recording, outage, stopped=until_ns > 0)
            self._failing[outage, until_ns > 0] = kinds
        drawn = kinds.draw(uniform(self._seed, task, attempt, Purpose.FAULT))
        if drawn is None:
            return self._take(task, attempt, _hangs(kinds.floor + until_ns))
        return Behaviour(drawn[0] + until_ns, drawn[1])


def _hangs(longer_than_ns: int) -> Draw:
    return Draw(None, None, max(0, longer_than_ns), assumed=False)


def _failures_in(recording: Recording, outage: Outage, *, stopped: bool) -> Lifetimes[Fails | None]:
    """How long attempts took that failed in an outage, and how they did.

    Args:
        recording: what was recorded.
        outage: the outage.
        stopped: of those that ran when it began, counted from then, where there are any; else of
            those that began in it.
    """
    seen, censored = [], []
    for key, by in recording.hit.items():
        ran_ns = outage.from_ns - recording.begun_at[key]
        if by is outage and (ran_ns > 0) == stopped:
            behaviour = recording.done.get(key)
            if behaviour is None:
                censored.append(recording.censored[key] - max(0, ran_ns))
            else:
                assert behaviour.duration_ns is not None
                seen.append((behaviour.duration_ns - max(0, ran_ns), behaviour.failure))
    if not seen and not censored:
        if stopped:
            return _failures_in(recording, outage, stopped=False)
        return _failures_in(recording, outage, stopped=True)
    return kaplan_meier(seen, censored)
