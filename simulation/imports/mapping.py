"""Which span is a task and which an attempt: a mapping, from a TOML file or this pool's own.

.. code-block:: toml

    [task]
    span = "handle *"            # a pattern of the span's name, as in a shell; default "*"
    kind = "SERVER"              # optional
    name = "job.title"           # the attribute with its name; default: the span's name
    group = "job.queue"          # the attribute with its group; default: one group, "default"

    [attempt]                    # left out: each task is one attempt, the task's span itself
    span = "HTTP *"
    kind = "CLIENT"
    number = "http.request.resend_count"  # the attribute that counts; default: order of starts
    counts_from = 0              # what the first attempt has there; default 1
    outcome = "http.response.status_code"  # the attribute with its outcome; default: the status
    failed = ["500", "503"]      # values of it that are failures
    timed_out = ["504"]          # values that are timeouts
    error = "error.type"         # the attribute with the error's type
    worker = "thread.id"         # the attribute that tells workers apart; default: what overlaps
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from simulation.imports.spans import Span
from simulation.machine.declared import read_toml

__all__ = ["OWN", "Mapping", "read_mapping"]

_KINDS = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


class TaskRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which spans are tasks, and what they are called.

    Args:
        span: a pattern of the span's name.
        kind: the span's kind, empty for any.
        name: the attribute with the task's name, empty for the span's name.
        group: the attribute with its group, empty for one group.
    """

    span: str = "*"
    kind: str = ""
    name: str = ""
    group: str = ""


class AttemptRule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which spans under a task's are its attempts, and how they ended.

    Args:
        span: a pattern of the span's name.
        kind: the span's kind, empty for any.
        number: the attribute that counts the attempts, empty for the order of their starts.
        counts_from: what the first attempt has there.
        outcome: the attribute with the outcome, empty for the span's status.
        failed: values of it that are failures.
        timed_out: values of it that are timeouts.
        cancelled: values of it that are cancels.
        error: the attribute with the error's type.
        worker: the attribute that tells workers apart, empty for none.
    """

    span: str = "*"
    kind: str = ""
    number: str = ""
    counts_from: int = 1
    outcome: str = ""
    failed: tuple[str, ...] = ()
    timed_out: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    error: str = "error.type"
    worker: str = ""


class Mapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A whole mapping.

    Args:
        task: the tasks' rule.
        attempt: the attempts', ``None`` where each task is one attempt itself.
    """

    task: TaskRule
    attempt: AttemptRule | None = None

    def is_task(self, span: Span) -> bool:
        """Whether a span is a task's."""
        rule = self.task
        return fnmatchcase(span.name, rule.span) and (not rule.kind or span.kind == rule.kind)

    def is_attempt(self, span: Span) -> bool:
        """Whether a span is an attempt's, if it lies under a task's."""
        rule = self.attempt
        return (
            rule is not None
            and fnmatchcase(span.name, rule.span)
            and (not rule.kind or span.kind == rule.kind)
        )


#: This pool's own spans, as the contract has them.
OWN = Mapping(
    TaskRule(span="task *", name="workerpool.task.name", group="workerpool.group"),
    AttemptRule(
        span="attempt *",
        number="workerpool.attempt.number",
        outcome="workerpool.outcome",
        failed=("error",),
        timed_out=("timeout",),
        cancelled=("cancelled",),
        worker="workerpool.worker.id",
    ),
)


def read_mapping(path: str) -> Mapping:
    """Read a mapping.

    Args:
        path: a TOML file, as in the module.

    Returns:
        The mapping.

    Raises:
        ValueError: it cannot be read, or has a field that there is not; with the nearest right one.
    """
    document = read_toml(path, ValueError)
    _check_fields(path, "", document, Mapping.__struct_fields__)
    for name, kind in (("task", TaskRule), ("attempt", AttemptRule)):
        part = document.get(name)
        if isinstance(part, dict):
            _check_fields(path, f"[{name}] ", part, kind.__struct_fields__)
            if part.get("kind", "") not in ("", *_KINDS):
                raise ValueError(
                    f"{path}: [{name}] kind={part['kind']!r}: one of {', '.join(_KINDS)}"
                )
    try:
        return msgspec.convert(document, Mapping)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}; docs/import.md has an example") from None


def _check_fields(path: str, where: str, given: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"{path}: {where}{name}: no such field; {hint}")
