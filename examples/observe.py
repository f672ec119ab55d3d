"""A pool to look at: every outcome that there is, over and over, for Prometheus and Grafana.

Serves its metrics on this machine alone. Where a Prometheus is installed (Debian's package
``prometheus``), starts one that scrapes it, and says where to look. Ctrl-C ends both.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from prometheus_client import REGISTRY, CollectorRegistry

from concurrency import WorkerPool, WorkerPoolConfig, current_attempt
from examples.ending import quietly
from telemetry import Telemetry, serve

CONFIG = """global:
  scrape_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: twinclock
    static_configs:
      - targets: ["{target}"]
"""


class Traffic:
    """A pool that never rests.

    Args:
        registry: where its metrics are exported.
        journal: where it is recorded, ``None`` for nowhere.
    """

    def __init__(self, registry: CollectorRegistry, journal: str | None = None) -> None:
        config = WorkerPoolConfig(
            max_workers=8,
            task_timeout_seconds=0.1,
            max_retries=2,
            backoff_base_seconds=0.02,
            backoff_max_seconds=0.2,
            jitter="full",
            name="observed",
        )
        self._random = random.Random(1)  # not for secrets
        self.pool = WorkerPool(config, journal=journal, observers=[Telemetry(registry=registry)])

    def run(self, over: threading.Event) -> None:
        """Submit until it is over, and end the pool.

        Args:
            over: when it is set.
        """
        draw = self._random
        with self.pool as pool:
            number = 0
            while not over.is_set():
                for _ in range(draw.randint(5, 40)):
                    number += 1
                    group = draw.choice(("questions", "scores"))
                    pool.submit_task(
                        f"{group}-{number}",
                        work,
                        (draw.random(),),
                        group=group,
                        priority=draw.randint(0, 2),
                    )
                    if number % 23 == 0:
                        pool.cancel(pool.submit_task(f"{group}-unwanted-{number}", work, (0.5,)))
                over.wait(draw.uniform(0.05, 0.2))
            pool.abort_pending_tasks()


def work(luck: float) -> float:
    """Answers, fails once, fails for good, or comes too late."""
    attempt = current_attempt()
    if luck < 0.03:
        threading.Event().wait(0.15)  # heeds nothing: its timeout passes, and its result comes late
    elif luck < 0.05:
        raise LookupError("for good")
    elif luck < 0.2 and attempt.number == 1:
        raise ConnectionError("once")
    else:
        attempt.sleep(0.002 + luck * 0.04)
    return luck


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=9464, help="of the metrics; 0 takes a free one")
    parser.add_argument("--prometheus-port", type=int, default=9090)
    parser.add_argument("--seconds", type=float, default=None, help="end by itself after a while")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the server goes with us
    logging.getLogger("twinclock").setLevel(logging.CRITICAL)  # it fails on purpose
    over = threading.Event()
    traffic = Traffic(REGISTRY)
    thread = threading.Thread(target=traffic.run, args=(over,))
    thread.start()
    try:
        with serve(port=chosen.port) as endpoint, tempfile.TemporaryDirectory() as folder:
            print(f"metrics: {endpoint.url}")
            server = start_prometheus(endpoint.url, Path(folder), chosen.prometheus_port)
            print("Ctrl-C ends it", flush=True)
            try:
                over.wait(chosen.seconds)
            finally:
                if server is not None:
                    server.terminate()
                    server.wait()
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: port {chosen.port}: {error.strerror}; --port 0 takes a free one")
        sys.exit(2)
    except KeyboardInterrupt:
        pass
    finally:
        over.set()
        thread.join()


def start_prometheus(url: str, folder: Path, port: int) -> subprocess.Popen[bytes] | None:
    """Start a Prometheus that scrapes, where one is installed.

    Args:
        url: where the metrics are served.
        folder: where it keeps what it scrapes.
        port: where it listens, on this machine alone.

    Returns:
        Its process, ``None`` where there is none.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            print(f"not scraped: port {port}: {error.strerror}; --prometheus-port takes another")
            return None
    program = shutil.which("prometheus")
    if program is None:
        print("no prometheus on PATH: install Debian's package prometheus to have it scraped")
        return None
    rules = Path(__file__).resolve().parent.parent / "dashboards" / "rules" / "*.yml"
    target = url.removeprefix("http://").removesuffix("/metrics")
    (folder / "prometheus.yml").write_text(CONFIG.format(target=target, rules=rules))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    print(f"Prometheus: http://127.0.0.1:{port}/graph (alerts: http://127.0.0.1:{port}/alerts)")
    print("Grafana: dashboards/compose.yaml starts one, or import dashboards/json/*.json")
    return server


if __name__ == "__main__":
    quietly(main)
