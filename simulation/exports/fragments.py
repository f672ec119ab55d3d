"""The report's words and tables, as HTML; every name from a journal is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from runtime.journal import Journal
from simulation.exports.figures import COLOURS, KIND_COLOURS, RUN_COLOURS
from simulation.outcome import MEASURES
from simulation.render.numbers import TITLES, number_text
from simulation.statistics.intervals import Interval
from simulation.timeline.attempts import KINDS, Timeline
from simulation.timeline.lateness import Link, Split, slowest
from simulation.timeline.sentences import about_chain, duration, why_late
from simulation.whatif.timed import TimedRun, recorded_measures

__all__ = [
    "boxes",
    "chain_table",
    "footer",
    "has_intervals",
    "kind_keys",
    "late_table",
    "outcome_keys",
    "radios",
]
__all__ += ["settings_section", "words"]

LATE_SHOWN: Final = 15
_CHAIN_SHOWN: Final = 25


def words(runs: Sequence[TimedRun], chain: Sequence[Link], refusal: str) -> str:
    """Why the slowest task was late, first of all; then the run's end, and the other runs.

    Args:
        runs: the recorded run, and simulated ones.
        chain: the recorded run's critical chain.
        refusal: why nothing could be simulated, empty where it could.
    """
    recorded = runs[0].timeline
    told = why_late(recorded, slowest(recorded)[0], runs[0].splitter)
    first, rest = (escape(" ".join(some)) for some in (told[:2], told[2:]))
    said = [f'<p class="why" id="why"><strong>{first}</strong> {rest}</p>']
    said.append(f"<p>{escape(about_chain(recorded, list(chain)))}</p>")
    if refusal:
        said.append(f"<p>It is not simulated, so nothing is predicted: {escape(refusal)}.</p>")
    for run in runs[1:]:
        answer = run.answer
        if answer is not None and not answer.changes:
            fidelity = answer.fidelity
            said.append(
                f"<p>Simulated again under its own setting, the run takes "
                f"{fidelity.simulated_makespan_seconds:,.3f} s; recorded it took "
                f"{fidelity.recorded_makespan_seconds:,.3f} s: an error of "
                f"<strong>{fidelity.makespan_error:+.2%}</strong>.</p>"
            )
        else:
            late = " ".join(why_late(run.timeline, slowest(run.timeline)[0], run.splitter))
            said.append(f"<p><strong>{escape(run.name)}</strong>: {escape(late)}</p>")
    return "\n".join(said)


def late_table(run: TimedRun) -> str:
    """The slowest tasks and where their time went.

    Args:
        run: the recorded run.
    """
    tasks = slowest(run.timeline, LATE_SHOWN)
    splits = [run.splitter.split(task) for task in tasks]
    kinds = _kinds(splits)
    measured = any(split.cpu for split in splits)
    rows = []
    for task, split in zip(tasks, splits, strict=True):
        cells = [duration(split.total_ns)]
        cells += [duration(getattr(split, f"{kind}_ns")) for kind in kinds]
        if measured:
            cells += _cpu(split)
        cells += [str(len(task.attempts)), task.outcome]
        rows.append([_task(run.timeline, task.number), *_cells(cells)])
    head = ["task", "time", *kinds, *(["on a CPU", "for a CPU"] if measured else [])]
    return _table("The slowest tasks of the recorded run", [*head, "attempts", "end"], rows)


def _kinds(splits: Sequence[Split]) -> list[str]:
    """The places in which any of some tasks was."""
    return [kind for kind in KINDS if any(getattr(split, f"{kind}_ns") for split in splits)]


def _cpu(split: Split) -> list[str]:
    cpu = split.cpu
    if cpu is None:
        return ["-", "-"]
    least, most = duration(cpu.waited_at_least_ns), duration(cpu.waited_at_most_ns)
    return [duration(cpu.used_ns), least if least == most else f"{least} to {most}"]


def kind_keys(run: TimedRun) -> str:
    """What the colours of the late tasks mean.

    Args:
        run: the recorded run.
    """
    splits = [run.splitter.split(task) for task in slowest(run.timeline, LATE_SHOWN)]
    return _keys({kind: KIND_COLOURS[kind] for kind in _kinds(splits)})


def outcome_keys(runs: Sequence[TimedRun]) -> str:
    """What the colours of the timeline mean.

    Args:
        runs: all runs.
    """
    seen = {attempt.outcome for run in runs for attempt in run.timeline.attempts}
    if any(attempt.abandoned for run in runs for attempt in run.timeline.attempts):
        seen.add("abandoned")
    return _keys({name: colour for name, colour in COLOURS.items() if name in seen})


def _keys(colours: Mapping[str, str]) -> str:
    return " ".join(
        f'<span class="key" style="background:{colour}"></span> {name}&ensp;'
        for name, colour in colours.items()
    )


def radios(runs: Sequence[TimedRun]) -> str:
    """The switch between the runs of the timeline.

    Args:
        runs: all runs.
    """
    return " ".join(
        f'<label><input type="radio" name="run" value="{index}"{"" if index else " checked"}> '
        f"{escape(run.name)}</label>"
        for index, run in enumerate(runs)
    )


def boxes(runs: Sequence[TimedRun]) -> str:
    """Which runs are drawn over time.

    Args:
        runs: all runs.
    """
    return " ".join(
        f'<label><input type="checkbox" name="line" value="{index}" checked> '
        f'<span class="line" style="border-color:{RUN_COLOURS[index % len(RUN_COLOURS)]}"></span> '
        f"{escape(run.name)}</label>"
        for index, run in enumerate(runs)
    )


def settings_section(journal: Journal, runs: Sequence[TimedRun]) -> str:
    """What the recorded run came to, and each simulated setting with its intervals.

    Args:
        journal: the recorded run's.
        runs: all runs.

    Returns:
        A section with the place of a figure; empty where nothing was simulated.
    """
    answers = [(run.name, run.answer) for run in runs if run.answer is not None]
    if not answers:
        return ""
    recorded = recorded_measures(journal)
    rows = []
    for name in MEASURES:
        title, unit = TITLES[name]
        cells = [title, number_text(recorded[name].mean, unit)]
        cells += [_interval(answer.variant[name], unit) for _, answer in answers]
        rows.append(_cells(cells))
    replications = max(answer.runs for _, answer in answers)
    figure = '<div class="figure"><div id="figure-intervals"></div></div>\n'
    title = "Recorded, simulated, and under other settings"
    if not has_intervals(runs):
        figure, title = "", "Recorded and simulated"
        said = (
            "One simulated run under the recorded setting: how close a simulation comes. What "
            "another setting would come to, and where the next run lies, is shown with --variant."
        )
    elif replications > 1:
        said = (
            f"Means over up to {replications} replications with 95% intervals; the timeline shows "
            f"the first."
        )
    else:
        said = (
            "One run each: nothing in it is random, so the intervals have no width. That says that "
            "the simulation was certain, not that the prediction is."
        )
    head = ["", runs[0].name, *(name for name, _ in answers)]
    return f"""
<h2>{title}</h2>
<p class="soft">{said}</p>
{figure}{_table("What each setting comes to", head, rows)}"""


def has_intervals(runs: Sequence[TimedRun]) -> bool:
    """Whether a setting was changed, so that predictions with intervals are shown.

    Args:
        runs: all runs.
    """
    return any(run.answer is not None and run.answer.changes for run in runs)


def _interval(interval: Interval, unit: str) -> str:
    mean = number_text(interval.mean, unit)
    if not interval.high > interval.low:
        return mean
    return f"{mean} ({number_text(interval.low, unit)} to {number_text(interval.high, unit)})"


def chain_table(timeline: Timeline, chain: Sequence[Link]) -> str:
    """The last stretches of the critical chain.

    Args:
        timeline: the recorded run.
        chain: its critical chain.
    """
    rows = []
    for link in chain[-_CHAIN_SHOWN:]:
        at = (link.from_ns - timeline.first_ns) / 1e9
        when = _cells([f"{at:,.3f} s", duration(link.to_ns - link.from_ns)])
        task = _task(timeline, link.task) if link.task else "<td></td>"
        rows.append([*when, task, *_cells([_what(link)])])
    more = len(chain) - len(rows)
    before = f" ({more:,} earlier ones are not listed)" if more else ""
    return _table(f"The last stretches{before}", ["from", "took", "task", "what"], rows)


def _what(link: Link) -> str:
    return {
        "running": f"attempt {link.attempt} on worker {link.slot + 1}",
        "held": f"attempt {link.attempt}, abandoned, kept worker {link.slot + 1}",
        "backoff": f"backoff before attempt {link.attempt}",
        "queue": "waited for a worker",
        "before": "until its first task was submitted",
    }[link.kind]


def footer(journal: Journal, timeline: Timeline) -> str:
    """What was recorded, and where.

    Args:
        journal: the recorded run's.
        timeline: the run.
    """
    header, settings = journal.header, journal.header.settings
    limit = "none" if settings.timeout_ns is None else duration(settings.timeout_ns)
    lock = "with" if header.gil else "without"
    few, many = timeline.workers()
    workers = f"{many:,}" if few == many else f"{few:,} to {many:,}"
    pool = (
        f"Pool {header.pool}: {len(timeline.tasks):,} tasks, {len(timeline.attempts):,} attempts, "
        f"{workers} workers, timeout {limit}, {settings.max_retries:,} retries; "
        f"{header.python}, {header.cores} cores, {lock} a global lock. Journal {journal.digest}."
    )
    said = [text for text in (pool, header.origin, journal.warning) if text]
    return "<br>\n".join(escape(text) for text in said)


def _task(timeline: Timeline, number: int) -> str:
    """A cell with a button that shows the task on the timeline."""
    name = escape(timeline.tasks[number].name or f"task {number}")
    button = f'<button type="button" data-task="{number}">{name}</button>'
    return f'<td class="name">{button}</td>'


def _cells(texts: Sequence[str]) -> list[str]:
    return [f"<td>{escape(text)}</td>" for text in texts]


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )
