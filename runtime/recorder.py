"""Writing a journal while a pool runs.

The observers' thread calls ``write`` about 50 times a second; each batch goes to the file in one
piece, unbuffered, so a killed process loses what happened since, and at most tears a line.
``sync=True`` waits for the disk after each batch, against a machine that loses power.

A journal that cannot be written never stops the work: it is logged as an error, counted, and the
header's state is set to ``incomplete`` in place, which needs no room on a full disk. A file that is
there already is kept, under the first free name with a number appended.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import msgspec

from runtime.core import CoreSettings
from runtime.journal import (
    FORMAT,
    STATE_WIDTH,
    Footer,
    Header,
    JournalState,
    Record,
    Seal,
    encode_records,
)
from runtime.observers import Step

__all__ = ["JournalTo", "Recorder", "StepDigest", "closed_journal", "describe_host", "to_records"]

_log = logging.getLogger("twinclock")

_STATE: Final = b'"state":"'


@dataclass(frozen=True)
class JournalTo:
    """Where a pool writes its journal, and how.

    Args:
        path: the file; folders are made, and a file that is there is kept under another name.
        sync: whether to wait for the disk after each batch.
    """

    path: str | os.PathLike[str]
    sync: bool = False


def describe_host(
    settings: CoreSettings,
    *,
    pool: str,
    prefix: str,
    epoch_ns: int,
    clock: Literal["wall", "virtual"],
) -> Header:
    """Make a journal's header for this process.

    Args:
        settings: what the core is set up with.
        pool: the pool's name.
        prefix: what every task id begins with.
        epoch_ns: epoch nanoseconds at which the pool's clock was 0.
        clock: which kind of clock that is.

    Returns:
        The header, its state ``open``.
    """
    try:
        version = metadata.version("twinclock")
    except metadata.PackageNotFoundError:  # run from a source tree
        version = "unknown"
    affinity = getattr(os, "sched_getaffinity", None)
    gil = getattr(sys, "_is_gil_enabled", None)
    return Header(
        twinclock_journal=FORMAT,
        state="open".ljust(STATE_WIDTH),
        pool=pool,
        prefix=prefix,
        settings=settings,
        epoch_ns=epoch_ns,
        clock=clock,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        twinclock=version,
        cores=len(affinity(0)) if affinity is not None else os.cpu_count() or 1,
        gil=True if gil is None else gil(),
    )


def to_records(steps: Sequence[Step], first: int) -> list[Record]:
    """Number some steps.

    Args:
        steps: what happened.
        first: the index of the first.

    Returns:
        A journal's records.
    """
    return [
        Record(n, at, stimulus, instructions)
        for n, (at, stimulus, instructions) in enumerate(steps, first)
    ]


def closed_journal(header: Header, steps: Sequence[Step]) -> bytes:
    """A whole journal at once, as a recorder writes it step by step.

    Args:
        header: its first line.
        steps: all of the run.

    Returns:
        What stands in the file once the pool is closed.
    """
    body = msgspec.json.encode(header)
    seal = Seal(body)
    bodies = encode_records(to_records(steps, 0))
    data = seal.header + seal.lines(bodies)
    data += seal.lines([msgspec.json.encode(Footer(len(bodies), seal.digest))], footer=True)
    at = body.index(_STATE) + len(_STATE)
    return data[:at] + b"closed".ljust(STATE_WIDTH) + data[at + STATE_WIDTH :]


class StepDigest:
    """Keeps the digest that a journal of the same steps would have."""

    def __init__(self) -> None:
        self._records = 0
        self._sha = hashlib.sha256()

    def write(self, steps: Sequence[Step]) -> None:
        """Take some steps, in order.

        Args:
            steps: what happened since the last call.
        """
        self._sha.update(b"".join(encode_records(to_records(steps, self._records))))
        self._records += len(steps)

    def close(self) -> None:
        """Nothing to do."""

    @property
    def digest(self) -> str:
        """``sha256:`` and 64 hexadecimal digits."""
        return f"sha256:{self._sha.hexdigest()}"


class Recorder:
    """Writes one journal.

    Args:
        to: where and how.
        header: its first line.

    Attributes:
        errors: how often it could not be written; 0 or 1, since it gives up then.
        path: the file.
    """

    def __init__(self, to: JournalTo, header: Header) -> None:
        self.errors = 0
        self.path = Path(to.path)
        self._sync = to.sync
        self._records = 0
        self._file: int | None = None
        body = msgspec.json.encode(header)
        self._state_at = body.index(_STATE) + len(_STATE)
        self._seal = Seal(body)
        try:
            self._file = _open_new(self.path)
            self._put(self._seal.header)
        except (OSError, ValueError) as error:  # or a path that no file can have
            self._fail(error)

    def write(self, steps: Sequence[Step]) -> None:
        """Write some steps.

        Args:
            steps: what happened since the last call.
        """
        if self._file is None:
            return
        records = to_records(steps, self._records)
        try:
            self._put(self._seal.lines(encode_records(records)))
            self._records += len(records)
            if self._sync:
                os.fsync(self._file)
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """Write the footer, and mark the journal closed."""
        if self._file is None:
            return
        footer = Footer(self._records, self._seal.digest)
        try:
            self._put(self._seal.lines([msgspec.json.encode(footer)], footer=True))
            self._mark("closed")
            if self._sync:
                os.fsync(self._file)
            os.close(self._file)
        except Exception as error:
            self._fail(error)
        self._file = None

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def _mark(self, state: JournalState) -> None:
        assert self._file is not None
        os.pwrite(self._file, state.ljust(STATE_WIDTH).encode(), self._state_at)

    def _fail(self, error: Exception) -> None:
        self.errors += 1
        marked = False
        if self._file is not None:
            try:
                self._mark("incomplete")
                marked = True
                os.close(self._file)
            except OSError:
                _log.exception("the journal %s could not be closed", self.path)
            self._file = None
        _log.error(
            "the journal %s could not be written (%s) and ends after %d steps%s; the pool goes on "
            "without it",
            self.path,
            error,
            self._records,
            ", marked incomplete" if marked else "",
        )


def _open_new(path: Path) -> int:
    """Open a new file; one that is there already gets a number after its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks: then nobody else may do the same now
            fcntl.flock(folder, fcntl.LOCK_EX)
        if path.is_file():
            number = 1
            while (kept := path.with_name(f"{path.name}.{number}")).exists():
                number += 1
            path.rename(kept)
            _log.info("the journal that was at %s is now %s", path, kept)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    finally:
        os.close(folder)
