"""The documentation's table of metrics is made from the one file of names."""

from __future__ import annotations

from pathlib import Path

from telemetry.table import markdown

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "telemetry.md"


def test_the_table_in_the_documentation_is_made_from_the_names() -> None:
    text = PAGE.read_text()
    begin = "<!-- metrics: made by telemetry.table.markdown() -->\n"
    held = text.split(begin)[1].split("<!-- end of metrics -->")[0]
    assert held == markdown()
