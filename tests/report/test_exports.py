"""A run for other tools: Trace Event JSON, OTLP/JSON lines."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runtime import WorkerPoolConfig
from runtime.journal import Journal
from simulation import Modelled, SimulatedWorkerPool
from simulation.exports.chrome import export_chrome
from simulation.exports.otlp import export_otlp
from simulation.whatif.timed import recorded_run
from tests.cli.running import bad, simulation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def events(journal: Journal) -> list[dict[str, Any]]:
    data = export_chrome(journal, [("8 workers", {"max_workers": 8})], force=True)
    found: list[dict[str, Any]] = json.loads(data)["traceEvents"]
    return found


def test_a_trace_has_each_attempt_at_its_instants(
    events: list[dict[str, Any]], journal: Journal
) -> None:
    timeline = recorded_run(journal).timeline
    made = [e for e in events if e["pid"] == 1 and e.get("cat", "").startswith("attempt")]
    assert len(made) == len(timeline.attempts)
    for event, attempt in zip(made, timeline.attempts, strict=True):
        assert event["ts"] == (attempt.start_at_ns - timeline.first_ns) // 1000
        assert event["ts"] + event["dur"] == (attempt.end_at_ns - timeline.first_ns) // 1000
        assert event["args"]["took_ms"] == attempt.ran_ns / 1e6
        assert event["tid"] == attempt.slot + 1
        assert event["args"]["outcome"] == attempt.outcome


def test_slices_of_a_trace_nest(events: list[dict[str, Any]]) -> None:
    """What overlaps on a thread, by however little, speedscope takes for a call in a call."""
    threads: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        assert event["ph"] in ("X", "M", "C")
        if event["ph"] == "X":
            assert event["dur"] >= 0
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert {process for process, _ in threads} == {1, 2}
    for slices in threads.values():
        slices.sort()
        for (_, end), (start, _) in pairwise(slices):
            assert start >= end
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert set(threads) <= named


def test_counters_of_a_trace_are_the_levels(events: list[dict[str, Any]]) -> None:
    busy = [e["args"]["busy workers"] for e in events if e["name"] == "busy workers"]
    assert max(busy) == 8
    assert busy[-1] == 0


def test_spans_of_a_journal_are_those_that_the_pool_exported(tmp_path: Path) -> None:
    """The same run watched live, and exported from its journal: the same spans."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from runtime.journal import read_journal
    from simulation import Fails, Modelled, SimulatedWorkerPool
    from telemetry import OtlpFileExporter, Telemetry

    live = tmp_path / "live.jsonl"
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OtlpFileExporter(live)))
    telemetry = Telemetry(tracer_provider=provider, registry=None)
    path = tmp_path / "run.jsonl"
    with SimulatedWorkerPool(seed=5, journal=path, observers=[telemetry]) as pool:
        for number in range(20):
            pool.submit_task(f"t{number}", Modelled(1.0, Fails(0.3, "KeyError")), group="g")
        pool.wait_for_all()
    exported = tmp_path / "exported.jsonl"
    exported.write_bytes(export_otlp(read_journal(path)))

    def spans(file: Path) -> dict[str, Any]:
        found = {}
        for line in file.read_text().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        span.pop("events", None)  # a journal has no message and no traceback
                        for attribute in span["attributes"]:
                            if attribute["key"] == "error.type":
                                # a model has its own error, a journal the name it was given
                                attribute["value"] = None
                        if "status" in span:
                            span["status"].pop("message", None)
                        found[span["spanId"]] = span
        return found

    assert spans(exported) == spans(live)
    assert len(spans(live)) > 40


def test_a_failure_that_came_too_late_is_a_timeout_in_the_spans() -> None:
    from runtime.core import CoreSettings
    from runtime.core.records import AttemptFailed, TaskSubmitted
    from telemetry.openmetrics import RecordedRun
    from telemetry.recorded import recorded_spans

    late = AttemptFailed(1, 1, 0, 1, 8, "KeyError")
    settings = CoreSettings(max_workers=1, timeout_ns=5, max_abandoned=1)
    spans = recorded_spans(RecordedRun("a", "pool", settings, [(0, TaskSubmitted(1)), (9, late)]))
    assert b"KeyError" not in spans
    assert spans.count(b'"TimeoutError"') >= 2


def test_spans_of_a_run_are_the_same_bytes_twice(journal_path: Path, tmp_path: Path) -> None:
    made = []
    for hash_seed in ("1", "2"):
        path = tmp_path / f"{hash_seed}.jsonl"
        subprocess.run(
            [
                *(sys.executable, "-m", "simulation", "export", str(journal_path)),
                *("--to", "otlp", "-o", str(path)),
            ],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        made.append(path.read_bytes())
    assert made[0] == made[1]
    assert made[0].count(b'"traceId"') > 100


def test_the_command_writes_each_format(journal_path: Path, tmp_path: Path) -> None:
    for to in ("chrome", "html"):
        path = tmp_path / f"run.{to}"
        arguments = ["--variant", "max_workers=8", "--force", "--json"]
        done = simulation("export", str(journal_path), "--to", to, "-o", str(path), *arguments)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["format"] == to
        assert told["bytes"] == path.stat().st_size
        assert told["instances"] == ["recorded", "max_workers=8"]


def test_without_bokeh_it_says_what_to_install(
    journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("bokeh", "simulation.exports.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    done = simulation("export", str(journal_path), "--to", "html", "-o", str(tmp_path / "x"))
    bad(done, 2, "pip install '.[report]'", "checkout")


def test_options_that_a_format_has_not_are_refused(journal_path: Path, tmp_path: Path) -> None:
    path, out = str(journal_path), str(tmp_path / "x")
    bad(simulation("export", path, "--to", "html", "-o", out, "--every", "1"), 2, "--every")
    bad(simulation("export", path, "--to", "chrome", "-o", out, "--at", "5"), 2, "--at")
    variant = ("--variant", "max_workers=9")
    bad(simulation("export", path, "--to", "otlp", "-o", out, *variant), 2, "--variant")
    bad(simulation("export", path, "--to", "html", "-o", str(tmp_path / "no" / "x")), 2, "written")


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attempts that nobody ever saw the end of."""
    path = tmp_path_factory.mktemp("endless") / "run.jsonl"
    config = WorkerPoolConfig(max_workers=2, task_timeout_seconds=2, max_retries=0)
    with SimulatedWorkerPool(config, journal=path) as pool:
        for number in range(4):
            pool.submit_task(f"stuck{number}", Modelled(math.inf))
        pool.wait_for_all()
    return path


def test_a_variant_that_would_not_be_honest_is_refused(endless: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "x")
    longer = ("--variant", "task_timeout_seconds=none")
    for to in ("html", "chrome"):
        bad(simulation("export", str(endless), "--to", to, "-o", out, *longer), 3, "refused")
    bad(simulation("why", str(endless), "--set", "task_timeout_seconds=none"), 3, "refused")
    assert not Path(out).exists()


def test_a_journal_without_a_task_is_said_to_be_empty(tmp_path: Path) -> None:
    path, out = tmp_path / "empty.jsonl", str(tmp_path / "x")
    with SimulatedWorkerPool(journal=path):
        pass
    for to in ("html", "chrome", "otlp"):
        bad(simulation("export", str(path), "--to", to, "-o", out), 2, "no task was submitted")
    bad(simulation("why", str(path)), 2, "no task was submitted")
    assert not Path(out).exists()


def test_why_on_the_command_line(journal_path: Path) -> None:
    done = simulation("why", str(journal_path))
    assert done.returncode == 0, done.stderr
    assert "the longest of" in done.stdout
    assert "its end hung on a chain" in done.stdout.replace("\n", " ")
    told = json.loads(simulation("why", str(journal_path), "--json").stdout)
    assert list(told) == [
        "journal", "run", "changes", "fidelity", "arrivals", "why", "task", "critical", "tasks",
    ]  # fmt: skip
    for task in told["tasks"]:
        parts = ("queue_ns", "limits_ns", "backoff_ns", "running_ns")
        assert sum(task[part] for part in parts) == task["total_ns"]
        assert task["total_ns"] == task["ended_at_ns"] - task["submitted_at_ns"]
    chain = told["critical"]["chain"]
    spent = sum(link["to_ns"] - link["from_ns"] for link in chain)
    assert spent == told["critical"]["makespan_ns"]


def test_why_of_a_task_and_of_a_variant(journal_path: Path) -> None:
    path = str(journal_path)
    told = json.loads(simulation("why", path, "--task", "Q003", "--json").stdout)
    assert told["task"]["name"] == "Q003"
    changed = ("--set", "max_workers=8", "--force", "--json")
    variant = json.loads(simulation("why", path, *changed).stdout)
    assert variant["changes"] == {"max_workers": 8}
    assert abs(variant["fidelity"]["makespan_error"]) < 1
    assert simulation("why", path, *changed).stdout == simulation("why", path, *changed).stdout


def test_why_says_what_is_wrong_in_one_line(journal_path: Path, tmp_path: Path) -> None:
    path = str(journal_path)
    bad(simulation("why", path, "--task", "comes_late"), 2, "did you mean comes late?")
    bad(simulation("why", path, "--set", "max_worker=3"), 2, "did you mean max_workers?")
    bad(simulation("why", str(tmp_path / "none")), 2, "no such file")
