"""The page says what the dashboards say, and its two commands work."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from dashboards.document import markdown
from tests.dashboards.prometheus import Server, until
from tests.dashboards.queries import DASHBOARDS, asked, expressions

ROOT = DASHBOARDS.parent


def test_the_page_says_what_the_dashboards_say() -> None:
    page = (ROOT / "docs" / "dashboards.md").read_text()
    made = page.partition("made by dashboards.document.markdown() -->\n")[2]
    assert made.partition("<!-- end -->")[0] == markdown(), "docs/dashboards.md is not current"


def test_a_demo_and_three_variants_of_it_draw_every_panel(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
    )
    journal = next(path for path in (tmp_path / "out", ROOT / "out") if path.exists())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = journal / "demo.jsonl"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "compare.py"), str(file), "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        until(lambda: "Prometheus" in process.stdout.readline(), "compare.py serving")
        server = Server(f"http://127.0.0.1:{port}")
        header = json.loads(file.read_text().splitlines()[0])
        at = header["epoch_ns"] / 1e9 + 1.0

        def asked_of(expr: str) -> list[tuple[dict[str, str], float]]:
            try:
                return server.query(asked(expr, "20s"), at)
            except OSError:  # it begins to answer
                return []

        for title, expr in expressions("simulation"):
            found = until(lambda expr=expr: asked_of(expr), title)
            assert len({labels["instance"] for labels, _ in found}) == 4, title
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
    until(lambda: not answers(server), "the server gone with its parent")


def answers(server: Server) -> bool:
    try:
        server.query("1")
    except OSError:
        return False
    return True
