"""The unchanged setting comes out as recorded, whatever happened; and what must not matter."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from simulation.recording.arrivals import CLOSED, RECORDED, Arrivals
from simulation.recording.read import Recording
from simulation.recording.workload import Beyond, RecordedWorkload
from simulation.simulate import Run, simulate
from simulation.whatif.settings import changed_settings

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


BOTH: tuple[Beyond, Beyond] = "never", "shortest"
CHANGES: list[dict[str, Any]] = [
    {"max_workers": 9},
    {"max_workers": 1},
    {"max_retries": 6, "jitter": "none"},
    {"max_retries": 0},
    {"task_timeout_seconds": 0.3},
    {"task_timeout_seconds": 30.0, "max_retries": 2},
]


@pytest.mark.parametrize("seed", range(100, 112))
def test_whatever_is_asked_each_task_that_comes_ends_once(tmp_path: Path, seed: int) -> None:
    wild(tmp_path / "run.jsonl", seed)
    recording = read(tmp_path / "run.jsonl")
    draw = Random(seed)
    tasks = list(recording.specs)
    for changes in CHANGES:
        settings = changed_settings(recording.settings, {**changes, "max_abandoned_threads": 999})
        for arrivals in (RECORDED, CLOSED, Arrivals("scaled", 2.0)):
            for beyond in BOTH:
                again = dict(zip(tasks, draw.choices(tasks, k=len(tasks)), strict=True))
                workload = RecordedWorkload(
                    recording,
                    settings,
                    again,
                    pool=draw.choices(tasks, k=len(tasks)),
                    beyond=beyond,
                    arrivals=arrivals,
                )
                run = simulate(workload, settings, seed)
                ended = [end.task for end in run.ends]
                assert len(ended) == len(set(ended))
                assert run.unfinished == 0
                children = len(recording.parents)
                assert len(tasks) - children <= len(ended) <= len(tasks)
                assert workload.unknown_in(run) <= len(workload.unknown)
