"""Why the slowest task was late: the document of ``why --json``, and its words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.journal import Journal
from simulation.timeline.attempts import KINDS, TaskTime
from simulation.timeline.lateness import critical_chain, slowest
from simulation.timeline.names import shown
from simulation.timeline.sentences import about_chain, duration, why_late
from simulation.whatif.timed import TimedRun

__all__ = ["describe", "show_why"]

_CHAIN_SHOWN: Final = 12
#: Columns of a terminal that has room for those about the CPU, too.
_WIDE: Final = 110


def describe(
    run: TimedRun, journal: Journal, task: TaskTime | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """All that ``why`` knows of a run.

    Args:
        run: the run, recorded or simulated.
        journal: the journal that it comes from.
        task: the task to tell of, ``None`` for the slowest.
        changes: what was changed, of a simulated run.

    Returns:
        A document for ``--json``; ``docs/why-late.md`` has its shape.
    """
    timeline, prefix = run.timeline, journal.header.prefix
    asked = slowest(timeline)[0] if task is None else task
    chain = critical_chain(timeline)
    return {
        "journal": journal.path,
        "run": run.name,
        "changes": changes,
        "fidelity": None if run.answer is None else run.answer.fidelity,
        "arrivals": None if run.answer is None else run.answer.coming,
        "why": " ".join(why_late(timeline, asked, run.splitter)),
        "task": _task(run, asked, prefix),
        "critical": {
            "why": about_chain(timeline, chain),
            "makespan_ns": timeline.makespan_ns,
            "chain": [
                {
                    "kind": link.kind,
                    "from_ns": link.from_ns,
                    "to_ns": link.to_ns,
                    "task": f"{prefix}{link.task}" if link.task else None,
                    "name": timeline.tasks[link.task].name if link.task else None,
                    "attempt": link.attempt or None,
                    "worker": link.slot + 1 or None,
                }
                for link in chain
            ],
        },
        "tasks": [_task(run, one, prefix) for one in slowest(timeline, len(timeline.tasks))],
    }


def _task(run: TimedRun, task: TaskTime, prefix: str) -> dict[str, Any]:
    split = run.splitter.split(task)
    return {
        "id": f"{prefix}{task.number}",
        "name": task.name,
        "group": task.group,
        "outcome": task.outcome,
        "reason": task.reason,
        "attempts": len(task.attempts),
        "submitted_at_ns": task.submitted_at_ns,
        "ended_at_ns": task.ended_at_ns,
        "total_ns": split.total_ns,
        "queue_ns": split.queue_ns,
        "limits_ns": split.limits_ns,
        "backoff_ns": split.backoff_ns,
        "running_ns": split.running_ns,
        "cpu": split.cpu,
    }


def show_why(console: Console, told: Mapping[str, Any], count: int) -> None:
    """Show it to people: the sentence first.

    Args:
        console: where.
        told: the document.
        count: how many of the slowest tasks to list.
    """

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), highlight=False)

    if told["fidelity"] is not None:
        error = told["fidelity"].makespan_error
        say(f"one simulated run under {told['run']}; the unchanged setting errs by {error:+.2%}")
        say(told["arrivals"].why)
    say(told["why"], "bold")
    console.print()
    tasks = told["tasks"]
    console.print(_table(tasks[:count], console.width))
    if len(tasks) > count:
        say(f"{len(tasks) - count:,} more; --tasks lists them, --json has all", "dim")
    console.print()
    critical = told["critical"]
    say(critical["why"])
    chain = critical["chain"]
    if len(chain) > _CHAIN_SHOWN:
        say(f"  ... {len(chain) - _CHAIN_SHOWN:,} earlier; --json has all", "dim")
    for link in chain[-_CHAIN_SHOWN:]:
        say(f"  {_link(link)}")


def _table(tasks: Sequence[Mapping[str, Any]], width: int) -> Table:
    """The tasks with the columns in which any of them has something."""
    columns: dict[str, list[str]] = {"time": [duration(task["total_ns"]) for task in tasks]}
    for kind in KINDS:
        if any(task[f"{kind}_ns"] for task in tasks):
            columns[kind] = [duration(task[f"{kind}_ns"]) for task in tasks]
    if width >= _WIDE and any(task["cpu"] for task in tasks):
        cpus = [task["cpu"] for task in tasks]
        columns["on CPU"] = [duration(cpu.used_ns) if cpu else "-" for cpu in cpus]
        columns["for a CPU"] = [
            _between(cpu.waited_at_least_ns, cpu.waited_at_most_ns) if cpu else "-" for cpu in cpus
        ]
    columns["attempts"] = [str(task["attempts"]) for task in tasks]
    table = Table(title="the slowest tasks", title_justify="left", box=box.SIMPLE_HEAD)
    # the names give way, not the figures
    ends = [str(task["outcome"]) for task in tasks]
    taken = sum(max(map(len, (title, *cells))) + 3 for title, cells in columns.items())
    taken += max(map(len, ("end", *ends)), default=0) + 9
    names = max(8, min(40, width - taken))
    table.add_column("task", overflow="ellipsis", no_wrap=True, min_width=8, max_width=names)
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("end")
    for task, cells in zip(tasks, zip(*columns.values(), strict=True), strict=True):
        table.add_row(Text(shown(task["name"]) or task["id"]), *cells, Text(task["outcome"]))
    return table


def _between(least: int, most: int) -> str:
    return duration(least) if least == most else f"{duration(least)} to {duration(most)}"


def _link(link: Mapping[str, Any]) -> str:
    at = f"{link['from_ns'] / 1e9:10.3f} s  {duration(link['to_ns'] - link['from_ns']):>9}  "
    who = shown(link["name"] or "") or link["task"]
    if link["kind"] == "running":
        return f"{at}{who}, attempt {link['attempt']}, on worker {link['worker']}"
    if link["kind"] == "held":
        return f"{at}{who}, attempt {link['attempt']}, abandoned, kept worker {link['worker']}"
    if link["kind"] == "backoff":
        return f"{at}{who}, backoff before attempt {link['attempt']}"
    if link["kind"] == "queue":
        return f"{at}{who} waited for a worker"
    if link["kind"] == "think":
        return f"{at}after that, until {who} was submitted"
    return f"{at}until {who} was submitted"
