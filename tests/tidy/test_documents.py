"""The documents' examples run, and their links lead somewhere."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

import pytest

from tests.tidy.test_tidy import ROOT, short

PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "README.md")),
]
PAGES = [page for page in PAGES if "_build" not in page.parts]


def sessions(page: Path) -> list[str]:
    return re.findall(r"^```pycon\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if sessions(page)], ids=short)
def test_sessions_run(page: Path) -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    told: list[str] = []
    for number, session in enumerate(sessions(page), 1):
        name = f"{short(page)}, session {number}"
        runner.run(parser.get_doctest(session, {}, name, str(page), 0), out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    lost = [link for link in links if not (page.parent / link).exists()]
    assert not lost, f"{short(page)} links to what is not there: {lost}"


def test_each_decision_is_listed_and_has_its_headings() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for path in sorted(folder.glob("[0-9]*.md")):
        text = path.read_text()
        assert f"\n{path.stem}\n" in listed, f"{path.name} is not in decisions/README.md"
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]
        assert text.startswith(f"# {path.name[:4]} ")
        assert len(text.splitlines()) <= 60, f"{path.name}: one page at most"


def test_decisions_that_the_code_names_exist() -> None:
    folders = ("benchmarks", "concurrency", "runtime", "simulation", "telemetry", "tests")
    named = {
        match
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for match in re.findall(r"docs/decisions/(\d{4})", path.read_text())
    }
    there = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    assert named <= there, f"no such decision: {sorted(named - there)}"


def test_the_venv_of_the_readme_has_what_the_readme_runs() -> None:
    """What follows the README's ``make demo`` runs in that .venv: tests, too."""
    made = (ROOT / "Makefile").read_text().partition("\n.venv/.base:")[2].partition("\n\n")[0]
    extras = re.findall(r"'\.\[(.*?)\]'", made)[0].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there = [name for extra in extras for name in known["optional-dependencies"][extra]]
    assert any(name.startswith("pytest>") for name in there)
