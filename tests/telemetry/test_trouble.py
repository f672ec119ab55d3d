"""Where telemetry is in trouble the work goes on, and the user is told what is missing."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, Counter

from runtime import WorkerPool, WorkerPoolConfig
from runtime.core.records import Transition
from runtime.logs import LogObserver
from runtime.observers import Detail
from simulation import Modelled, SimulatedWorkerPool
from telemetry import Telemetry, WatchedExporter
from telemetry.names import LOSSES
from tests.threads.helpers import in_threads, until

HERE = Path(__file__).parent
TASKS = 300


def lost(registry: CollectorRegistry, reason: str) -> float:
    labels = {"pool": "pool", "reason": reason}
    value = registry.get_sample_value("workerpool_spans_lost_total", labels)
    assert value is not None
    return value


def told(caplog: pytest.LogCaptureFixture, what: str) -> list[logging.LogRecord]:
    return [
        record
        for record in caplog.records
        if record.name == "twinclock" and what in record.getMessage()
    ]


def finish(pool: WorkerPool, tasks: int = TASKS) -> None:
    for _ in range(tasks):
        pool.submit_task("t", int)
    assert all(result.success for result in pool.wait_for_all(timeout=60))


@contextmanager
def silent_receiver() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "silent.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/traces"
        finally:
            process.kill()


def test_a_receiver_that_never_answers(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    traces = TracerProvider(shutdown_on_exit=False)
    with silent_receiver() as url:
        exporter = WatchedExporter(OTLPSpanExporter(endpoint=url, timeout=600))
        queue = BatchSpanProcessor(exporter, max_queue_size=64, max_export_batch_size=32)
        traces.add_span_processor(queue)
        telemetry = Telemetry(tracer_provider=traces, registry=registry)
        with WorkerPool(observers=[telemetry]) as pool:
            finish(pool)
            # 64 wait, and up to 32 hang in an export; the worker's first look may come in between
            until(lambda: 2 * TASKS - 96 <= lost(registry, "queue_full") <= 2 * TASKS - 64)
    (line,) = told(caplog, "loses spans")
    assert "max_queue_size" in line.getMessage()
    exporter.shutdown()  # which ends its retries: the receiver is gone
    traces.shutdown()
    assert exporter.lost > 0


class Broken(SpanExporter):
    """Raises, or says that it has failed."""

    def __init__(self, *, raises: bool) -> None:
        self.raises = raises

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.raises:
            raise RuntimeError("the exporter is broken")
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("processor", [BatchSpanProcessor, SimpleSpanProcessor])
def test_an_exporter_that_fails(
    processor: type[BatchSpanProcessor], raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    traces = TracerProvider(shutdown_on_exit=False)
    exporter = WatchedExporter(Broken(raises=raises))
    traces.add_span_processor(processor(exporter))
    with traces.get_tracer("user").start_as_current_span("not the pool's"):
        pass
    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=registry)]) as pool:
        finish(pool)

        def all_lost() -> bool:
            traces.force_flush()
            return lost(registry, "export_failed") == 2 * TASKS

        until(all_lost)
    assert exporter.lost == 2 * TASKS + 1
    assert lost(registry, "export_failed") == 2 * TASKS, "known after the pool's end, too"
    assert len(told(caplog, "loses spans")) == 1
    traces.shutdown()


class Raises(SpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("the processor is broken")


def test_a_processor_that_raises_leaves_the_others_their_spans(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry, exported = CollectorRegistry(), InMemorySpanExporter()
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(Raises())
    traces.add_span_processor(SimpleSpanProcessor(exported))
    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=registry)]) as pool:
        finish(pool)
    assert len(exported.get_finished_spans()) == 2 * TASKS
    assert lost(registry, "processor_error") == 2 * TASKS
    (line,) = told(caplog, "loses spans")
    assert line.exc_info is not None


@pytest.mark.parametrize("processor", [BatchSpanProcessor, SimpleSpanProcessor])
def test_a_provider_that_was_shut_down_too_early(
    processor: type[BatchSpanProcessor], caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(processor(InMemorySpanExporter()))
    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=registry)]) as pool:
        traces.shutdown()
        finish(pool)
    assert lost(registry, "shut_down") == 2 * TASKS
    (line,) = told(caplog, "loses spans")
    assert "close the pool first" in line.getMessage()


def test_where_none_is_lost_the_series_are_there_at_zero() -> None:
    registry = CollectorRegistry()
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=registry)]) as pool:
        finish(pool)
    assert [lost(registry, reason) for reason in LOSSES] == [0] * len(LOSSES)


def test_a_registry_that_has_the_name_already(caplog: pytest.LogCaptureFixture) -> None:
    registry, exported = CollectorRegistry(), InMemorySpanExporter()
    theirs = Counter("workerpool_tasks_submitted", "Somebody else's.", registry=registry)
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(exported))
    for _ in range(2):
        with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=registry)]) as pool:
            finish(pool, 10)
    theirs.inc()
    assert registry.get_sample_value("workerpool_tasks_submitted_total") == 1
    lines = told(caplog, "has no metrics")
    assert len(lines) == 2
    assert "workerpool_tasks_submitted" in lines[0].getMessage()
    assert len(exported.get_finished_spans()) == 40, "spans go on"


def test_a_telemetry_that_raises_still_counts(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    traces = TracerProvider(shutdown_on_exit=False)
    telemetry = Telemetry(tracer_provider=traces, registry=registry)

    def broken(batch: Sequence[Transition]) -> None:
        raise RuntimeError("spans are broken")

    telemetry.transitions = broken  # type: ignore[method-assign]
    pool = WorkerPool(observers=[telemetry])
    finish(pool)
    until(lambda: told(caplog, "is told nothing more"))
    finish(pool)
    labels = {"pool": "pool", "group": "default", "outcome": "ok"}
    assert registry.get_sample_value("workerpool_tasks_finished_total", labels) == 2 * TASKS
    pool.shutdown()
    assert registry.get_sample_value("workerpool_observer_errors_total", {"pool": "pool"}) == 1
    assert registry.get_sample_value("workerpool_tasks_finished_total", labels) == 2 * TASKS
    assert all(part._view is None for part in telemetry._parts), "it has let go of the pool"


def test_an_observer_is_told_some_at_a_time_so_that_one_that_gets_on_is_waited_for() -> None:
    sizes: list[int] = []

    class Watches(LogObserver):
        def detail(self) -> Detail:
            return "all"

        def transitions(self, batch: Sequence[Transition]) -> None:
            sizes.append(len(batch))

    with SimulatedWorkerPool(observers=[Watches()]) as pool:
        for _ in range(1500):
            pool.submit_task("t", Modelled(1.0))
        pool.wait_for_all()
    assert sum(sizes) == 3 * 1500
    assert max(sizes) == 1000


def test_a_telemetry_that_has_a_pool_already_leaves_the_second_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exported = InMemorySpanExporter()
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(exported))
    telemetry = Telemetry(tracer_provider=traces, registry=None)
    with WorkerPool(observers=[telemetry]) as first, WorkerPool(observers=[telemetry]) as second:
        finish(second, 10)
        finish(first, 10)
    assert len(exported.get_finished_spans()) == 20, "the second's tasks are not the first's"
    assert len(told(caplog, "is told nothing more")) == 1


def test_scrapes_amid_aborts_by_many_threads_are_each_of_one_instant() -> None:
    registry = CollectorRegistry()
    over = threading.Event()
    seen: list[int] = []

    def scrape() -> None:
        while not over.is_set():
            found: dict[str, float] = {}
            for family in registry.collect():
                for sample in family.samples:
                    name = sample.name.removeprefix("workerpool_")
                    if name in ("queue_depth", "workers"):
                        name = f"{name} {sample.labels['state']}"
                    if not name.endswith("_bucket"):
                        found[name] = found.get(name, 0.0) + sample.value
            live = found["queue_depth ready"] + found["queue_depth delayed"] + found["workers busy"]
            assert found["tasks_submitted_total"] == found["tasks_finished_total"] + live
            started = found["attempts_finished_total"] + found["workers busy"]
            assert found["queue_wait_seconds_count"] == started
            assert found["task_duration_seconds_count"] == found["tasks_finished_total"]
            seen.append(int(found["tasks_finished_total"]))

    config = WorkerPoolConfig(max_workers=4, backoff_base_seconds=0.01, max_retries=1)
    with WorkerPool(config, observers=[Telemetry(registry=registry)]) as pool:

        def work(number: int) -> None:
            if number < 3:
                scrape()
                return
            try:
                for n in range(60):
                    for _ in range(10):
                        pool.submit_task("t", lambda n=n: 1 / (n % 3), group=f"g{number}")
                    pool.abort_pending_tasks()
            finally:
                done.release()

        done = threading.Semaphore(0)
        stopper = threading.Thread(target=lambda: ([done.acquire() for _ in range(3)], over.set()))
        stopper.start()
        in_threads(6, work)
        stopper.join()
        pool.wait_for_all(timeout=60)
    assert len(seen) > 3
    assert (
        registry.get_sample_value(
            "workerpool_tasks_submitted_total", {"pool": "pool", "group": "g3"}
        )
        == 600
    )


FORK = """
import os
from prometheus_client import CollectorRegistry, generate_latest
from runtime import WorkerPool
from telemetry import Telemetry
registry = CollectorRegistry()
with WorkerPool(observers=[Telemetry(registry=registry)]) as pool:
    pool.get_task_result(pool.submit_task("t", int))
    child = os.fork()
    if child == 0:
        text = generate_latest(registry).decode()
        counted = [line for line in text.splitlines() if line.startswith("workerpool")]
        os._exit(len(counted))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "a child has its parent's counts"
    assert "workerpool_tasks_finished_total" in generate_latest(registry).decode()
print("fine")
"""


def test_a_forked_child_can_be_scraped() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=HERE.parent.parent,
    )
    assert done.stdout == "fine\n", done.stderr
