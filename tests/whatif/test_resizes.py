"""A recording in which the pool was resized: exact again, measured right, asked what if."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime import WorkerPoolConfig
from runtime.core import CoreSettings
from runtime.journal import read_journal
from simulation import Modelled, SimulatedWorkerPool
from simulation.cli import main
from simulation.exports.chrome import export_chrome
from simulation.incidents import slice_journal
from simulation.incidents.incident import Attempt, Incident, Stop, Submission, perform
from simulation.incidents.writing import write_test
from simulation.recording.arrivals import RECORDED, Arrivals
from simulation.recording.read import read_recording
from simulation.recording.workload import RecordedWorkload
from simulation.simulate import simulate
from simulation.timeline.attempts import read_timeline
from simulation.whatif.predict import variant, what_if
from simulation.whatif.settings import changed_settings
from simulation.whatif.sweep import sweep
from simulation.whatif.timed import recorded_measures


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 tasks of 2 s: two at once for 4 s, six at once for 6 s (what runs is left to finish when
    the pool is resized at 8 s), then the last two.
    """
    path = tmp_path_factory.mktemp("resizes") / "run.jsonl"
    config = WorkerPoolConfig(max_workers=2, task_timeout_seconds=None, max_retries=0)
    with SimulatedWorkerPool(config, journal=path) as pool:
        for n in range(24):
            pool.submit_task(f"t{n}", Modelled(2))
        pool.advance(4)
        pool.resize(6)
        pool.advance(4)
        pool.resize(2)
        pool.wait_for_all()
        assert pool.now == 12
    return path


def makespan(path: Path, **changes: object) -> float:
    return what_if(path, **changes).variant["makespan_seconds"].mean


def test_unchanged_it_comes_out_exactly(journal: Path) -> None:
    answer = what_if(journal, max_retries=0)
    assert answer.fidelity.makespan_error == 0
    assert answer.variant["makespan_seconds"].mean == 12
    assert any("resized while it ran (so often: 2)" in note for note in answer.notes)


def test_another_setting_is_resized_as_it_was(journal: Path) -> None:
    """A timeout that nothing reaches changes nothing."""
    assert makespan(journal, task_timeout_seconds=100.0) == 12


@pytest.mark.parametrize(("workers", "seconds"), [(2, 24), (6, 8), (24, 2)])
def test_a_number_of_workers_holds_throughout(journal: Path, workers: int, seconds: float) -> None:
    """Also where it is the number that the pool began with."""
    assert makespan(journal, max_workers=workers) == seconds
    cells = sweep(journal, vary={"max_workers": [workers]}).cells
    assert cells[0].outcome["makespan_seconds"].mean == seconds
    settings, steps = variant(read_journal(journal), {"max_workers": workers})
    assert read_timeline(settings, steps).workers() == (workers, workers)


def test_the_workers_of_each_instant_are_what_is_utilized(journal: Path) -> None:
    """All of them all the time; by the number that it began with it would be 200%."""
    assert recorded_measures(read_journal(journal))["utilization"].mean == 1.0
    assert what_if(journal, max_retries=0).baseline["utilization"].mean == 1.0


def test_twice_as_fast_it_is_resized_twice_as_early(journal: Path) -> None:
    recording = read_recording(read_journal(journal))
    workload = RecordedWorkload(recording, recording.settings, arrivals=Arrivals("scaled", 2.0))
    run = simulate(workload, recording.settings)
    assert run.sizes is not None
    assert run.sizes.changes == [(2 * 10**9, 6), (6 * 10**9, 2)]


def test_what_is_not_resized_has_none(journal: Path) -> None:
    recording = read_recording(read_journal(journal))
    arrivals = RECORDED.under(["max_workers"])
    settings = changed_settings(recording.settings, {"max_workers": 3})
    run = simulate(RecordedWorkload(recording, settings, arrivals=arrivals), settings)
    assert (run.sizes, run.ended_at_ns[-1]) == (None, 16 * 10**9)
    assert arrivals.baseline == RECORDED


def test_the_timeline_knows_how_many_there_were(journal: Path) -> None:
    read = read_journal(journal)
    steps = [(record.at, record.stimulus, record.instructions) for record in read.records]
    timeline = read_timeline(read.header.settings, steps)
    second = 10**9
    assert timeline.workers() == (2, 6)
    assert timeline.workers(0, 4 * second) == (2, 2)
    assert timeline.workers(4 * second, 10 * second) == (6, 6)
    assert timeline.workers(10 * second) == (2, 2)
    assert timeline.workers(5 * second, 11 * second) == (2, 6)


def test_why_says_how_many_were_busy(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["why", str(journal), "--task", "t23"])
    told = " ".join(capsys.readouterr().out.split())
    assert "all 2 to 6 workers were busy" in told


def test_a_trace_has_a_line_for_each_worker_there_was(journal: Path) -> None:
    trace = export_chrome(read_journal(journal), []).decode()
    assert '"recorded: 2 to 6 workers"' in trace
    assert '"worker 6"' in trace


def test_a_test_made_of_it_resizes_too() -> None:
    """Its target waits until the pool has got a second worker."""
    second = 10**9
    block = Submission("block", 0, (Attempt(100 * second),), 0)
    target = Submission("saved", 0, (Attempt(4 * second),), 1)
    resized = Stop(10 * second, 2, workers=2)
    incident = Incident(CoreSettings(1), {1: block, 2: target}, (resized,), 2)
    story = perform(incident)
    assert [t.at_ns // second for t in story] == [0, 10, 14]
    source = write_test(incident, story, "run.jsonl", "pool-0.2", 2)
    assert "pool.resize(2)" in source
    scope: dict[str, Any] = {}
    exec(compile(source, "test_made.py", "exec"), scope)
    (test,) = [value for name, value in scope.items() if name.startswith("test_")]
    test()


def test_a_slice_of_a_resized_journal_tells_the_story(journal: Path) -> None:
    made = slice_journal(journal, "t20")
    assert ("waited for a worker", "started", "succeeded") in made.plot


def test_an_older_command_line_run_of_a_resized_journal(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["replay", str(journal), "--check"])
    assert "replays exactly" in capsys.readouterr().out
