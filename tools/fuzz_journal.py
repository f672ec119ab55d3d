"""``python -m tools.fuzz_journal``: damage journals, and see that no damage passes for the truth.

A journal is truncated, its bytes and lines are flipped, dropped, doubled, moved, inserted and
spliced with another journal's, once or several times; sometimes all checksums are forged
afterwards, so that only the core can tell. What may come of it: a ``JournalError``, a named
divergence, or a replay of what is there, which says that it is not complete. A whole, complete
journal may come of it only where the checksums were forged: then it tells a truth of its own.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime import WorkerPoolConfig
from runtime.journal import Journal, JournalError, Seal, read_journal
from simulation import DishonestError, Exponential, Fails, Modelled, SimulatedWorkerPool, what_if
from simulation import replay as replay_journal

__all__ = ["FORGED", "MUTATIONS", "Luck", "WrongReplayError", "examine", "reseal", "sample_journal"]

#: Draws a whole number, both ends included.
Luck = Callable[[int, int], int]
_STRANGE: Final = [
    b"",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b'"',
    b"}",
    b"-",
    b"9" * 30,
    b"\xff",
    b"1e400",
    b"{}",
]


class WrongReplayError(AssertionError):
    """A damaged journal that passes for a whole one, or that is not refused in the right way."""


# ---------------------------------------------------------------- damage


def _truncate(data: bytes, luck: Luck) -> bytes:
    return data[: luck(0, len(data))]


def _behead(data: bytes, luck: Luck) -> bytes:
    return data[luck(0, len(data)) :]


def _flip_bit(data: bytes, luck: Luck) -> bytes:
    if not data:
        return data
    at = luck(0, len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1 << luck(0, 7)]) + data[at + 1 :]


def _drop_bytes(data: bytes, luck: Luck) -> bytes:
    at = luck(0, len(data))
    return data[:at] + data[at + luck(1, 40) :]


def _double_bytes(data: bytes, luck: Luck) -> bytes:
    at = luck(0, len(data))
    end = at + luck(1, 40)
    return data[:end] + data[at:end] + data[end:]


def _insert(data: bytes, luck: Luck) -> bytes:
    at = luck(0, len(data))
    return data[:at] + _STRANGE[luck(0, len(_STRANGE) - 1)] + data[at:]


def _move_bytes(data: bytes, luck: Luck) -> bytes:
    a, b, c = sorted(luck(0, len(data)) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _drop_line(data: bytes, luck: Luck) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        del lines[luck(0, len(lines) - 1)]
    return b"".join(lines)


def _double_line(data: bytes, luck: Luck) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        lines.insert(luck(0, len(lines)), lines[luck(0, len(lines) - 1)])
    return b"".join(lines)


def _swap_lines(data: bytes, luck: Luck) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        a, b = luck(0, len(lines) - 1), luck(0, len(lines) - 1)
        lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def _cut_lines(data: bytes, luck: Luck) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[: luck(0, len(lines))])


def _splice(data: bytes, luck: Luck) -> bytes:
    """The head of one and the tail of another run of the same pool."""
    lines, other = data.splitlines(keepends=True), sample_journal(luck(1, 3)).splitlines(True)
    if not lines:
        return data
    kept = luck(1, len(lines))  # never the whole of the other: that would be no damage
    return b"".join(lines[:kept] + other[luck(1, len(other) - 1) :])


def _twice(data: bytes, luck: Luck) -> bytes:
    return data + data


def _change_state(data: bytes, luck: Luck) -> bytes:
    states = [b"open", b"closed", b"incomplete", b"shut", b""]
    return re.sub(rb'(?<="state":")[a-z]+ *', states[luck(0, 4)].ljust(10), data, count=1)


def _change_number(data: bytes, luck: Luck) -> bytes:
    values = list(re.finditer(rb"(?<=:)-?\d+|null|true|false|\"[a-z_]+\"", data))
    if not values:
        return data
    at = values[luck(0, len(values) - 1)]
    small = [b"0", b"1", b"-1", b"2", b"1.5", b"null", b"[]", b'"x"', b"%d" % luck(0, 2**64)]
    return data[: at.start()] + small[luck(0, len(small) - 1)] + data[at.end() :]


def _line_ends(data: bytes, luck: Luck) -> bytes:
    return data.replace(b"\n", [b"\r\n", b"\r", b"\n\n"][luck(0, 2)])


#: Each kind of damage, by name.
MUTATIONS: Final[dict[str, Callable[[bytes, Luck], bytes]]] = {
    function.__name__.strip("_"): function
    for function in (
        _truncate, _behead, _flip_bit, _drop_bytes, _double_bytes, _insert, _move_bytes,
        _drop_line, _double_line, _swap_lines, _cut_lines, _splice, _twice, _change_state,
        _change_number, _line_ends,
    )
}  # fmt: skip
#: Damage after which checksums can be forged: lines are still lines.
FORGED: Final = ("drop_line", "double_line", "swap_lines", "cut_lines", "splice", "change_number")

_CRC: Final = re.compile(rb',"crc":\d+}$')
_STATE: Final = re.compile(rb'(?<="state":")[a-z]+ *')


def reseal(data: bytes) -> bytes:
    """Forge a journal's step numbers, checksums, count and digest, so that they are right again.

    Args:
        data: lines of a journal.

    Returns:
        The journal; what it was given where there is no header.
    """
    bodies = [_CRC.sub(b"}", line) for line in data.split(b"\n") if line.endswith(b"}")]
    state = _STATE.search(bodies[0]) if bodies else None
    if state is None:
        return data
    seal = Seal(_STATE.sub(b"open".ljust(len(state[0])), bodies[0], count=1))
    steps = [body for body in bodies[1:] if body.startswith(b'{"n":')]
    steps = [re.sub(rb'^{"n":\d+', b'{"n":%d' % n, body) for n, body in enumerate(steps)]
    head = seal.header.replace(b"open".ljust(len(state[0])), state[0], 1)
    told = seal.lines(steps)
    footer = b'{"records":%d,"digest":"%s"}' % (len(steps), seal.digest.encode())
    return head + told + seal.lines([footer], footer=True)


# ---------------------------------------------------------------- what comes of it


def examine(data: bytes, whole: Journal, path: Path, *, forged: bool) -> str:
    """Read and replay a damaged journal.

    Args:
        data: its bytes.
        whole: the journal that was damaged.
        path: where to write it.
        forged: whether its checksums were forged.

    Returns:
        What came of it: ``refused``, ``diverged``, ``a part``, ``the same`` or ``another``.

    Raises:
        WrongReplayError: the damage passes for the truth, or a traceback came of it.
    """
    path.write_bytes(data)
    try:
        found = replay_journal(path, check=forged)
    except JournalError as error:
        if "\n" in str(error):
            raise WrongReplayError(f"a message of more than one line: {error}") from error
        return "refused"
    except Exception as error:
        raise WrongReplayError(f"{type(error).__name__}: {error}") from error
    if found.divergence is not None:
        return "diverged" if found.divergence.fields else _wrong("a divergence that names no field")
    read = found.journal
    if forged:
        return _ask(path)
    if read.complete:
        same = read.records == whole.records and read.header == whole.header
        return "the same" if same and _state_stands(data) else _wrong("it passes for whole")
    if not read.warning:
        _wrong("a part of a journal, and no warning")
    if read.records != whole.records[: len(read.records)]:
        _wrong("a replay of what never happened")
    return "a part"


def _state_stands(data: bytes) -> bool:
    """Whether the state is one that a writer writes; it is under no checksum."""
    found = _STATE.search(data.split(b"\n")[0])
    return found is not None and found[0] in (b"closed".ljust(10), b"open".ljust(10))


def _ask(path: Path) -> str:
    """A forged journal that replays tells its own truth: a what-if must take it as it is."""
    try:
        what_if(path, max_workers=1)
    except (DishonestError, JournalError, ValueError):
        return "another, refused by the what-if"
    except Exception as error:
        raise WrongReplayError(f"what-if: {type(error).__name__}: {error}") from error
    return "another"


def _wrong(what: str) -> str:
    raise WrongReplayError(what)


_samples: dict[int, bytes] = {}


def sample_journal(seed: int) -> bytes:
    """A small run with failures, timeouts, a cancel, an abort and a deadline.

    Args:
        seed: of the run.

    Returns:
        Its journal.
    """
    if seed not in _samples:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.jsonl"
            config = WorkerPoolConfig(
                max_workers=2, max_retries=2, task_timeout_seconds=3, enable_instrumentation=False
            )
            with SimulatedWorkerPool(config, seed=seed, journal=path) as pool:
                for n in range(7):
                    deadline = pool.now + 4 if n == 5 else None
                    model = Modelled(Exponential(1.5), Fails(0.4))
                    task = pool.submit_task(f"t{n}", model, priority=n % 2, deadline=deadline)
                pool.advance(1)
                pool.cancel(task)
                pool.advance(6)
                pool.abort_pending_tasks()
                pool.wait_for_all()
            _samples[seed] = path.read_bytes()
    return _samples[seed]


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_journal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.perf_counter()
    came: collections.Counter[str] = collections.Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.jsonl"
        (Path(folder) / "whole.jsonl").write_bytes(sample_journal(0))
        whole = read_journal(Path(folder) / "whole.jsonl")
        for index in range(given.rounds):
            draw = random.Random((given.seed << 32) | index)
            forged = draw.random() < 0.2
            names = FORGED if forged else tuple(MUTATIONS)
            done = [draw.choice(names) for _ in range(draw.choice([1, 1, 1, 2, 3]))]
            data = sample_journal(0)
            for name in done:
                data = MUTATIONS[name](data, draw.randint)
            if forged:
                data = reseal(data)
            try:
                came[examine(data, whole, path, forged=forged)] += 1
            except WrongReplayError as error:
                wrong += 1
                print(f"seed {given.seed}, round {index}, {', '.join(done)}: {error}", flush=True)
    for name, count in came.most_common():
        print(f"{count:8,}  {name}")
    print(f"{given.rounds:,} damaged journals, {wrong} wrong, {time.perf_counter() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
