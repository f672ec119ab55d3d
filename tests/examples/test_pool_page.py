"""docs/pool.md says what is there: every field with its default, every argument, every error."""

from __future__ import annotations

import dataclasses
import inspect
import re

import concurrency
from concurrency import WorkerPool, WorkerPoolConfig
from tests.tidy.test_tidy import ROOT

_PAGE = (ROOT / "docs" / "pool.md").read_text()


def rows(after: str) -> dict[str, str]:
    """The first two columns of a table under a heading."""
    part = _PAGE.partition(f"\n## {after}\n")[2].partition("\n## ")[0]
    found = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", part, re.MULTILINE))
    return {name: second for name, second in found.items() if second != "default"}


def test_every_field_with_its_default() -> None:
    fields = {
        field.name: getattr(field.default, "__name__", repr(field.default))
        for field in dataclasses.fields(WorkerPoolConfig)
    }
    assert rows("The set-up") == {name: f"`{default}`" for name, default in fields.items()}


def test_every_argument_of_submit_task() -> None:
    given = list(inspect.signature(WorkerPool.submit_task).parameters)[1:]
    assert given[:4] == ["task_name", "task_fn", "args", "kwargs"]
    assert list(rows("Submitting")) == given[4:]


def test_every_public_method() -> None:
    methods = [
        name
        for name, _ in inspect.getmembers(WorkerPool, inspect.isfunction)
        if not name.startswith("_")
    ]
    assert [name for name in methods if f"{name}(" not in _PAGE] == []


def test_every_error_in_its_place() -> None:
    tree = _PAGE.partition("```text\n")[2].partition("```")[0]
    parents: list[str] = []
    placed = {}
    for indent, name in re.findall(r"^([│├└─ ]*)(\w+)", tree, re.MULTILINE):
        depth = len(indent) // 4
        parents[depth:] = [name]
        placed[name] = parents[depth - 1] if depth else ""
    errors = {name: one for name, one in vars(concurrency).items() if name.endswith("Error")}
    assert set(errors) <= set(placed)
    for name, error in errors.items():
        assert error.__mro__[1].__name__ == placed[name], name
