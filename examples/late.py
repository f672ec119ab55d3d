"""A run in which a task was late, and everything that tells why: its journal, spans, metrics.

A nightly batch falls into the day's questions, and one of its tasks hangs at first.
docs/late-task.md follows that task from a dot on a dashboard to a setting that has it on time.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from prometheus_client import CollectorRegistry

from concurrency import WorkerPool, WorkerPoolConfig, current_attempt
from examples.ending import quietly
from examples.observe import start_prometheus
from telemetry import OtlpFileExporter, Telemetry, serve

JOURNAL, SPANS = Path("out/late.jsonl"), Path("out/late-spans.jsonl")
PROMISED = 2.0  # seconds in which each task shall have ended


def answer(number: int) -> str:
    """Stands in for a slow service: 40 to 200 ms; night-13 hangs at first.

    Args:
        number: of the question; of the nightly batch, 1000 and more.

    Returns:
        The answer.
    """
    attempt = current_attempt()
    with trace.get_tracer("examples").start_as_current_span("call the service"):
        attempt.sleep(random.Random(number * 10 + attempt.number).uniform(0.04, 0.2))
        if number == 1013 and attempt.number == 1:
            attempt.sleep(60.0)  # a hung connection: the pool's timeout ends the wait
    return f"answer {number}"


def run(pool: WorkerPool, seconds: float) -> None:
    """Submit 20 questions a second, and 40 tasks at once when a third of the time is over.

    Args:
        pool: where to.
        seconds: for how long.
    """
    began = time.monotonic()
    questions = round(seconds * 20)
    for number in range(questions):
        time.sleep(max(0.0, began + number / 20 - time.monotonic()))
        if number == questions // 3:
            for one in range(40):
                pool.submit_task(f"night-{one}", answer, (1000 + one,), group="nightly")
        pool.submit_task(f"question-{number}", answer, (number,), group="questions")


def main() -> None:
    """Run, say how many were late, and wait where a Prometheus has them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=24.0, help="how long tasks come")
    parser.add_argument("--prometheus-port", type=int, default=9090)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the server goes with us
    logging.getLogger("twinclock").setLevel(logging.CRITICAL)  # its timeout is part of the story
    for path in (JOURNAL, SPANS):
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OtlpFileExporter(SPANS)))
    trace.set_tracer_provider(provider)
    registry = CollectorRegistry()
    telemetry = Telemetry(tracer_provider=provider, registry=registry, queue_spans=True)
    config = WorkerPoolConfig(
        max_workers=4,
        task_timeout_seconds=1.0,
        max_retries=2,
        backoff_base_seconds=0.2,
        name="answers",
    )
    with serve(port=0, registry=registry) as endpoint, tempfile.TemporaryDirectory() as folder:
        server = start_prometheus(endpoint.url, Path(folder), chosen.prometheus_port)
        try:
            with WorkerPool(config, journal=JOURNAL, observers=[telemetry]) as pool:
                run(pool, chosen.seconds)
                results = pool.wait_for_all(timeout=60)
                if server is not None:
                    time.sleep(2.0)  # two scrapes more
            accounts = [result.metrics for result in results if result.metrics is not None]
            times = [
                (one.queue_time_ms + one.backoff_time_ms + one.execution_time_ms) / 1000
                for one in accounts
            ]
            late = sum(took > PROMISED for took in times)
            print(f"{len(times)} tasks, of which {late} took longer than {PROMISED:g} s")
            print(f"journal: {JOURNAL}, spans: {SPANS}")
            if server is not None:
                url = f"http://127.0.0.1:{chosen.prometheus_port}"
                end, seconds = math.ceil(time.time()), math.ceil(chosen.seconds) + 4
                print("a picture without a Grafana: python -m dashboards.preview overview \\")
                print(f'  --panel "Task time" --prometheus {url} --end {end} \\')
                print(f"  --seconds {seconds} -o out/late-dots.png")
                print("Ctrl-C ends the Prometheus", flush=True)
                server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            if server is not None:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    quietly(main)
