"""A run as one page that opens anywhere, offline: why the slowest task was late, and all the rest.

The words and tables are plain HTML, so they can be read where no script runs. The figures are
bokeh's, whose script is in the page once; their data is compressed. The page's policy allows its
own scripts, by their hashes, and no request to anywhere (docs/decisions/0024).
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any, Unpack

import msgspec
from bokeh.document import Document
from bokeh.embed.util import standalone_docs_json_and_render_items
from bokeh.resources import Resources

from runtime.journal import Journal
from simulation.exports import fragments
from simulation.exports.columns import Columns
from simulation.exports.figures import (
    interval_figure,
    late_figure,
    over_time_figures,
    timeline_figure,
)
from simulation.timeline.lateness import Link, critical_chain, slowest
from simulation.whatif.answer import DishonestError
from simulation.whatif.timed import Asked, TimedRun, recorded_run, simulated_run, unchanged_run

__all__ = ["export_html"]

_SIMULATED = "simulated, as recorded"


def export_html(
    journal: Journal,
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    instance: str = "recorded",
    **asked: Unpack[Asked],
) -> bytes:
    """A recorded run, its re-simulation and what-if variants, as one HTML page.

    Args:
        journal: a journal that replays.
        variants: the name of each variant with what is changed.
        instance: what the recorded run is called.
        **asked: how variants are simulated.

    Returns:
        The page.

    Raises:
        DishonestError: the recording does not support a variant.
        ValueError: an unknown field or a value out of range, or nothing ran.
    """
    recorded = recorded_run(journal, instance)
    if not recorded.timeline.tasks:
        raise ValueError(f"{journal.path}: no task was submitted in it: there is nothing to show")
    simulated, refusal = _simulated(journal, variants, asked)
    runs = [recorded, *simulated]
    chains = [critical_chain(run.timeline) for run in runs]
    css, script = _file("report.css"), _file("report.js")
    library = Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw
    scripts = [*library, script]
    timeline = recorded.timeline
    late = slowest(timeline, fragments.LATE_SHOWN)
    measured = any(recorded.splitter.split(task).cpu for task in late)
    columns = Columns(max(run.timeline.makespan_ns for run in runs))
    data = _data(runs, chains, columns)
    page = Template(_file("report.html")).substitute(
        policy=escape(_policy(scripts)),
        title=escape(f"Why was {late[0].title} late?"),
        css=css,
        words=fragments.words(runs, chains[0], refusal),
        kinds=fragments.kind_keys(recorded),
        measured="" if measured else "CPU time was not measured.",
        late=fragments.late_table(recorded),
        radios=fragments.radios(runs),
        outcomes=fragments.outcome_keys(runs),
        boxes=fragments.boxes(runs),
        settings=fragments.settings_section(journal, runs),
        chain=fragments.chain_table(timeline, chains[0]),
        footer=fragments.footer(journal, timeline),
        data=_packed(msgspec.json.encode(data)),
        block=_packed(columns.block),
        scripts="\n".join(f"<script>{one}</script>" for one in scripts),
    )
    return page.encode()


def _simulated(
    journal: Journal, variants: Sequence[tuple[str, Mapping[str, Any]]], asked: Asked
) -> tuple[list[TimedRun], str]:
    """The run under its own setting, and the variants; or why there are none."""
    if variants:
        runs = [simulated_run(journal, name, changes, **asked) for name, changes in variants]
        answer = runs[0].answer
        assert answer is not None
        return [unchanged_run(journal, _SIMULATED, answer, **asked), *runs], ""
    try:  # how well it is reproduced takes one run; where the next one lies, nobody asked
        return [simulated_run(journal, _SIMULATED, {}, runs=1, **asked)], ""
    except (DishonestError, ValueError) as error:
        return [], str(error)


def _data(
    runs: Sequence[TimedRun], chains: Sequence[Sequence[Link]], columns: Columns
) -> dict[str, Any]:
    """The figures, and what the page's script must know of the runs."""
    timeline = timeline_figure(runs)
    figures = {"timeline": timeline, "late": late_figure(runs[0], fragments.LATE_SHOWN)}
    figures |= over_time_figures(runs, timeline.x_range)
    settings = [(run.name, run.answer.variant) for run in runs if run.answer is not None]
    if fragments.has_intervals(runs):
        names, outcomes = zip(*settings, strict=True)
        figures["intervals"] = interval_figure(names, outcomes)
    document = Document()
    for one in figures.values():
        document.add_root(one)
    docs, (item,) = standalone_docs_json_and_render_items(list(figures.values()))
    (made,) = docs.values()
    # ids that are drawn anew in each process, as ids that are always the same
    roots = item.to_json()["roots"]
    places = {root: f"figure-{name}" for root, name in zip(roots, figures, strict=True)}
    return {
        "docs": {"report": made},
        "render_item": {"docid": "report", "roots": places, "root_ids": list(places)},
        "runs": [
            {
                "name": run.name,
                "workers": run.timeline.workers()[1],
                "seconds": run.timeline.makespan_ns / 1e9,
                "columns": columns.pack(run.timeline, chain),
            }
            for run, chain in zip(runs, chains, strict=True)
        ],
        "names": {task.number: task.name for task in runs[0].timeline.tasks.values()},
        "errors": columns.errors,
        "tick": columns.tick_ns / 1e9,
    }


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )


def _file(name: str) -> str:
    return resources.files("simulation.exports").joinpath("page", name).read_text("utf-8")
