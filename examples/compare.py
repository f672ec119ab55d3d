"""A recorded run and what-if variants of it, over each other in a Prometheus of this machine.

Needs Debian's package ``prometheus``, which brings ``promtool``. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.ending import quietly

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = ("max_workers=10", "max_workers=20", "task_timeout_seconds=0.3")


def main() -> None:
    """Export, load, serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("journal", help="what a pool has recorded")
    parser.add_argument("--variant", action="append", metavar="FIELD=VALUE[,...]", dest="variants")
    parser.add_argument("--port", type=int, default=9090)
    parser.add_argument("--seconds", type=float, default=None, help="end by itself after a while")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the server goes with us
    missing = [name for name in ("promtool", "prometheus") if shutil.which(name) is None]
    if missing:
        sys.exit(f"error: {' and '.join(missing)} not found: install Debian's package prometheus")
    taken = f"error: port {chosen.port} is taken; --port takes another one"
    if _is_taken(chosen.port):
        sys.exit(taken)  # before the export, which takes its time
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        file = folder / "runs.om"
        command = [sys.executable, "-m", "simulation", "export", chosen.journal]
        command += ["--to", "openmetrics", "-o", str(file), "--json"]
        for variant in chosen.variants or VARIANTS:
            command += ["--variant", variant]
        exported = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        if exported.returncode:
            sys.exit(exported.returncode)
        told = json.loads(exported.stdout)
        blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file)]
        loaded = subprocess.run(
            [*blocks, str(folder / "data")], check=False, capture_output=True, text=True
        )
        if loaded.returncode:
            sys.exit(f"error: promtool: {loaded.stderr.strip()}")
        (folder / "prometheus.yml").write_text("global: {}\n")
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{chosen.port}",
                    "--storage.tsdb.retention.time=100y",
                ],
                stdout=log,
                stderr=log,
            )
        say(told, f"http://127.0.0.1:{chosen.port}")
        try:
            server.wait(chosen.seconds)
            port_taken = "address already in use" in (folder / "log").read_text()
            sys.exit(
                taken
                if port_taken
                else f"error: prometheus ended: {(folder / 'log').read_text()[-500:]}"
            )
        except subprocess.TimeoutExpired:
            pass  # its time is over
        except KeyboardInterrupt:
            pass
        finally:
            server.terminate()
            server.wait()


def _is_taken(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Prometheus does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def say(told: dict[str, Any], url: str) -> None:
    """Print where to look, and at what.

    Args:
        told: what the export said of itself.
        url: the Prometheus.
    """
    first, last = math.floor(told["from_seconds"]), math.ceil(told["to_seconds"])
    every = told["every_seconds"]
    seconds = last - first
    interval = f"{round(every * 1000)}ms"  # Grafana reads no fractions
    window = f"{math.ceil(every * 4 * 1000)}ms"  # four scrapes, as Grafana's $__rate_interval
    print(f"runs: {', '.join(told['instances'])}; a sample each {every:g} s")
    print(f"Prometheus, with the first figure: {url}/graph?{_figure(window, last, seconds)}")
    print("Grafana, where you have one:")
    print(f"  a Prometheus datasource with the URL {url} and the scrape interval {interval}")
    print("  (with the usual 15 s its rates would reach over a minute, longer than a short run)")
    print("  import dashboards/json/simulation.json; time range, in UTC:")
    print(f"  from {_clock(first)} to {_clock(last)}")
    print("a picture without a Grafana, with npm and chromium, from another terminal:")
    print(f"  python -m dashboards.preview simulation --prometheus {url} --end {last} \\")
    print(f"    --seconds {seconds} --scrape {every:g} -o out/simulation.png")
    print("Ctrl-C ends it", flush=True)


def _figure(window: str, last: int, seconds: int) -> str:
    """The part of Prometheus's address that shows throughput by run."""
    return urllib.parse.urlencode(
        {
            "g0.expr": f"sum by (instance) (rate(workerpool_tasks_finished_total[{window}]))",
            "g0.tab": 0,
            "g0.end_input": _clock(last),
            "g0.range_input": f"{seconds}s",
        }
    )


def _clock(epoch: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(epoch))


if __name__ == "__main__":
    quietly(main)
