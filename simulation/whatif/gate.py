"""A changed setting against stored journals: what those very runs would have come to under it.

For a project's CI: journals of past runs lie in a folder, a change of the pool's settings is
proposed, and the requirement is to hold for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from runtime.journal import JournalError
from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration
from simulation.replay import NondeterminismError
from simulation.statistics import Interval, intervals
from simulation.whatif.answer import DishonestError, Fidelity
from simulation.whatif.measures import check_runs
from simulation.whatif.parallel import Workers
from simulation.whatif.runs import Trial, changed_trial, run_all
from simulation.whatif.settings import check_names
from simulation.whatif.settle import rounds_of, settle
from simulation.whatif.targets import Target, parse_targets
from simulation.whatif.work import open_work

__all__ = ["Gate", "Held", "Requirement", "State", "gate", "journals_in"]

#: What a journal says of the change: it ``meets`` all requirements or ``falls short`` of one, or
#: ``cannot tell``; or it is ``broken``, and says nothing.
State = Literal["meets", "falls short", "cannot tell", "broken"]

_WORST: Final[tuple[State, ...]] = ("broken", "falls short", "cannot tell", "meets")


@dataclass(frozen=True)
class Requirement:
    """One requirement held against one journal.

    Args:
        target: as written.
        measure: which measure.
        recorded: it under the recorded setting.
        changed: it under the changed setting.
        verdict: ``met``, ``missed``, or ``unclear`` where the interval reaches over the bound.
        short_by: how much is missing, in the measure's unit; 0 where nothing is.
    """

    target: str
    measure: str
    recorded: Interval
    changed: Interval
    verdict: str
    short_by: float


@dataclass(frozen=True)
class Held:
    """A journal.

    Args:
        path: which.
        state: what it says of the change.
        requirements: each requirement; empty where the journal cannot be used.
        fidelity: how well its unchanged setting is reproduced.
        runs: replications; 1 where nothing is random.
        reason: why it cannot tell, or is broken.
    """

    path: str
    state: State
    requirements: list[Requirement]
    fidelity: Fidelity | None
    runs: int
    reason: str | None


@dataclass(frozen=True)
class Gate:
    """A change, held against a folder.

    Args:
        folder: which.
        changes: the change.
        require: the requirements, as written.
        state: the worst of the journals'.
        journals: each of them, in the order of their names.
        seed: the first seed.
        backends: those that were declared, by name, or the file that declares them.
    """

    folder: str
    changes: dict[str, Any]
    require: list[str]
    state: State
    journals: list[Held]
    seed: int
    backends: list[str] = field(default_factory=list)


def journals_in(folder: str | Path) -> list[Path]:
    """The journals of a folder: files whose names end with ``.jsonl``.

    Args:
        folder: where to look; folders in it are looked through, too.

    Returns:
        Their paths, in the order of their names.

    Raises:
        ValueError: it is no folder, or there is none in it.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is no folder" if root.exists() else "there is no such folder"
        raise ValueError(f"{folder}: {what}")
    found = sorted(path for path in root.rglob("*.jsonl") if path.is_file())
    if not found:
        raise ValueError(f"{folder}: there is no journal (*.jsonl) in it")
    return found


def gate(
    folder: str | Path,
    require: str | Iterable[str | Target],
    *,
    changes: Mapping[str, Any] | None = None,
    runs: int | None = None,
    seed: int = 0,
    force: bool = False,
    processes: int | None = 1,
    client: Any = None,
    progress: Callable[[int, int], None] | None = None,
    calibration: Calibration | None = None,
    backends: Sequence[Backend] | str | Path = (),
) -> Gate:
    """Hold a changed setting against every journal of a folder.

    Args:
        folder: with journals (``*.jsonl``).
        require: such as ``"success_rate>=0.99"``.
        changes: fields of ``WorkerPoolConfig`` and their new values.
        runs: the most replications of a journal; by default 1 where nothing is random, else up to
            120 where it takes that many to tell.
        seed: the first seed.
        force: whether to judge also by journals that do not support it.
        processes: how many compute; ``None`` for one a processor. The answer is the same.
        client: computes in their place, see ``Workers``.
        progress: called with the journals done and their number.
        calibration: what the journals' machine costs, as for ``what_if``.
        backends: what the journals' attempts call, as for ``what_if``.

    Returns:
        Each journal's answer, and the worst of them.

    Raises:
        WorkerLostError: a worker process was killed.
        ValueError: no journal, an unknown field or measure, or a value out of range.
        TypeError: a value of the wrong type.
    """
    targets = parse_targets(require)
    check_runs(runs, seed)
    changed = dict(changes or {})
    check_names(changed)
    paths = journals_in(folder)
    held = []
    met = _Met(calibration, backends)
    for done, path in enumerate(paths):
        if progress is not None:
            progress(done, len(paths))
        held.append(_hold(path, targets, changed, runs, seed, force, processes, client, met))
    if progress is not None:
        progress(len(paths), len(paths))
    return Gate(
        str(folder),
        changed,
        [str(target) for target in targets],
        min((one.state for one in held), key=_WORST.index),
        held,
        seed,
        [str(backends)]
        if isinstance(backends, str | Path)
        else [backend.name for backend in backends],
    )


@dataclass(frozen=True)
class _Met:
    calibration: Calibration | None
    backends: Sequence[Backend] | str | Path


def _hold(
    path: Path,
    targets: list[Target],
    changes: dict[str, Any],
    runs: int | None,
    seed: int,
    force: bool,
    processes: int | None,
    client: Any,
    met: _Met,
) -> Held:
    workers = changes.get("max_workers", 1)
    try:
        work = open_work(
            path,
            calibration=met.calibration,
            backends=met.backends,
            workers=workers if isinstance(workers, int) else 1,  # what is none is told later
            force=force,
        )
    except DishonestError as error:
        return Held(str(path), "cannot tell", [], None, 0, _without(path, error))
    except (JournalError, NondeterminismError, ValueError) as error:
        return Held(str(path), "broken", [], None, 0, _without(path, error))
    trial = changed_trial(work, changes)
    with Workers(work, processes=processes, client=client) as workers:
        rounds = rounds_of("recorded", runs)
        found = settle(workers, work, trial, targets, "recorded", rounds, seed, lambda done: None)
        count = found.runs
        unchanged = run_all(
            workers, work, [Trial(work.settings, unchanged=True)], count, seed, kinds=("recorded",)
        )[0]
        recorded = intervals([one.never.measures for one in unchanged.recorded])
    if found.refused is not None and not force:
        return Held(str(path), "cannot tell", [], work.fidelity, count, found.refused)
    requirements = [_required(target, recorded, found.outcome) for target in targets]
    verdicts = {one.verdict for one in requirements}
    unclear = [one for one in requirements if one.verdict == "unclear"]
    state: State = "meets"
    reason = None
    if "missed" in verdicts:
        state = "falls short"
    elif unclear:
        state = "cannot tell"
        first = unclear[0]
        reason = (
            f"{first.target}: {first.changed.low:.6g} to {first.changed.high:.6g} reaches over the "
            f"bound after {count} runs"
        )
    return Held(str(path), state, requirements, work.fidelity, count, reason)


def _without(path: Path, error: Exception) -> str:
    """What is wrong, without the path that stands beside it."""
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ")


def _required(
    target: Target, recorded: dict[str, Interval], changed: dict[str, Interval]
) -> Requirement:
    interval = changed[target.measure]
    verdict = target.verdict(interval)
    size = target.bound or 1.0
    short = max(0.0, target.shortfall(interval.mean) * size) if verdict == "missed" else 0.0
    return Requirement(
        str(target), target.measure, recorded[target.measure], interval, verdict, short
    )
