"""Spans as a recorded run: what comes out replays, and predicts what the run itself predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from runtime import WorkerPool, WorkerPoolConfig, current_attempt
from runtime.journal import Journal, read_journal
from simulation import Fails, Modelled, SimulatedWorkerPool, Uniform, replay, what_if
from simulation.exports.otlp import export_otlp
from simulation.imports.mapping import read_mapping
from simulation.outcome import MEASURES
from telemetry import OtlpFileExporter, Telemetry
from tests.cli.running import bad, simulation

S = 10**9
T0 = 1_790_000_000 * S


def imported(traces: Path, *options: str) -> tuple[Journal, dict[str, Any]]:
    out = traces.with_suffix(".imported")
    done = simulation("import", str(traces), "-o", str(out), "--json", *options)
    assert done.returncode == 0, done.stderr
    journal = read_journal(out)
    assert replay(journal, check=True).divergence is None
    assert journal.complete
    told: dict[str, Any] = json.loads(done.stdout)
    return journal, told


def plain_run(path: Path, **config: Any) -> Journal:
    """Nothing that a span does not tell: attempts that time out never come home."""
    given = {"max_workers": 5, "max_retries": 2, "task_timeout_seconds": 9.0, **config}
    settings = WorkerPoolConfig(**given, enable_instrumentation=False)
    with SimulatedWorkerPool(settings, seed=4, journal=path) as pool:
        for n in range(80):
            duration: Any = float("inf") if n % 13 == 5 else Uniform(0.5, 6.0)
            model = Modelled([duration, 1.5], Fails(0.2, "app.Broken"))
            pool.submit_task(f"Q{n:03d}", model, group=("a", "b")[n % 2], priority=n % 3)
        pool.advance(2)
        pool.submit_task("comes later", Modelled(2.0), max_retries=0)
        pool.wait_for_all()
    return read_journal(path)


@pytest.mark.parametrize("jitter", ["none", "full", "decorrelated"])
def test_a_run_comes_back_from_its_spans_to_the_nanosecond(tmp_path: Path, jitter: str) -> None:
    journal = plain_run(tmp_path / "run.jsonl", jitter=jitter)
    traces = tmp_path / "spans.jsonl"
    traces.write_bytes(export_otlp(journal))
    back, told = imported(traces)
    assert told["tasks"] == 81
    assert told["inferred"] == []
    assert told["fidelity"]["makespan_error"] == 0
    assert told["fidelity"]["start_error_seconds"] == 0
    settings = journal.header.settings
    assert back.header.settings == settings
    assert "imported from spans in" in back.header.origin
    assert "not known: CPU time" in back.header.origin
    assert (back.header.pool, back.header.prefix) == (journal.header.pool, journal.header.prefix)
    changes = {"max_workers": 9, "task_timeout_seconds": 4.0}
    theirs, ours = (what_if(one, seed=1, **changes) for one in (journal, back))
    for name in MEASURES:
        assert ours.variant[name].mean == pytest.approx(theirs.variant[name].mean), name
        assert ours.baseline[name].mean == pytest.approx(theirs.baseline[name].mean), name


def test_a_real_runs_live_spans_predict_what_its_journal_does(tmp_path: Path) -> None:
    """Live spans have no settings: they are inferred, or told."""

    def work(number: int) -> None:
        attempt = current_attempt()
        attempt.sleep(0.004 + 0.001 * (number % 5))
        if number % 7 == 0 and attempt.number == 1:
            raise ConnectionError("again")

    traces, path = tmp_path / "spans.jsonl", tmp_path / "run.jsonl"
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OtlpFileExporter(traces)))
    telemetry = Telemetry(tracer_provider=provider, registry=None)
    config = WorkerPoolConfig(
        max_workers=4, max_retries=2, backoff_base_seconds=0.02, task_timeout_seconds=30
    )
    with WorkerPool(config, journal=path, observers=[telemetry]) as pool:
        for number in range(60):
            pool.submit_task(f"t{number}", work, (number,))
        pool.wait_for_all(timeout=60)
    back, told = imported(traces)
    settings = back.header.settings
    assert settings.max_workers == 4
    assert settings.timeout_ns == 30 * S
    assert settings.backoff_base_ns == S // 50
    assert any(text.startswith("max_workers=4 (") for text in told["inferred"])
    for changes in ({"max_workers": 8}, {"max_workers": 2}):
        theirs = what_if(path, **changes).variant
        ours = what_if(back, **changes).variant
        assert ours["attempts"] == theirs["attempts"]
        assert ours["success_rate"] == theirs["success_rate"]
        # timers of a real run are a little late; a simulated one's are not
        assert ours["makespan_seconds"].mean == pytest.approx(
            theirs["makespan_seconds"].mean, rel=0.10
        )
    known, told = imported(traces, "--set", "max_workers=4", "--set", "max_retries=2")
    assert known.header.settings.max_retries == 2
    assert not any(text.startswith("max_") and "abandoned" not in text for text in told["inferred"])


def test_a_retry_after_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    busy = Fails(1.0, "app.Busy", retry_after_seconds=7.0)
    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=1), journal=path) as pool:
        pool.submit_task("asks again", Modelled(1.0, [busy, Fails(), None]))
        pool.wait_for_all()
    journal = read_journal(path)
    traces = tmp_path / "spans.jsonl"
    traces.write_bytes(export_otlp(journal))
    back, told = imported(traces)
    assert told["fidelity"]["start_error_seconds"] == 0
    # nothing is lost but that the pool was closed in the end
    assert back.records == journal.records[: len(back.records)]
    assert len(back.records) >= 6


def test_cancelled_tasks_and_deadlines_come_back(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=1), journal=path) as pool:
        pool.submit_task("runs", Modelled(10.0))
        waits = pool.submit_task("waits", Modelled(1.0))
        pool.submit_task("too late", Modelled(1.0), deadline=4.0)
        pool.advance(3)
        pool.cancel(waits)
        pool.wait_for_all()
    journal = read_journal(path)
    traces = tmp_path / "spans.jsonl"
    traces.write_bytes(export_otlp(journal))
    back, _ = imported(traces)
    assert what_if(back).baseline == what_if(journal).baseline
    assert what_if(back).baseline["cancelled"].mean == 1


# ---------------------------------------------------------------- somebody else's


def span(
    number: int,
    name: str,
    start: float,
    end: float,
    parent: int = 0,
    kind: Any = 3,
    failed: bool = False,
    **attributes: Any,
) -> dict[str, Any]:
    def value(given: Any) -> dict[str, Any]:
        return {"intValue": str(given)} if isinstance(given, int) else {"stringValue": given}

    return {
        "traceId": "ab" * 16,
        "spanId": f"{number:016x}",
        **({"parentSpanId": f"{parent:016X}"} if parent else {}),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(T0 + round(start * S)),
        "endTimeUnixNano": str(T0 + round(end * S)),
        "attributes": [
            {"key": key.replace("__", "."), "value": value(one)} for key, one in attributes.items()
        ],
        "status": {"code": 2} if failed else {},
    }


def traces_of(*spans: dict[str, Any], service: str = "crawler") -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


HTTP = """
[task]
span = "crawl *"
name = "page.url"
group = "page.host"

[attempt]
span = "GET"
kind = "CLIENT"
number = "http.request.resend_count"
counts_from = 0
outcome = "http.response.status_code"
failed = ["500", "503"]
timed_out = ["504"]
"""


@pytest.fixture
def crawl(tmp_path: Path) -> tuple[Path, Path]:
    """Two workers; pages under a span, GETs under a span under that."""
    status = "http__response__status_code"
    spans = [
        span(11, "GET", 0.1, 1.0, 21, **{status: 503}),
        span(12, "GET", 2.0, 3.0, 21, **{status: 200, "http__request__resend_count": 1}),
        span(21, "session", 0.05, 3.1, 1, kind="SPAN_KIND_INTERNAL"),
        span(1, "crawl page", 0, 3.2, kind=1, page__url="/a", page__host="x"),
        span(13, "GET", 0.2, 5.2, 2, **{status: 504}),
        span(2, "crawl page", 0.2, 5.3, kind=1, page__url="/b", page__host="y"),
        span(3, "crawl page", 1, 1.5, kind=1, page__url="cached", page__host="y"),
        span(99, "GET", 0, 9, 77, **{status: 200}),
    ]
    traces, mapping = tmp_path / "http.jsonl", tmp_path / "http.toml"
    lines = [traces_of(*spans[:4]), {"resourceMetrics": []}, traces_of(*spans[3:])]
    traces.write_text("".join(json.dumps(line) + "\n" for line in lines))
    mapping.write_text(HTTP)
    return traces, mapping


def test_somebody_elses_spans_with_a_mapping(crawl: tuple[Path, Path]) -> None:
    traces, mapping = crawl
    journal, told = imported(traces, "--mapping", str(mapping))
    assert (told["tasks"], told["attempts"]) == (2, 3)
    notes = " ".join(told["notes"])
    assert "1 attempts belong to no task" in notes
    assert "1 tasks without an attempt" in notes
    assert journal.header.pool == "crawler"
    assert "waited for a worker before its first attempt" in journal.header.origin
    settings = journal.header.settings
    assert (settings.max_workers, settings.max_retries) == (2, 1)
    assert (settings.timeout_ns, settings.backoff_base_ns) == (5 * S, 1 * S)
    found = json.loads(simulation("why", str(traces.with_suffix(".imported")), "--json").stdout)
    tasks = {task["name"]: task for task in found["tasks"]}
    assert (tasks["/a"]["outcome"], tasks["/a"]["attempts"], tasks["/a"]["group"]) == ("ok", 2, "x")
    assert tasks["/a"]["backoff_ns"] == 1 * S
    assert (tasks["/b"]["outcome"], tasks["/b"]["running_ns"]) == ("timeout", 5 * S)
    assert what_if(journal, max_retries=0).variant["success_rate"].mean == 0


def test_a_task_may_be_its_own_attempt_and_the_file_one_document(tmp_path: Path) -> None:
    traces, mapping = tmp_path / "one.json", tmp_path / "one.toml"
    spans = [span(n, "job", n, n + 2, failed=n == 2, kind=2) for n in range(1, 5)]
    traces.write_text(json.dumps(traces_of(*spans), indent=2))
    mapping.write_text('[task]\nspan = "job"\n')
    journal, told = imported(traces, "--mapping", str(mapping))
    assert (told["tasks"], told["attempts"]) == (4, 4)
    assert journal.header.settings.max_workers == 2
    assert what_if(journal).baseline["failed"].mean == 1


# ---------------------------------------------------------------- bad input


def refused(tmp_path: Path, text: str | bytes, *words: str, mapping: str = "") -> None:
    traces = tmp_path / "bad.jsonl"
    traces.write_bytes(text if isinstance(text, bytes) else text.encode())
    options = []
    if mapping:
        (tmp_path / "m.toml").write_text(mapping)
        options = ["--mapping", str(tmp_path / "m.toml")]
    out = tmp_path / "out.jsonl"
    bad(simulation("import", str(traces), "-o", str(out), *options), 2, *words)
    assert not out.exists()


def changed(**fields: Any) -> str:
    good = json.dumps(traces_of(span(1, "task g", 0, 1))) + "\n"
    return good + json.dumps(traces_of({**span(2, "task g", 0, 1), **fields})) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        ("no\n", ["line 1", "not JSON"]),
        ('{"resourceSpans":[]}\n{"resou\n', ["line 2", "not JSON"]),
        (b"\x0a\xff\x00protobuf", ["line 2", "not JSON"]),
        ("[]\n", ["line 1", "no resourceSpans"]),
        ('{"a":1}\n', ["line 1", "no resourceSpans"]),
        ('{"twinclock_journal":1}\n', ["a journal already"]),
        ('{"resourceSpans":[]}\n', ["no span"]),
        ('{"resourceSpans":{"a":1}}\n', ["line 1", "must be a list"]),
        (changed(traceId="xyz"), ["line 2", "traceId", "32"]),
        (changed(spanId=""), ["line 2", "spanId"]),
        (changed(startTimeUnixNano="soon"), ["line 2", "startTimeUnixNano"]),
        (changed(startTimeUnixNano=True), ["line 2", "startTimeUnixNano"]),
        (changed(endTimeUnixNano="9" * 30), ["line 2", "endTimeUnixNano"]),
        (changed(endTimeUnixNano="1"), ["line 2", "before it starts"]),
        (changed(attributes=[{"key": "a", "value": {"intValue": "x"}}]), ["line 2", "intValue"]),
        (changed(attributes=7), ["line 2", "attributes"]),
        (changed(status="bad"), ["line 2", "status"]),
        (changed(name=5), ["line 2", "name"]),
        (json.dumps(traces_of(span(1, "GET", 0, 1))) + "\n", ["no task in 1 spans", "--mapping"]),
    ],
)
def test_bad_traces_give_one_line_with_its_number(
    tmp_path: Path, text: str | bytes, words: list[str]
) -> None:
    refused(tmp_path, text, *words)


def test_attempts_that_overlap_are_refused_by_line(tmp_path: Path) -> None:
    document = traces_of(
        span(1, "job", 0, 5, kind=2), span(2, "GET", 0, 2, 1), span(3, "GET", 1, 3, 1)
    )
    mapping = '[task]\nspan = "job"\n[attempt]\nspan = "GET"\n'
    refused(
        tmp_path, json.dumps(document) + "\n", "line 1", "one attempt at a time", mapping=mapping
    )


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("[task", ["not a TOML file"]),
        ("[tusk]\n", ["tusk", "did you mean task?"]),
        ('[task]\nspann = "x"\n', ["[task] spann", "did you mean span?"]),
        ('[task]\nkind = "SERVR"\n', ["kind='SERVR'", "SERVER"]),
        ("[task]\nspan = 5\n", ["$.task.span"]),
        ('[task]\nspan = "job"\n[attempt]\nspan = "GET"\n', ["has an attempt"]),
        ('[task]\nspan = "nothing"\n', ["no span is called 'nothing'", "'job'"]),
    ],
)
def test_bad_mappings_give_one_line(tmp_path: Path, mapping: str, words: list[str]) -> None:
    good = json.dumps(traces_of(span(1, "job", 0, 5, kind=2))) + "\n"
    refused(tmp_path, good, *words, mapping=mapping)


def test_several_pools_in_one_file_are_told_apart(tmp_path: Path) -> None:
    traces = tmp_path / "two.jsonl"
    lines = b""
    for name in ("first", "second"):
        path = tmp_path / f"{name}.jsonl"
        seed = len(name)
        with SimulatedWorkerPool(WorkerPoolConfig(name=name), seed=seed, journal=path) as pool:
            for number in range(3):
                pool.submit_task(f"t{number}", Modelled(1.0 + seed))
            pool.wait_for_all()
        lines += export_otlp(read_journal(path))
    traces.write_bytes(lines)
    out = str(tmp_path / "out.jsonl")
    bad(simulation("import", str(traces), "-o", out), 2, "2 pools", "--pool")
    bad(simulation("import", str(traces), "-o", out, "--pool", "third"), 2, "third")
    _, told = imported(traces, "--pool", "second")
    assert told["tasks"] == 3


def test_the_same_export_twice_counts_once_and_another_run_with_its_ids_not_at_all(
    tmp_path: Path,
) -> None:
    one = json.dumps(traces_of(span(1, "task g", 0, 1), span(2, "attempt g", 0, 1, 1))) + "\n"
    traces = tmp_path / "twice.jsonl"
    traces.write_text(one + one)
    assert imported(traces)[1]["tasks"] == 1
    refused(tmp_path, one + json.dumps(traces_of(span(1, "task g", 0, 2))), "line 2", "line 1")


def test_settings_out_of_range_are_refused(tmp_path: Path, crawl: tuple[Path, Path]) -> None:
    traces, mapping = crawl
    arguments = ("import", str(traces), "-o", str(tmp_path / "o"), "--mapping", str(mapping))
    bad(simulation(*arguments, "--set", "max_workers=0"), 2, "max_workers")
    bad(simulation(*arguments, "--set", "workers=3"), 2, "did you mean max_workers?")
    bad(simulation("import", str(tmp_path / "none"), "-o", "x"), 2, "no such file")


def test_the_documents_mapping_can_be_read(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "import.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "example.toml"
    path.write_text(example)
    mapping = read_mapping(str(path))
    assert mapping.task.name == "page.url"
    assert mapping.attempt is not None
    assert mapping.attempt.timed_out == ("504",)
