"""Exact replay: a journal's stimuli into a fresh core, and every instruction compared.

It proves that what production did is what the core decides; and, for a new version of the code,
that an old run still gives the same decisions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.core import Core, invariants
from runtime.core.records import (
    AttemptFailed,
    AttemptSucceeded,
    Instruction,
    Simultaneous,
    Stimulus,
    TaskSubmitted,
)
from runtime.journal import Journal, JournalError, Record, read_journal

__all__ = ["Divergence", "NondeterminismError", "Replay", "replay"]

_STEPS_SHOWN: Final = 5
_STORY_SHOWN: Final = 40


@dataclass(frozen=True)
class Divergence:
    """The first difference between a journal and its replay.

    Args:
        index: which step, from 0; its line in the file is ``index + 2``.
        at_ns: when it was decided.
        expected: the instructions in the journal.
        actual: the instructions of the replay, or the error that the core raised.
        fields: what differs, field by field: its path, and both sides.
        story: the last common steps, and what the journal knows of the task concerned.
    """

    index: int
    at_ns: int
    expected: list[dict[str, Any]]
    actual: list[dict[str, Any]]
    fields: list[dict[str, Any]]
    story: list[str]


class NondeterminismError(Exception):
    """A journal does not replay.

    Args:
        path: the journal.
        divergence: the first difference.
    """

    def __init__(self, path: str, divergence: Divergence) -> None:
        self.divergence = divergence
        paths = ", ".join(field["field"] for field in divergence.fields)
        super().__init__(
            f"{path}: step {divergence.index} (line {divergence.index + 2}) diverges in {paths}"
        )


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Args:
        journal: what was replayed.
        tasks: tasks that were submitted in it.
        divergence: the first difference, ``None`` where there is none.
    """

    journal: Journal
    tasks: int
    divergence: Divergence | None

    def raise_for_divergence(self) -> None:
        """Raise where the journal did not replay.

        Raises:
            NondeterminismError: it did not.
        """
        if self.divergence is not None:
            raise NondeterminismError(self.journal.path, self.divergence)


def replay(journal: Journal | str | Path, *, check: bool = False) -> Replay:
    """Replay a journal.

    Args:
        journal: one that was read, or its path (``-`` for standard input).
        check: whether to verify the core's invariants after each step.

    Returns:
        What was found.

    Raises:
        JournalError: it cannot be used; also where a line does not match its checksum, and then it
            says whether the edit shows in a decision.
    """
    if not isinstance(journal, Journal):
        journal = read_journal(journal)
    core = Core(journal.header.settings)
    handle = _checked(core) if check else core.handle
    divergence = None
    for record in journal.records:
        try:
            actual = handle(record.at, record.stimulus)
        except Exception as error:  # whatever it says to what no core was ever told
            raised = [{"raised": f"{type(error).__name__}: {error}"}]
            divergence = _diverge(journal, record, raised)
            break
        if actual != record.instructions:
            divergence = _diverge(journal, record, _plain(actual))
            break
    if journal.damage is not None:  # of the last of the records that were read
        if divergence is None:
            raise journal.damage
        if divergence.index == journal.records[-1].n:
            raise _damaged(journal.damage, divergence)
    tasks = sum(
        type(part) is TaskSubmitted for record in journal.records for part in parts_of(record)
    )
    return Replay(journal, tasks, divergence)


def _damaged(damage: JournalError, shows: Divergence) -> JournalError:
    """A damage that shows in a decision: the core is not to blame for that."""
    message = str(damage).removeprefix(f"{damage.path}, line {damage.line}: ")
    fields = ", ".join(field["field"] for field in shows.fields)
    return JournalError(
        damage.path,
        damage.line,
        f"{message} (as it stands, step {shows.index} diverges in {fields})",
    )


def _checked(core: Core) -> Callable[[int, Stimulus], list[Instruction]]:
    """``core.handle``, with every invariant verified after it."""
    auditor = invariants.Auditor(core.settings)

    def handle(now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        instructions = core.handle(now_ns, stimulus)
        auditor.step(now_ns, stimulus, instructions)
        invariants.check(core)
        return instructions

    return handle


def parts_of(record: Record) -> tuple[Stimulus, ...]:
    """The stimuli of a step, one by one.

    Args:
        record: a journal's step.

    Returns:
        What happened, more than one where it happened at once.
    """
    stimulus = record.stimulus
    return stimulus.stimuli if isinstance(stimulus, Simultaneous) else (stimulus,)


def _plain(instructions: list[Instruction]) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = msgspec.to_builtins(instructions)
    return plain


def _diverge(journal: Journal, record: Record, actual: list[dict[str, Any]]) -> Divergence:
    expected = _plain(record.instructions)
    fields = _differences(expected, actual)
    return Divergence(
        record.n, record.at, expected, actual, fields, _tell(journal.records, record, actual)
    )


def _differences(
    expected: list[dict[str, Any]], actual: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Both sides, field by field."""
    found = []
    for index in range(max(len(expected), len(actual))):
        left = expected[index] if index < len(expected) else {}
        right = actual[index] if index < len(actual) else {}
        for name in {**left, **right}:
            if left.get(name) != right.get(name):
                found.append(
                    {
                        "field": f"out[{index}].{name}",
                        "expected": left.get(name),
                        "actual": right.get(name),
                    }
                )
    return found


def _tell(records: list[Record], at: Record, actual: list[dict[str, Any]]) -> list[str]:
    """The last common steps, and the story of the task concerned."""
    lines = [_line(record) for record in records[max(0, at.n - _STEPS_SHOWN) : at.n]]
    task = next(
        (
            number
            for number in (
                *(plain.get("task") for plain in actual),
                *(plain.get("task") for plain in _plain(at.instructions)),
                *(getattr(part, "task", None) for part in parts_of(at)),
            )
            if number is not None
        ),
        None,
    )
    if task is None:
        return lines
    story: deque[str] = deque(maxlen=_STORY_SHOWN)
    for record in records[: at.n + 1]:
        concerned = [getattr(x, "task", None) for x in (*parts_of(record), *record.instructions)]
        if task in concerned:
            story.append(_line(record))
    return [*lines, f"the story of task {task}:", *story]


def _line(record: Record) -> str:
    what = []
    for part in parts_of(record):
        text = type(part).__name__
        if isinstance(part, AttemptSucceeded | AttemptFailed):
            text += f" {part.task}.{part.attempt}"
        elif hasattr(part, "task"):
            text += f" {part.task}"
        what.append(text)
    out = [f"{type(x).__name__} {getattr(x, 'task', '')}".rstrip() for x in record.instructions]
    gave = ", ".join(out) if out else "nothing"
    return f"step {record.n} at {record.at / 1e9:.6f} s: {' + '.join(what)} -> {gave}"
