"""What no linter knows: names, lengths, leftovers, this machine, the contract's targets."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("concurrency", "runtime", "simulation", "telemetry")

LONGEST: Final = 700
#: Modules that are longer, and how long they may be. A bound is only ever lowered: a module that
#: shrinks below the limit leaves this list, and none is added.
LONGER: Final = {"runtime/core/scheduler.py": 800}

# What git, the tools and make leave behind.
_MADE: Final = {"__pycache__", "_build", "build", "dist", "out"}
_TEXT: Final = {"", ".cfg", ".css", ".ini", ".json", ".jsonl", ".md", ".py", ".sh", ".toml"}
_TEXT_TOO: Final = {".txt", ".typed", ".yaml", ".yml"}


def ours() -> Iterator[Path]:
    """Every text file of the project."""
    waiting = [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in (".ci", ".gitignore")
            if hidden or path.name in _MADE or path.name.endswith(".egg-info"):
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.suffix in _TEXT | _TEXT_TOO:
                yield path


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------- names


def classes_named_event(source: str) -> list[str]:
    nodes = ast.walk(ast.parse(source))
    return [n.name for n in nodes if isinstance(n, ast.ClassDef) and "event" in n.name.lower()]


def test_nothing_in_the_core_is_called_an_event() -> None:
    found = [
        f"{short(path)}: {name}"
        for path in modules("runtime/core")
        for name in classes_named_event(path.read_text())
    ]
    assert not found, f"say stimulus, instruction or transition: {found}"


def test_a_class_called_an_event_is_found() -> None:
    assert classes_named_event("class TaskEvent: pass\nclass Task: pass") == ["TaskEvent"]


# ---------------------------------------------------------------- lengths


def test_no_module_is_too_long() -> None:
    found = []
    for path in ours():
        if path.suffix == ".py" and not short(path).startswith("tests/"):
            lines = len(path.read_text().splitlines())
            allowed = LONGER.get(short(path), LONGEST)
            if lines > allowed:
                found.append(f"{short(path)}: {lines} lines, {allowed} allowed")
    assert not found, f"a module is one idea; split by idea, not by length: {found}"


def test_modules_that_are_short_again_leave_the_list() -> None:
    for name in LONGER:
        lines = len((ROOT / name).read_text().splitlines())
        assert lines > LONGEST, f"{name} has {lines} lines: take it out of LONGER"


# ---------------------------------------------------------------- leftovers

_LEFTOVER: Final = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|NotImplemented)\b")


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_left_for_later(package: str) -> None:
    found = [
        f"{short(path)}:{number}: {line.strip()}"
        for path in modules(package)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _LEFTOVER.search(line)
    ]
    assert not found, f"do it, or open an issue and say nothing here: {found}"


# ---------------------------------------------------------------- this machine

# In pieces, so that this file passes its own test.
_HOSTS: Final = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"))]
_ELSEWHERE: Final = re.compile(
    r"(?<![\w.~$})-])/(?:work|farm|root|opt/pypi)(?:/|\b)|/(?:home|Users)/\w|[-_]index[-_]url\b"
)


def elsewhere(line: str) -> str | None:
    """What of a line names this machine or a package index."""
    for host in _HOSTS:
        if host in line.lower():
            return host
    match = _ELSEWHERE.search(line)
    return match and match.group()


def test_no_file_names_this_machine_or_an_index() -> None:
    found = [
        f"{short(path)}:{number}: {what}"
        for path in ours()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != Path(__file__).resolve() and (what := elsewhere(line))
    ]
    assert not found, f"take it out; the project works on any machine: {found}"


@pytest.mark.parametrize(
    "line",
    [
        f"https://{_HOSTS[0]}/simple",
        f"https://files.{_HOSTS[1]}/packages",
        "cd " + "/".join(("", "work", "main")),
        "open('" + "/".join(("", "root", ".venv")) + "')",
        "/".join(("", "home", "someone", "x")),
        "--index" + "-url=x",
    ],
)
def test_a_line_that_names_this_machine_is_found(line: str) -> None:
    assert elsewhere(line)


@pytest.mark.parametrize("line", ["tests/work/x", "$HOME/.pyenv", "a framework/root", "~/root"])
def test_a_line_that_names_no_machine_is_left_alone(line: str) -> None:
    assert elsewhere(line) is None


# ---------------------------------------------------------------- the contract's targets


def test_help_lists_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = {line.split()[0] for line in told.stdout.splitlines() if line.strip()}
    wanted = {"help", "demo", "test", "install", "lint", "types", "layers"}
    wanted |= {"bench", "docs", "dashboards", "clean"}
    assert wanted <= listed, f"make help does not list {sorted(wanted - listed)}"
