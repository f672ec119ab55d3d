"""A real Prometheus for tests: Debian's, on a free port of this machine, gone when the test is."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: How long a condition may take to come true on a busy machine, in seconds.
DEADLINE = 60.0


def binary(name: str) -> str:
    """Where a program is; the tests fail, and do not skip, where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not there: install Debian's package prometheus", pytrace=False)
    return found


def promtool(*arguments: str | Path, stdin: str | None = None) -> str:
    """Run promtool; what it says."""
    done = subprocess.run(
        [binary("promtool"), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll a condition; what it came to."""
    give_up_at = time.monotonic() + DEADLINE
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < give_up_at, f"{what} did not come true in {DEADLINE} s"
        pause.wait(0.1)


class Server:
    """A Prometheus that answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is still starting
                raise ConnectionError(f"{self.url} is not ready") from None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expr: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """The series of an instant query that have a number, with their labels."""
        moment = {} if at is None else {"time": repr(at)}
        found = self.get("query", query=expr, **moment)["result"]
        values = [(one["metric"], float(one["value"][1])) for one in found]
        return [(labels, value) for labels, value in values if not math.isnan(value)]

    def label_values(self, query: str, start: float | None = None) -> list[str]:
        """What Grafana's ``label_values(selector, label)`` comes to."""
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(",")
        since = {} if start is None else {"start": repr(start)}
        found = self.get(f"label/{label.strip()}/values", **{"match[]": selector}, **since)
        return [str(value) for value in found]


@contextlib.contextmanager
def running(folder: Path, config: str = "", *options: str) -> Iterator[Server]:
    """A Prometheus over a folder of data, for as long as the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(config or "global: {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "prometheus.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [
                binary("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *options,
            ],
            stdout=said,
            stderr=said,
        )
    server = Server(f"http://127.0.0.1:{port}")

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{server.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    try:
        until(ready, "Prometheus answering")
        yield server
    finally:
        process.terminate()
        process.wait(30)
