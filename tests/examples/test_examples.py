"""Examples are tests: the demos, every code block of the specification and of the README."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from concurrency import TaskCancelledError, TaskFailedError, TaskStatus
from examples import concurrency_integration_demo as integration
from simulation.replay import replay
from tests.cli.running import simulation

ROOT = Path(__file__).resolve().parent.parent.parent
SPECIFICATION = ROOT.parent / "shared" / "design" / "concurrency-module.md"


def code_blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def test_the_four_phases_of_an_orchestrator(tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    report = integration.run(str(journal))
    assert [len(r) for r in (report.answers, report.scores, report.dimensions, report.areas)] == [
        300,
        300,
        60,
        10,
    ]
    failed = [result for result in report.answers if not result.success]
    assert [type(result.error) for result in failed] == [TaskFailedError]
    assert failed[0].metrics.retries_used == 3
    assert report.summary["timeouts"] >= 3  # a busy machine may let others be late, too
    assert report.summary["total_retries"] > 20
    assert report.aborted == 150
    cancelled = [r for r in report.extras if r.metrics.status is TaskStatus.CANCELLED]
    assert len(cancelled) == 150
    assert all(isinstance(result.error, TaskCancelledError) for result in cancelled)
    found = replay(journal)
    assert found.divergence is None
    assert found.tasks == 300 + 300 + 60 + 10 + 200


def test_the_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "300 of 300 questions answered" in done.stdout
    assert "replays exactly" in done.stdout
    assert "fidelity:" in done.stdout
    assert "what if max_workers=10?" in done.stdout
    assert (tmp_path / "out" / "demo.jsonl").exists()


def specification_names() -> dict[str, Any]:
    """What the specification's fragments take for granted."""

    def slow_task(n: int) -> int:
        time.sleep(0.01)
        return n

    return {
        "process_micro_question": lambda number, doc: (number, doc),
        "call_external_api": lambda: "called",
        "slow_task": slow_task,
    }


def specification_blocks() -> list[str]:
    """The specification's code, kept here so that a clone alone can run it."""
    paths = sorted((ROOT / "tests" / "examples" / "specification").glob("*.txt"))
    return [path.read_text() for path in paths]


def runnable_blocks() -> list[str]:
    return [block for block in specification_blocks() if "import" in block]


def test_the_blocks_kept_here_are_the_specifications() -> None:
    if SPECIFICATION.exists():  # it stands beside the clone where changes are accepted
        assert code_blocks(SPECIFICATION) == specification_blocks()
    assert len(specification_blocks()) == 7


@pytest.mark.parametrize("number", range(5))
def test_the_specifications_code_blocks_run(
    number: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    block = runnable_blocks()[number]
    if number == 4:  # 'Submit and execute tasks...'
        block = block.replace(
            "# Submit and execute tasks...",
            "pool.submit_task('t', abs, (-1,))",
        )
    names = specification_names()
    exec(compile(block, f"{SPECIFICATION.name}, block {number}", "exec"), names)
    if "process_all_micro_questions" in names:
        results = names["process_all_micro_questions"]("doc")
        assert [result.result for result in results] == [(n, "doc") for n in range(1, 301)]
    out = capsys.readouterr().out
    expected = ("Result: 10", "Success rate: 100.0%", "Success after 0 retries", "Cancelled ")
    expected = (*expected, "Completed: 1")
    assert expected[number] in out


def test_all_of_the_specifications_runnable_blocks_are_run() -> None:
    assert len(runnable_blocks()) == 5


def test_the_specifications_records_have_the_fields_it_says() -> None:
    import dataclasses

    from concurrency import TaskMetrics, TaskResult

    blocks = [block for block in specification_blocks() if "@dataclass" in block]
    assert len(blocks) == 2
    for block, kind in zip(blocks, (TaskResult, TaskMetrics), strict=True):
        stated = re.findall(r"^    (\w+):", block, re.MULTILINE)
        actual = [field.name for field in dataclasses.fields(kind)]
        assert actual[: len(stated)] == stated


def test_the_readmes_code_blocks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks(ROOT / "README.md")
    assert len(blocks) >= 2
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, block {number}", "exec"), names)
    assert capsys.readouterr().out
    assert (tmp_path / "run.jsonl").exists()


def test_the_readmes_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ``python -m simulation`` of the README, on the journal of its first program."""
    text = (ROOT / "README.md").read_text()
    names: dict[str, Any] = {}
    code = code_blocks(ROOT / "README.md")[0]
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    assert not names
    commands = re.findall(r"^(?:\$ |\| `)(python -m simulation [^`\n]*)", text, re.MULTILINE)
    assert len(commands) == 9
    (tmp_path / "journals").mkdir()
    shutil.copy(tmp_path / "run.jsonl", tmp_path / "journals")
    for command in commands:
        monkeypatch.chdir(ROOT if "examples/" in command else tmp_path)
        done = simulation(*shlex.split(command)[3:])
        assert done.returncode == 0, (command, done.stderr)


def test_a_header_is_one_line_of_json(tmp_path: Path) -> None:
    integration_journal = tmp_path / "run.jsonl"
    integration.run(str(integration_journal))
    header = json.loads(integration_journal.read_text().splitlines()[0])
    assert header["pool"] == "orchestrator"
    assert header["state"].strip() == "closed"
