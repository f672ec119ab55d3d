"""A setting against stored journals, and predictions against later ones."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from simulation.render.brief import brief, brief_range, head, head_below, say, setting_text, table
from simulation.whatif.backtest import JUDGED, Backtest, Judged
from simulation.whatif.gate import Gate, Requirement

__all__ = ["show_backtest", "show_gate"]

_STYLES = {"meets": "green", "falls short": "bold red", "cannot tell": "yellow", "broken": "red"}
_WORDS = {"met": "meets", "missed": "falls short", "unclear": "cannot tell"}


def show_gate(console: Console, answer: Gate) -> None:
    """Show each journal's answer.

    Args:
        console: where.
        answer: the gate.
    """
    change = setting_text(answer.changes) or "the recorded setting"
    change += "".join(f", backend {one}" for one in answer.backends)
    say(console, f"{change} must have {' and '.join(answer.require)} in {answer.folder}")
    rows = table("journal")
    rows.columns[0].min_width = 13
    rows.add_column("requirement", no_wrap=True)
    for title in ("recorded", "changed", "short by"):
        rows.add_column(title, justify="right", no_wrap=True)
    rows.add_column("", no_wrap=True)
    for held in answer.journals:
        name = held.path.removeprefix(f"{answer.folder}".rstrip("/") + "/")
        if not held.requirements:
            rows.add_row(Text(name), "", "", "", "", Text(held.state, style=_STYLES[held.state]))
        for required in held.requirements:
            rows.add_row(Text(name), *_row(required))
            name = ""
    console.print(rows)
    for held in answer.journals:
        if held.reason is not None:
            say(console, f"{held.path}: {held.state}: {held.reason}")
    counts = {state: sum(one.state == state for one in answer.journals) for state in _STYLES}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    say(console, f"{len(answer.journals)} journals: {told}", _STYLES[answer.state])
    say(
        console,
        "the figures are what these very runs would have come to; below them the 95% interval of "
        "their mean, where something had to be drawn",
        "dim",
    )


def _row(required: Requirement) -> list[Text | str]:
    word = _WORDS[required.verdict]
    name = required.measure
    return [
        required.target,
        brief(name, required.recorded.mean),
        brief_range(name, required.changed, below=True),
        brief(name, required.short_by) if required.short_by else "",
        Text(word, style=_STYLES[word]),
    ]


def show_backtest(console: Console, answer: Backtest) -> None:
    """Show each prediction beside what happened.

    Args:
        console: where.
        answer: the backtest.
    """
    prefix = f"{answer.folder}".rstrip("/") + "/"
    rows = table("from", "for", "with")
    for name in JUDGED:
        rows.add_column(head_below(name), justify="right", no_wrap=True)
    for pair in answer.pairs:
        first = [pair.earlier.removeprefix(prefix), pair.later.removeprefix(prefix)]
        first.append(setting_text(pair.changes) or "the same setting")
        cells = [_error_text(one) for one in pair.judged]
        if pair.refused is not None:
            cells = [Text("refused", style="yellow")]
        rows.add_row(*map(Text, first), *cells)
    console.print(rows)
    summary = table("over all pairs", "median error", "worst error", "intervals that held")
    for name in JUDGED:
        unit = "pp" if name.endswith("_rate") else "%"
        share = answer.coverage[name]
        found = [one.held for pair in answer.pairs for one in pair.judged if one.measure == name]
        known = [held for held in found if held is not None]
        coverage = (
            f"{sum(known)} of {len(known)} (a share of {share.low:.0%} to {share.high:.0%})"
            if known
            else "-"
        )
        summary.add_row(
            head(name),
            f"{answer.median_error[name] * 100:.1f} {unit}",
            f"{answer.worst_error[name] * 100:.1f} {unit}",
            coverage,
        )
    console.print(summary)
    for unused in answer.unused:
        say(console, f"not used: {unused.path}: {unused.reason}")
    say(
        console,
        "the figures are predicted minus happened, in % of what happened; out: what happened lay "
        "outside the interval that was predicted for it, 95 times in 100; pairs that share a "
        "journal are not independent, so the share of intervals that held is a rough one",
        "dim",
    )


def _error_text(one: Judged) -> Text:
    unit = "pp" if one.measure.endswith("_rate") else "%"
    text = Text(f"{one.error * 100:+.1f} {unit}")
    if one.held is False:
        text.append(" out", style="red")
    return text
