"""Write the transition diagram into ``docs/core.md``, from the core's table.

Run it after a change of the table: ``.venv/bin/python tools/diagram.py``. A test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from runtime.core.states import diagram

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "core.md"
BEGIN: Final = "<!-- diagram: written by tools/diagram.py -->\n"
END: Final = "<!-- end of diagram -->\n"


def with_diagram(page: str) -> str:
    """Put the present diagram into a page.

    Args:
        page: its text, with both markers once.

    Returns:
        The text with what stands between the markers replaced.

    Raises:
        ValueError: a marker is missing or stands there twice.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page needs {BEGIN.strip()} and {END.strip()} once each")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```mermaid\n{diagram()}```\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text()))
