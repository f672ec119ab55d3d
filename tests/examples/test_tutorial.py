"""docs/incident.md, block by block: files are written, commands run, their output compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "incident.md"


def blocks() -> Iterator[tuple[str, str, str]]:
    """Each block: the name before it, its language, its text."""
    for found in re.finditer(r"(.*?)\n\n```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        names = re.findall(r"`(\w+\.py)`:$", found[1])
        yield names[-1] if names else "", found[2], found[3]


def alike(expected: str, told: str) -> bool:
    """The same but for digits, which a busy machine changes, and for '…'."""
    pattern = re.escape(re.sub(r"\d+(\.\d+)?", "0", expected)).replace("…", "[\\s\\S]*")
    return re.fullmatch(pattern, re.sub(r"\d+(\.\d+)?", "0", told)) is not None


@pytest.mark.timeout(240)  # a dozen processes, of which each imports the project
def test_the_tutorial_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    commands = 0
    for name, language, text in blocks():
        if language == "python":
            assert name, f"a file without a name: {text[:40]!r}"
            path = tmp_path / name
            if path.exists():  # slice has written it
                assert alike(text, path.read_text()), path.read_text()
            else:
                path.write_text(text)
            continue
        assert language == "console"
        for line in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = line.partition("\n")
            words = command.split()
            assert words[0] == "python"
            done = subprocess.run(
                [sys.executable, *words[1:]],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            told = re.sub(r"^[. ]+\[100%\]\n(.*) in .*$", r"\1", done.stdout, flags=re.MULTILINE)
            assert alike(expected, told), f"{command}\n{done.stdout}"
            commands += 1
    assert commands == 7
