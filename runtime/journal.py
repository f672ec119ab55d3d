"""The journal's format, and reading it.

A journal is JSON lines. The first is the header: what the core was set up with and where the
recording was made. Then one line for each step of the core, in decision order: its index ``n`` from
0, the instant ``at``, the stimulus ``in`` and the instructions ``out``. The last is the footer with
the digest, where the pool was closed.

Every line ends in ``crc``: the CRC-32 of the line without it, chained from the line before; so a
line that was edited, moved, inserted or removed is found, by its number. The digest is the SHA-256
of the step lines without their ``crc``: equal runs have equal digests, whenever and wherever they
were recorded.

The header's ``state`` is the one thing written twice, in place: ``open`` while the pool runs or
when its process was killed, ``closed`` after the footer, ``incomplete`` when lines could not be
written. It counts as ``open`` for the checksum.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path
from typing import Final, Literal

import msgspec

from runtime.config import LONGEST_SECONDS, MOST_RETRIES, MOST_WORKERS, seconds_to_ns
from runtime.core import CoreSettings
from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    Instruction,
    ResizeRequested,
    Simultaneous,
    Stimulus,
    TaskSubmitted,
)
from runtime.files import FileError, read_file

__all__ = [
    "FORMAT",
    "STATE_WIDTH",
    "Footer",
    "Header",
    "Journal",
    "JournalError",
    "JournalState",
    "Record",
    "Seal",
    "encode_records",
    "parse_journal",
    "read_journal",
]

#: The version of the format that this code writes; it reads this one and those before it.
FORMAT: Final = 2
STATE_WIDTH: Final = len("incomplete")

JournalState = Literal["open", "closed", "incomplete"]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first line.

    Args:
        twinclock_journal: the format's version.
        state: see the module; padded with spaces.
        pool: the pool's name.
        prefix: what every task id begins with.
        settings: what the core was set up with.
        epoch_ns: epoch nanoseconds at which the pool's clock was 0.
        clock: ``wall``, or ``virtual`` for a simulated run.
        python: the interpreter, such as ``CPython 3.11.7``.
        twinclock: this project's version.
        cores: processors that the process could use.
        gil: whether the interpreter had a global lock.
        origin: of a journal that no pool recorded, where it comes from and what it cannot know;
            not in the file where a pool recorded it.
    """

    twinclock_journal: int
    state: str
    pool: str
    prefix: str
    settings: CoreSettings
    epoch_ns: int
    clock: Literal["wall", "virtual"]
    python: str
    twinclock: str
    cores: int
    gil: bool
    origin: str = ""


class Record(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One step of the core.

    Args:
        n: its index, from 0.
        at: when it was decided, in nanoseconds of the pool's clock.
        stimulus: what went in.
        instructions: what came out.
    """

    n: int
    at: int
    stimulus: Stimulus = msgspec.field(name="in")
    instructions: list[Instruction] = msgspec.field(name="out")


class Footer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line of a journal that was closed.

    Args:
        records: how many steps there are.
        digest: ``sha256:`` and the digest of the steps.
    """

    records: int
    digest: str


class JournalError(FileError):
    """A journal that cannot be used: ``path``, ``line`` and what is wrong."""


class Journal(msgspec.Struct, frozen=True):
    """A journal that was read.

    Args:
        path: where it was read from.
        header: its first line.
        records: its steps.
        complete: whether the pool was closed and nothing is missing.
        digest: the digest of the steps as they stand.
        warning: what is worth knowing, such as a torn last line; empty where nothing is.
        damage: where the last of the records does not match its checksum, the error that says so.
    """

    path: str
    header: Header
    records: list[Record]
    complete: bool
    digest: str
    warning: str = ""
    damage: JournalError | None = None


class Seal:
    """Adds the checksums to lines, and keeps the digest.

    Args:
        header: the header's line without its checksum, its state ``open``.
    """

    def __init__(self, header: bytes) -> None:
        self._crc = zlib.crc32(header)
        self._sha = hashlib.sha256()
        self.header = _with_crc(header, self._crc)

    def lines(self, bodies: list[bytes], *, footer: bool = False) -> bytes:
        """Chain checksums onto some lines.

        Args:
            bodies: the lines without checksum and line end.
            footer: whether they are no steps, so not part of the digest.

        Returns:
            The lines as they stand in the file.
        """
        crc = self._crc
        crc32 = zlib.crc32
        sealed = []
        for body in bodies:
            crc = crc32(body, crc)
            sealed.append(body[:-1])
            sealed.append(b',"crc":%d}\n' % crc)
        self._crc = crc
        if not footer:
            self._sha.update(b"".join(bodies))
        return b"".join(sealed)

    @property
    def digest(self) -> str:
        """The digest of the steps so far."""
        return f"sha256:{self._sha.hexdigest()}"


def _with_crc(body: bytes, crc: int) -> bytes:
    return b'%b,"crc":%d}\n' % (body[:-1], crc)


_encode_lines = msgspec.json.Encoder().encode_lines
_decode_record = msgspec.json.Decoder(Record).decode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_footer = msgspec.json.Decoder(Footer).decode
#: What decoding raises; nesting that is too deep is not counted as a wrong document.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode_records(records: list[Record]) -> list[bytes]:
    """Encode steps, without checksums.

    Args:
        records: steps.

    Returns:
        A line each, without a line end.
    """
    return _encode_lines(records).split(b"\n")[:-1]  # JSON has no line end inside


def digest_of(records: list[Record]) -> str:
    """The digest of some steps.

    Args:
        records: all steps of a run.

    Returns:
        ``sha256:`` and 64 hexadecimal digits.
    """
    return f"sha256:{hashlib.sha256(b''.join(encode_records(records))).hexdigest()}"


# ---------------------------------------------------------------- reading

#: 146 years.
_LAST_INSTANT: Final = 1 << 62
#: A task's number is given before it arrives, and a few never do.
_SPARE_NUMBERS: Final = 100_000
#: What a journal may have when it is read: about 3,000,000 tasks.
MOST_BYTES: Final = 2 << 30
#: One step that ends a million tasks takes a hundred bytes for each.
_LONGEST_LINE: Final = 256 << 20
_BEGINNING: Final = b'{"twinclock_journal":'
_LINE_END: Final = b"\n"
_CRC: Final = re.compile(rb',"crc":(\d{1,10})\}$')
_STATE: Final = re.compile(rb'"state":"([a-z]+) *"')
_SHOWN: Final = 120
_GLANCE: Final = 40


def read_journal(path: str | Path) -> Journal:
    """Read and check a journal.

    A torn last line is dropped, with a warning. A record that can be read but does not match its
    checksum ends the reading and is the journal's ``damage``: a replay tells whether the edit
    shows in a decision.

    Args:
        path: its path, or ``-`` for standard input.

    Returns:
        The journal.

    Raises:
        JournalError: it is missing, empty, no journal, of a newer format, damaged or out of order;
            the message has the line's number and says what to do.
    """
    name, data = read_file(
        path, most=MOST_BYTES, longest_line=_LONGEST_LINE, wrong=_no_journal, error=JournalError
    )
    return parse_journal(name, data)


def _no_journal(first: bytes) -> str:
    """Why a file's first bytes cannot be a journal's; empty where they can."""
    if first.startswith(_BEGINNING) or _BEGINNING.startswith(first):
        return ""
    return f"line 1 is no journal's header, but {first.partition(_LINE_END)[0][:_GLANCE]!r}"


def parse_journal(name: str, data: bytes) -> Journal:
    """Read and check a journal that is in memory.

    Args:
        name: what messages call it.
        data: its bytes.

    Returns:
        The journal, as ``read_journal`` does.

    Raises:
        JournalError: as ``read_journal`` does.
    """
    if not data:
        raise JournalError(name, None, "is empty; a journal has at least a header line")
    return _Reader(name, data).read()


class _Reader:
    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._lines = data.split(b"\n")
        self._warning = ""
        self._damage: JournalError | None = None
        self._crc = 0

    def _error(self, line: int, message: str) -> JournalError:
        return JournalError(self._path, line, message)

    def read(self) -> Journal:
        torn = self._lines.pop()
        if not self._lines:
            raise self._error(
                1,
                f"no whole line, so no header; it begins with {torn[:_SHOWN]!r}: not a journal",
            )
        header, state = self._read_header(self._lines[0])
        if torn:
            self._warning = (
                f"{self._path}, line {len(self._lines) + 1}: the last line is torn and was dropped"
            )
        footer: Footer | None = None
        records: list[Record] = []
        for number, line in enumerate(self._lines[1:], 2):
            if footer is not None:
                raise self._error(number, "there is more after the footer")
            body = self._checked(number, line)
            if line.startswith(b'{"records":'):
                footer = self._read_footer(number, body, len(records))
            else:
                records.append(self._read_record(number, body, len(records)))
            if self._damage is not None:
                if footer is not None:
                    raise self._damage
                break
        sha = hashlib.sha256(b"".join(encode_records(records)))
        digest = f"sha256:{sha.hexdigest()}"
        if self._damage is None:
            self._check_end(state, footer, digest, torn)
        return Journal(
            path=self._path,
            header=header,
            records=records,
            complete=footer is not None and self._damage is None,
            digest=digest,
            warning=self._warning,
            damage=self._damage,
        )

    def _read_header(self, line: bytes) -> tuple[Header, JournalState]:
        found = _STATE.search(line)
        if not line.startswith(_BEGINNING) or found is None:
            raise self._error(1, f"no journal's header, but {line[:_SHOWN]!r}")
        version = re.match(rb'\{"twinclock_journal":(\d{1,9})[,}]', line)
        if version is not None and int(version[1]) > FORMAT:
            raise self._error(
                1,
                f"format version {int(version[1])} is newer than {FORMAT}, the newest that this "
                f"twinclock reads; upgrade twinclock",
            )
        state = found[1].decode()
        start = found.start(1)
        padded = b"open".ljust(STATE_WIDTH)
        if line[start : start + STATE_WIDTH + 1] != state.encode().ljust(STATE_WIDTH) + b'"':
            raise self._error(
                1,
                f"the state is not as it was written, but {line[start : start + STATE_WIDTH]!r}: "
                f"use the journal as it was written",
            )
        line = line[:start] + padded + line[start + STATE_WIDTH :]
        body = self._checked(1, line)
        if self._damage is not None:
            raise self._damage
        try:
            header = _decode_header(body)
        except _UNREADABLE as error:
            raise self._error(1, f"not a header: {error}") from None
        if header.twinclock_journal < 1:
            raise self._error(1, f"there is no format version {header.twinclock_journal}")
        settings = header.settings
        longest = seconds_to_ns(LONGEST_SECONDS)
        for name, value, low, high in (
            ("max_workers", settings.max_workers, 1, MOST_WORKERS),
            ("max_abandoned", settings.max_abandoned, 0, MOST_WORKERS),
            ("max_retries", settings.max_retries, 0, MOST_RETRIES),
            ("timeout_ns", settings.timeout_ns, 1, longest),
            ("ageing_ns", settings.ageing_ns, 1, longest),
            ("backoff_base_ns", settings.backoff_base_ns, 0, settings.backoff_max_ns),
            ("backoff_max_ns", settings.backoff_max_ns, 0, longest),
            ("seed", settings.seed, 0, (1 << 63) - 1),
        ):
            if value is not None and not low <= value <= high:
                raise self._error(1, f"{name}={value}: must be {low} to {high}")
        if state not in ("open", "closed", "incomplete"):
            raise self._error(1, f"state {state!r} is none of open, closed, incomplete")
        return header, state  # type: ignore[return-value]  # just checked

    def _checked(self, number: int, line: bytes) -> bytes:
        """The line without its checksum, which is compared."""
        found = _CRC.search(line)
        if found is None:
            raise self._error(
                number,
                f"no journal's line (it does not end in a crc): {line[:_SHOWN]!r}",
            )
        body = line[: found.start()] + b"}"
        self._crc = zlib.crc32(body, self._crc)
        if self._crc != int(found[1]):
            self._damage = self._error(
                number,
                "its checksum does not match: this line was edited or damaged, or a line before "
                "it was removed or moved; use the journal as it was written",
            )
        return body

    def _read_record(self, number: int, body: bytes, expected: int) -> Record:
        try:
            record = _decode_record(body)
        except _UNREADABLE as error:
            raise self._damage or self._error(number, f"not a journal's step: {error}") from None
        if record.n != expected:
            raise self._damage or self._error(
                number, f"step {record.n} stands where step {expected} belongs"
            )
        stimulus = record.stimulus
        parts = stimulus.stimuli if isinstance(stimulus, Simultaneous) else (stimulus,)
        for part in parts:
            wrong = self._wrong_with(record.at, part)
            if wrong:
                raise self._damage or self._error(number, wrong)
        return record

    def _wrong_with(self, at_ns: int, stimulus: Stimulus) -> str:
        """What the core does not look at, because it trusts its host."""
        if not 0 <= at_ns < _LAST_INSTANT:
            return f"at={at_ns}: an instant is 0 to {_LAST_INSTANT} ns after the pool was made"
        if isinstance(stimulus, TaskSubmitted):
            most = _SPARE_NUMBERS + 2 * len(self._lines)
            if stimulus.task > most:
                return f"task {stimulus.task}: a journal this long has none above {most}"
        elif isinstance(stimulus, ResizeRequested):
            if not 1 <= stimulus.max_workers <= MOST_WORKERS:
                return f"max_workers={stimulus.max_workers}: must be 1 to {MOST_WORKERS}"
        elif isinstance(stimulus, AttemptSucceeded | AttemptFailed):
            instants = stimulus.dispatched_at_ns, stimulus.begun_at_ns, stimulus.ended_at_ns, at_ns
            if list(instants) != sorted(instants) or instants[0] < 0:
                return (
                    "an attempt is dispatched, begun, ended and decided on in this order, but not "
                    "at {}, {}, {} and {} ns".format(*instants)
                )
            if stimulus.cpu_ns is not None and stimulus.cpu_ns < 0:
                return f"cpu_ns={stimulus.cpu_ns}: CPU time is 0 or more"
        return ""

    def _read_footer(self, number: int, body: bytes, records: int) -> Footer:
        try:
            footer = _decode_footer(body)
        except _UNREADABLE as error:
            raise self._damage or self._error(number, f"not a footer: {error}") from None
        if footer.records != records:
            raise self._damage or self._error(
                number,
                f"the footer counts {footer.records} steps, but there are {records}",
            )
        return footer

    def _check_end(
        self, state: JournalState, footer: Footer | None, digest: str, torn: bytes
    ) -> None:
        last = len(self._lines)
        if state == "incomplete":
            raise JournalError(
                self._path,
                None,
                f"is marked incomplete: after line {last} the journal could not be written (the "
                f"pool's log says why), so what the pool did then is missing",
            )
        if footer is None:
            if state == "closed":
                raise self._error(
                    last,
                    "the journal was closed, but its footer is missing: it was cut off here",
                )
            self._warning = self._warning or (
                f"{self._path}: the journal was not closed (its process was killed or still runs); "
                f"it goes up to line {last}"
            )
        elif torn:
            raise self._error(last + 1, "there is more after the footer")
        elif footer.digest != digest:
            raise self._error(last, "the footer's digest is not that of the steps")
