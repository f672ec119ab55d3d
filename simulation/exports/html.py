"""A run as one page that opens anywhere, offline: why the slowest task was late, and all the rest.

The words and tables are plain HTML, so they can be read where no script runs. The figures are
bokeh's, whose script is in the page once; their data is compressed. The page's policy allows its
own three scripts, by their hashes, and no request to anywhere (docs/decisions/0024).
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any, Final

from bokeh.document import Document
from bokeh.embed.util import standalone_docs_json_and_render_items
from bokeh.resources import Resources

from runtime.journal import Journal
from simulation.exports.figures import (
    COLOURS,
    KIND_COLOURS,
    RUN_COLOURS,
    interval_figure,
    late_figure,
    over_time_figures,
    timeline_figure,
)
from simulation.outcome import MEASURES
from simulation.render.numbers import TITLES, number_text
from simulation.statistics.intervals import Interval
from simulation.timeline.attempts import KINDS
from simulation.timeline.lateness import Link, critical_chain, slowest
from simulation.timeline.sentences import about_chain, duration, why_late
from simulation.whatif.answer import DishonestError
from simulation.whatif.runs import TimedRun, recorded_measures, recorded_run, simulated_run

__all__ = ["export_html"]

_LATE_SHOWN: Final = 15
_CHAIN_SHOWN: Final = 25
_SIMULATED: Final = "simulated, as recorded"


def export_html(
    journal: Journal,
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    instance: str = "recorded",
    seed: int = 0,
    force: bool = False,
) -> bytes:
    """A recorded run, its re-simulation and what-if variants, as one HTML page.

    Args:
        journal: a journal that replays.
        variants: the name of each variant with what is changed.
        instance: what the recorded run is called.
        seed: keys what is drawn.
        force: whether variants are shown that would not be honest.

    Returns:
        The page; the same for the same journal.

    Raises:
        DishonestError: the recording does not support a variant.
        ValueError: an unknown field or a value out of range, or nothing ran.
    """
    recorded = recorded_run(journal, instance)
    if not recorded.timeline.tasks:
        raise ValueError(f"{journal.path}: no task was submitted in it: there is nothing to show")
    runs = [recorded]
    refusal = ""
    try:
        runs.append(simulated_run(journal, _SIMULATED, {}, seed=seed, force=force))
    except (DishonestError, ValueError) as error:
        if variants:
            raise
        refusal = str(error)
    runs += [
        simulated_run(journal, name, changes, seed=seed, force=force) for name, changes in variants
    ]
    return _Page(journal, runs, refusal).render()


class _Page:
    def __init__(self, journal: Journal, runs: Sequence[TimedRun], refusal: str) -> None:
        self._journal = journal
        self._runs = runs
        self._refusal = refusal
        self._chains = [critical_chain(run.timeline) for run in runs]
        self._settings: list[tuple[str, dict[str, Interval]]] = []
        simulated = [run for run in runs if run.answer is not None]
        for run in simulated:
            assert run.answer is not None
            self._settings.append((run.name, run.answer.variant))

    def render(self) -> bytes:
        """The page."""
        timeline = timeline_figure(self._runs, self._chains)
        figures = {"timeline": timeline, "late": late_figure(self._runs[0])}
        over_time = over_time_figures(self._runs, timeline.x_range)
        figures |= {f"over-time-{index}": one for index, one in enumerate(over_time)}
        if self._settings:
            figures["intervals"] = interval_figure(*zip(*self._settings, strict=True))
        document = Document()
        for one in figures.values():
            document.add_root(one)
        docs, items = standalone_docs_json_and_render_items(list(figures.values()))
        item = items[0].to_json()
        places = dict(zip(figures, item["roots"].values(), strict=True))
        docs, item = _renamed(docs, item, places)
        data = {
            "docs": docs,
            "render_item": item,
            "runs": [
                {
                    "name": run.name,
                    "workers": run.timeline.settings.max_workers,
                    "seconds": run.timeline.makespan_ns / 1e9,
                }
                for run in self._runs
            ],
        }
        packed = base64.b64encode(zlib.compress(json.dumps(data).encode(), 6)).decode()
        return self._fill(packed).encode()

    def _fill(self, packed: str) -> str:
        css, script = _file("report.css"), _file("report.js")
        library = Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw
        scripts = [*library, script]
        hashes = " ".join(f"'sha256-{_sha(one)}'" for one in scripts)
        policy = (
            f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
            f"base-uri 'none'; form-action 'none'"
        )
        title = f"Why was {self._late().title} late?"
        tags = "".join(f"<script>{one}</script>\n" for one in scripts)
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{css}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{self._words()}
{self._late_section()}
{self._timeline_section()}
{self._over_time_section()}
{self._settings_section()}
{self._chain_section()}
</main>
{self._footer()}
<script type="application/octet-stream" id="data">{packed}</script>
{tags}</body>
</html>
"""

    def _late(self) -> Any:
        return slowest(self._runs[0].timeline)[0]

    def _words(self) -> str:
        run = self._runs[0]
        words = [f'<p class="why" id="why">{escape(why_late(run.timeline, self._late(), run.splitter))}</p>']
        words.append(f"<p>{escape(about_chain(run.timeline, self._chains[0]))}</p>")
        if self._refusal:
            words.append(
                f"<p>It could not be simulated, so nothing is predicted: {escape(self._refusal)}.</p>"
            )
        for run in self._runs[1:]:
            answer = run.answer
            if answer is not None and not answer.changes:
                error = answer.fidelity.makespan_error
                words.append(
                    f"<p>Simulated again under its own setting, the run takes "
                    f"{answer.fidelity.simulated_makespan_seconds:,.3f} s; recorded it took "
                    f"{answer.fidelity.recorded_makespan_seconds:,.3f} s: an error of "
                    f"<strong>{error:+.2%}</strong>.</p>"
                )
            else:
                late = slowest(run.timeline)[0]
                words.append(
                    f"<p><strong>{escape(run.name)}</strong>: "
                    f"{escape(why_late(run.timeline, late, run.splitter))}</p>"
                )
        return "\n".join(words)

    def _late_section(self) -> str:
        run = self._runs[0]
        tasks = slowest(run.timeline, _LATE_SHOWN)
        splits = [run.splitter.split(task) for task in tasks]
        kinds = [kind for kind in KINDS if any(getattr(split, f"{kind}_ns") for split in splits)]
        measured = any(split.cpu for split in splits)
        head = ["task", "time", *kinds, *(["on a CPU", "for a CPU"] if measured else [])]
        rows = []
        for task, split in zip(tasks, splits, strict=True):
            cells = [duration(split.total_ns)]
            cells += [duration(getattr(split, f"{kind}_ns")) for kind in kinds]
            if measured and split.cpu:
                least, most = split.cpu.waited_at_least_ns, split.cpu.waited_at_most_ns
                cells += [duration(split.cpu.used_ns), f"{duration(least)} to {duration(most)}"]
            elif measured:
                cells += ["-", "-"]
            cells += [str(len(task.attempts)), task.outcome]
            name = escape(task.name or f"task {task.number}")
            button = f'<button type="button" data-task="{task.number}">{name}</button>'
            rows.append([f'<td class="name">{button}</td>', *(f"<td>{escape(c)}</td>" for c in cells)])
        keys = " ".join(
            f'<span class="key" style="background:{KIND_COLOURS[kind]}"></span> {kind}&ensp;'
            for kind in kinds
        )
        return f"""<h2>The late tasks</h2>
<p class="soft">{keys} The four add up to a task's time. {"" if measured else "CPU time was not measured."}
A name shows its task on the timeline.</p>
<div class="figure">{_place("late")}</div>
{_table("The slowest tasks of the recorded run", [*head, "attempts", "end"], rows)}"""

    def _timeline_section(self) -> str:
        radios = "".join(
            f'<label><input type="radio" name="run" value="{index}"{" checked" if not index else ""}> '
            f"{escape(run.name)}</label> "
            for index, run in enumerate(self._runs)
        )
        keys = " ".join(
            f'<span class="key" style="background:{colour}"></span> {outcome}&ensp;'
            for outcome, colour in COLOURS.items()
        )
        return f"""<h2 id="timeline">The timeline</h2>
<fieldset><legend>Run</legend>{radios}</fieldset>
<p class="soft">{keys} A thick line at an attempt's start marks a retry; a thin bar is an abandoned
attempt that still ran.</p>
<div class="movable" tabindex="0" role="group" aria-label="Timeline of attempts by worker">
<p><button type="button" data-key="+">zoom in</button> <button type="button" data-key="-">zoom out</button>
<button type="button" data-key="ArrowLeft">earlier</button>
<button type="button" data-key="ArrowRight">later</button> <button type="button" data-key="0">all</button>
<label><input type="checkbox" id="critical"> what the end hung on</label>
<span class="soft">Keys, when this has the focus: <kbd>+</kbd> <kbd>-</kbd> <kbd>&larr;</kbd> <kbd>&rarr;</kbd>
<kbd>0</kbd></span></p>
<p id="said" aria-live="polite" class="soft">Point at an attempt, or choose one, to see what it did.</p>
<div class="figure">{_place("timeline")}</div>
</div>"""

    def _over_time_section(self) -> str:
        boxes = "".join(
            f'<label><input type="checkbox" name="line" value="{index}" checked> '
            f'<span class="line" style="border-color:{RUN_COLOURS[index % len(RUN_COLOURS)]}"></span> '
            f"{escape(run.name)}</label> "
            for index, run in enumerate(self._runs)
        )
        places = "".join(f'<div class="figure">{_place(f"over-time-{i}")}</div>' for i in range(3))
        return f"""<h2>Over time</h2>
<fieldset><legend>Runs</legend>{boxes}</fieldset>
<div class="movable" tabindex="0" role="group" aria-label="Workers and tasks over time">{places}</div>"""

    def _settings_section(self) -> str:
        if not self._settings:
            return ""
        recorded = recorded_measures(self._journal)
        rows = []
        for name in MEASURES:
            title, unit = TITLES[name]
            cells = [title, number_text(recorded[name].mean, unit)]
            cells += [_interval(outcome[name], unit) for _, outcome in self._settings]
            rows.append([f"<td>{escape(cell)}</td>" for cell in cells])
        head = ["", self._runs[0].name, *(name for name, _ in self._settings)]
        answers = [run.answer for run in self._runs if run.answer is not None]
        runs = max(answer.runs for answer in answers)
        said = (
            f"Means over up to {runs} replications with 95% intervals; the timeline shows the first."
            if runs > 1
            else "One run each: nothing in it is random, so the intervals have no width. That says "
            "that the simulation was certain, not that the prediction is."
        )
        return f"""<h2>Recorded, simulated, and under other settings</h2>
<p class="soft">{said}</p>
<div class="figure">{_place("intervals")}</div>
{_table("What each setting comes to", head, rows)}"""

    def _chain_section(self) -> str:
        chain = self._chains[0]
        timeline = self._runs[0].timeline
        rows = []
        for link in chain[-_CHAIN_SHOWN:]:
            at = (link.from_ns - timeline.first_ns) / 1e9
            rows.append(
                [
                    f"<td>{at:,.3f} s</td>",
                    f"<td>{duration(link.to_ns - link.from_ns)}</td>",
                    f'<td class="name">{_who(timeline, link)}</td>',
                    f"<td>{escape(_what(link))}</td>",
                ]
            )
        more = len(chain) - len(rows)
        before = f" ({more:,} earlier ones are not listed)" if more else ""
        return f"""<h2>What the end hung on</h2>
<p class="soft">Each stretch began when the one before it ended: it freed the worker, or its retry was
due. None of what ran beside it delayed the end.</p>
{_table(f"The last stretches{before}", ["from", "took", "task", "what"], rows)}"""

    def _footer(self) -> str:
        header, settings = self._journal.header, self._journal.header.settings
        limit = "none" if settings.timeout_ns is None else duration(settings.timeout_ns)
        warning = f"<br>{escape(self._journal.warning)}" if self._journal.warning else ""
        return f"""<footer><p>Pool {escape(header.pool)}: {len(self._runs[0].timeline.tasks):,} tasks,
{len(self._runs[0].timeline.attempts):,} attempts, {settings.max_workers:,} workers, timeout {limit},
{settings.max_retries:,} retries; {escape(header.python)}, {header.cores} cores,
{"with" if header.gil else "without"} a global lock. Journal {escape(self._journal.digest)}.{warning}<br>
Made by twinclock; drawn by bokeh (BSD 3-clause). This page asks no one for anything.</p></footer>"""


def _renamed(docs: Any, item: Any, places: Mapping[str, str]) -> tuple[Any, Any]:
    """The ids that bokeh draws anew in each process, as ids that are always the same."""
    (doc_id,) = docs
    item = {
        **item,
        "docid": "report",
        "roots": {root: f"figure-{name}" for root, name in zip(item["roots"], places, strict=True)},
    }
    return {"report": docs[doc_id]}, item


def _place(name: str) -> str:
    return f'<div id="figure-{name}"></div>'


def _file(name: str) -> str:
    return resources.files("simulation.exports.page").joinpath(name).read_text()


def _sha(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _interval(interval: Interval, unit: str) -> str:
    mean = number_text(interval.mean, unit)
    if not interval.high > interval.low:
        return mean
    return f"{mean} ({number_text(interval.low, unit)} to {number_text(interval.high, unit)})"


def _who(timeline: Any, link: Link) -> str:
    if not link.task:
        return ""
    task = timeline.tasks[link.task]
    name = escape(task.name or f"task {task.number}")
    return f'<button type="button" data-task="{task.number}">{name}</button>'


def _what(link: Link) -> str:
    return {
        "running": f"attempt {link.attempt} on worker {link.slot + 1}",
        "held": f"attempt {link.attempt}, abandoned, kept worker {link.slot + 1}",
        "backoff": f"backoff before attempt {link.attempt}",
        "queue": "waited for a worker",
        "before": "until its first task was submitted",
    }[link.kind]
