"""The work that settings are tried on: a journal's or a scenario's.

A sweep, a recommendation and a gate ask the same of both: run this work under that setting with
that seed (``runs``), and say what it came to (``compare``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from runtime.core import CoreSettings
from runtime.journal import Journal
from simulation.machine.backends import Backend
from simulation.machine.calibration import Calibration
from simulation.machine.machine import Machine
from simulation.recording.arrivals import RECORDED, Arrivals, parse_arrivals
from simulation.recording.read import Recording, read_recording
from simulation.replay import replay
from simulation.scenario import Scenario, read_scenario
from simulation.whatif.answer import DishonestError, Fidelity, WhatIf
from simulation.whatif.contention import backends_of, meet, notes_on_meeting
from simulation.whatif.nextrun import Sample
from simulation.whatif.replication import recorded_side
from simulation.whatif.settings import changed_settings
from simulation.whatif.trust import (
    fidelity_of,
    notes_on,
    refuse_dishonest,
)

__all__ = ["Work", "open_work"]


@dataclass(frozen=True)
class Work:
    """What settings are tried on.

    Args:
        path: where it came from, for people.
        kind: ``journal`` or ``scenario``.
        settings: the recorded setting, or the scenario's.
        recording: what the journal tells.
        scenario: the scenario.
        fidelity: how well the unchanged setting reproduces the journal.
        arrivals: when a journal's tasks come under a changed setting.
        machine: what a journal's attempts meet under a changed setting.
        notes: what to bear in mind about any answer, each a sentence.
    """

    path: str
    kind: Literal["journal", "scenario"]
    settings: CoreSettings
    recording: Recording | None = None
    scenario: Scenario | None = None
    fidelity: Fidelity | None = None
    arrivals: Arrivals = RECORDED
    machine: Machine | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def sample(self) -> Sample:
        """The recording as a sample of what the work could have been."""
        assert self.recording is not None
        return Sample(self.recording)

    @property
    def tasks(self) -> int:
        """How many tasks come."""
        if self.recording is not None:
            return len(self.recording.specs)
        assert self.scenario is not None
        return self.scenario.workload.tasks

    def changed(self, changes: Mapping[str, Any]) -> CoreSettings:
        """The setting with changes.

        Args:
            changes: fields of ``WorkerPoolConfig`` and their new values.

        Raises:
            ValueError: an unknown field or a value out of range.
            TypeError: a value of the wrong type.
        """
        return changed_settings(self.settings, changes)


def open_work(
    work: Work | Journal | Scenario | str | Path,
    *,
    arrivals: Arrivals | str = RECORDED,
    calibration: Calibration | None = None,
    backends: Sequence[Backend] | str | Path = (),
    workers: int = 1,
    force: bool = False,
) -> Work:
    """Read what settings are to be tried on, and see whether it can be relied on.

    Args:
        work: a journal or a scenario, or the path of either; a scenario's ends with ``.toml``.
        arrivals: when a journal's tasks come under a changed setting, as for ``what_if``.
        calibration: what a journal's machine costs, as for ``what_if``.
        backends: what a journal's attempts call, as for ``what_if``.
        workers: the most workers that it will be simulated with.
        force: whether to go on where a prediction would not be honest.

    Returns:
        The work.

    Raises:
        JournalError: the journal cannot be used.
        ScenarioError: the scenario cannot be used.
        NondeterminismError: the journal does not replay.
        DishonestError: the journal is not reproduced well enough to predict from.
        ValueError: no task ended in the journal.
    """
    if isinstance(work, Work):
        return work
    if isinstance(arrivals, str):
        arrivals = parse_arrivals(arrivals)
    if isinstance(work, Scenario) or str(work).endswith(".toml"):
        if arrivals != RECORDED or calibration is not None or backends:
            raise ValueError(
                "a scenario says itself when tasks come, what they call and what the machine "
                "costs: arrivals, backends and a calibration go with a journal"
            )
        if isinstance(work, Scenario):
            return _of_scenario("scenario", work)
        return _of_scenario(str(work), read_scenario(str(work)))
    found = replay(work)
    found.raise_for_divergence()
    path = found.journal.path
    recording = read_recording(found.journal)
    if not recording.run.ends:
        raise ValueError(f"{path}: no task has ended in it: nothing to predict from")
    backends = backends_of(recording, backends)
    met = meet(recording, workers=workers, calibration=calibration, backends=backends)
    recording, settings = met.recorded, recording.settings
    unchanged = recorded_side(recording, settings, settings.seed, arrivals.baseline)
    fidelity = fidelity_of(recording, unchanged)
    if not force:
        answer = WhatIf(
            fidelity, {}, {}, {}, {}, 1, 0, unchanged.drawn, unchanged.unknown, unchanged.random
        )
        try:
            refuse_dishonest(recording, unchanged, [unchanged], answer)
        except DishonestError as error:
            raise DishonestError(f"{path}: {error}") from None
    notes = [
        *notes_on(recording, unchanged, arrivals),
        *notes_on_meeting(met.contention, backends),
    ]
    return Work(path, "journal", settings, recording, None, fidelity, arrivals, met.machine, notes)


def _of_scenario(path: str, scenario: Scenario) -> Work:
    return Work(path, "scenario", scenario.config.core_settings(), None, scenario)
