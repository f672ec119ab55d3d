"""Spans over OTLP to a real receiver, and to a file that another reader takes."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from runtime import WorkerPool, WorkerPoolConfig
from runtime.core.records import FinishTask, StartAttempt, TaskSubmitted
from runtime.journal import read_journal
from simulation import Fails, Modelled, SimulatedWorkerPool
from telemetry import Telemetry
from telemetry.otlp import OtlpFileExporter

ROOT = Path(__file__).resolve().parents[2]


def values(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span.get("attributes", [])}


def compare(spans: list[dict[str, Any]], journal: Path) -> None:
    """Count, tree, instants, status and attributes are those of the journal."""
    read = read_journal(journal)
    specs = {
        r.stimulus.task: (r.at, r.stimulus)
        for r in read.records
        if isinstance(r.stimulus, TaskSubmitted)
    }
    starts = [(r.at, i) for r in read.records for i in r.instructions if type(i) is StartAttempt]
    ends = {
        i.task: (r.at, i) for r in read.records for i in r.instructions if type(i) is FinishTask
    }
    tasks = {values(s)["workerpool.task.id"]: s for s in spans if s["name"].startswith("task ")}
    attempts = [s for s in spans if s["name"].startswith("attempt ")]
    assert len(spans) == len(tasks) + len(attempts)
    assert len(tasks) == len(specs) == len(ends)
    assert len(attempts) == len(starts)
    epoch = read.header.epoch_ns
    by_id = {span["spanId"]: span for span in tasks.values()}
    for number, (submitted, spec) in specs.items():
        span = tasks[f"{read.header.prefix}{number}"]
        ended, end = ends[number]
        told = values(span)
        assert int(span["startTimeUnixNano"]) == epoch + submitted
        assert int(span["endTimeUnixNano"]) == epoch + ended
        assert told["workerpool.outcome"] == end.outcome
        assert int(told["workerpool.attempt.count"]) == end.attempts
        assert told["workerpool.task.name"] == spec.name
        failed = end.outcome in ("error", "timeout")
        assert ("status" in span and bool(span["status"])) == failed
    begun = Counter(epoch + at for at, _ in starts)
    assert Counter(int(span["startTimeUnixNano"]) for span in attempts) == begun
    for span in attempts:
        parent = by_id[span["parentSpanId"]]
        assert parent["traceId"] == span["traceId"]
        assert parent["name"].removeprefix("task ") == span["name"].removeprefix("attempt ")


def work(n: int) -> int:
    if n % 7 == 0:
        raise ValueError(n)
    return n


def test_a_real_receiver_gets_what_the_journal_has(tmp_path: Path) -> None:
    receiver = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "receiver.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert receiver.stdout is not None
        port = int(receiver.stdout.readline())
        provider = TracerProvider()
        exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=10_000))
        telemetry = Telemetry(tracer_provider=provider, registry=None)
        config = WorkerPoolConfig(max_workers=4, max_retries=1, backoff_base_seconds=0.001)
        with WorkerPool(config, journal=tmp_path / "j", observers=[telemetry]) as pool:
            for n in range(200):
                pool.submit_task(f"t{n}", work, (n,), group=f"g{n % 3}")
            attempts = sum(r.metrics.retries_used + 1 for r in pool.wait_for_all())
        provider.shutdown()
        spans = [json.loads(receiver.stdout.readline()) for _ in range(200 + attempts)]
    finally:
        receiver.terminate()
        receiver.wait(30)
        receiver.stdout.close()
    compare(spans, tmp_path / "j")


def read_back(path: Path) -> list[dict[str, Any]]:
    """Every span of the file, as protobuf's own reader takes it."""
    found = []
    for line in path.read_text().splitlines():
        document = json.loads(line)
        for resource in document["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                found += [dict(span) for span in scope["spans"]]
                for span in scope["spans"]:  # OTLP has ids in hexadecimal, protobuf in base64
                    for holder in (span, *span.get("links", [])):
                        for name in ("traceId", "spanId", "parentSpanId"):
                            if name in holder:
                                raw = bytes.fromhex(holder[name])
                                holder[name] = base64.b64encode(raw).decode()
        Parse(json.dumps(document), TracesData())
    return found


def to_file(path: Path) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OtlpFileExporter(path)))
    return provider


def test_a_file_loses_none_of_10_000_tasks(tmp_path: Path) -> None:
    provider = to_file(tmp_path / "spans.jsonl")
    telemetry = Telemetry(tracer_provider=provider, registry=None)
    config = WorkerPoolConfig(max_workers=8, max_retries=0)
    with WorkerPool(config, journal=tmp_path / "j", observers=[telemetry]) as pool:
        for n in range(10_000):
            pool.submit_task("t", work, (n,))
    provider.shutdown()
    compare(read_back(tmp_path / "spans.jsonl"), tmp_path / "j")


SEEDED = """
import sys
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from runtime import WorkerPoolConfig
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool
from telemetry import Telemetry
from telemetry.otlp import OtlpFileExporter
provider = TracerProvider(resource=Resource({"service.name": "seeded"}))
provider.add_span_processor(SimpleSpanProcessor(OtlpFileExporter(sys.argv[1])))
telemetry = Telemetry(tracer_provider=provider, registry=None, queue_spans=True)
config = WorkerPoolConfig(max_workers=3, jitter="full", enable_instrumentation=True)
with SimulatedWorkerPool(config, seed=11, observers=[telemetry]) as pool:
    for n in range(60):
        pool.submit_task(f"t{n}", Modelled(Exponential(5), Fails(0.3)), group=f"g{n % 4}")
    pool.wait_for_all()
"""


def test_a_seeded_run_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    for seed in ("0", "77"):
        subprocess.run(
            [sys.executable, "-c", SEEDED, str(tmp_path / seed)],
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
        )
    assert (tmp_path / "0").read_bytes() == (tmp_path / "77").read_bytes()
    names = {span["name"].split()[0] for span in read_back(tmp_path / "0")}
    assert names == {"task", "attempt", "queue"}


def test_a_simulated_runs_file_is_that_of_its_journal(tmp_path: Path) -> None:
    telemetry = Telemetry(tracer_provider=to_file(tmp_path / "s"), registry=None)
    config = WorkerPoolConfig(max_workers=2, task_timeout_seconds=4)
    pool = SimulatedWorkerPool(config, seed=2, journal=tmp_path / "j", observers=[telemetry])
    with pool:
        for n in range(30):
            pool.submit_task(f"t{n}", Modelled(1.0 + n % 5, Fails(0.2)))
        pool.wait_for_all()
    compare(read_back(tmp_path / "s"), tmp_path / "j")


def test_a_full_disk_is_told_once_and_stops_no_work(caplog: pytest.LogCaptureFixture) -> None:
    exporter = OtlpFileExporter("/dev/full")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry(tracer_provider=provider, registry=None)
    with caplog.at_level(logging.ERROR, "twinclock"), WorkerPool(observers=[telemetry]) as pool:
        for n in range(10):
            pool.submit_task("t", work, (n + 1,), max_retries=0)
        assert len(pool.wait_for_all()) == 10
    assert exporter.lost == 20
    assert caplog.text.count("spans cannot be written to /dev/full") == 1


def test_values_of_every_kind_are_read_back(tmp_path: Path) -> None:
    provider = to_file(tmp_path / "s")
    with provider.get_tracer("t").start_as_current_span("odd") as span:
        span.set_attribute("half", "\ud800")
        span.set_attribute("nan", float("nan"))
        span.set_attribute("big", 2**62)
        span.set_attribute("yes", True)
        span.set_attribute("list", ["a", "b"])
        span.add_event("e", {"k": 1.5})
    (found,) = read_back(tmp_path / "s")
    told = values(found)
    assert told["half"] == "?"
    assert told["big"] == str(2**62)
    assert told["yes"] is True
    assert found["events"][0]["name"] == "e"
