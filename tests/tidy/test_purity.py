"""The core is pure; and each ban is seen to work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy import purity

CORE = Path(__file__).resolve().parents[2] / "runtime" / "core"
FILES = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_core_is_pure(path: Path) -> None:
    found = purity.findings(path.read_text(), path.name)
    assert not found, "\n".join(f"{path.name}, {finding}" for finding in found)


def test_the_core_was_found() -> None:
    assert {"scheduler.py", "ready.py", "keyed.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize("module", sorted(purity.MODULES))
@pytest.mark.parametrize(
    "form", ["import {0}", "import {0} as x", "from {0} import x", "import {0}.x"]
)
def test_a_banned_import(module: str, form: str) -> None:
    (found,) = purity.findings(form.format(module), "ready.py")
    assert found.instead == purity.MODULES[module]
    assert module in found.what


def test_a_banned_import_is_seen_inside_a_function() -> None:
    (found,) = purity.findings("def f():\n    import time", "ready.py")
    assert found == (2, "import of time", "take now_ns as an argument; the host reads the clock")


@pytest.mark.parametrize(
    "source",
    [
        "import runtime",
        "import runtime.pool",
        "from runtime.engine import Engine",
        "from runtime import pool",
        "from . import ready",
        "import runtime.corelike",
    ],
)
def test_the_core_imports_nothing_of_the_runtime_outside_it(source: str) -> None:
    assert len(purity.findings(source, "ready.py")) == 1


@pytest.mark.parametrize(
    "source",
    ["import heapq", "from runtime.core import records", "from runtime.core.states import NEXT"],
)
def test_imports_that_are_fine(source: str) -> None:
    assert purity.findings(source, "ready.py") == []


@pytest.mark.parametrize("called", sorted(purity.CALLS))
def test_a_banned_call(called: str) -> None:
    (found,) = purity.findings(f"x = {called}('y')", "ready.py")
    assert found == (1, f"call of {called}()", purity.CALLS[called])


def test_only_keyed_makes_a_generator_and_it_is_seeded() -> None:
    seeded = "from random import Random\nx = Random(7)"
    assert purity.findings(seeded, "keyed.py") == []
    assert len(purity.findings(seeded, "ready.py")) == 1
    (found,) = purity.findings("from random import Random\nx = Random()", "keyed.py")
    assert found.what == "Random() without a seed"
    assert len(purity.findings("import random", "keyed.py")) == 1
    assert len(purity.findings("from random import Random, random", "keyed.py")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "for x in frozenset(y): pass",
        "for x in {a for a in y}: pass",
        "s = {1}\nfor x in s: pass",
        "s: set[int] = f()\nfor x in s: pass",
        "def f(s: set[int]):\n    for x in s: pass",
        "def f(s: 'int', *t: frozenset[int]):\n    return list(t)",
        "def f():\n    s = set()\n    return [x for x in s]",
        "def f():\n    s = set()\n    t = s\n    return tuple(t)",
        "s = set()\nx = next(iter(s))",
        "s = set()\nx = s.pop()",
        "s = set()\na, b = s",
        "s = set()\nx = [*s]",
        "s = set()\nx = ','.join(s)",
        "s = set()\nx = sorted(s, key=f)",
        "s = set()\nx = min(s, key=f)",
        "s = set()\nx = dict(enumerate(s))",
        "s = set()\nfor x in s | t: pass",
        "s = set()\nfor x in s.union(t): pass",
        "for x in a.keys() & b.keys(): pass",
        "class A:\n def f(self): self.s = set()\n def g(self):\n  for x in self.s: pass",
        "def f():\n if s := {1}:\n  for x in s: pass",
    ],
)
def test_iteration_over_a_set(source: str) -> None:
    found = purity.findings(source, "ready.py")
    assert found
    assert all("sorted(...)" in finding.instead for finding in found)


@pytest.mark.parametrize(
    "source",
    [
        "s = {1}\nx = 1 in s",
        "s = {1}\nfor x in sorted(s): pass",
        "s = {1}\nx = len(s), min(s), any(s)",
        "s = {1}\nx = {y for y in s}",
        "d = {1: 2}\nfor x in d: pass",
        "for x in d.keys(): pass",
        "x = a - b\nfor y in range(a - b): pass",
        "l = []\nx = l.pop()",
        "def f():\n    s = set()\ndef g(s):\n    for x in s: pass",
    ],
)
def test_what_is_no_iteration_over_a_set(source: str) -> None:
    assert purity.findings(source, "ready.py") == []


@pytest.mark.parametrize("source", ["x = 0.5", "x: float", "x = float(y)", "x = a / b", "x /= 2"])
def test_floats_are_for_keyed_and_backoff(source: str) -> None:
    (found,) = purity.findings(source, "ready.py")
    assert "nanoseconds" in found.instead
    assert purity.findings(source, "keyed.py") == []
    assert purity.findings(source, "backoff.py") == []


def test_whole_numbers_are_fine() -> None:
    assert purity.findings("x = a // b + 2 << 3", "ready.py") == []
