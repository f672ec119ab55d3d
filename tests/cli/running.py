"""The command line in this process: the same as in its own, in a tenth of the time."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from unittest import mock

from simulation.cli import main

__all__ = ["bad", "simulation"]


def simulation(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a command; its output and exit code."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
    ):
        try:
            main([str(one) for one in arguments])
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def bad(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line on standard error, nothing on standard output, never a traceback."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
