"""``make compare``: what it says to do is what the export says of itself."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.observe import start_prometheus
from runtime import WorkerPoolConfig
from simulation import Constant, Modelled, SimulatedWorkerPool
from simulation.exports.openmetrics import samples_of
from tests.cli.running import simulation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    with SimulatedWorkerPool(WorkerPoolConfig(max_workers=4), seed=1, journal=path) as pool:
        for number in range(40):
            pool.submit_task(f"Q{number}", Modelled(Constant(0.45)))
        pool.wait_for_all()
    return path


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def free() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def compare(journal: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "compare.py"), journal.name, *arguments],
        cwd=journal.parent,  # a path is the caller's, wherever the project lies
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_it_says_the_time_range_the_interval_and_the_command(journal: Path) -> None:
    port = free()
    done = compare(journal, "--variant", "max_workers=8", "--port", str(port), "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert tempfile.gettempdir() not in done.stdout + done.stderr
    assert "runs: recorded, max_workers=8; a sample each 0.05 s" in done.stdout
    assert f"the URL http://127.0.0.1:{port} and the scrape interval 50ms" in done.stdout
    assert "from 1970-01-01 00:00:00 to 1970-01-01 00:00:05" in done.stdout
    assert re.search(
        rf"python -m dashboards.preview simulation --prometheus http://127.0.0.1:{port} "
        r"--end 5 \\\n    --seconds 5 --scrape 0.05 -o",
        done.stdout,
    )


def test_a_port_that_is_taken_is_named(journal: Path, taken: int) -> None:
    done = compare(journal, "--port", str(taken), "--seconds", "60")
    assert done.returncode == 1
    assert done.stderr == f"error: port {taken} is taken; --port takes another one\n"


def test_what_is_not_scraped_says_so(
    tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start_prometheus("http://127.0.0.1:1/metrics", tmp_path, taken) is None
    assert f"not scraped: port {taken}: Address already in use" in capsys.readouterr().out


def test_the_export_says_when_its_samples_lie(journal: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.om"
    to = ("--to", "openmetrics", "-o", str(file), "--at", "1700000000", "--every", "0.7")
    done = simulation("export", str(journal), *to, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["from_seconds"] == 1_700_000_000
    assert told["to_seconds"] == 1_700_000_005.6  # the first two at or after 4.5 s
    assert told["every_seconds"] == 0.7
    assert samples_of(file.read_bytes()) == (1_700_000_000, 1_700_000_005.6, 0.7)
