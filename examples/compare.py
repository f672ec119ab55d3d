"""A recorded run and what-if variants of it, over each other in a Prometheus of this machine.

Needs Debian's package ``prometheus``, which brings ``promtool``. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = ("max_workers=10", "max_workers=20", "max_retries=1")


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
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        file = folder / "runs.om"
        command = [sys.executable, "-m", "simulation", "export", chosen.journal]
        command += ["--to", "openmetrics", "-o", str(file)]
        for variant in chosen.variants or VARIANTS:
            command += ["--variant", variant]
        exported = subprocess.run(command, cwd=ROOT, check=False)
        if exported.returncode:
            sys.exit(exported.returncode)
        blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file)]
        subprocess.run([*blocks, str(folder / "data")], check=True, stdout=subprocess.DEVNULL)
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
        print(f"Prometheus: http://127.0.0.1:{chosen.port}/graph")
        print("  sum by (instance) (rate(workerpool_tasks_finished_total[20s]))")
        print("Grafana: import dashboards/json/simulation.json; Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait(chosen.seconds)
        except KeyboardInterrupt:
            pass
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
