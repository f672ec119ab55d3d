"""Files that users name: read within bounds, written whole or not at all."""

from __future__ import annotations

import os
import resource
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime import files
from runtime.files import FileError, check_writable, read_file, write_file
from tests.cli.running import bad, simulation
from tests.whatif.recordings import SCENARIO, record

ROOT = Path(__file__).resolve().parents[2]
BEFORE, AFTER = b"as it was\n", b"as it is to be\n"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("journals") / "run.jsonl", 20)


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(files, "_PATIENCE_SECONDS", 0.05)
        yield


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------- writing


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "run.html"
    write_file(str(target), BEFORE)
    write_file(str(target), AFTER)
    assert target.read_bytes() == AFTER
    assert listing(tmp_path) == ["run.html"]


def test_whoever_has_the_old_file_open_reads_it_to_its_end(tmp_path: Path) -> None:
    target = tmp_path / "run.html"
    target.write_bytes(BEFORE)
    with target.open("rb") as reader:
        write_file(str(target), AFTER)
        assert reader.read() == BEFORE


def test_the_mode_is_kept_and_a_new_file_has_the_usual_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(BEFORE)
    old.chmod(0o604)
    before = os.umask(0o027)
    try:
        write_file(str(old), AFTER)
        write_file(str(new), AFTER)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (old, new)] == [0o604, 0o640]


def test_a_link_stays_one_and_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    behind, link = tmp_path / "real" / "run.html", tmp_path / "latest.html"
    link.symlink_to("real/run.html")
    for data in (BEFORE, AFTER):  # first it points to nothing yet
        write_file(str(link), data)
        assert link.is_symlink()
        assert behind.read_bytes() == data
    assert listing(tmp_path / "real") == ["run.html"]


def test_a_kept_file_gets_the_first_free_number(tmp_path: Path) -> None:
    target = tmp_path / "run.jsonl"
    assert write_file(str(target), b"1", keep=True) is None
    assert write_file(str(target), b"2", keep=True) == f"{target}.1"
    assert write_file(str(target), b"3", keep=True) == f"{target}.2"
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"3", b"1", b"2"]


def test_a_kept_file_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "run.jsonl"
    (tmp_path / "run.jsonl.1").write_bytes(b"0")
    write_file(str(target), b"1")
    assert write_file(str(target), b"2", keep=True) == f"{target}.2"
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"2", b"0", b"1"]


def test_a_longest_name(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)  # 254 of 255 bytes
    write_file(str(target), AFTER)
    assert target.read_bytes() == AFTER
    assert len(listing(tmp_path)) == 1


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whatever_goes_wrong_at_whatever_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    target = tmp_path / "run.html"
    target.write_bytes(BEFORE)
    real: Callable[..., int] = getattr(os, step)

    def fail(*arguments: object) -> int:
        if step in ("write", "open"):  # half of it is done by then
            real(*((arguments[0], bytes(arguments[1])[:3]) if step == "write" else arguments))  # type: ignore[call-overload]
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises((FileError, KeyboardInterrupt)) as raised:
            write_file(str(target), AFTER, keep=True)
    if isinstance(error, OSError):
        assert f"{target}: cannot be written: No space left" in str(raised.value)
    assert target.read_bytes() == BEFORE
    assert set(listing(tmp_path)) - {"run.html.1"} == {"run.html"}


def test_a_full_disk_leaves_the_old_file_whole(journal: Path, tmp_path: Path) -> None:
    """A process that may write no file of more than 1,000 bytes, as on a disk with no more room."""
    target = tmp_path / "run.trace.json"
    target.write_bytes(BEFORE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "simulation", "export", journal),
            *("--to", "chrome", "-o", target),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {target}: cannot be written: File too large\n"
    assert target.read_bytes() == BEFORE
    assert listing(tmp_path) == ["run.trace.json"]


INTERRUPTED = """
import os, signal, sys
from runtime import files
real = os.fsync
def fsync(descriptor):
    os.kill(os.getpid(), signal.SIGINT)
    real(descriptor)
os.fsync = fsync
from simulation.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell without job control ignores it
main(sys.argv[1:])
"""


def test_ctrl_c_in_the_middle_leaves_the_old_file_whole(journal: Path, tmp_path: Path) -> None:
    target = tmp_path / "spans.jsonl"
    target.write_bytes(BEFORE)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "export", journal, "--to", "otlp", "-o", target],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
    assert target.read_bytes() == BEFORE
    assert listing(tmp_path) == ["spans.jsonl"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", ["it is a folder"]),
        ("new/", ["it is a folder"]),
        ("no/such/x.html", ["there is no folder", "no/such"]),
        ("a\0b", ["null"]),
        ("n" * 300, ["File name too long"]),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, name: str, words: list[str]
) -> None:
    for write in (check_writable, lambda path: write_file(path, AFTER)):
        with pytest.raises(FileError) as raised:
            write(f"{tmp_path}/{name}")
        for word in ["cannot be written", *words]:
            assert word in str(raised.value)
    assert listing(tmp_path) == []


def test_a_check_leaves_no_trace(tmp_path: Path) -> None:
    target = tmp_path / "machine.json"
    check_writable(str(target))
    assert listing(tmp_path) == []
    target.write_bytes(BEFORE)
    check_writable(str(target))
    assert target.read_bytes() == BEFORE


def test_a_pipe_is_written_to_and_stays_one(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    done = simulation("export", journal, "--to", "otlp", "-o", pipe)
    reader.join()
    assert done.returncode == 0, done.stderr
    assert got[0].startswith(b'{"resourceSpans"')
    assert pipe.is_fifo()
    with impatient(monkeypatch):
        bad(simulation("export", journal, "--to", "otlp", "-o", pipe), 2, "nobody read")
    assert simulation("export", journal, "--to", "otlp", "-o", "/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("piped", [False, True])
def test_standard_output_has_the_file_and_nothing_else(
    journal: Path, tmp_path: Path, name: str, piped: bool
) -> None:
    line = f'{sys.executable} -m simulation export "$1" --to otlp -o {name} ' + (
        '| cat > "$2"' if piped else '> "$2"'
    )
    out = tmp_path / "out"
    done = subprocess.run(
        ["bash", "-c", line, "bash", journal, out],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    simulation("export", journal, "--to", "otlp", "-o", tmp_path / "same")
    assert out.read_bytes() == (tmp_path / "same").read_bytes()
    assert done.stderr.startswith(f"{name}: ")


def test_a_recording_is_not_written_over_by_what_is_made_of_it(journal: Path) -> None:
    before = journal.read_bytes()
    for arguments in (
        ("export", journal, "--to", "chrome", "-o", journal),
        ("slice", journal, "--task", "1", "-o", journal),
    ):
        bad(simulation(*arguments), 2, "is the file that is read")
    assert journal.read_bytes() == before


def test_import_keeps_what_was_there_and_says_so(journal: Path, tmp_path: Path) -> None:
    spans, out = tmp_path / "spans.jsonl", tmp_path / "run.jsonl"
    simulation("export", journal, "--to", "otlp", "-o", spans)
    out.write_bytes(BEFORE)
    done = simulation("import", spans, "-o", out)
    assert done.returncode == 0
    assert done.stderr == f"the file that was at {out} is now {out}.1\n"
    assert (tmp_path / "run.jsonl.1").read_bytes() == BEFORE
    assert simulation("replay", out).returncode == 0


# ------------------------------------------------------------------------------------- reading


def test_a_file_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "big"
    data = b"".join(b"%d\n" % n for n in range(400_000))
    path.write_bytes(data)
    assert read_file(path, most=len(data), longest_line=7) == (str(path), data)
    with pytest.raises(FileError, match=f"is larger than {len(data) - 1:,} bytes"):
        read_file(path, most=len(data) - 1)


@pytest.mark.parametrize("before", range(0, 200, 7))
def test_a_line_that_is_too_long_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr(files, "_FIRST_BLOCK", 16)
    monkeypatch.setattr(files, "_BLOCK", 64)
    path = tmp_path / "long"
    lines = [b"x" * 9] * (before // 10) + [b"x" * (before % 10), b"y" * 200, b"z" * 5]
    path.write_bytes(b"\n".join(lines))
    assert read_file(path, most=1 << 30, longest_line=200)[1] == path.read_bytes()
    with pytest.raises(FileError, match="is longer than 199 bytes") as raised:
        read_file(path, most=1 << 30, longest_line=199)
    assert raised.value.line == len(lines) - 1


#: Commands by what they read first.
JOURNALS = [
    ["replay", "IN"],
    ["replay", "IN", "--set", "max_workers=3"],
    ["why", "IN"],
    ["sweep", "IN", "--vary", "max_workers=3"],
    ["recommend", "IN", "--target", "makespan_seconds<9"],
    ["fit", "IN", "-o", "OUT.toml"],
    ["export", "IN", "--to", "otlp", "-o", "OUT"],
    ["export", "IN", "--to", "openmetrics", "-o", "OUT"],
    ["slice", "IN", "--task", "1", "-o", "OUT"],
    ["import", "IN", "-o", "OUT"],
]
OTHERS = [
    ["run", "IN"],
    ["explore", "IN"],
    ["import", "JOURNAL", "-o", "OUT", "--mapping", "IN"],
    ["replay", "JOURNAL", "--set", "max_workers=3", "--calibration", "IN"],
    ["replay", "JOURNAL", "--backend", "IN"],
]


def filled(arguments: list[str], given: object, journal: Path, tmp_path: Path) -> list[str]:
    names = {"IN": str(given), "JOURNAL": str(journal), "OUT": str(tmp_path / "out")}
    names["OUT.toml"] = str(tmp_path / "out.toml")
    return [names.get(one, one) for one in arguments]


@pytest.mark.parametrize("arguments", [*JOURNALS, *OTHERS], ids=" ".join)
def test_what_never_ends_is_refused_at_once(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    for module in ("simulation.machine.declared", "simulation.machine.calibration"):
        monkeypatch.setattr(f"{module}._MOST_BYTES", 1 << 16)  # the same, and sooner
    pipe, folder = tmp_path / "pipe", tmp_path / "folder.toml"
    os.mkfifo(pipe)
    folder.mkdir()
    target = arguments[0] if arguments[0] != "explore" else "run"  # which takes module:function
    for given in ("/dev/zero", folder, pipe, tmp_path / "none"):
        if target == "run" and arguments[0] == "explore" and given != folder:
            continue
        with impatient(monkeypatch):
            done = simulation(*filled(arguments, given, journal, tmp_path))
        bad(done, 2, str(given))
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "folder.toml"}


def test_a_pipe_whose_writer_comes_late_and_slowly(journal: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = journal.read_bytes()

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for at in range(0, len(data), 500):
                file.write(data[at : at + 500])

    writer = threading.Thread(target=write)
    writer.start()
    done = simulation("replay", pipe)
    writer.join()
    assert done.returncode == 0, done.stderr


def test_a_writer_that_is_there_may_take_its_time(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than anybody would wait for one who is not."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    waited_for = threading.Event()
    real = os.set_blocking

    def set_blocking(descriptor: int, blocking: bool) -> None:
        waited_for.set()
        real(descriptor, blocking)

    def write() -> None:
        with pipe.open("wb") as file:
            waited_for.wait(10)
            file.write(journal.read_bytes())

    monkeypatch.setattr(os, "set_blocking", set_blocking)
    writer = threading.Thread(target=write)
    writer.start()
    with impatient(monkeypatch):
        done = simulation("replay", pipe)
    writer.join()
    assert done.returncode == 0, done.stderr


def test_what_comes_while_somebody_looks_for_a_writer_is_not_lost(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind:
        """Sees nothing, and what then is there came in between."""

        def register(self, *_: int) -> None: ...

        def poll(self, _: int) -> list[int]:
            return []

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(select, "poll", Blind)
    writer = threading.Thread(target=lambda: pipe.write_bytes(journal.read_bytes()))
    writer.start()
    done = simulation("replay", pipe)
    writer.join()
    assert done.returncode == 0, done.stderr


def test_a_pipe_whose_writer_left_without_a_word(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.open("wb").close())
    writer.start()
    done = simulation("replay", pipe)
    writer.join()
    bad(done, 2, "is empty")


@pytest.mark.parametrize(
    ("begins", "words"),
    [(b"", ["no journal's header"]), (b"HEADER", ["line 2", "longer than 1,048,576 bytes"])],
)
def test_a_huge_line_is_not_read_to_its_end(
    journal: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begins: bytes,
    words: list[str],
) -> None:
    """A sparse file of 1 TB: to read it would take minutes and all memory."""
    path = tmp_path / "huge.jsonl"
    path.write_bytes(begins.replace(b"HEADER", journal.read_bytes().partition(b"\n")[0] + b"\n"))
    with path.open("ab") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr("runtime.journal._LONGEST_LINE", 1 << 20)
    bad(simulation("replay", path), 2, *words)


@pytest.mark.parametrize("text", ["[" * 50_000, '{"resourceSpans":' * 50_000, '{"a":' * 50_000])
def test_nesting_that_is_too_deep(journal: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    bad(simulation("import", path, "-o", tmp_path / "out"), 2, "not JSON")
    machine = ("replay", journal, "--set", "max_workers=3", "--calibration", path)
    bad(simulation(*machine), 2, "not a calibration")
    path.write_text(f"x = {text}")
    bad(simulation("run", path), 2, "not a TOML file")
    header, _, rest = journal.read_bytes().partition(b"\n")
    bad(simulation("replay", "-", stdin=header + b"\n" + text.encode() + b"\n" + rest), 2, "line 2")


def test_a_scenario_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(SCENARIO))
    writer.start()
    done = simulation("run", pipe, "--runs", 2)
    writer.join()
    assert done.returncode == 0, done.stderr
