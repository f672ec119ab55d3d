"""The unchanged setting comes out as recorded, whatever happened; and what must not matter."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from simulation.recording.arrivals import CLOSED, RECORDED, Arrivals
from simulation.recording.read import Recording
from simulation.recording.workload import RecordedWorkload
from simulation.simulate import Run, simulate

from .journals import read, wild


def unchanged(recording: Recording, arrivals: Arrivals = RECORDED) -> tuple[Run, RecordedWorkload]:
    """The recorded setting again, with the jitter that was recorded."""
    settings = recording.settings
    workload = RecordedWorkload(recording, settings, arrivals=arrivals)
    return simulate(workload, settings, settings.seed), workload


def assert_same(run: Run, recorded: Run) -> None:
    """The same ends at the same instants; which worker had it does not matter."""
    assert run.ended_at_ns == recorded.ended_at_ns
    assert [replace(end, slot=0) for end in run.ends] == [
        replace(end, slot=0) for end in recorded.ends
    ]
    assert run.timeouts == recorded.timeouts


@pytest.mark.parametrize("arrivals", [RECORDED, CLOSED], ids=str)
@pytest.mark.parametrize("seed", range(60))
def test_every_task_ends_when_and_how_it_did(tmp_path: Path, seed: int, arrivals: Arrivals) -> None:
    wild(tmp_path / "run.jsonl", seed)
    recording = read(tmp_path / "run.jsonl")
    run, workload = unchanged(recording, arrivals)
    assert_same(run, recording.run)
    assert workload.unknown_in(run) == 0
    assert workload.waiting == 0
