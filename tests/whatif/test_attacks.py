"""What an attack on the numbers found: recordings whose what-if is known, since it was run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import WorkerPoolConfig
from runtime.journal import read_journal
from simulation import Fails, Modelled, SimulatedWorkerPool
from simulation.outcome import measure
from simulation.recording.read import read_recording
from simulation.whatif.answer import DishonestError
from simulation.whatif.predict import what_if
from tests.cli.running import simulation

Submit = Callable[[SimulatedWorkerPool], None]


def run(path: Path, submit: Submit, **fields: object) -> dict[str, float]:
    """Record a run, and measure it."""
    config = WorkerPoolConfig(**{"enable_instrumentation": False, **fields})  # type: ignore[arg-type]
    with SimulatedWorkerPool(config, journal=path, epoch=1e9) as pool:
        submit(pool)
        pool.wait_for_all()
    return measure(read_recording(read_journal(path)).run)


def test_the_end_of_the_with_block_refuses_nothing_that_tasks_submit_in_a_slower_run(
    tmp_path: Path,
) -> None:
    def submit(pool: SimulatedWorkerPool) -> None:
        def parent(seconds: float) -> None:
            time.sleep(seconds)
            pool.submit_task("child", time.sleep, (0.25,))
            time.sleep(0.5)

        for number in range(6):
            pool.submit_task(f"parent{number}", parent, (1.0 + number / 7,))

    run(tmp_path / "many.jsonl", submit, max_workers=6)
    true = run(tmp_path / "one.jsonl", submit, max_workers=2)
    answer = what_if(tmp_path / "many.jsonl", runs=1, max_workers=2)
    assert {name: figure.mean for name, figure in answer.variant.items()} == pytest.approx(true)
    assert answer.variant["cancelled"].mean == 0


def test_a_slot_that_waits_for_an_attempt_of_which_no_end_was_seen(tmp_path: Path) -> None:
    """Recorded where a thread took its place: when it would have come home nobody knows."""

    def submit(pool: SimulatedWorkerPool) -> None:
        pool.submit_task("stuck", Modelled(30.0), max_retries=0)
        for number in range(8):
            pool.submit_task(f"t{number}", Modelled(2.0))

    fields = {"max_workers": 2, "task_timeout_seconds": 3.0}
    run(tmp_path / "freed.jsonl", submit, **fields)
    with pytest.raises(DishonestError, match="or have their slots wait for them"):
        what_if(tmp_path / "freed.jsonl", runs=1, max_abandoned_threads=0)
    answer = what_if(tmp_path / "freed.jsonl", runs=1, max_abandoned_threads=0, force=True)
    assert answer.unknown_attempts == 1


def test_a_slot_that_waits_at_the_end_matters_to_nobody(tmp_path: Path) -> None:
    def submit(pool: SimulatedWorkerPool) -> None:
        for number in range(4):
            pool.submit_task(f"t{number}", Modelled([30.0, 1.0], [None, Fails()]), max_retries=0)

    fields = {"max_workers": 4, "task_timeout_seconds": 3.0}
    true = run(tmp_path / "held.jsonl", submit, max_abandoned_threads=0, **fields)
    answer = what_if(tmp_path / "held.jsonl", runs=1, max_workers=5)
    assert answer.unknown_attempts == 0
    assert answer.variant["makespan_seconds"].mean == true["makespan_seconds"]


HOSTILE = ["\x1b]0;taken\x07\x1b[31mred", "[red]x[/red]", "a\nb" * 900, "\u202eback"]


@pytest.mark.parametrize(
    "command",
    [
        ("why", "JOURNAL"),
        ("why", "JOURNAL", "--task", "\x1b[31mr"),
        ("slice", "JOURNAL", "--task", "1", "-o", "OUT"),
        ("slice", "JOURNAL", "--task", "x", "-o", "OUT"),
    ],
)
def test_a_terminal_is_told_nothing_by_the_names_of_tasks(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    def submit(pool: SimulatedWorkerPool) -> None:
        for number, name in enumerate(HOSTILE):
            pool.submit_task(name, Modelled(1.0 + number))

    run(tmp_path / "run.jsonl", submit, max_workers=1)
    paths = {"JOURNAL": str(tmp_path / "run.jsonl"), "OUT": str(tmp_path / "test_it.py")}
    done = simulation(*(paths.get(word, word) for word in command))
    printed = done.stdout + done.stderr
    assert printed.strip()
    assert all(one.isprintable() or one == "\n" for one in printed), printed
    assert max(map(len, printed.splitlines())) < 400


def test_long_names_leave_the_figures_of_why_whole(tmp_path: Path) -> None:
    def submit(pool: SimulatedWorkerPool) -> None:
        for number in range(3):
            pool.submit_task("a long name " * 9, Modelled(1.25 + number, [Fails(), None]))

    run(tmp_path / "run.jsonl", submit, max_workers=1)
    done = simulation("why", str(tmp_path / "run.jsonl"))
    table = done.stdout.split("the slowest tasks")[1].split("The run took")[0]
    assert table.count("…") == 3  # of the names
