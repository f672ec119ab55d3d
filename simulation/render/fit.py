"""A fitted scenario, and how well it stands for the recording."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from simulation.fit.fit import AttemptFit, Fit, GroupFit
from simulation.render.brief import brief, brief_range, head, say, table
from simulation.timeline.names import shown

__all__ = ["show_fit"]


def show_fit(console: Console, answer: Fit, written: str | None) -> None:
    """Show what was fitted and how well.

    Args:
        console: where.
        answer: the fit.
        written: the file that it was written to, ``None`` for none.
    """
    groups = table("group")
    for title in ("tasks", "arrivals", "durations", "fit", "failures"):
        groups.add_column(title)
    for one in answer.groups:
        for number, (of, fitted) in enumerate(one.attempts):
            groups.add_row(*_row(one, of, fitted, first=number == 0))
    console.print(groups)
    rows = table("the scenario")
    for title in ("recorded", "simulated", "error"):
        rows.add_column(title, justify="right", no_wrap=True)
    for measured in answer.compared:
        unit = "pp" if measured.measure.endswith("_rate") else "%"
        rows.add_row(
            head(measured.measure),
            brief(measured.measure, measured.recorded),
            brief_range(measured.measure, measured.simulated),
            f"{measured.error * 100:+.1f} {unit}",
        )
    console.print(rows)
    for note in answer.notes:
        say(console, f"note: {note}")
    say(
        console,
        f"in brackets: where one run of the scenario lies, 95 times in 100 ({answer.runs} runs, "
        f"seeds from {answer.seed}); p: how often true data of that kind fit as badly",
        "dim",
    )
    if written is not None:
        say(console, f"written to {written}")


def _row(one: GroupFit, of: str, fitted: AttemptFit, *, first: bool) -> list[Text]:
    arrivals, durations, failures = one.arrivals, fitted.durations, fitted.failures
    if arrivals.kind == "poisson":
        came = f"Poisson, {arrivals.rate_per_second:.3g} a second\np = " + _p(
            min(arrivals.gaps_p_value, arrivals.even_p_value)
        )
    elif arrivals.kind == "bursts":
        came = f"{len(arrivals.bursts)} bursts"
    else:
        came = "at once"
    fit = f"p = {_p(durations.p_value)}" if not math.isnan(durations.p_value) else "-"
    if durations.kind == "empirical" and durations.aic:
        best = min(durations.aic, key=lambda kind: durations.aic[kind])
        fit = f"not {best}\n{fit}"
    if durations.censored:
        fit += f"\n{durations.censored} cut off"
    share = failures.probability
    failed = (
        f"{share.mean:.1%} ({share.low:.1%} to {share.high:.1%})" if failures.failed else "none"
    )
    kind = f"{durations.kind}, {durations.attempts} seen"
    if of:
        kind = f"{of}: {kind}"
    name = shown(one.group) + (f", priority {one.priority}" if one.priority else "")
    group = (name, f"{one.tasks:,}", came) if first else ("", "", "")
    return [Text(text) for text in (*group, kind, fit, failed)]


def _p(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.2g}"
