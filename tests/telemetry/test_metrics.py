"""Metrics: equal, number by number, to what one counts from the journal."""

from __future__ import annotations

import gc
import threading
import urllib.request
import weakref
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar

from runtime import WaitTimeoutError, WorkerPool, WorkerPoolConfig, current_attempt
from runtime.core.records import (
    AbandonAttempt,
    AttemptFailed,
    AttemptSucceeded,
    DelayTask,
    DropResult,
    FinishTask,
    StartAttempt,
    TaskSubmitted,
)
from runtime.journal import Journal, read_journal
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool
from simulation.replay import parts_of
from telemetry import Telemetry, serve
from telemetry.names import METRICS, MOST_GROUPS, PREFIX


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition.generate_latest(registry).decode()
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def expected(journal: Journal) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
    """The counters, counted naively from the journal."""
    counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    specs: dict[int, TaskSubmitted] = {}
    pool = journal.header.pool

    def add(name: str, task: int, **labels: str) -> None:
        named = {"pool": pool, "group": specs[task].group, **labels}
        counts[name, tuple(sorted(named.items()))] += 1

    for record in journal.records:
        dropped = {(i.task, i.attempt) for i in record.instructions if isinstance(i, DropResult)}
        for part in parts_of(record):
            match part:
                case TaskSubmitted():
                    specs[part.task] = part
                    add("tasks_submitted_total", part.task)
                case AttemptSucceeded() | AttemptFailed():
                    if (part.task, part.attempt) not in dropped:
                        outcome = "ok" if isinstance(part, AttemptSucceeded) else "error"
                        add("attempts_finished_total", part.task, outcome=outcome)
                        add("attempt_duration_seconds_count", part.task, outcome=outcome)
                case _:
                    pass
        for instruction in record.instructions:
            match instruction:
                case StartAttempt(task=task):
                    add("queue_wait_seconds_count", task)
                case AbandonAttempt(task=task, outcome=outcome):
                    add("attempts_finished_total", task, outcome=outcome)
                    add("attempt_duration_seconds_count", task, outcome=outcome)
                case DelayTask(task=task, reason=reason):
                    add("retries_scheduled_total", task, reason=reason)
                case DropResult(task=task):
                    add("late_results_total", task)
                case FinishTask(task=task, outcome=outcome):
                    add("tasks_finished_total", task, outcome=outcome)
                    add("task_duration_seconds_count", task, outcome=outcome)
                case _:
                    pass
    return counts


def busy(pool: WorkerPool) -> None:
    """Every outcome there is."""

    def work(n: int) -> None:
        attempt = current_attempt()
        if n % 5 == 1 and attempt.number == 1:
            raise ConnectionError
        if n % 5 == 2:
            attempt.sleep(1000)
        if n % 5 == 3:
            raise ValueError

    ids = [pool.submit_task(f"t{n}", work, (n,), group=f"g{n % 3}") for n in range(60)]
    pool.cancel(ids[-1])
    pool.wait_for_all()
    for n in range(30):
        pool.submit_task(f"late{n}", lambda: current_attempt().sleep(0.02))
    pool.abort_pending_tasks()
    pool.wait_for_all()


@pytest.mark.parametrize("kind", [WorkerPool, SimulatedWorkerPool])
def test_every_counter_is_what_the_journal_says(kind: type[WorkerPool], tmp_path: Path) -> None:
    registry = CollectorRegistry()
    config = WorkerPoolConfig(
        max_workers=4,
        task_timeout_seconds=0.02,
        max_retries=2,
        backoff_base_seconds=0.001,
        retry_on=ConnectionError,
    )
    path = tmp_path / "run.jsonl"
    with kind(config, journal=path, observers=[Telemetry(registry=registry)]) as pool:
        busy(pool)
    found = samples(registry)
    wanted = expected(read_journal(path))
    assert {key: found.get(key) for key in wanted} == wanted
    counted = {name for name, metric in METRICS.items() if metric.kind != "gauge"}
    for (name, labels), value in found.items():
        bare = name.removesuffix("_total").removesuffix("_count")
        if bare in counted and "group" in dict(labels) and value and not name.endswith("_sum"):
            assert "_bucket" in name or (name, labels) in wanted, (name, labels)
    outcomes = {dict(labels).get("outcome") for (_, labels) in wanted}
    assert outcomes >= {"ok", "error", "timeout", "cancelled"}


def test_histograms_hold_the_transitions_own_durations() -> None:
    registry = CollectorRegistry()
    with SimulatedWorkerPool(
        WorkerPoolConfig(max_workers=1, backoff_base_seconds=7.0),
        observers=[Telemetry(registry=registry)],
    ) as pool:
        pool.submit_task("a", Modelled(2.0, [Fails(), None]))
        pool.submit_task("b", Modelled(3.0))
        pool.wait_for_all()
    found = samples(registry)

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted({"pool": "pool", "group": "default", **labels}.items()))]

    # a runs 0-2, waits for its retry until 9, runs 9-11; b waits 2, runs 2-5
    assert value("attempt_duration_seconds_sum", outcome="ok") == 5.0
    assert value("attempt_duration_seconds_sum", outcome="error") == 2.0
    assert value("task_duration_seconds_sum", outcome="ok") == 11.0 + 5.0
    assert value("queue_wait_seconds_sum") == 2.0
    assert value("queue_wait_seconds_count") == 3
    assert value("task_duration_seconds_bucket", outcome="ok", le="5.0") == 1
    assert value("task_duration_seconds_bucket", outcome="ok", le="30.0") == 2
    assert found["worker_busy_seconds_total", (("pool", "pool"),)] == 7.0


def test_gauges_show_the_present() -> None:
    registry = CollectorRegistry()
    with SimulatedWorkerPool(
        WorkerPoolConfig(max_workers=2, backoff_base_seconds=50.0),
        observers=[Telemetry(registry=registry)],
    ) as pool:
        pool.submit_task("fails", Modelled(1.0, Fails()))
        for n in range(5):
            pool.submit_task(f"t{n}", Modelled(10.0))
        pool.advance(4.0)
        found = samples(registry)
        assert found["queue_depth", (("pool", "pool"), ("state", "ready"))] == 3
        assert found["queue_depth", (("pool", "pool"), ("state", "delayed"))] == 1
        assert found["queue_oldest_age_seconds", (("pool", "pool"),)] == 4.0
        assert found["workers", (("pool", "pool"), ("state", "busy"))] == 2
        assert found["workers", (("pool", "pool"), ("state", "idle"))] == 0
        assert found["workers_limit", (("pool", "pool"),)] == 2
        assert found["worker_busy_seconds_total", (("pool", "pool"),)] == 1 + 4 + 3
        pool.abort_pending_tasks()


def test_gauges_show_a_resize() -> None:
    registry = CollectorRegistry()
    with SimulatedWorkerPool(
        WorkerPoolConfig(max_workers=4), observers=[Telemetry(registry=registry)]
    ) as pool:
        for n in range(3):
            pool.submit_task(f"t{n}", Modelled(10.0))
        pool.resize(2)
        found = samples(registry)
        assert found["workers_limit", (("pool", "pool"),)] == 2
        assert found["workers", (("pool", "pool"), ("state", "busy"))] == 3, "what runs may end"
        assert found["workers", (("pool", "pool"), ("state", "idle"))] == 0
        pool.resize(5)
        found = samples(registry)
        assert found["workers_limit", (("pool", "pool"),)] == 5
        assert found["workers", (("pool", "pool"), ("state", "idle"))] == 2


def test_known_series_begin_at_zero() -> None:
    registry = CollectorRegistry()
    with WorkerPool(observers=[Telemetry(registry=registry)]):
        found = samples(registry)
    for outcome in ("ok", "error", "timeout", "cancelled"):
        labels = (("group", "default"), ("outcome", outcome), ("pool", "pool"))
        assert found["tasks_finished_total", labels] == 0


def test_two_pools_on_one_registry() -> None:
    registry = CollectorRegistry()
    for name in ("a", "b", "b"):
        with WorkerPool(
            WorkerPoolConfig(name=name), observers=[Telemetry(registry=registry)]
        ) as pool:
            pool.get_task_result(pool.submit_task("t", int))
    found = samples(registry)
    for name, count in (("a", 1), ("b", 2)):
        assert found["tasks_submitted_total", (("group", "default"), ("pool", name))] == count


def test_groups_are_limited() -> None:
    registry = CollectorRegistry()
    with WorkerPool(observers=[Telemetry(registry=registry)]) as pool:
        for n in range(MOST_GROUPS + 50):
            pool.submit_task("t", int, group=f"g{n}")
        pool.wait_for_all()
    groups = {
        dict(labels)["group"]: value
        for (name, labels), value in samples(registry).items()
        if name == "tasks_submitted_total"
    }
    assert len(groups) == MOST_GROUPS + 1
    assert groups["other"] == 51


def test_scraping_while_it_runs_never_goes_back() -> None:
    registry = CollectorRegistry()
    errors: list[str] = []
    over = threading.Event()

    def scrape() -> None:
        last: dict[object, float] = {}
        while not over.is_set():
            for key, value in samples(registry).items():
                counts = key[0].endswith(("_total", "_count", "_bucket"))
                if counts and value < last.get(key, 0.0):
                    errors.append(f"{key} went from {last[key]} to {value}")
                last[key] = value

    with WorkerPool(
        WorkerPoolConfig(max_workers=8, backoff_base_seconds=0.001, task_timeout_seconds=0.01),
        observers=[Telemetry(registry=registry)],
    ) as pool:
        scrapers = [threading.Thread(target=scrape) for _ in range(3)]
        for scraper in scrapers:
            scraper.start()
        for n in range(3000):
            pool.submit_task("t", lambda n=n: 1 / (n % 7))
        pool.wait_for_all(timeout=60)
        over.set()
        for scraper in scrapers:
            scraper.join()
    assert errors == []
    outcomes = [
        value for (name, _), value in samples(registry).items() if name == "tasks_finished_total"
    ]
    assert sum(outcomes) == 3000


def test_the_endpoint_binds_to_this_machine_alone() -> None:
    registry = CollectorRegistry()
    with SimulatedWorkerPool(observers=[Telemetry(registry=registry)]) as pool:
        pool.get_task_result(pool.submit_task("t", Modelled(Exponential(1.0))))
    with serve(0, registry=registry) as endpoint:
        with urllib.request.urlopen(endpoint.url, timeout=10) as answer:
            text = answer.read().decode()
        assert "workerpool_tasks_finished_total" in text
        port = int(endpoint.url.rsplit(":")[-1].split("/")[0])
        listening = Path("/proc/net/tcp").read_text().splitlines()
        mine = {line.split()[1] for line in listening if line.split()[1].endswith(f":{port:04X}")}
        assert mine == {f"0100007F:{port:04X}"}


def test_a_closed_pool_is_let_go_of() -> None:
    registry = CollectorRegistry()
    pool = WorkerPool(observers=[Telemetry(registry=registry)])
    engine = weakref.ref(pool._engine)
    pool.get_task_result(pool.submit_task("t", int))
    pool.shutdown()
    del pool
    gc.collect()
    assert engine() is None
    assert b"workerpool_tasks_finished_total" in generate_latest(registry)


def test_without_instrumentation_there_are_no_metrics() -> None:
    registry = CollectorRegistry()
    config = WorkerPoolConfig(enable_instrumentation=False)
    with WorkerPool(config, observers=[Telemetry(registry=registry)]) as pool:
        pool.get_task_result(pool.submit_task("t", int))
    assert samples(registry) == {}


def test_a_scrape_while_a_pool_is_aborted_and_times_out() -> None:
    registry = CollectorRegistry()
    config = WorkerPoolConfig(max_workers=2)
    with SimulatedWorkerPool(config, observers=[Telemetry(registry=registry)]) as pool:
        for n in range(10):
            pool.submit_task(f"t{n}", Modelled(5.0))
        with pytest.raises(WaitTimeoutError):
            pool.wait_for_all(timeout=1.0)
        pool.abort_pending_tasks()
        labels = (("group", "default"), ("outcome", "cancelled"), ("pool", "pool"))
        assert samples(registry)["tasks_finished_total", labels] == 8


@pytest.mark.parametrize("kind", [WorkerPool, SimulatedWorkerPool])
def test_buckets_carry_the_newest_trace_that_they_have_counted(
    kind: type[WorkerPool],
) -> None:
    registry, exported = CollectorRegistry(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    config = WorkerPoolConfig(max_workers=1)
    with kind(config, observers=[Telemetry(tracer_provider=provider, registry=registry)]) as pool:
        for n in range(5):
            pool.submit_task(f"t{n}", int)
        pool.wait_for_all()
    tasks = [span for span in exported.get_finished_spans() if span.name.startswith("task")]
    by_trace = {format_trace_id(span.context.trace_id): span for span in tasks}
    found: dict[str, list[Exemplar]] = {}
    text = exposition.generate_latest(registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.exemplar is not None:
                found.setdefault(family.name.removeprefix(PREFIX), []).append(sample.exemplar)
    assert set(found) == {
        "task_duration_seconds",
        "attempt_duration_seconds",
        "queue_wait_seconds",
    }
    for exemplar in found["task_duration_seconds"]:
        span = by_trace[exemplar.labels["trace_id"]]
        assert exemplar.labels["span_id"] == format_span_id(span.context.span_id)
        assert span.start_time is not None
        assert span.end_time is not None
        assert exemplar.value == pytest.approx((span.end_time - span.start_time) / 1e9)
        assert float(exemplar.timestamp) == pytest.approx(span.end_time / 1e9, abs=1e-3)
    assert b"trace_id" not in generate_latest(registry)


def test_what_is_not_sampled_leaves_no_exemplar() -> None:
    registry = CollectorRegistry()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    with WorkerPool(observers=[Telemetry(tracer_provider=provider, registry=registry)]) as pool:
        pool.submit_task("t", int)
    assert b"trace_id" not in exposition.generate_latest(registry)
