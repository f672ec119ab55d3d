"""What an exact replay found."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from simulation.replay import Divergence, Replay

__all__ = ["show_replay"]


def show_replay(console: Console, found: Replay) -> None:
    """Show what an exact replay found."""
    journal = found.journal
    state = "closed" if journal.complete else "not closed"
    console.print(
        f"{escape(journal.path)}: {found.tasks:,} tasks, {len(journal.records):,} stimuli, {state}",
        highlight=False,
        soft_wrap=True,
    )
    if found.divergence is None:
        console.print("[green]replays exactly[/]", journal.digest, highlight=False, soft_wrap=True)
    else:
        _show_divergence(console, found.divergence)


def _show_divergence(console: Console, divergence: Divergence) -> None:
    console.print(
        f"[red]diverges at step {divergence.index}[/] (line {divergence.index + 2}), "
        f"{divergence.at_ns / 1e9:.6f} s",
        highlight=False,
    )
    table = Table("field", "journal", "replay")
    for field in divergence.fields:
        table.add_row(field["field"], _plain(field["expected"]), _plain(field["actual"]))
    console.print(table)
    for line in divergence.story:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _plain(value: Any) -> Text:
    return Text("-" if value is None else str(value))
