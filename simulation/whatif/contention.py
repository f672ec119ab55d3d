"""What recorded attempts met: taken out of what was recorded, and put into what is simulated.

A recorded attempt took W from the decision to start it to the decision on its end. It computed C of
that, waited w for its service, and d in the way of others: for the CPU while they had it, or inside
a backend. W and C are in the journal, w and d are not, and only w is the work's own: d is another
one under another number of workers.

On average d is as long as it takes to make the simulation of the unchanged setting as long as the
recording: the run as a whole, where workers were mostly taken, else its attempts together. So one
number is solved for: the *crowding* x, which says how much of R = W - C an attempt was in the way
of others. An attempt that computes more waits more for the CPU (under processor sharing in
proportion), and none waits longer than R; so ``w = R * R / (R + x * C)``, which is R - x * C where
that is little of R. An attempt that computes nothing waits for its service alone; one that calls a
backend where calls meet has C + R in the place of C.

The equation is solved with the whole scheduler in the loop: that is why it holds. To begin each
attempt at its recorded instant and to solve for each one's own w was tried, and found waits a third
too short, since an attempt that comes out too long then gets in the way of the next
(``docs/decisions/0020``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, assert_never

from msgspec.structs import replace as replace_in

from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration
from simulation.machine.declared import read_backends
from simulation.machine.machine import Cpu, Machine
from simulation.models import Behaviour, Fails
from simulation.recording.read import Recording
from simulation.recording.workload import RecordedWorkload
from simulation.simulate import Run, simulate

__all__ = ["Contention", "Met", "backends_of", "meet", "notes_on_meeting"]

#: The CPU is shared where an attempt that computes a share s of its time, and finds so many others
#: computing, is slowed down by more than this.
_MATTERS: Final = 0.002
#: More CPU time than this in the recording's time is more than one thread at a time gave.
_MORE_THAN_ONE: Final = 1.15
#: With the CPU so busy, how long attempts wait alone hardly changes how long a run takes.
_HARDLY_KNOWN: Final = 0.95
#: The crowding is a whole number of these.
_PARTS: Final = 1000
#: A run's length jumps by some tenths of a percent with the crowding, as attempts change places; to
#: come closer than this, or to tell apart what is closer than a hundredth, means nothing.
_CLOSE: Final = 0.002
_HUNDREDTH: Final = 100
_FAR: Final = 0.005
#: Workers are mostly taken where attempts ran for so much of their time.
_MOSTLY_TAKEN: Final = 0.8
_MOST_CROWDING: Final = 1 << 20
_MOST_STEPS: Final = 40

ContentionKind = Literal["shared", "negligible", "unmeasured", "modelled"]
_Key = tuple[int, int]


@dataclass(frozen=True)
class Contention:
    """What a what-if does about the CPU that attempts share.

    Args:
        kind: ``shared``: it is simulated; ``negligible``: attempts compute too little for it to
            matter; ``unmeasured``: the journal has no CPU times, so nothing is known;
            ``modelled``: it was recorded on virtual time, where nobody computes.
        cpu_share: how much of their time attempts computed.
        processors: how many compute at once.
        busy: how much of what the processors could do attempts used, in the recording. Near 1,
            how long attempts would wait alone can hardly be told.
        taken_out: how much of the recorded attempts' time they were in the way of each other, for
            the CPU or inside a recorded backend.
        calibrated: whether this machine's own costs are in it.
    """

    kind: ContentionKind
    cpu_share: float = 0.0
    processors: int = 1
    busy: float = 0.0
    taken_out: float = 0.0
    calibrated: bool = False


@dataclass(frozen=True)
class Met:
    """A recording, and what its attempts are to meet.

    Args:
        recorded: the recording, its attempts as long as they would have been alone, with the
            machine that they met.
        machine: what they meet in the changed setting: the same, and the backends that are new.
        contention: what was done about the CPU.
    """

    recorded: Recording
    machine: Machine | None
    contention: Contention


def backends_of(recording: Recording, given: Sequence[Backend] | str | Path) -> tuple[Backend, ...]:
    """The backends that a recording's attempts call.

    Args:
        recording: whose groups they may name.
        given: them, or the TOML file that declares them.

    Raises:
        BackendError: something in the file is wrong.
    """
    if isinstance(given, str | Path):
        return read_backends(given, {spec.group for spec in recording.specs.values()})
    return tuple(given)


def meet(
    recording: Recording,
    *,
    workers: int = 1,
    calibration: Calibration | None = None,
    backends: Sequence[Backend] = (),
) -> Met:
    """Let the attempts of a recording meet each other.

    Args:
        recording: as it was read.
        workers: the most workers that it will be simulated with, if more than recorded.
        calibration: what the machine costs; nothing without it.
        backends: what attempts call, with whether the recording was made with it.

    Returns:
        The recording with what its attempts meet: the CPU where that matters, and the backends.

    Raises:
        ValueError: a recorded backend with outages.
    """
    for backend in backends:
        if backend.recorded and backend.outages:
            raise ValueError(
                f"backend {backend.name!r}: the recording was made with it and has its outages in "
                f"it already; leave them out, or say recorded = false"
            )
    cpu, contention = _cpu_of(recording, workers, calibration)
    were_there = tuple(backend for backend in backends if backend.recorded)
    recorded = recording
    if recorded.done and (cpu is not None or were_there):
        machine = Machine(cpu, were_there)
        for backend in were_there:
            recorded = _without_refusals(recorded, backend)
        if cpu is not None and contention.busy > 1:
            recorded = _less_cpu(recorded, contention.busy)
        recorded, taken_out = _alone(recorded, machine)
        cpu = machine.cpu if recorded.machine is None else recorded.machine.cpu
        contention = replace(contention, taken_out=taken_out)
    machine_then = recorded.machine
    if len(were_there) < len(backends):
        machine_then = Machine(cpu, tuple(backends))
    return Met(recorded, machine_then, contention)


def notes_on_meeting(contention: Contention, backends: Sequence[Backend]) -> list[str]:
    """What to bear in mind about what attempts meet.

    Args:
        contention: what was done about the CPU.
        backends: what attempts call.

    Returns:
        Sentences, without a full stop.
    """
    notes = []
    share = f"tasks computed for {contention.cpu_share:.1%} of their time"
    match contention.kind:
        case "shared":
            where = (
                "one at a time, under the GIL"
                if contention.processors == 1
                else f"on {contention.processors} cores"
            )
            notes.append(
                f"{share}, {where}: that is simulated, and the {contention.taken_out:.1%} of the "
                f"recorded time that they were in each other's way was taken out first"
            )
            if contention.busy > _HARDLY_KNOWN:
                notes.append(
                    f"the CPU was busy for {min(1.0, contention.busy):.0%} of the recording, so "
                    f"how long tasks would wait alone is hardly known: what fewer workers would do "
                    f"is uncertain; record with fewer"
                )
        case "unmeasured":
            notes.append(
                "the journal has no CPU times, so attempts take as long as they took, however many "
                "run at once"
            )
        case "negligible" | "modelled":
            pass
        case _:
            assert_never(contention.kind)
    new = ", ".join(backend.name for backend in backends if not backend.recorded)
    if new:
        notes.append(
            f"in the changed setting tasks call {new}, as declared; as recorded they do not"
        )
    met = ", ".join(backend.name for backend in backends if backend.recorded)
    if met:
        notes.append(f"tasks call {met}, as declared, in both settings")
    return notes


def _cpu_of(
    recording: Recording, workers: int, calibration: Calibration | None
) -> tuple[Cpu | None, Contention]:
    """The CPU that attempts share, where it matters."""
    calibrated = calibration is not None
    if recording.clock != "wall":
        return None, Contention("modelled", calibrated=calibrated)
    if not recording.done or recording.without_cpu:
        return None, Contention("unmeasured", calibrated=calibrated)
    took = sum(did.duration_ns or 0 for did in recording.done.values())
    cpu_ns = sum(did.cpu_ns for did in recording.done.values())
    share = cpu_ns / took if took else 0.0
    run = recording.run
    span = run.ended_at_ns[-1] - recording.arrivals[0][0] if run.ends else 0
    processors = recording.cores
    if recording.gil and cpu_ns <= _MORE_THAN_ONE * span:
        processors = 1  # else code in C lets go of the GIL
    busy = cpu_ns / (span * processors) if span else 0.0
    most = max(workers, run.max_workers if run.sizes is None else run.sizes.between()[1])
    others = share * most / processors
    kind: ContentionKind = "shared" if share * others >= _MATTERS else "negligible"
    contention = Contention(kind, share, processors, busy, 0.0, calibrated)
    if kind == "negligible":
        return None, contention
    if calibration is None:
        return Cpu(processors), contention
    efficiency = calibration.efficiency(processors)
    return Cpu(processors, calibration.pool_ns, efficiency), contention


def _without_refusals(recording: Recording, backend: Backend) -> Recording:
    """Without what a recorded backend's rate limit answered, which its model answers anew."""
    rate = backend.rate
    if rate is None:
        return recording
    done = {
        key: did
        for key, did in recording.done.items()
        if not (
            did.failure is not None
            and did.failure.error == rate.error
            and recording.specs[key[0]].group in backend.groups
        )
    }
    return _with(recording, done)


def _less_cpu(recording: Recording, busy: float) -> Recording:
    """With so much less CPU: processors cannot do more than they can, so what was counted beyond
    that is not work but what threads spend on waiting for the GIL, while another one has it.
    """
    return _with(
        recording,
        {
            key: replace_in(did, cpu_ns=int(did.cpu_ns / busy))
            for key, did in recording.done.items()
        },
    )


def _alone(recording: Recording, machine: Machine) -> tuple[Recording, float]:
    """The recording, its attempts as long as they would have been alone, on a machine; and how
    much of their time was taken out.
    """
    pool_ns = 0 if machine.cpu is None else machine.cpu.attempt_ns
    meeting = {
        group
        for backend in machine.backends
        if backend.limit is not None or backend.slope_seconds or backend.capacity is not None
        for group in backend.groups
    }
    parts: dict[_Key, tuple[int, int]] = {}  # R, and what the crowding goes by
    for key, did in recording.done.items():
        if did.duration_ns is not None:
            rest = max(0, did.duration_ns - did.cpu_ns - pool_ns)
            by = did.cpu_ns + pool_ns if machine.cpu is not None else 0
            parts[key] = rest, by + (rest if recording.specs[key[0]].group in meeting else 0)

    def at(crowding: int, machine: Machine) -> Recording:
        done = dict(recording.done)
        for key, (rest, by) in parts.items():
            wait = _PARTS * rest * rest // (_PARTS * rest + crowding * by) if rest else 0
            did = done[key]
            done[key] = replace_in(did, duration_ns=wait + did.cpu_ns)
        return replace(_with(recording, done), machine=machine)

    settings = recording.settings
    first_at = recording.arrivals[0][0]
    length = _span if _utilization(recording.run, first_at) > _MOSTLY_TAKEN else _running
    wanted = length(recording.run, first_at)

    def too_long(crowding: int, machine: Machine) -> float:
        workload = RecordedWorkload(at(crowding, machine), settings)
        run = simulate(workload, settings, settings.seed)
        return length(run, first_at) / wanted - 1.0 if wanted else 0.0

    crowding, error = _root(lambda crowding: too_long(crowding, machine))
    if error > _FAR and machine.cpu is not None:
        # too long without any waiting, too: more gets done at once than was thought, and that is
        # what the recording shows
        more = tuple(share * (1.0 + error) for share in machine.cpu.efficiency)
        faster = replace(machine.cpu, efficiency=more)
        machine = Machine(faster, machine.backends)
        crowding, _ = _root(lambda crowding: too_long(crowding, machine))
    alone = at(crowding, machine)
    took = sum(did.duration_ns or 0 for did in recording.done.values())
    left = sum((did.duration_ns or 0) + pool_ns for did in alone.done.values())
    return alone, max(0.0, 1.0 - left / took) if took else 0.0


def _span(run: Run, first_at: int) -> int:
    """How long a run took: with the workers mostly taken, what attempts take makes it so long."""
    return run.ended_at_ns[-1] - first_at if run.ends else 0


def _running(run: Run, first_at: int) -> int:
    """How long attempts took in all: else a run is as long as tasks come."""
    return sum(end.running_ns for end in run.ends)


def _utilization(run: Run, first_at: int) -> float:
    capacity = run.slot_ns(first_at, run.ended_at_ns[-1]) if run.ends else 0
    return _running(run, first_at) / capacity if capacity else 0.0


def _root(too_long: Callable[[int], float]) -> tuple[int, float]:
    """The crowding at which a falling function is near 0, and what it is there: by false position
    (the Illinois algorithm: Dowell and Jarratt, BIT 11, 1971).
    """
    low, at_low = 0, too_long(0)
    if at_low <= _CLOSE:
        return low, at_low
    high, at_high = _PARTS, too_long(_PARTS)
    while at_high > 0 and high < _MOST_CROWDING:
        low, at_low = high, at_high
        high *= 4
        at_high = too_long(high)
    best, at_best = (low, at_low) if at_low < abs(at_high) else (high, at_high)
    for _ in range(_MOST_STEPS):
        if abs(at_best) <= _CLOSE or high - low <= high // _HUNDREDTH + 1 or at_high >= 0:
            break
        middle = low + round((high - low) * at_low / (at_low - at_high))
        middle = min(high - 1, max(low + 1, middle))
        at_middle = too_long(middle)
        if abs(at_middle) < abs(at_best):
            best, at_best = middle, at_middle
        if at_middle > 0:
            low, at_low, at_high = middle, at_middle, at_high / 2
        else:
            high, at_high, at_low = middle, at_middle, at_low / 2
    return best, at_best


def _with(recording: Recording, done: dict[_Key, Behaviour]) -> Recording:
    """The recording, its attempts as they are here."""
    by_group: dict[str, list[tuple[int, Fails | None]]] = {g: [] for g in recording.by_group}
    cpu = dict.fromkeys(recording.by_group, 0)
    for (task, _), did in done.items():
        if did.duration_ns is not None:
            group = recording.specs[task].group
            by_group[group].append((did.duration_ns, did.failure))
            cpu[group] += did.cpu_ns
    for attempts in by_group.values():
        attempts.sort(key=lambda attempt: attempt[0])
    share = {
        group: cpu[group] / max(1, sum(took for took, _ in attempts))
        for group, attempts in by_group.items()
    }
    return replace(recording, done=done, by_group=by_group, cpu_share=share)
