"""An incident as a test: a module for pytest that says the same in a user's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from runtime import WorkerPoolConfig
from runtime.core.records import UNSET, Transition
from runtime.core.states import TaskState
from runtime.core.stories import tell
from simulation.incidents.incident import Incident, Stop, Submission, config_of
from simulation.models import Fails

__all__ = ["write_test"]

_WIDTH: Final = 88  # so that most formatters leave it as it is
_INDENT: Final = "    "


def write_test(
    incident: Incident, told: Sequence[Transition], journal: str, task_id: str, recorded_tasks: int
) -> str:
    """Write a test.

    Args:
        incident: what happens in it.
        told: what is then told of its target.
        journal: the name of the file that it was taken from.
        task_id: what the target was called there.
        recorded_tasks: how many tasks were in it.

    Returns:
        A Python module.
    """
    target = incident.tasks[incident.target]
    story = [_text(told_of.text) for told_of in tell(told) if not told_of.aside]
    few = "1 task is" if len(incident.tasks) == 1 else f"{len(incident.tasks)} tasks are"
    names = ["Modelled", "SimulatedWorkerPool", "assert_story"]
    if any(a.fails is not None for task in incident.tasks.values() for a in task.attempts):
        names.insert(0, "Fails")
    lines = [
        f'"""What happened to task {_plain(task_id)} of {_plain(journal)}, on virtual time.',
        "",
        f"Made by 'python -m simulation slice': {few} left of {recorded_tasks:,}; times are",
        "rounded.",
        '"""',
        "",
        "from concurrency import WorkerPoolConfig",
        f"from simulation import {', '.join(names)}",
        "",
        "",
        f"def test_{_identifier(target.name)}() -> None:",
        *_lines(("config = WorkerPoolConfig(", _settings(config_of(incident.settings)), ")"), 1),
        f"{_INDENT}with SimulatedWorkerPool(config, seed={incident.seed}) as pool:",
        *_calls(incident),
        f"{_INDENT * 2}result = pool.get_task_result(task)",
        f"{_INDENT * 2}assert pool.now == {_seconds(told[-1].at_ns)}",
        *_lines(("assert_story(", ["task", *story, "pool=pool"], ")"), 1),
        f"{_INDENT}assert "
        + ("" if told[-1].after == TaskState.SUCCEEDED else "not ")
        + "result.success",
    ]
    return "\n".join(lines) + "\n"


def _calls(incident: Incident) -> list[str]:
    lines = []
    stopped = {stop.task for stop in incident.stops}
    for after_ns, what in incident.calls():
        if after_ns:
            lines.append(f"{_INDENT * 2}pool.advance({_seconds(after_ns)})")
        if isinstance(what, Stop):
            if what.workers is not None:
                lines.append(f"{_INDENT * 2}pool.resize({what.workers})")
            elif what.task is None:
                lines.append(f"{_INDENT * 2}pool.abort_pending_tasks()")
            else:
                lines.append(f"{_INDENT * 2}pool.cancel({_variable(incident, what.task)})")
            continue
        put = f"{_variable(incident, what)} = " if what in {incident.target, *stopped} else ""
        lines += _lines((f"{put}pool.submit_task(", _submission(incident.tasks[what]), ")"), 2)
    return lines


def _numbers(incident: Incident) -> list[int]:
    """The tasks in the order in which they are submitted."""
    return [what for _, what in incident.calls() if not isinstance(what, Stop)]


def _variable(incident: Incident, number: int) -> str:
    return "task" if number == incident.target else f"other_{_numbers(incident).index(number) + 1}"


def _settings(config: WorkerPoolConfig) -> list[_Code]:
    """What is not as it is by default."""
    default = WorkerPoolConfig()
    return [
        f"{field.name}={_value(getattr(config, field.name))}"
        for field in fields(config)
        if field.name != "enable_instrumentation"
        and getattr(config, field.name) != getattr(default, field.name)
    ]


def _submission(task: Submission) -> list[_Code]:
    took: list[_Code] = [_seconds(attempt.took_ns) for attempt in task.attempts]
    fails = [_fails(attempt.fails) for attempt in task.attempts]
    modelled = [_one_or_all("duration=", took)]
    if any(told != "None" for told in fails):
        modelled.append(_one_or_all("outcome=", fails))
    told: list[_Code] = [_text(task.name), ("Modelled(", modelled, ")")]
    if task.priority:
        told.append(f"priority={task.priority}")
    if task.group != "default":
        told.append(f"group={_text(task.group)}")
    if task.timeout_ns is not UNSET:
        timeout = task.timeout_ns
        told.append(f"timeout={_seconds(timeout) if isinstance(timeout, int) else None}")
    if task.max_retries is not UNSET:
        told.append(f"max_retries={task.max_retries}")
    if task.deadline_after_ns is not None:
        told.append(f"deadline=pool.now + {_seconds(task.deadline_after_ns)}")
    return told


def _fails(fails: Fails | None) -> _Code:
    if fails is None:
        return "None"
    told: list[_Code] = []
    if fails.error != Fails().error:
        told.append(f"error={_text(fails.error)}")
    if not fails.retryable:
        told.append("retryable=False")
    if fails.retry_after_seconds is not None:
        told.append(f"retry_after_seconds={_value(fails.retry_after_seconds)}")
    return "Fails(", told, ")"


def _one_or_all(name: str, told: list[_Code]) -> _Code:
    first = told[0]
    if any(other != first for other in told):
        return f"{name}[", told, "]"
    return f"{name}{first}" if isinstance(first, str) else (f"{name}{first[0]}", *first[1:])


#: An expression: its text, or what opens it, the parts between commas, and what closes it.
_Code = str | tuple[str, list["_Code"], str]


def _flat(code: _Code) -> str:
    if isinstance(code, str):
        return code
    opens, parts, closes = code
    return f"{opens}{', '.join(map(_flat, parts))}{closes}"


def _lines(code: _Code, depth: int, end: str = "") -> list[str]:
    """An expression in one line where it fits, else a line a part."""
    line = f"{_INDENT * depth}{_flat(code)}{end}"
    if isinstance(code, str) or len(line) <= _WIDTH:
        return [line]
    opens, parts, closes = code
    inner = [told for part in parts for told in _lines(part, depth + 1, ",")]
    return [f"{_INDENT * depth}{opens}", *inner, f"{_INDENT * depth}{closes}{end}"]


def _seconds(ns: int) -> str:
    return _value(ns / 1e9)


def _value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A string in double quotes, in ASCII."""
    told = ascii(text)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{told}"'


def _plain(text: str) -> str:
    """What may stand in a docstring."""
    return ascii(text)[1:-1].replace("\\", "/").replace('"', "'")


def _identifier(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60] or "incident"
