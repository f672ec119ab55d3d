"""The command line in this process: the same as in its own, in a tenth of the time."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

from simulation.cli import main

__all__ = ["Done", "bad", "simulation"]


class Done(NamedTuple):
    code: int
    out: str
    err: str


def simulation(*arguments: object, stdin: bytes | None = None) -> Done:
    """Run a command; its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    given = io.TextIOWrapper(io.BytesIO(stdin or b""))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "stdin", given),
    ):
        try:
            main([str(one) for one in arguments])
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


def bad(done: Done, code: int, *words: str) -> None:
    """One clear line on standard error, nothing on standard output, never a traceback."""
    assert done.code == code, (done.out, done.err)
    assert done.out == ""
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    for word in words:
        assert word in done.err
