"""The four asynchronous phases of an orchestrator on one worker pool, then an abort.

FASE 2 asks 300 micro questions, FASE 3 scores 300 answers, FASE 4 aggregates 60 dimensions, FASE 5
aggregates 10 policy areas. Questions fail, hang and are retried; one never gets its answer; at the
end a batch of extra work is aborted.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from concurrency import (
    TaskCancelledError,
    TaskFailedError,
    TaskResult,
    WorkerPool,
    WorkerPoolConfig,
    current_attempt,
)
from examples.ending import quietly
from examples.questions import ask, score

QUESTIONS, DIMENSIONS, AREAS = 300, 60, 10
UNANSWERABLE = 99


@dataclass
class Report:
    """What the run came to.

    Args:
        answers: results of FASE 2, in the order of the questions.
        scores: results of FASE 3.
        dimensions: results of FASE 4.
        areas: results of FASE 5.
        aborted: extra tasks that the abort cancelled.
        extras: results of the extra tasks.
        summary: the pool's totals.
    """

    answers: list[TaskResult]
    scores: list[TaskResult]
    dimensions: list[TaskResult]
    areas: list[TaskResult]
    aborted: int
    extras: list[TaskResult]
    summary: dict[str, Any]


def answer(number: int) -> str:
    """Answer a micro question, or fail for good."""
    if number == UNANSWERABLE:
        raise LookupError(f"question {number} has no answer")
    return ask(number)


def mean(values: list[float]) -> float:
    """Aggregate scores."""
    current_attempt().sleep(0.01)
    return sum(values) / len(values)


def extra(number: int) -> int:
    """Work that nobody needs any more by the time it could run."""
    current_attempt().sleep(0.3)
    return number


def run(journal: str | None = None) -> Report:
    """Run all phases.

    Args:
        journal: where to record the run, if anywhere.

    Returns:
        What it came to.
    """
    config = WorkerPoolConfig(
        max_workers=50,
        max_retries=3,
        task_timeout_seconds=0.5,
        backoff_base_seconds=0.05,
        name="orchestrator",
    )
    with WorkerPool(config, journal=journal) as pool:

        def phase(group: str, function: Any, arguments: list[tuple[Any, ...]]) -> list[TaskResult]:
            ids = [
                pool.submit_task(f"{group} {n:03d}", function, args, group=group)
                for n, args in enumerate(arguments, 1)
            ]
            return [pool.get_task_result(task_id, timeout=60) for task_id in ids]

        answers = phase("FASE 2", answer, [(n,) for n in range(1, QUESTIONS + 1)])
        scores = phase("FASE 3", score, [(n, r.result) for n, r in enumerate(answers, 1)])
        marks = [result.unwrap() for result in scores]
        per_dimension = QUESTIONS // DIMENSIONS
        dimensions = phase(
            "FASE 4",
            mean,
            [(marks[d * per_dimension : (d + 1) * per_dimension],) for d in range(DIMENSIONS)],
        )
        values = [result.unwrap() for result in dimensions]
        per_area = DIMENSIONS // AREAS
        areas = phase(
            "FASE 5", mean, [(values[a * per_area : (a + 1) * per_area],) for a in range(AREAS)]
        )
        ids = [pool.submit_task(f"extra {n}", extra, (n,), group="extra") for n in range(200)]
        aborted = pool.abort_pending_tasks()
        extras = [pool.get_task_result(task_id, timeout=60) for task_id in ids]
        summary = pool.get_summary_metrics()
    return Report(answers, scores, dimensions, areas, aborted, extras, summary)


def main() -> None:
    """Run all phases and print what they came to."""
    logging.getLogger("twinclock").setLevel(logging.ERROR)
    report = run()
    phases = {
        "FASE 2: questions": report.answers,
        "FASE 3: scores": report.scores,
        "FASE 4: dimensions": report.dimensions,
        "FASE 5: areas": report.areas,
        "extra, aborted": report.extras,
    }
    for name, results in phases.items():
        good = sum(result.success for result in results)
        retries = sum(r.metrics.retries_used for r in results if r.metrics)
        longest = max(r.metrics.execution_time_ms for r in results if r.metrics)
        print(
            f"{name:20} {good:3} of {len(results):3} succeeded, {retries:3} retries, "
            f"longest {longest:5.0f} ms"
        )
    for result in report.answers:
        if isinstance(result.error, TaskFailedError):
            print(f"failed: {result.error}")
    cancelled = sum(isinstance(r.error, TaskCancelledError) for r in report.extras)
    print(f"the abort cancelled {report.aborted} tasks ({cancelled} results say so)")
    summary = report.summary
    print(
        f"in all: {summary['total_tasks']} tasks, {summary['total_attempts']} attempts, "
        f"{summary['timeouts']} timeouts, success rate {summary['success_rate']:.1%}"
    )


if __name__ == "__main__":
    quietly(main)
