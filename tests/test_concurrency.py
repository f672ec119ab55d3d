"""The specification's own test command: ``python -m unittest tests.test_concurrency -v``.

One short test for each thing that it lists; the rest of the suite goes deeper.
"""

from __future__ import annotations

import threading
import unittest

from concurrency import (
    TaskCancelledError,
    TaskStatus,
    WorkerPool,
    WorkerPoolConfig,
    current_attempt,
)


def quiet(**fields: object) -> WorkerPoolConfig:
    return WorkerPoolConfig(
        **{"backoff_base_seconds": 0.01, "enable_instrumentation": False, **fields}  # type: ignore[arg-type]
    )


class ConcurrencyTest(unittest.TestCase):
    def test_basic_submission_and_execution(self) -> None:
        with WorkerPool(quiet()) as pool:
            task_id = pool.submit_task("double_5", lambda x: x * 2, (5,))
            result = pool.get_task_result(task_id)
        self.assertTrue(result.success)
        self.assertEqual(result.result, 10)
        self.assertEqual(result.task_name, "double_5")

    def test_many_tasks_in_parallel(self) -> None:
        together = threading.Barrier(10, timeout=30)
        with WorkerPool(quiet(max_workers=10)) as pool:
            for n in range(10):
                pool.submit_task(f"t{n}", together.wait)
            results = pool.wait_for_all(timeout=30)
        self.assertEqual(sorted(result.result for result in results), list(range(10)))

    def test_retry_and_backoff(self) -> None:
        def flaky() -> int:
            if current_attempt().number < 3:
                raise ConnectionError
            return current_attempt().number

        with WorkerPool(quiet(max_retries=3)) as pool:
            result = pool.get_task_result(pool.submit_task("flaky", flaky))
        self.assertEqual(result.result, 3)
        assert result.metrics is not None
        self.assertEqual(result.metrics.retries_used, 2)
        self.assertGreaterEqual(result.metrics.backoff_time_ms, 30)

    def test_abort(self) -> None:
        gate = threading.Event()
        with WorkerPool(quiet(max_workers=1)) as pool:
            first = pool.submit_task("first", gate.wait, (30,))
            rest = [pool.submit_task(f"t{n}", int) for n in range(20)]
            self.assertEqual(pool.abort_pending_tasks(), 20)
            gate.set()
            self.assertTrue(pool.get_task_result(first).success)
            for task_id in rest:
                self.assertIsInstance(pool.get_task_result(task_id).error, TaskCancelledError)

    def test_no_races_between_submitters(self) -> None:
        def submit(base: int) -> None:
            for n in range(500):
                pool.submit_task("t", abs, (-base - n,))

        with WorkerPool(quiet(max_workers=8)) as pool:
            threads = [threading.Thread(target=submit, args=(k * 500,)) for k in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            results = pool.wait_for_all(timeout=60)
        self.assertEqual(sorted(result.result for result in results), list(range(4000)))

    def test_deterministic_order_within_a_priority(self) -> None:
        gate, order = threading.Event(), []
        with WorkerPool(quiet(max_workers=1)) as pool:
            pool.submit_task("gate", gate.wait, (30,))
            for n in range(50):
                pool.submit_task(f"t{n}", order.append, (n,), priority=n % 2)
            gate.set()
        self.assertEqual(order, [*range(0, 50, 2), *range(1, 50, 2)])

    def test_metrics(self) -> None:
        with WorkerPool(quiet(max_retries=0)) as pool:
            good = pool.submit_task("good", int)
            bad = pool.submit_task("bad", lambda: 1 / 0)
            pool.wait_for_all()
            metrics, summary = pool.get_metrics(), pool.get_summary_metrics()
        self.assertEqual(metrics[good].status, TaskStatus.COMPLETED)
        self.assertEqual(metrics[bad].status, TaskStatus.FAILED)
        self.assertIn("ZeroDivisionError", metrics[bad].error_message or "")
        self.assertEqual((summary["completed"], summary["failed"]), (1, 1))
        self.assertEqual(summary["total_retries"], 0)


if __name__ == "__main__":
    unittest.main()
