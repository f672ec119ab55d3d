"""The determinism audit: a test's simulated pools must decide the same in another process.

One child process for a session (or a worker of pytest-xdist), started when the first test needs it,
runs each audited test once more (``second``), under another hash seed and another garbage
collection. It answers with digests; only where they differ are transitions sent, and the test is
run there a third time: what differs between the processes, but not within one, goes by hash.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from simulation.testing.bench import Seen
from simulation.testing.causes import explain

__all__ = [
    "Answer",
    "Audit",
    "NotAuditedError",
    "NotDeterministicError",
    "Question",
    "receive",
    "send",
]

FDS: Final = "TWINCLOCK_AUDIT_FDS"
_PATIENCE_SECONDS: Final = 60.0
_NOT_PASSED_ON: Final = ("PYTEST_XDIST_", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS", "COV_CORE_")
_HASH_SEEDS: Final = ("1", "2")


class NotDeterministicError(AssertionError):
    """A test's pools decide otherwise in another process, or its tasks leave virtual time."""


class NotAuditedError(RuntimeError):
    """The test could not be run a second time; that says nothing about it."""


class Question(msgspec.Struct, frozen=True):
    """Asks the second process to run a test.

    Args:
        test: its node id.
        digests: those of its pools, in the first run.
        whole: whether to answer with all transitions, even where the digests are the same.
    """

    test: str
    digests: list[str]
    whole: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What came of a test in the second process.

    Args:
        outcome: ``passed``, ``failed`` or ``skipped``; ``error`` where it could not be run.
        message: what went wrong, for a failure or an error.
        digests: those of its pools.
        seen: what its pools did, where the digests differ or all was asked for.
        captured: originals that tasks called, and where.
        random: whether the global random generator was used.
    """

    outcome: str
    message: str = ""
    digests: list[str] = []
    seen: list[Seen] = []
    captured: list[str] = []
    random: bool = False


class Audit:
    """Asks the second process, which it starts.

    Args:
        arguments: pytest's, for the second process.
        folder: where it runs.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._arguments = list(arguments)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._lost = ""

    def start(self) -> None:
        """Start the second process, unless it was."""
        if self._process is not None:
            return
        ours, theirs = os.pipe(), os.pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed at the end
        self._temporary = tempfile.mkdtemp(prefix="twinclock-audit-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", f"--basetemp={self._temporary}", *self._arguments],
            cwd=self._folder,
            env=_environment(f"{ours[0]},{theirs[1]}"),
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=subprocess.STDOUT,
            pass_fds=(ours[0], theirs[1]),
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from = ours[1], theirs[0]

    def check(self, test: str, first: Sequence[Seen]) -> None:
        """Run a test a second time, and compare.

        Args:
            test: its node id.
            first: what its pools did here.

        Raises:
            NotDeterministicError: they did something else there.
            NotAuditedError: the test could not be run there.
        """
        __tracebackhide__ = True
        digests = [seen.digest for seen in first]
        answer = self._ask(Question(test, digests))
        if answer.outcome in {"error", "skipped"}:
            raise NotAuditedError(answer.message or "it is skipped in the second process")
        if answer.captured:
            raise NotDeterministicError(
                "tasks of this test leave virtual time: what they call was captured where the "
                "pool does not look (docs/scenarios.md):\n"
                + "\n".join(f"  {line}" for line in answer.captured)
                + "\ncall it by its module's name, such as time.sleep(...), or import it at the "
                "top of a module"
            )
        if answer.digests != digests:
            again = self._ask(Question(test, digests, whole=True))
            raise NotDeterministicError(
                explain(first, answer.seen, again.seen, random=answer.random)
            )
        if answer.outcome == "failed":
            raise NotDeterministicError(
                f"passed here, and failed in a process of another hash seed and garbage "
                f"collection, although its pools decided the same: {answer.message}"
            )

    def _ask(self, question: Question) -> Answer:
        if self._lost:
            raise NotAuditedError(self._lost)
        self.start()
        try:
            send(self._to, msgspec.json.encode(question))
            body = receive(self._from, _PATIENCE_SECONDS)
        except (OSError, EOFError, TimeoutError) as error:
            self._lost = self._what_happened(error)
            self.close()
            raise NotAuditedError(self._lost) from None
        return msgspec.json.decode(body, type=Answer)

    def _what_happened(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"the second process has not answered for {_PATIENCE_SECONDS:g} s"
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"the second process has ended: {' / '.join(lines[-3:])}"

    def close(self) -> None:
        """End the second process; it may be called again."""
        process, self._process = self._process, None
        if process is None:
            return
        os.close(self._to)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(self._from)
        self._errors.close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._lost = self._lost or "the second process was ended"


def _environment(fds: str) -> Mapping[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(
            ("PYTEST_XDIST_", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS", "COV_CORE_")
        )
    }
    ours = environment.get("PYTHONHASHSEED")
    environment["PYTHONHASHSEED"] = next(seed for seed in _HASH_SEEDS if seed != ours)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment[FDS] = fds
    return environment


def send(to: int, body: bytes) -> None:
    """Write one message to a pipe.

    Args:
        to: the pipe.
        body: the message.
    """
    data = memoryview(len(body).to_bytes(8, "big") + body)
    while data:
        data = data[os.write(to, data) :]


def receive(source: int, patience_seconds: float | None = None) -> bytes:
    """Read one message from a pipe.

    Args:
        source: the pipe.
        patience_seconds: how long to wait for it, ``None`` for ever.

    Returns:
        The message.

    Raises:
        EOFError: the other side has gone.
        TimeoutError: nothing came for so long.
    """
    until = None if patience_seconds is None else time.monotonic() + patience_seconds

    def read(count: int) -> bytes:
        parts = []
        while count:
            if until is not None:
                left = until - time.monotonic()
                if left <= 0 or not select.select([source], [], [], left)[0]:
                    raise TimeoutError
            part = os.read(source, min(count, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    return read(int.from_bytes(read(8), "big"))
