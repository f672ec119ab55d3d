"""The journal's file: killed, full, moved, edited."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import JournalTo, WorkerPool, WorkerPoolConfig
from runtime.journal import JournalError, Seal, read_journal
from simulation import Fails, Modelled, SimulatedWorkerPool
from simulation.replay import replay
from simulation.whatif.answer import DishonestError
from simulation.whatif.predict import what_if

ROOT = Path(__file__).resolve().parent.parent.parent


def small(path: Path, **options: object) -> bytes:
    config = WorkerPoolConfig(max_workers=2, enable_instrumentation=False)
    with SimulatedWorkerPool(config, seed=1, journal=JournalTo(path, **options)) as pool:  # type: ignore[arg-type]
        for n in range(6):
            pool.submit_task(f"t{n}", Modelled(1.5, Fails(0.4)))
        pool.wait_for_all()
    return path.read_bytes()


def test_a_process_killed_in_mid_run_leaves_a_journal_that_replays(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    code = (
        "import sys\nfrom runtime import *\n"
        "pool = WorkerPool(WorkerPoolConfig(max_workers=4), journal=sys.argv[1])\n"
        "n = 0\n"
        "while True:\n"
        "    pool.get_task_result(pool.submit_task('t', int))\n"
        "    n += 1\n"
        "    if n == 3000:\n"
        "        print('there', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    found = replay(path, check=True)
    assert found.divergence is None
    assert not found.journal.complete
    assert found.journal.warning
    assert found.tasks > 1000


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_full_disk_stops_no_work_and_marks_the_journal(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.jsonl"
    write, writes = os.write, 0

    def full(fd: int, data: bytes) -> int:
        nonlocal writes
        writes += 1
        if writes > after:
            if writes == after + 1 and len(data) > 10:
                write(fd, bytes(data[:7]))  # a torn piece gets there
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    with WorkerPool(WorkerPoolConfig(max_workers=2), journal=path) as pool:
        for _ in range(5):
            pool.submit_task("t", int)
            pool.wait_for_all()
            assert pool._relay is not None
            pool._relay.flush()
        assert all(result.success for result in pool.wait_for_all())
        assert pool.get_summary_metrics()["journal_errors"] == 1
    assert [r.levelname for r in caplog.records if "could not be written" in r.message] == ["ERROR"]
    if after:
        with pytest.raises(JournalError, match="marked incomplete"):
            read_journal(path)
    else:
        with pytest.raises(JournalError):
            read_journal(path)


def test_a_real_limit_on_the_files_size(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    code = (
        "import resource, signal, sys\nfrom runtime import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "with WorkerPool(WorkerPoolConfig(max_workers=2), journal=sys.argv[1]) as pool:\n"
        "    for n in range(500):\n"
        "        pool.submit_task('t', abs, (n,))\n"
        "    print(sum(r.success for r in pool.wait_for_all()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "500\n"
    assert "could not be written" in done.stderr
    with pytest.raises(JournalError, match="marked incomplete"):
        read_journal(path)


@pytest.mark.parametrize("where", ["folder", "file as a folder"])
def test_a_journal_that_cannot_be_opened_stops_no_work(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path
    if where == "file as a folder":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "run.jsonl"
    with WorkerPool(journal=path) as pool:
        assert pool.get_task_result(pool.submit_task("t", int)).success
        assert pool.get_summary_metrics()["journal_errors"] == 1
    assert "could not be written" in caplog.text


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    first, second, third = (small(path), small(path), small(path))
    assert first == second == third
    kept = sorted(p.name for p in path.parent.iterdir())
    assert kept == ["run.jsonl", "run.jsonl.1", "run.jsonl.2"]


def test_waiting_for_the_disk_writes_the_same(tmp_path: Path) -> None:
    assert small(tmp_path / "a", sync=True) == small(tmp_path / "b")


def test_no_flipped_bit_passes_for_a_whole_journal(tmp_path: Path) -> None:
    raw = small(tmp_path / "run.jsonl")
    path = tmp_path / "flipped.jsonl"
    draw = random.Random(5)
    for at in draw.sample(range(len(raw)), 400):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            found = replay(path)
        except JournalError:
            continue
        assert found.divergence is not None or not found.journal.complete, at


def where_it_is_wrong(path: Path) -> int:
    """The line that a replay names."""
    try:
        found = replay(path)
    except JournalError as error:
        return error.line or 0
    return found.divergence.index + 2 if found.divergence is not None else 0


def test_lines_moved_removed_or_doubled_are_named(tmp_path: Path) -> None:
    lines = small(tmp_path / "run.jsonl").splitlines(keepends=True)
    path = tmp_path / "edited.jsonl"
    for at in range(1, len(lines) - 2):
        for edited in (
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
            [*lines[:at], *lines[at + 1 :]],
            [*lines[:at], lines[at], *lines[at:]],
        ):
            path.write_bytes(b"".join(edited))
            assert where_it_is_wrong(path) >= at + 1


def test_a_torn_last_line_is_dropped_wherever_it_is_cut(tmp_path: Path) -> None:
    raw = small(tmp_path / "run.jsonl").replace(b'"closed    "', b'"open      "')
    lines = raw.splitlines(keepends=True)[:-1]
    path = tmp_path / "torn.jsonl"
    for cut in range(1, len(lines[-1])):
        path.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        journal = read_journal(path)
        assert "torn" in journal.warning
        assert len(journal.records) == len(lines) - 2


def test_a_newer_format_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    raw = small(tmp_path / "run.jsonl")
    path.write_bytes(raw.replace(b'"twinclock_journal":2', b'"twinclock_journal":3', 1))
    with pytest.raises(JournalError, match=r"line 1: format version 3 is newer.*upgrade"):
        read_journal(path)


def test_a_closed_journal_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    lines = small(tmp_path / "run.jsonl").splitlines(keepends=True)
    path = tmp_path / "cut.jsonl"
    for keep in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:keep]))
        with pytest.raises(JournalError, match="cut off here"):
            read_journal(path)


def resealed(journal: bytes, line: int, edit: Callable[[bytes], bytes]) -> bytes:
    """Edit a line, and forge all checksums and the digest so that they are right again."""
    bodies = [re.sub(rb',"crc":\d+}$', b"}", line) for line in journal.splitlines()]
    bodies[line] = edit(bodies[line])
    state = re.search(rb'"state":"([a-z]+ *)"', bodies[0])
    assert state is not None
    opened = bodies[0].replace(state[1], b"open".ljust(len(state[1])), 1)
    seal = Seal(opened)
    head = seal.header.replace(b"open".ljust(len(state[1])), state[1], 1)
    steps = seal.lines(bodies[1:-1])
    footer = re.sub(rb"sha256:[0-9a-f]+", seal.digest.encode(), bodies[-1])
    return head + steps + seal.lines([footer], footer=True)


STRANGE = [b"0", b"-1", b"1", b"3", b"1.5", b"null", b"true", b'"x"', b"[]", b"{}", b"1e400"]
STRANGE += [b"%d" % n for n in (2**31, 2**63 - 1, 2**63, 10**25)]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_forged_journal_is_refused_or_diverges_or_tells_its_own_truth(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("forged")
    whole = small(folder / "run.jsonl")
    line = data.draw(st.integers(0, whole.count(b"\n") - 2))
    strange = data.draw(st.sampled_from(STRANGE))
    place = data.draw(st.integers(0, 10**6))

    def edit(body: bytes) -> bytes:
        values = list(re.finditer(rb"-?\d+|null|true|false", body))
        at = values[place % len(values)]
        return body[: at.start()] + strange + body[at.end() :]

    path = folder / "forged.jsonl"
    path.write_bytes(resealed(whole, line, edit))
    try:
        found = replay(path, check=True)
    except JournalError:
        return
    if found.divergence is None:  # what it says could have been, and the what-if takes it as it is
        with contextlib.suppress(DishonestError):
            what_if(path, max_workers=1)


@pytest.mark.parametrize(
    ("line", "old", "new", "told"),
    [
        (0, b'"max_workers":2', b'"max_workers":99999999999', "max_workers=99999999999: must be 1"),
        (0, b'"backoff_base_ns":', b'"backoff_base_ns":-', "backoff_base_ns=-"),
        (1, b'"task":1', b'"task":9223372036854775808', "a journal this long has none above"),
        (-2, b'"begun_at_ns":', b'"begun_at_ns":9', "in this order"),
    ],
)
def test_what_no_host_would_say_is_refused_by_its_line(
    tmp_path: Path, line: int, old: bytes, new: bytes, told: str
) -> None:
    whole = small(tmp_path / "run.jsonl")
    lines = len(whole.splitlines())
    number = line % lines
    while old not in whole.splitlines()[number]:
        number -= 1
    forged = resealed(whole, number, lambda body: body.replace(old, new, 1))
    (tmp_path / "forged.jsonl").write_bytes(forged)
    with pytest.raises(JournalError, match=f"line {number + 1}.*{re.escape(told)}"):
        replay(tmp_path / "forged.jsonl")
