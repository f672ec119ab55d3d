"""The diagram in the documents is the core's table."""

from __future__ import annotations

import runpy

import pytest

from runtime.core.states import diagram
from tests.tidy.test_tidy import ROOT

TOOL = runpy.run_path(str(ROOT / "tools" / "diagram.py"))


def test_the_documents_show_the_table() -> None:
    page = TOOL["PAGE"].read_text()
    assert f"```mermaid\n{diagram()}```\n" in page, "run: .venv/bin/python tools/diagram.py"
    assert TOOL["with_diagram"](page) == page


def test_an_old_diagram_is_replaced_and_nothing_else() -> None:
    begin, end = TOOL["BEGIN"], TOOL["END"]
    page = TOOL["with_diagram"](f"before\n{begin}old\n{end}after\n")
    assert page.startswith(f"before\n{begin}")
    assert page.endswith(f"{end}after\n")
    assert diagram() in page
    assert "old" not in page


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="diagram"):
        TOOL["with_diagram"]("no markers")
