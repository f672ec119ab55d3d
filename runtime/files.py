"""Files that users name: read within bounds, written whole or not at all.

**Reading** ends: a file, a pipe or a device gives so many bytes and so long a line at most, and a
pipe that nobody has opened for writing is waited for some seconds, not for ever.

**Writing** replaces. The data goes to a hidden file beside the target, the disk is waited for, and
then the name is moved: whoever reads sees the old file or the new one, and a full disk, Ctrl-C or a
lost machine leaves the old one whole. The file keeps its mode and, where that is allowed, its
owner; a symbolic link stays one, and the file behind it is replaced. Only a process that is killed
outright leaves the hidden file behind. What is no regular file (a pipe, a device, ``/dev/stdout``,
``/dev/fd/3``) is written to as it is, since nothing can take its place.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["FileError", "check_writable", "is_standard_output", "read_file", "write_file"]

_BLOCK: Final = 1 << 20
_FIRST_BLOCK: Final = 1 << 12
#: How long a pipe's other end may take to come.
_PATIENCE_SECONDS: Final = 5.0
_LOOK_AGAIN_MS: Final = 20
_DESCRIPTOR: Final = re.compile(r"/dev/fd/(\d{1,9})|/proc/self/fd/(\d{1,9})")
_STREAMS: Final = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_LONGEST_STEM: Final = 100


class FileError(ValueError):
    """A file that cannot be used.

    Args:
        path: where it is.
        line: the line that is wrong, from 1; ``None`` where it is the whole file.
        message: what is wrong, and what to do.
    """

    def __init__(self, path: str, line: int | None, message: str) -> None:
        self.path = path
        self.line = line
        where = path if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {message}")


def read_file(
    path: str | os.PathLike[str],
    *,
    most: int,
    longest_line: int | None = None,
    wrong: Callable[[bytes], str] = lambda first: "",
    error: type[FileError] = FileError,
) -> tuple[str, bytes]:
    """Read a file, within bounds.

    Args:
        path: where it is, or ``-`` for standard input.
        most: how many bytes it may have.
        longest_line: how many bytes a line of it may have, 1 MiB or more; ``None`` for as many as
            the file.
        wrong: given its first bytes, says why it cannot be what is wanted; else nothing. So a large
            file of another kind is not read to its end.
        error: what is raised.

    Returns:
        What messages call it, and what is in it.

    Raises:
        FileError: it cannot be read or has more than that.
    """
    name = "standard input" if str(path) == "-" else _name(path)
    try:
        with _open_to_read(str(path)) as (head, file):
            blocks: list[bytes] = []
            size = line = 0
            while block := file.read(_BLOCK) if blocks else head + file.read(_FIRST_BLOCK):
                if not blocks and (said := wrong(block)):
                    raise error(name, None, said)
                blocks.append(block)
                size += len(block)
                ended, last = block.find(b"\n"), block.rfind(b"\n")
                longest = line + (len(block) if ended < 0 else ended)
                line = longest if last < 0 else len(block) - last - 1
                if longest_line is not None and longest > longest_line:
                    number = 1 + sum(one.count(b"\n") for one in blocks[:-1])
                    raise error(name, number, f"is longer than {longest_line:,} bytes")
                if size > most:
                    raise error(name, None, f"is larger than {most:,} bytes")
    except FileNotFoundError:
        raise error(name, None, "there is no such file") from None
    except IsADirectoryError:
        raise error(name, None, "cannot be read: it is a folder") from None
    except OSError as problem:
        raise error(name, None, f"cannot be read: {problem.strerror}") from None
    return name, b"".join(blocks)


def _name(path: str | os.PathLike[str]) -> str:
    """What messages call a file."""
    return os.fsencode(path).decode("utf-8", "backslashreplace") or "''"


@contextmanager
def _open_to_read(path: str) -> Iterator[tuple[bytes, BinaryIO]]:
    """An open file, and what was read of it already."""
    if path == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "it is closed; give a path, or a pipe")
        yield b"", sys.stdin.buffer
        return
    # without O_NONBLOCK, a pipe that nobody writes to would never be open
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        head = _await_writer(descriptor) if is_pipe else b""
        os.set_blocking(descriptor, True)
        with open(descriptor, "rb", closefd=False) as file:
            yield head, file
    finally:
        os.close(descriptor)


def _await_writer(descriptor: int) -> bytes:
    """Wait until somebody has opened a pipe for writing; how long they then take is theirs."""
    until = time.monotonic() + _PATIENCE_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(_LOOK_AGAIN_MS):  # else there is data, or there was a writer, who has gone
        try:
            if first := os.read(descriptor, 1):
                return first
        except BlockingIOError:  # nothing yet, from a writer that is there
            break
        if time.monotonic() > until:
            raise OSError(errno.ENXIO, f"a pipe that nobody wrote to for {_PATIENCE_SECONDS:g} s")
    return b""


# ---------------------------------------------------------------- writing


def write_file(path: str, data: bytes, *, keep: bool = False) -> str | None:
    """Write a file, so that it is there whole or as it was.

    Args:
        path: where.
        data: what.
        keep: whether a file that is there already is kept, under the first free name with a number
            appended.

    Returns:
        The name under which it was kept; ``None`` where nothing was.

    Raises:
        FileError: it cannot be written; the message says why.
        BrokenPipeError: it is a pipe, and whoever read it has gone.
    """
    with _told(path):
        number = _descriptor(path)
        if number is not None:
            if number == 1:
                sys.stdout.flush()  # what was printed before comes first
            _put(number, data)
            return None
        target, there = _target(path)
        if there is not None and not stat.S_ISREG(there.st_mode):
            with _open_special(target) as descriptor:
                _put(descriptor, data)
            return None
        return _replace(target, there, data, keep=keep)


def check_writable(path: str) -> None:
    """Raise unless a file can be written; it is left as it is.

    Args:
        path: where.

    Raises:
        FileError: it cannot be written; the message says why.
    """
    with _told(path):
        if _descriptor(path) is None:
            target, there = _target(path)
            if there is None or stat.S_ISREG(there.st_mode):
                with _beside(target) as (descriptor, _):
                    os.close(descriptor)


def is_standard_output(path: str) -> bool:
    """Whether a path names this process's standard output.

    Args:
        path: as given.

    Example:
        >>> is_standard_output("/dev/stdout"), is_standard_output("run.html")
        (True, False)
    """
    return _descriptor(path) == 1


@contextmanager
def _told(path: str) -> Iterator[None]:
    name = _name(path)
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileError(name, None, f"cannot be written: {error.strerror}") from None
    except ValueError as error:  # a path that no file can have
        raise FileError(name, None, f"cannot be written: {error}") from None


def _descriptor(path: str) -> int | None:
    """Which open file of this process a path names."""
    found = _DESCRIPTOR.fullmatch(path)
    return int(found[1] or found[2]) if found else _STREAMS.get(path)


def _target(path: str) -> tuple[str, os.stat_result | None]:
    """The file behind symbolic links, and what is there; raises where it cannot be written."""
    target = os.path.realpath(path)
    if path.endswith(os.sep) or Path(target).is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not Path(target).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {Path(path).parent}")
    try:
        there = os.stat(target)
    except FileNotFoundError:
        return target, None
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target, there


@contextmanager
def _beside(target: str) -> Iterator[tuple[int, str]]:
    """A new file in the same folder, which is gone afterwards unless it was moved."""
    folder, name = os.path.split(target)
    stem = os.fsdecode(os.fsencode(name)[:_LONGEST_STEM])
    hidden = os.path.join(folder, f".{stem}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:  # before it is there, so that Ctrl-C cannot come between
        try:
            descriptor = os.open(hidden, flags, 0o666)
        except OSError as error:
            said = f"{error.strerror} (a new file in {folder})"
            raise OSError(error.errno, said) from None
        yield descriptor, hidden
    finally:
        with suppress(OSError):
            os.unlink(hidden)


def _replace(target: str, there: os.stat_result | None, data: bytes, *, keep: bool) -> str | None:
    with _beside(target) as (descriptor, hidden):
        try:
            if there is not None:
                os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
                with suppress(OSError):  # not everybody may give a file away
                    os.fchown(descriptor, there.st_uid, there.st_gid)
            _put(descriptor, data)
            os.fsync(descriptor)  # else a lost machine may come back with the name and no data
        finally:
            os.close(descriptor)
        kept = _second_name(target) if keep and there is not None else None
        os.replace(hidden, target)
    return kept


def _second_name(target: str) -> str:
    """Give a file another name, too, the first free one with a number."""
    number = 1
    while True:
        kept = f"{target}.{number}"
        try:
            os.link(target, kept)
        except FileExistsError:
            number += 1
            continue
        except OSError:  # a file system without such links
            if os.path.lexists(kept):
                number += 1
                continue
            os.rename(target, kept)
        return kept


@contextmanager
def _open_special(path: str) -> Iterator[int]:
    """A pipe or a device; a pipe that nobody comes to read is given up."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not Path(path).is_fifo():
                raise
            if time.monotonic() > until:
                said = f"a pipe that nobody read for {_PATIENCE_SECONDS:g} s"
                raise OSError(errno.ENXIO, said) from None
            time.sleep(_LOOK_AGAIN_MS / 1e3)
    try:
        os.set_blocking(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def _put(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
