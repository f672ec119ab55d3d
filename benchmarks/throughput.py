"""Tasks that do nothing, on real threads: what a pool costs a task.

One protocol for all: the clock starts before the pool is made and before its first thread; it is
read when the value of every task is in a list (*results*), and again when the pool is shut down
(*closed*), which for a journal means that the file is complete. What a process sets up once (the
tracer provider, the metrics' registry, the tasks' names) is made before. Every task returns its own
number, and the sum is checked.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["contestant_names", "run_once", "throughput"]

_WORKERS: Final = (8, 50)
_PRIORITIES: Final = 4


def _same(number: int) -> int:
    return number


class _Begun(NamedTuple):
    """When a run began: by the clock, and in CPU time of the whole process."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> _Begun:
        return cls(time.perf_counter(), time.process_time())


def _figures(tasks: int, began: _Begun, results: float, values: Iterable[int]) -> Figures:
    closed, cpu = time.perf_counter(), time.process_time()
    assert sum(values) == tasks * (tasks - 1) // 2, "results are missing or wrong"
    return {
        "results": (results - began.wall) / tasks * 1e6,
        "closed": (closed - began.wall) / tasks * 1e6,
        "cpu": (cpu - began.cpu) / tasks * 1e6,
    }


def _executor(workers: int, tasks: int) -> Figures:
    began = _Begun.now()
    with ThreadPoolExecutor(workers) as executor:
        futures = [executor.submit(_same, number) for number in range(tasks)]
        values = [future.result() for future in futures]
        results = time.perf_counter()
    return _figures(tasks, began, results, values)


def _executor_wait(workers: int, tasks: int) -> Figures:
    began = _Begun.now()
    with ThreadPoolExecutor(workers) as executor:
        futures = [executor.submit(_same, number) for number in range(tasks)]
        wait(futures)
        values = [future.result() for future in futures]
        results = time.perf_counter()
    return _figures(tasks, began, results, values)


def _discarding(room: int, *, sampled: bool = True) -> tuple[TracerProvider, Callable[[], int]]:
    """A provider whose spans go nowhere, and how many went there."""
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )
    from opentelemetry.sdk.trace.sampling import DEFAULT_OFF, DEFAULT_ON

    exported = 0

    class Discard(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            nonlocal exported
            exported += len(spans)
            return SpanExportResult.SUCCESS

    sampler = DEFAULT_ON if sampled else DEFAULT_OFF
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    # room for all: with the default of 2048 most spans would be thrown away
    provider.add_span_processor(BatchSpanProcessor(Discard(), max_queue_size=room))
    return provider, lambda: exported


def _glued(workers: int, tasks: int) -> Figures:
    """What people put together: each part as its documentation shows it."""
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from tenacity import retry, stop_after_attempt, wait_exponential

    provider, count = _discarding(tasks)
    tracer = provider.get_tracer("benchmarks")
    registry = CollectorRegistry()
    finished = Counter("tasks_finished", "Tasks.", ["pool", "outcome"], registry=registry)
    duration = Histogram("task_duration", "Seconds.", ["pool", "outcome"], registry=registry)
    attempt = retry(stop=stop_after_attempt(4), wait=wait_exponential(max=60))(_same)

    def task(number: int) -> int:
        began = time.perf_counter()
        outcome = "error"
        with tracer.start_as_current_span("task", attributes={"task.number": number}):
            try:
                value = attempt(number)
                outcome = "ok"
            finally:
                finished.labels("pool", outcome).inc()
                duration.labels("pool", outcome).observe(time.perf_counter() - began)
        return value

    began = _Begun.now()
    with ThreadPoolExecutor(workers) as executor:
        futures = [executor.submit(task, number) for number in range(tasks)]
        values = [future.result() for future in futures]
        results = time.perf_counter()
    figures = _figures(tasks, began, results, values)
    provider.shutdown()
    assert count() == tasks, f"{count()} spans of {tasks} came out"
    return figures


def _pool(
    workers: int,
    tasks: int,
    *,
    journal: bool = False,
    log: bool = False,
    metrics: bool = False,
    prometheus: bool = False,
    spans: bool | None = None,
) -> Figures:
    from prometheus_client import CollectorRegistry

    from runtime import WorkerPool, WorkerPoolConfig
    from telemetry import Telemetry

    config = WorkerPoolConfig(
        max_workers=workers,
        max_retries=3,
        task_timeout_seconds=180,
        enable_instrumentation=log or prometheus or spans is not None,
    )
    registry = CollectorRegistry() if prometheus else None
    provider: TracerProvider | None = None
    count: Callable[[], int] = int
    if spans is not None:
        provider, count = _discarding(2 * tasks, sampled=spans)
    watched = prometheus or spans is not None
    observers = [Telemetry(registry=registry, tracer_provider=provider)] if watched else []
    names = [f"task-{number}" for number in range(tasks)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.jsonl") if journal else None
        began = _Begun.now()
        with WorkerPool(config, journal=path, observers=observers) as pool:
            for number in range(tasks):
                pool.submit_task(names[number], _same, (number,), priority=number % _PRIORITIES)
            results = pool.wait_for_all()
            values = [result.result for result in results]
            if metrics:
                for result in results:
                    assert result.metrics is not None
            there = time.perf_counter()
        figures = _figures(tasks, began, there, values)
        if path is not None:
            _check_journal(path, tasks)
        if provider is not None:
            provider.shutdown()
            wanted = 2 * tasks if spans else 0
            assert count() == wanted, f"{count()} spans of {wanted} came out"
        if registry is not None:
            labels = {"pool": "pool", "group": "default", "outcome": "ok"}
            counted = registry.get_sample_value("workerpool_tasks_finished_total", labels)
            assert counted == tasks, f"{counted} tasks of {tasks} were counted"
    return figures


def _check_journal(path: Path, tasks: int) -> None:
    from runtime.core.records import TaskSubmitted
    from runtime.journal import read_journal

    journal = read_journal(path)
    submitted = sum(isinstance(record.stimulus, TaskSubmitted) for record in journal.records)
    assert journal.complete, "the journal is not complete"
    assert submitted == tasks, f"{submitted} tasks of {tasks} are in the journal"


def _pool_log(workers: int, tasks: int) -> Figures:
    """With a line for each success, which a handler throws away."""
    logger = logging.getLogger("twinclock")
    level, propagate = logger.level, logger.propagate
    handler = logging.NullHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        return _pool(workers, tasks, log=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


# in the order of their turns: what is compared most closely stands closest to the executor
_KINDS: Final[dict[str, Callable[[int, int], Figures]]] = {
    "executor": _executor,
    "pool": _pool,
    "pool+prometheus": partial(_pool, prometheus=True),
    "pool+unsampled spans": partial(_pool, spans=False),
    "pool+journal": partial(_pool, journal=True),
    "pool+metrics": partial(_pool, metrics=True),
    "pool+log": _pool_log,
    "pool+prometheus+spans": partial(_pool, prometheus=True, spans=True),
    "executor+wait": _executor_wait,
    "glued": _glued,
}
# what is compared with the executor's results, and the goals
_ASKED: Final[tuple[tuple[str, str, float | None], ...]] = (
    ("executor+wait", "results", None),
    ("glued", "results", None),
    ("pool", "results", 0.5),
    ("pool+metrics", "results", None),
    ("pool+journal", "results", 1.0),
    ("pool+journal", "closed", 1.0),
    ("pool+log", "results", None),
    ("pool+log", "closed", None),
    ("pool+prometheus", "results", None),
    ("pool+prometheus+spans", "results", None),
)
#: What telemetry costs: the question, who, beside whom, the goal; asked by the clock until closed,
#: and in CPU time, which other programs disturb less.
_TELEMETRY: Final = (
    ("metrics on / pool", "pool+prometheus", "pool", 1.2),
    ("spans not sampled / pool", "pool+unsampled spans", "pool", 1.2),
    ("every span + metrics / executor", "pool+prometheus+spans", "executor", 3.0),
)


def contestant_names() -> list[str]:
    """What takes part."""
    return list(_KINDS)


def run_once(name: str, workers: int, tasks: int) -> Figures:
    """One contestant's run by itself; where spans are made, ``tasks`` is at least 256.

    Args:
        name: one of ``contestant_names``.
        workers: how many threads.
        tasks: how many tasks.

    Returns:
        Its figures.
    """
    return _KINDS[name](workers, tasks)


def throughput(size: Size) -> Benchmark:
    """The benchmark.

    Args:
        size: how much.

    Returns:
        Each kind with each number of workers.
    """
    tasks = 20_000
    contestants, comparisons = [], []
    for workers in _WORKERS:
        for name, kind in _KINDS.items():

            def once(
                _: int, kind: Callable[[int, int], Figures] = kind, w: int = workers
            ) -> Figures:
                return kind(w, tasks)

            contestants.append(Contestant(f"{name} @{workers}", once))
        for name, figure, goal in _ASKED:
            comparisons.append(
                Comparison(
                    f"{name}{' until closed' if figure == 'closed' else ''} / executor, "
                    f"{workers} workers",
                    (f"{name} @{workers}", figure),
                    (f"executor @{workers}", "results"),
                    at_most=goal,
                )
            )
        for question, of, to, most in _TELEMETRY:
            for figure, how in (("closed", "until closed"), ("cpu", "CPU time")):
                comparisons.append(
                    Comparison(
                        f"{question}, {how}, {workers} workers",
                        (f"{of} @{workers}", figure),
                        (f"{to} @{workers}", figure),
                        at_most=most,
                    )
                )
    return Benchmark(
        "throughput",
        f"{tasks:,} tasks that do nothing, on 8 and on 50 workers, from before the pool is made "
        f"until the value of each is there (results) and until the pool is shut down (closed; cpu: "
        f"the CPU time of the process until then).",
        {"results": "us/task", "closed": "us/task", "cpu": "us/task"},
        size.of(15, 3),
        contestants,
        comparisons,
    )
