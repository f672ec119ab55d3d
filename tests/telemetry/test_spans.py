"""Spans: the tree, the instants, the attributes; the same on both clocks."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import StatusCode

from runtime import WorkerPool, WorkerPoolConfig, current_attempt
from runtime.core.records import Transition
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool
from telemetry import Telemetry


def provider(**options: object) -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    made = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type]
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made, exporter


def by_name(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


@pytest.fixture(params=[WorkerPool, SimulatedWorkerPool])
def kind(request: pytest.FixtureRequest) -> type[WorkerPool]:
    return request.param


def test_a_task_saved_by_a_retry(kind: type[WorkerPool]) -> None:
    traces, exporter = provider()
    tracer = traces.get_tracer("user")

    def work() -> str:
        trace.get_current_span().set_attribute("user.answer", 42)
        with tracer.start_as_current_span("inside"):
            current_attempt().sleep(0.001)
        if current_attempt().number == 1:
            raise ConnectionError("try again")
        return "done"

    config = WorkerPoolConfig(backoff_base_seconds=0.01, task_timeout_seconds=30, name="p")
    telemetry = Telemetry(tracer_provider=traces, registry=None)
    with kind(config, observers=[telemetry]) as pool, tracer.start_as_current_span("request"):
        task_id = pool.submit_task("Q1", work, group="g", priority=3)
        assert pool.get_task_result(task_id).success
    (request,) = by_name(exporter, "request")
    (task,) = by_name(exporter, "task g")
    attempts = by_name(exporter, "attempt g")
    inside = by_name(exporter, "inside")
    assert task.parent.span_id == request.context.span_id
    assert [a.parent.span_id for a in attempts] == [task.context.span_id] * 2
    assert [i.parent.span_id for i in inside] == [a.context.span_id for a in attempts]
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 1
    assert dict(task.attributes) == {
        "workerpool.pool.name": "p",
        "workerpool.task.id": task_id,
        "workerpool.task.name": "Q1",
        "workerpool.task.priority": 3,
        "workerpool.group": "g",
        "workerpool.outcome": "ok",
        "workerpool.attempt.count": 2,
    }
    assert task.status.status_code is StatusCode.UNSET
    assert [event.name for event in task.events] == ["workerpool.retry_scheduled"]
    first, second = attempts
    assert [a.attributes["workerpool.attempt.number"] for a in attempts] == [1, 2]
    assert [a.attributes["workerpool.outcome"] for a in attempts] == ["error", "ok"]
    assert all(a.attributes["user.answer"] == 42 for a in attempts)
    assert all(a.attributes["workerpool.timeout"] == 30.0 for a in attempts)
    assert all("thread.id" in a.attributes for a in attempts)
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes["error.type"] == "ConnectionError"
    (recorded,) = first.events
    assert recorded.attributes["exception.message"] == "try again"
    assert "in work" in recorded.attributes["exception.stacktrace"]
    assert second.status.status_code is StatusCode.UNSET
    assert task.start_time <= first.start_time < first.end_time < second.start_time
    assert second.end_time == task.end_time


def test_failure_timeout_and_cancel(kind: type[WorkerPool]) -> None:
    traces, exporter = provider()
    config = WorkerPoolConfig(max_workers=4, task_timeout_seconds=None, max_retries=0)
    telemetry = Telemetry(tracer_provider=traces, registry=None)
    with kind(config, observers=[telemetry]) as pool:
        pool.submit_task("bad", lambda: 1 / 0, group="bad")
        pool.submit_task("slow", lambda: current_attempt().sleep(9), group="slow", timeout=0.05)
        pool.submit_task("late", int, group="late", deadline=pool.now - 1)
        pool.wait_for_all()
        for _ in range(6):
            pool.submit_task("aborted", lambda: current_attempt().sleep(0.2), group="aborted")
        pool.abort_pending_tasks()
    outcome = {
        group: [
            span.attributes["workerpool.outcome"] for span in by_name(exporter, f"task {group}")
        ]
        for group in ("bad", "slow", "late", "aborted")
    }
    assert outcome["bad"] == ["error"]
    assert outcome["slow"] == ["timeout"]
    assert outcome["late"] == ["timeout"]
    assert sorted(outcome["aborted"]) == ["cancelled"] * 2 + ["ok"] * 4
    for group, error in (("bad", "ZeroDivisionError"), ("slow", "TimeoutError")):
        (span,) = by_name(exporter, f"task {group}")
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == error
    cancelled = [
        span
        for span in by_name(exporter, "task aborted")
        if span.attributes["workerpool.outcome"] == "cancelled"
    ]
    for span in cancelled:
        assert span.status.status_code is StatusCode.UNSET
        assert [event.name for event in span.events] == ["workerpool.abort_requested"]
    assert by_name(exporter, "attempt late") == []


def test_two_simulated_runs_export_the_same() -> None:
    def run() -> list[str]:
        traces, exporter = provider()
        with SimulatedWorkerPool(
            WorkerPoolConfig(max_workers=3),
            seed=5,
            observers=[Telemetry(tracer_provider=traces, registry=None)],
        ) as pool:
            for n in range(50):
                pool.submit_task(f"t{n}", Modelled(Exponential(1.0), Fails(0.3)))
            pool.wait_for_all()
        return [
            span.to_json() for span in exporter.get_finished_spans() if span.resource is not None
        ]

    first, second = run(), run()
    assert first == second
    assert len(first) > 100


@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_relations(relation: str) -> None:
    traces, exporter = provider()
    telemetry = Telemetry(tracer_provider=traces, registry=None, relation=relation)  # type: ignore[arg-type]
    with WorkerPool(observers=[telemetry]) as pool:
        with traces.get_tracer("user").start_as_current_span("request"):
            task = pool.submit_task("t", int)
        pool.get_task_result(task)
    (request,) = by_name(exporter, "request")
    (span,) = by_name(exporter, "task default")
    assert (span.parent is not None) == (relation == "child")
    assert [link.context for link in span.links] == [request.context] * (relation == "link")
    assert (span.context.trace_id == request.context.trace_id) == (relation == "child")
    with pytest.raises(ValueError, match="relation"):
        Telemetry(tracer_provider=traces, relation="cousin")  # type: ignore[arg-type]


def test_what_is_not_sampled_is_not_exported_but_keeps_its_context() -> None:
    traces, exporter = provider(sampler=ParentBased(ALWAYS_OFF))
    seen: list[bool] = []
    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=None)]) as pool:

        def look() -> None:
            span = trace.get_current_span()
            seen.append(span.is_recording())
            assert span.get_span_context().is_valid

        assert pool.get_task_result(pool.submit_task("t", look)).success
    assert seen == [False]
    assert exporter.get_finished_spans() == ()


def test_every_task_and_attempt_has_its_span() -> None:
    traces, exporter = provider()
    config = WorkerPoolConfig(max_workers=8, backoff_base_seconds=0.0, max_retries=1)
    with WorkerPool(config, observers=[Telemetry(tracer_provider=traces, registry=None)]) as pool:
        for n in range(2000):
            pool.submit_task("t", lambda n=n: 1 / (n % 10))
        pool.wait_for_all()
        attempts = pool.get_summary_metrics()["total_attempts"]
    assert len(by_name(exporter, "task default")) == 2000
    assert len(by_name(exporter, "attempt default")) == attempts == 2200


def test_a_provider_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    traces, _ = provider()
    telemetry = Telemetry(tracer_provider=traces, registry=None)

    def broken(batch: list[Transition]) -> None:
        raise RuntimeError("exporter is broken")

    telemetry.transitions = broken  # type: ignore[method-assign,assignment]
    telemetry.begin = lambda number, attempt: 1 / 0  # type: ignore[assignment,return-value]
    with WorkerPool(observers=[telemetry]) as pool:
        for _ in range(20):
            pool.submit_task("t", int)
        assert all(result.success for result in pool.wait_for_all())
    told = [record for record in caplog.records if "observer" in record.message]
    assert len(told) == 2


def test_each_wait_for_a_worker_is_a_span_where_asked_for(kind: type[WorkerPool]) -> None:
    traces, exporter = provider()

    def work() -> None:
        if current_attempt().number == 1:
            raise ConnectionError("try again")

    config = WorkerPoolConfig(backoff_base_seconds=0.01)
    telemetry = Telemetry(tracer_provider=traces, registry=None, queue_spans=True)
    with kind(config, observers=[telemetry]) as pool:
        assert pool.get_task_result(pool.submit_task("t", work, group="g")).success
    (task,) = by_name(exporter, "task g")
    attempts = by_name(exporter, "attempt g")
    waits = by_name(exporter, "queue g")
    assert [w.attributes["workerpool.attempt.number"] for w in waits] == [1, 2]
    assert [w.parent.span_id for w in waits] == [task.context.span_id] * 2
    assert [w.end_time for w in waits] == [a.start_time for a in attempts]
    assert waits[0].start_time == task.start_time
    assert waits[1].start_time > attempts[0].end_time
    assert len({s.context.span_id for s in exporter.get_finished_spans()}) == 5
