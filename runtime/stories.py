"""An observer that keeps each task's story, on any clock."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.core.records import Transition
from runtime.core.stories import Sentence, tell
from runtime.observers import Detail
from runtime.view import PoolView

__all__ = ["Stories"]


class Stories:
    """Keeps every transition of a pool, and tells them task by task.

    For tests and for looking closely at a run: it grows with the run.

    Example:
        >>> from runtime import WorkerPool
        >>> stories = Stories()
        >>> with WorkerPool(observers=[stories]) as pool:
        ...     task = pool.submit_task("add", sum, ([1, 2],))
        ...     _ = pool.get_task_result(task)
        ...     [sentence.text for sentence in stories.of(task)]
        ['submitted', 'started', 'succeeded']
    """

    def __init__(self) -> None:
        self._view: PoolView | None = None
        self._seen: list[Transition] = []

    def of(self, task_id: str) -> list[Sentence]:
        """One task's story so far.

        Args:
            task_id: what ``submit_task`` returned.

        Returns:
            Its sentences, in order.

        Raises:
            KeyError: the pool has no such task.
        """
        view = self._view
        if view is None:
            raise KeyError(task_id)
        view.flush()
        number = view.number(task_id)
        return list(tell(t for t in self._seen if t.task == number))

    def attach(self, view: PoolView) -> None:
        """Get to know the pool."""
        self._view = view

    def detail(self) -> Detail:
        """All of them."""
        return "all"

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Keep what changed."""
        self._seen.extend(batch)

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Its transition says enough."""

    def close(self) -> None:
        """There is nothing to let go of."""
