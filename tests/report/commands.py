"""The command line in this process: the same as in its own, in a tenth of the time."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

from simulation.cli import main

__all__ = ["bad", "simulation"]


def simulation(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a command; its output and exit code. What it raises, a process would tell as a
    traceback, comes out here.
    """
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdin = before
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def bad(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line on standard error, nothing on standard output."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
