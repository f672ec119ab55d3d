"""The metrics as the documentation shows them: a table made from the one file of names."""

from __future__ import annotations

from telemetry.names import METRICS, PREFIX

__all__ = ["markdown"]


def markdown() -> str:
    """Write the table.

    Returns:
        A Markdown table, a metric a row; the documentation holds exactly this text.

    Example:
        >>> markdown().splitlines()[0].split()
        ['|', 'name', '|', 'type', '|', 'labels', '|', 'meaning', '|']
    """
    rows = [
        (
            f"`{PREFIX}{name}{'_total' if metric.kind == 'counter' else ''}`",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.help,
        )
        for name, metric in METRICS.items()
    ]
    lines = ["| name | type | labels | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
