"""Writes what the commands on ``docs/sweeps.md`` print into it, where that has changed.

    .venv/bin/python tools/sweeps_page.py

A test compares the two; read what this has changed before you commit it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "sweeps.md"
CONSOLE = re.compile(r"^```console\n\$ python -m simulation (.*)\n((?:.*\n)*?)```", re.MULTILINE)


def main() -> None:
    """Run the page's program and its commands, and write what they print."""
    page = PAGE.read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "journals").mkdir()
        subprocess.run([sys.executable, "-c", program], check=True, cwd=folder, env=environment)

        def printed(found: re.Match[str]) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "simulation", *shlex.split(found[1])],
                check=False,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
            )
            print(f"{done.returncode} {found[1]}{done.stderr}")
            lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
            return f"```console\n$ python -m simulation {found[1]}\n" + "\n".join(lines) + "\n```"

        PAGE.write_text(CONSOLE.sub(printed, page))


if __name__ == "__main__":
    main()
