"""300 micro questions on real threads, recorded, replayed exactly, and asked one what-if."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from concurrency import WorkerPool, WorkerPoolConfig
from examples.ending import quietly
from examples.questions import ask

JOURNAL = Path("out/demo.jsonl")


def record(journal: Path) -> None:
    """Ask 300 questions with 50 workers.

    Args:
        journal: where to record the run.
    """
    config = WorkerPoolConfig(
        max_workers=50, max_retries=3, task_timeout_seconds=0.5, backoff_base_seconds=0.1
    )
    began = time.perf_counter()
    with WorkerPool(config, journal=journal) as pool:
        for number in range(1, 301):
            pool.submit_task(f"Q{number:03d}", ask, (number,))
        results = pool.wait_for_all(timeout=60)
        summary = pool.get_summary_metrics()
    took = time.perf_counter() - began
    answered = sum(result.success for result in results)
    print(
        f"{answered} of {len(results)} questions answered in {took:.2f} s by "
        f"{config.max_workers} workers: {summary['total_attempts']} attempts, "
        f"{summary['total_retries']} retries, {summary['timeouts']} timeouts"
    )
    accounts = [result.metrics for result in results if result.metrics is not None]
    metrics = max(accounts, key=lambda account: account.end_time or 0.0)
    print(
        f"the last to end, {metrics.task_name}: {metrics.execution_time_ms:.0f} ms running, "
        f"{metrics.queue_time_ms:.0f} ms queued, {metrics.backoff_time_ms:.0f} ms in backoff, "
        f"{metrics.retries_used} retries"
    )


def show(*arguments: str) -> None:
    """Run a command of the simulator, as a user would.

    Args:
        *arguments: what follows ``python -m simulation``.
    """
    print(f"\n$ python -m simulation {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "simulation", *arguments], check=True)


def main() -> None:
    """Record, replay, ask."""
    logging.getLogger("twinclock").setLevel(logging.ERROR)  # its failures are part of the show
    JOURNAL.unlink(missing_ok=True)
    print("1. Run: 300 questions on real threads, some slow, some failing, three too late")
    record(JOURNAL)
    print("\n2. Replay: every decision of that run, made again by a fresh core")
    show("replay", str(JOURNAL))
    print("\n3. What if there had been 10 workers?")
    show("replay", str(JOURNAL), "--set", "max_workers=10")
    print(
        f"""
Next:
  . .venv/bin/activate                              once in a terminal, for what follows
  python -m simulation why {JOURNAL}           why the slowest task took so long
  make page                                         the same to look at: out/demo.html
  python -m simulation sweep {JOURNAL} --vary max_workers=10,20,50
  python -m simulation slice {JOURNAL} --task Q217 -o test_q217.py
                                                    that task's story, as a small test for pytest
  make compare                                      this run and three variants in a Prometheus
  python -m simulation run examples/outage.toml     a run that never happened
  head -3 {JOURNAL}                            the journal: one line a decision
  README.md and docs/                               how it works, and how far to trust it"""
    )


if __name__ == "__main__":
    quietly(main)
