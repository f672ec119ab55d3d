"""docs/late-task.md: its commands run, and say what the page shows, whatever the figures."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from examples.show_trace import spans_of
from tests.cli.running import simulation

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "late-task.md"

# What both the page and a run of today say, by a part of the command. A figure is any figure.
N = r"[\d.,]+"
TOOK = rf"night-13 \(task \d+\) took {N} m?s, the longest of \d+ tasks \(the median took"
SAID = {
    "late.py": (rf"{N} tasks, of which \d+ took longer than 2 s", "journal: out/late.jsonl"),
    "show_trace.py": (
        rf"(?m)^task nightly +\|█+\| +{N} s  ok$",
        rf"(?m)^  queue nightly +\|█+ +\| +{N} s$",
        rf"(?m)^  attempt nightly +\| +█+ +\| +{N} s  timeout$",
        rf"(?m)^    call the service +\| +█+ +\| +{N} s$",
        rf"(?m)^  attempt nightly +\| +█+\| +{N} s  ok$",
    ),
    "why out/late.jsonl --tasks 3": (
        TOOK,
        r"went by running: attempt 1 ran .* until it was given up at its timeout",
        r"went by waiting for a worker, since all 4 workers were busy; it waited 2 times",
        r"went by in backoff before a retry, since attempt 1 timed out",
        r"was on a CPU; .* waiting for a CPU",
        r"its end hung on a chain of \d+ stretch",
    ),
    "export": (r"out/late.html: [\d,]+ bytes, instances recorded, max_workers=20",),
    "replay": (
        r"fidelity: the unchanged setting is reproduced with an error of [+-]\d",
        r"what if max_workers=20\?",
        r"task time, p99 │ +\d",
    ),
    "why out/late.jsonl --task night-13 --set max_workers=20 --tasks 3": (
        r"one simulated run under max_workers=20; the unchanged setting errs by",
        TOOK,
    ),
    "why out/late.jsonl --task night-13 --set max_workers=20 --set task_timeout_seconds=0.5": (
        r"one simulated run under max_workers=20, task_timeout_seconds=0.5;",
        r"attempt 1 ran 500.\d ms until it was given up",
    ),
}


def commands() -> list[tuple[str, str]]:
    """The page's commands and what it shows below each, but for those of a shell or a browser."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = [
        (line.partition("\n")[0], line.partition("\n")[2])
        for block in blocks
        for line in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    return [one for one in found if one[0].startswith("python") and "preview" not in one[0]]


def test_a_late_task_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "PATH": ""}
    pages = commands()
    assert len(pages) == len(SAID)
    for (command, shown), (part, wanted) in zip(pages, SAID.items(), strict=True):
        assert part in command
        words = shlex.split(command)[1:]
        if words[0].startswith("examples/"):
            words[0] = str(ROOT / words[0])
        if part == "late.py":
            words += ["--seconds", "4"]  # Prometheus is not asked: there is no PATH
        if part == "show_trace.py":
            spans = tmp_path / "out" / "late-spans.jsonl"
            words[-1] = _trace_of(spans)
            assert spans_of(spans, "night-13") == spans_of(spans, words[-1])
        if words[:2] == ["-m", "simulation"]:
            done = simulation(*words[2:])
        else:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, (command, done.stderr)
        for text, whose in ((shown, "the page"), (done.stdout + done.stderr, "the command")):
            for pattern in wanted:
                spaced = text if pattern.startswith("(?m)") else " ".join(text.split())
                assert re.search(pattern, spaced), f"{command}: {whose} lacks {pattern}\n{text}"


def _trace_of(spans: Path) -> str:
    """The trace of the task that hung."""
    found = re.search(r'"traceId":"(\w+)"[^\n]*?"night-13"', spans.read_text())
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("end", "prints"),
    [("| head -c 9", "task defa"), (">&-", ""), ("| cat", "task defa")],
)
def test_a_trace_whose_reader_leaves(tmp_path: Path, end: str, prints: str) -> None:
    spans = [
        {
            "traceId": "a" * 32, "spanId": f"{n:016x}", "name": f"task default {n}",
            "startTimeUnixNano": f"{n}", "endTimeUnixNano": f"{n + 9}", "parentSpanId": "",
        }
        for n in range(900)
    ]  # fmt: skip
    file = tmp_path / "spans.jsonl"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}) + "\n")
    program = ROOT / "examples" / "show_trace.py"
    done = subprocess.run(
        ["bash", "-c", f'"$@" {end}', "bash", sys.executable, program, file, "a" * 32],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(prints)
    assert "u2588" not in done.stdout


def test_a_trace_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text('{"resourceSpans": []}\n')
    for path, says in ((file, "has no trace abc"), (tmp_path / "none", "No such file")):
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "show_trace.py"), str(path), "abc"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
