"""A recommendation, and what it rests on."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from simulation.render.brief import (
    brief,
    brief_range,
    fidelity_line,
    field_head,
    head,
    range_of,
    say,
    setting_text,
    table,
    value_text,
)
from simulation.whatif.recommend import Recommendation, Tried
from simulation.whatif.targets import parse_target

__all__ = ["show_recommendation", "unmet_line"]

_STYLES = {"met": "green", "missed": "red", "unclear": "yellow"}
_WORDS = {"met": "meets", "missed": "misses", "unclear": "may miss"}


def show_recommendation(console: Console, answer: Recommendation) -> None:
    """Show what was tried and what was found.

    Args:
        console: where.
        answer: the recommendation.
    """
    if answer.fidelity is not None:
        say(console, fidelity_line(answer.fidelity))
    if answer.coming is not None:
        say(console, answer.coming.why)
    measures = list(dict.fromkeys(parse_target(target).measure for target in answer.targets))
    names = list(answer.tried[0].changes)
    tried = table(*(field_head(name) for name in names))
    for name in measures:
        tried.add_column(head(name), no_wrap=True)
    tried.add_column("next run", no_wrap=True)
    tried.add_column("runs\nthat meet", justify="right")
    tried.add_column("of", justify="right")
    for one in answer.tried:
        tried.add_row(*_row(one, measures))
    console.print(tried)
    if answer.changes:
        say(console, f"in every setting: {setting_text(answer.changes)}")
    found = answer.found
    wanted = " and ".join(answer.targets)
    if found is None:
        return
    figures = ", ".join(
        f"{head(name)}: {brief_range(name, found.outcome[name]).plain}" for name in measures
    )
    say(
        console,
        f"{setting_text(found.changes)} meets {wanted}, with {figures} on fresh seeds "
        f"({found.share:.1%} of {found.runs} runs)",
        "bold green",
    )
    below = answer.below
    if below is not None:
        field = f"{answer.minimize}={value_text(below.changes[answer.minimize])}"
        told = (
            "misses it"
            if below.verdict == "missed"
            else f"meets it in {below.share:.1%} of {below.runs} runs, and its interval reaches "
            f"over the bound"
            if below.refused is None
            else "cannot be predicted"
        )
        say(console, f"{field} {told}")
    say(
        console,
        f"in brackets: where the next run lies, 95 times in 100; a setting meets a target when all "
        f"of that does, some 97.5% of its runs; {answer.simulations:,} simulations; seeds from "
        f"{answer.seed}, fresh ones from {answer.fresh_seed}",
        "dim",
    )
    for note in answer.notes:
        say(console, f"note: {note}", "dim")


def _row(one: Tried, measures: list[str]) -> list[Text | str]:
    values = [value_text(value) for value in one.changes.values()]
    if one.refused is not None:
        return [*values, *("-" for _ in measures), Text("refused", style="yellow"), "-", "-"]
    return [
        *values,
        *(brief_range(name, one.outcome[name]) for name in measures),
        Text(_WORDS[one.verdict], style=_STYLES[one.verdict]),
        f"{one.share:.1%}",
        str(one.runs),
    ]


def unmet_line(answer: Recommendation) -> str:
    """Why nothing is recommended, in one line.

    Args:
        answer: one without a found setting.
    """
    wanted = " and ".join(answer.targets)
    nearest = answer.nearest
    if nearest is None:
        return f"no setting that was looked at meets {wanted}"
    figures = ", ".join(
        f"{measure} {brief(measure, nearest.outcome[measure].mean)} "
        f"({range_of(measure, nearest.outcome[measure])} for the next run)"
        for measure in dict.fromkeys(parse_target(target).measure for target in answer.targets)
    )
    return (
        f"no setting meets {wanted}; the nearest of {len(answer.tried)} that were looked at is "
        f"{setting_text(nearest.changes)}, with {figures}"
    )
