"""From a journal to a small test: it is small, passes as written, and still tells the story."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime import WorkerPoolConfig
from runtime.journal import JournalError
from simulation import Exponential, Fails, Modelled, NothingLeftError, SimulatedWorkerPool
from simulation.incidents import Slice, slice_journal
from simulation.incidents.smaller import rounded
from tests.cli.running import simulation

ROOT = Path(__file__).resolve().parents[2]


def run_made(made: Slice) -> None:
    """Run a made test as pytest would."""
    scope: dict[str, Any] = {}
    exec(compile(made.source, "test_made.py", "exec"), scope)
    tests = [scope[name] for name in scope if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tasks on three workers; what is asked of them stands in their names."""
    path = tmp_path_factory.mktemp("incidents") / "run.jsonl"
    config = WorkerPoolConfig(
        max_workers=3, task_timeout_seconds=5, max_retries=4, backoff_base_seconds=1.25,
        jitter="full", ageing_seconds=7, seed=11,
    )  # fmt: skip
    with SimulatedWorkerPool(config, journal=path) as pool:
        pool.submit_task("flaky", Modelled([1.2345678, 2.3], [Fails(error="a.Busy"), None]))
        pool.submit_task("hopeless", Modelled(0.123, Fails(error="Down")))
        pool.submit_task("stuck", Modelled([9.87, 0.5]))
        for n in range(37):
            pool.submit_task("same", Modelled(1.111 + n / 100), priority=5)
        pool.submit_task("late", Modelled(1), priority=9, deadline=pool.now + 3.3)
        unwanted = pool.submit_task("unwanted", Modelled(1), priority=9)
        pool.advance(2.2)
        pool.cancel(unwanted)
        pool.submit_task("waits", Modelled(0.25), priority=6)
        pool.wait_for_all()
    return path


@pytest.mark.parametrize(
    ("task", "tasks", "attempts", "words"),
    [
        ("flaky", 1, 2, ["duration=[1, 2]", "a.Busy", "seed=0"]),
        ("hopeless", 1, 2, ["max_retries=1", "Down"]),  # four retries tell no more than one
        ("stuck", 1, 2, ["task_timeout_seconds=5", "[10, 0.5]"]),
        ("late", 2, 0, ["max_workers=1", "deadline=pool.now + 3"]),
        ("unwanted", 2, 0, ["pool.cancel(task)"]),
        ("waits", 2, 1, ["max_workers=1"]),
    ],
)
def test_what_is_left_is_small_and_tells_the_story(
    journal: Path, task: str, tasks: int, attempts: int, words: list[str]
) -> None:
    made = slice_journal(journal, task)
    assert (made.tasks, made.attempts) == (tasks, attempts), made.source
    assert made.recorded_tasks == 43
    for word in words:
        assert word in made.source
    assert "jitter" not in made.source
    assert "ageing" not in made.source
    run_made(made)
    assert slice_journal(journal, task) == made, "the same each time"


def test_a_made_test_fails_where_the_story_is_another(journal: Path) -> None:
    made = slice_journal(journal, "hopeless")
    changed = made.source.replace("max_retries=1", "max_retries=2")
    assert changed != made.source
    with pytest.raises(AssertionError):
        run_made(msgspec.structs.replace(made, source=changed))


def anything(seed: int, path: Path) -> list[str]:
    """A run with everything in it; the ids of its tasks."""
    luck = random.Random(seed)
    config = WorkerPoolConfig(
        max_workers=luck.choice([1, 2, 5]),
        max_retries=luck.randrange(4),
        task_timeout_seconds=luck.choice([None, 1.3, 4]),
        backoff_base_seconds=luck.choice([0, 0.1, 1.7]),
        jitter=luck.choice(["none", "full", "equal", "decorrelated"]),
        ageing_seconds=luck.choice([None, 2.2]),
        max_abandoned_threads=luck.choice([0, 1, 50]),
        enable_instrumentation=False,
    )
    ids: list[str] = []
    with SimulatedWorkerPool(config, seed=seed, journal=path) as pool:
        for n in range(20):
            fails = Fails(luck.random(), "E", luck.random() < 0.8, luck.choice([None, 3]))
            ids.append(
                pool.submit_task(
                    f"t{n}",
                    Modelled(Exponential(2.0), [fails, luck.choice([None, Fails(0.5)])]),
                    priority=luck.randrange(3),
                    deadline=luck.choice([None, None, pool.now + 5.1]),
                )
            )
            if luck.random() < 0.3:
                pool.advance(luck.random())
            if luck.random() < 0.1:
                pool.cancel(luck.choice(ids))
            if luck.random() < 0.05:
                pool.abort_pending_tasks()
        try:
            pool.wait_for_all()
        except NothingLeftError:
            pool.abort_pending_tasks()
    return ids


@pytest.mark.parametrize("seed", range(4))
def test_any_task_of_any_run_becomes_a_test_that_passes(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for task in random.Random(seed).sample(anything(seed, path), 4):
        made = slice_journal(path, task)
        assert made.tasks <= 5
        run_made(made)


def test_strange_names_are_no_code(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    names = ['"""\nraise SystemExit', "\\", "{1/0}", "été ☃", "'); raise X #", ""]
    with SimulatedWorkerPool(journal=path) as pool:
        for name in names:
            pool.submit_task(name, Modelled(1, [Fails(error=name or "E"), None]), group=name or "g")
        pool.wait_for_all()
    for number in range(1, len(names) + 1):
        made = slice_journal(path, f"{number}")
        assert made.source.isascii()
        run_made(made)


def test_rounding_keeps_milliseconds_at_least() -> None:
    assert [rounded(1_234_567_891, digits) for digits in (1, 2, 3)] == [
        1_000_000_000, 1_200_000_000, 1_230_000_000,
    ]  # fmt: skip
    assert rounded(1_600_000, 1) == 2_000_000


# ---------------------------------------------------------------- the command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return simulation("slice", *arguments)


def test_the_command_writes_what_plain_pytest_runs(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "test_incident.py"
    done = command(str(journal), "--task", "late", "-o", str(path), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["kept"] == {"tasks": 2, "attempts": 0}
    assert told["path"] == str(path)
    again = command(str(journal), "--task", told["task"]["id"], "-o", str(path))
    assert "kept 2 of 43 tasks" in again.stdout
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    ran = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_a_test_that_somebody_edited_is_not_written_over_unasked(
    journal: Path, tmp_path: Path
) -> None:
    path = tmp_path / "test_incident.py"
    asked = (str(journal), "--task", "late", "-o", str(path))
    assert command(*asked).returncode == 0
    written = path.read_bytes()
    assert command(*asked).returncode == 0, "the same again harms nobody"
    path.write_bytes(written + b"# by hand\n")
    done = command(*asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is there already, and is another test" in done.stderr
    assert "--overwrite" in done.stderr
    assert path.read_bytes() == written + b"# by hand\n"
    assert command(*asked, "--overwrite").returncode == 0
    assert path.read_bytes() == written


def test_the_command_says_in_one_line_what_is_wrong(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "test_incident.py"
    cut = tmp_path / "cut.jsonl"
    lines = journal.read_bytes().replace(b'"closed    "', b'"open      "').splitlines(True)
    cut.write_bytes(b"".join(lines[:5]))
    for arguments, word in (
        ([str(journal), "--task", "flakey"], "did you mean flaky or late?"),
        ([str(journal), "--task", "9999"], "there is no task '9999'"),
        ([str(cut), "--task", "flaky"], "has not ended in this journal"),
        ([str(tmp_path / "no.jsonl"), "--task", "flaky"], "there is no such file"),
        ([str(journal)], "--task"),
    ):
        done = command(*arguments, "-o", str(path))
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert word in done.stderr
        assert len(done.stderr.splitlines()) == 1
    lost = command(str(journal), "--task", "flaky", "-o", str(tmp_path / "no" / "test_x.py"))
    assert lost.returncode == 2
    assert "cannot be written" in lost.stderr
    with pytest.raises(JournalError):
        slice_journal(ROOT / "README.md", "1")
