"""Assertions that read like sentences."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

from runtime import TaskResult, WorkerPool
from runtime.core.stories import Sentence
from simulation.testing.bench import story_of

__all__ = ["assert_story"]

_Expected = str | EllipsisType


def assert_story(
    task: str | TaskResult, *sentences: str | EllipsisType, pool: WorkerPool | None = None
) -> None:
    """Assert what happened to a task, from its submission to now.

    A sentence stands for what is told or for the beginning of it, in whole words: ``failed`` for
    ``failed with ConnectionError``. ``...`` stands for any sentences, or none. ``submitted``,
    ``ready again`` (the end of a backoff) and a late result may be left out.

    The words are: ``submitted``; ``started``; ``failed with KIND``, ``timed out``, both with
    ``: retries exhausted`` or another reason where no retry follows; ``ready again``; ``retried
    after 2 s`` (the backoff), ``retried at once``; ``succeeded``; ``deadline passed``;
    ``cancelled``; ``aborted``; ``refused: submitted while draining``; ``late result of attempt 1
    dropped``.

    Args:
        task: its id, or its result.
        sentences: what happened, in order.
        pool: whose task it is; by default one that the running test's fixtures made.

    Raises:
        AssertionError: it is another story; the message has both, side by side.
        LookupError: there is no such task, or more than one.
        TypeError: a sentence is no text, or there is none.

    Example:
        >>> import time
        >>> from runtime import WorkerPoolConfig
        >>> from simulation import SimulatedWorkerPool
        >>> config = WorkerPoolConfig(task_timeout_seconds=60, max_retries=1)
        >>> with SimulatedWorkerPool(config) as pool:
        ...     result = pool.get_task_result(pool.submit_task("slow", time.sleep, (600,)))
        >>> assert_story(result, "started", "timed out", "retried after 1 s", ..., pool=pool)
        >>> assert_story(result, "started", "succeeded", pool=pool)
        Traceback (most recent call last):
            ...
        AssertionError: the story of pool-0.1 is another one:
                  0 s  submitted
                  0 s  started
        -              succeeded
        +        60 s  timed out
                 61 s  ready again
        +        61 s  retried after 1 s
        +       121 s  timed out: retries exhausted
        (- expected, + what happened)
    """
    if not sentences:
        raise TypeError("assert_story: say what happened, such as 'started', 'succeeded'")
    for sentence in sentences:
        if sentence is not ... and not (isinstance(sentence, str) and sentence.strip()):
            raise TypeError(f"assert_story: {sentence!r} is no sentence: give text, or ...")
    task_id = task if isinstance(task, str) else task.task_id
    told = story_of(task_id, pool)
    lines, same = _compare(sentences, told)
    if not same:
        __tracebackhide__ = True
        shown = "\n".join(lines)
        raise AssertionError(
            f"the story of {task_id} is another one:\n{shown}\n(- expected, + what happened)"
        )


def _says(expected: str, told: str) -> bool:
    """Whether a sentence is what is told, or begins it, in whole words."""
    expected = expected.strip()
    if not told.startswith(expected):
        return False
    rest = told[len(expected) :]
    return not rest or not (rest[0].isalnum() or rest[0] in "._")


def _compare(expected: Sequence[_Expected], told: Sequence[Sentence]) -> tuple[list[str], bool]:
    """The two side by side, with as few differences as can be; whether there is none.

    ``cost[i][j]`` is that of what is left of both (the edit distance of R. Wagner and M. Fischer,
    'The String-to-String Correction Problem', JACM 21(1), 1974), where an aside costs nothing.
    """
    rows, columns = len(expected), len(told)
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            cost[i][j] = min((price for price, *_ in _ways(expected, told, cost, i, j)), default=0)
    lines: list[str] = []
    i = j = 0
    mark = ""
    while i < rows or j < columns:
        ways = _ways(expected, told, cost, i, j)
        least = min(price for price, *_ in ways)
        best = [way for way in ways if way[0] == least]
        # what was expected and what happened instead stand beside each other
        _, mark, i_next, j_next = next((w for w in best if mark == "-" and w[1] == "+"), best[0])
        if j_next > j:
            lines.append(f"{mark}{told[j].line()}")
        elif expected[i] is not ...:
            lines.append(f"-{'':12}  {expected[i]}")
        i, j = i_next, j_next
    return lines, cost[0][0] == 0


def _ways(
    expected: Sequence[_Expected],
    told: Sequence[Sentence],
    cost: Sequence[Sequence[int]],
    i: int,
    j: int,
) -> list[tuple[int, str, int, int]]:
    """The steps from here: what is left to pay, a mark, and where they lead; the best first."""
    ways: list[tuple[int, str, int, int]] = []
    here = expected[i] if i < len(expected) else None
    if j < len(told):
        if isinstance(here, str) and _says(here, told[j].text):
            ways.append((cost[i + 1][j + 1], " ", i + 1, j + 1))
        if here is ...:
            ways.append((cost[i][j + 1], " ", i, j + 1))
        if told[j].aside:
            ways.append((cost[i][j + 1], " ", i, j + 1))
    if here is ...:
        ways.append((cost[i + 1][j], " ", i + 1, j))
    elif here is not None:
        ways.append((1 + cost[i + 1][j], "-", i + 1, j))
    if j < len(told):
        ways.append((1 + cost[i][j + 1], "+", i, j + 1))
    return ways
