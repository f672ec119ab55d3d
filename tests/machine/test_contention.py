"""The recording's own contention is taken out of it, and the changed setting's put in.

Truth is known here: attempts with known waits are simulated, recorded as real threads would have
been, and what was recorded is all that a what-if is given.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from runtime.journal import read_journal
from simulation.machine.backends import Backend, Outage, RateLimit
from simulation.machine.calibration import Calibration
from simulation.machine.machine import Cpu, Machine
from simulation.recording.read import read_recording
from simulation.whatif.contention import Met, meet
from simulation.whatif.predict import variant, what_if
from tests.machine.helpers import GIL, MS, Known, mixed, recorded, seconds, simulated

API = ("default",)


def met(path: Path, **options: object) -> Met:
    return meet(read_recording(read_journal(path)), **options)  # type: ignore[arg-type]


def predicted(path: Path, workers: int, **options: object) -> float:
    _, steps = variant(read_journal(path), {"max_workers": workers}, **options)  # type: ignore[arg-type]
    return steps[-1][0] / 1e9


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_waits_are_recovered(tmp_path: Path, share: float) -> None:
    work = mixed(200, share)
    path = recorded(tmp_path / "a.jsonl", Known(work, GIL), 4)
    as_recorded = read_recording(read_journal(path))
    alone = met(path).recorded
    true = [cpu + wait for cpu, wait in work]
    found = [alone.done[task + 1, 1].duration_ns or 0 for task in range(200)]
    then = [as_recorded.done[task + 1, 1].duration_ns or 0 for task in range(200)]
    assert sum(then) > 1.03 * sum(true)  # there is something to be taken out
    assert sum(found) == pytest.approx(sum(true), rel=0.05)
    off = [abs(a - b) / b for a, b in zip(found, true, strict=True)]
    assert statistics.median(off) < 0.12  # and each of them is not far off, either


@pytest.mark.parametrize(("share", "within"), [(0.1, 0.02), (0.3, 0.05)])
@pytest.mark.parametrize("workers", [2, 8, 32])
def test_other_workers_are_predicted_from_a_recording_at_four(
    tmp_path: Path, share: float, within: float, workers: int
) -> None:
    work = mixed(200, share)
    path = recorded(tmp_path / "a.jsonl", Known(work, GIL), 4)
    truth = seconds(simulated(Known(work, GIL), workers))
    assert predicted(path, workers) == pytest.approx(truth, rel=within)


def test_taking_durations_as_they_were_errs_by_more_than_half(tmp_path: Path) -> None:
    """Which is why all of this is there."""
    work = mixed(200, 0.3)
    path = recorded(tmp_path / "a.jsonl", Known(work, GIL), 4, cpu=False)
    truth = seconds(simulated(Known(work, GIL), 32))
    assert predicted(path, 32) < 0.5 * truth


def test_arrivals_over_time_are_no_different(tmp_path: Path) -> None:
    """The workers are not the bottleneck: a run is as long as tasks come."""
    work = mixed(300, 0.3)
    path = recorded(tmp_path / "a.jsonl", Known(work, GIL, rate_per_second=35.0), 50)
    alone = met(path).recorded
    found = sum(did.duration_ns or 0 for did in alone.done.values())
    assert found == pytest.approx(sum(cpu + wait for cpu, wait in work), rel=0.03)


def test_those_that_only_wait_keep_their_waits(tmp_path: Path) -> None:
    """One kind computes and another one waits: only the former was in anybody's way."""
    work = [(30 * MS, 0)] * 100 + [(0, 40 * MS)] * 100
    path = recorded(tmp_path / "a.jsonl", Known(work, GIL, ["computes"] * 100 + ["waits"] * 100), 8)
    alone = met(path).recorded.done
    assert {alone[task, 1].duration_ns for task in range(101, 201)} == {40 * MS}
    computing = [alone[task, 1].duration_ns or 0 for task in range(1, 101)]
    assert statistics.mean(computing) == pytest.approx(30 * MS, rel=0.1)


def test_several_cores_without_a_gil(tmp_path: Path) -> None:
    two = Machine(Cpu(cores=2))
    work = mixed(200, 0.3)
    path = recorded(tmp_path / "a.jsonl", Known(work, two), 8, gil=False)
    found = met(path)
    assert found.contention.processors == 2
    truth = seconds(simulated(Known(work, two), 32))
    assert predicted(path, 32) == pytest.approx(truth, rel=0.03)


def test_more_cpu_time_than_one_thread_has_says_that_the_gil_is_let_go(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.jsonl", Known(mixed(200, 0.8), Machine(Cpu(cores=2))), 8)
    assert met(path).contention.processors == 2


def test_the_answer_says_what_was_done(tmp_path: Path) -> None:
    work = mixed(100, 0.3)
    answer = what_if(recorded(tmp_path / "a.jsonl", Known(work, GIL), 4), max_workers=8, runs=1)
    assert answer.contention.kind == "shared"
    assert answer.contention.cpu_share == pytest.approx(0.24, abs=0.03)
    assert answer.fidelity.makespan_error == pytest.approx(0.0, abs=0.01)
    assert any("under the GIL" in note for note in answer.notes)

    unmeasured = recorded(tmp_path / "b.jsonl", Known(work, GIL), 4, cpu=False)
    answer = what_if(unmeasured, max_workers=8, runs=1)
    assert answer.contention.kind == "unmeasured"
    assert any("no CPU times" in note for note in answer.notes)

    modelled = recorded(tmp_path / "c.jsonl", Known(work, None), 4, cpu=False, clock="virtual")
    answer = what_if(modelled, max_workers=8, runs=1)
    assert answer.contention.kind == "modelled"
    assert not any("CPU" in note for note in answer.notes)


def test_where_hardly_anything_is_computed_nothing_changes(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.jsonl", Known(mixed(100, 0.002), GIL), 4)
    recording = read_recording(read_journal(path))
    found = meet(recording)
    assert found.contention.kind == "negligible"
    assert found.recorded is recording
    assert meet(recording, workers=2000).contention.kind == "shared"


def test_a_saturated_recording_says_that_its_waits_are_hardly_known(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.jsonl", Known(mixed(200, 0.6), GIL), 16)
    answer = what_if(path, max_workers=8, runs=1)
    assert any("hardly known" in note for note in answer.notes)


def test_more_than_the_model_can_do_is_taken_for_a_faster_machine(tmp_path: Path) -> None:
    """A calibration from a bad moment must not make the unchanged setting slower than it was."""
    path = recorded(tmp_path / "a.jsonl", Known(mixed(200, 0.6), GIL), 8)
    slow = Calibration(1, "", 2, True, 0, 0, 0, 0, {1: 1.0, 8: 0.7})
    answer = what_if(path, max_workers=8, runs=1, calibration=slow)
    assert answer.contention.calibrated
    assert answer.fidelity.makespan_error == pytest.approx(0.0, abs=0.01)


def test_a_calibration_is_used(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.jsonl", Known(mixed(200, 0.3), GIL), 2)
    loses = Calibration(1, "", 2, True, 0, 0, 0, 0, {1: 1.0, 8: 1.0, 32: 0.5})
    assert predicted(path, 32, calibration=loses) > 1.3 * predicted(path, 32)
    pool = Calibration(1, "", 2, True, 10 * MS, 0, 0, 0, {1: 1.0})
    assert predicted(path, 32, calibration=pool) > 1.3 * predicted(path, 32)


# ---------------------------------------------------------------- backends


def test_the_queueing_in_a_recorded_backend_is_taken_out(tmp_path: Path) -> None:
    work = mixed(200, 0.0)
    limited = Backend("api", API, limit=4, recorded=True)
    path = recorded(tmp_path / "a.jsonl", Known(work, Machine(backends=(limited,))), 8)
    with_it = met(path, backends=(limited,))
    found = sum(did.duration_ns or 0 for did in with_it.recorded.done.values())
    assert found == pytest.approx(sum(wait for _, wait in work), rel=0.05)
    for workers in (2, 32):
        truth = seconds(simulated(Known(work, Machine(backends=(limited,))), workers))
        assert predicted(path, workers, backends=(limited,)) == pytest.approx(truth, rel=0.05)


def test_a_new_backend_is_in_the_changed_setting_alone(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.jsonl", Known([(0, 100 * MS)] * 40, None), 8)
    answer = what_if(path, runs=1, backends=(Backend("api", API, limit=2),))
    assert answer.baseline["makespan_seconds"].mean == pytest.approx(0.5)
    assert answer.variant["makespan_seconds"].mean == pytest.approx(2.0)
    assert answer.fidelity.makespan_error == 0
    assert answer.backends == ("api",)


def test_what_a_recorded_rate_limit_answered_is_answered_anew(tmp_path: Path) -> None:
    limit = RateLimit(20.0, 5, "Busy")
    api = Backend("api", API, rate=limit, recorded=True)
    options = {"max_retries": 5, "backoff_base_seconds": 0.05}
    work = [(0, 20 * MS)] * 100
    path = recorded(tmp_path / "a.jsonl", Known(work, Machine(backends=(api,))), 8, **options)
    with_it = met(path, backends=(api,))
    assert all(did.failure is None for did in with_it.recorded.done.values())
    answer = what_if(path, runs=1, backends=(api,), max_retries=5)
    assert answer.variant["retries"].mean > 20
    assert answer.variant["attempts"].mean == pytest.approx(
        answer.fidelity.recorded_attempts, rel=0.05
    )


def test_a_recorded_backend_has_no_outages_of_its_own(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.jsonl", Known(mixed(10, 0.0), None), 4)
    down = Backend("api", API, outages=(Outage(1.0, 2.0),), recorded=True)
    with pytest.raises(ValueError, match="'api': the recording was made with it"):
        met(path, backends=(down,))
