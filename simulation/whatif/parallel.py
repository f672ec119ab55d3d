"""Replications over processes, or over a cluster's client: the same results in the same order.

Where a result was computed never shows: items are independent, each is a function of what is shared
and of itself alone, and results come back in the order of the items. So one process, eight, or a
cluster give the same bytes.

What is shared (a recording of 100,000 attempts, say) goes to each worker once, not with each item.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from simulation.whatif.worker import RAISED

__all__ = ["WorkerLostError", "Workers", "available_cores"]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Work that takes less than this is done before a worker has started.
WORTH_STARTING_SECONDS: Final = 0.5
#: Items that wait in a worker's socket, so that it never waits for its parent.
_AHEAD: Final = 2
#: Pieces into which a client's work is cut; each carries what is shared.
_CHUNKS: Final = 32
_MOST_PROCESSES: Final = 512

_PROGRAM: Final = (
    "import sys; sys.path[:] = {path!r}; "
    "from simulation.whatif.worker import main; main({descriptor})"
)


class WorkerLostError(RuntimeError):
    """A worker process ended in the midst of its work; the message says how."""


def available_cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class Workers(Generic[Shared]):
    """Calls functions of what is shared and an item, over processes.

    Args:
        shared: what every call has as its first argument; it must pickle where there is more than
            one process.
        processes: how many; 1 computes in this process, ``None`` takes one a processor. They are
            started when it is seen that the work is worth it.
        client: computes in their place: anything with ``submit(function, *arguments)`` that returns
            futures (``concurrent.futures`` executors, dask's ``Client``), or with
            ``map(function, items)`` (``multiprocessing`` pools).

    Raises:
        ValueError: a number of processes out of range.
        TypeError: the client has neither ``submit`` nor ``map``.

    Example:
        >>> from operator import add
        >>> with Workers(10, processes=1) as workers:
        ...     workers.map(add, [1, 2, 3])
        [11, 12, 13]
    """

    def __init__(self, shared: Shared, *, processes: int | None = 1, client: Any = None) -> None:
        if processes is None:
            processes = available_cores()
        if isinstance(processes, bool) or not isinstance(processes, int):
            raise TypeError(f"processes={processes!r}: a whole number, 1 or more, is needed")
        if not 1 <= processes <= _MOST_PROCESSES:
            raise ValueError(f"processes={processes}: must be 1 to {_MOST_PROCESSES}")
        if client is not None and not (hasattr(client, "submit") or hasattr(client, "map")):
            raise TypeError(f"client={client!r}: must have submit(...) or map(...)")
        self._shared = shared
        self._processes = processes
        self._client = client
        self._payload: Any = None
        self._team: list[_Worker] = []

    def __enter__(self) -> Workers[Shared]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._team:
            worker.end(at_once=kind is not None)
        for worker in self._team:
            worker.join()
        self._team = []

    def map(
        self,
        function: Callable[[Shared, Item], Result],
        items: Sequence[Item],
        progress: Callable[[int], None] | None = None,
    ) -> list[Result]:
        """Call a function for each item.

        Args:
            function: of a module (no lambda), called with what is shared and an item.
            items: the items.
            progress: called with the number of items done so far, as it grows.

        Returns:
            What it returned, in the order of the items.

        Raises:
            WorkerLostError: a worker process was killed or broke.
            Exception: whatever the function raised; of several, the first in the order of items.
        """
        tell = progress or (lambda done: None)
        if self._client is not None:
            return self._over_client(function, items, tell)
        results: list[Result] = []
        began = time.perf_counter()
        while len(results) < len(items):
            spent = time.perf_counter() - began
            rest = len(items) - len(results)
            likely = spent / len(results) * rest if results else 0.0
            if self._processes > 1 and rest > 1 and (self._team or likely > WORTH_STARTING_SECONDS):
                before = len(results)
                return results + self._over_processes(function, items[before:], tell, before)
            results.append(function(self._shared, items[len(results)]))
            tell(len(results))
        return results

    # ------------------------------------------------------------------ processes

    def _over_processes(
        self,
        function: Callable[[Shared, Item], Result],
        items: Sequence[Item],
        tell: Callable[[int], None],
        before: int,
    ) -> list[Result]:
        self._start(len(items))
        waiting = deque(range(len(items)))
        results: dict[int, Result] = {}
        errors: dict[int, Exception] = {}
        for worker in self._team:
            for _ in range(_AHEAD):
                if waiting:
                    at = waiting.popleft()
                    worker.send(at, function, items[at])
        while any(worker.doing for worker in self._team):
            ready = wait([worker.connection for worker in self._team if worker.doing])
            for worker in self._team:
                if worker.connection not in ready:
                    continue
                index, state, value = worker.receive()
                if state == RAISED:
                    errors[index] = value
                    waiting.clear()  # what is on its way comes to an end, nothing more begins
                else:
                    results[index] = value
                    tell(before + len(results))
                if waiting:
                    at = waiting.popleft()
                    worker.send(at, function, items[at])
        if errors:
            raise errors[min(errors)]
        return [results[index] for index in range(len(items))]

    def _start(self, items: int) -> None:
        if self._team:
            return
        if self._payload is None:
            self._payload = pickle.dumps(self._shared, pickle.HIGHEST_PROTOCOL)
        for number in range(1, min(self._processes, items) + 1):
            self._team.append(_Worker(number))
        for worker in self._team:  # all of them start before the first is fed
            worker.feed(self._payload)

    # ------------------------------------------------------------------ a client

    def _over_client(
        self,
        function: Callable[[Shared, Item], Result],
        items: Sequence[Item],
        tell: Callable[[int], None],
    ) -> list[Result]:
        client = self._client
        if self._payload is None:
            data = pickle.dumps(self._shared, pickle.HIGHEST_PROTOCOL)
            digest = hashlib.sha256(data).hexdigest()
            scatter = getattr(client, "scatter", None)  # dask: to each machine once
            self._payload = digest, data if scatter is None else scatter(data, broadcast=True)
        digest, data = self._payload
        chunks = [list(items[first::_CHUNKS]) for first in range(min(_CHUNKS, len(items)))]
        results: list[Any] = [None] * len(items)
        done = 0
        for first, values in enumerate(self._chunk_results(digest, data, function, chunks)):
            results[first::_CHUNKS] = values
            done += len(values)
            tell(done)
        return results

    def _chunk_results(self, digest: str, data: Any, function: Any, chunks: list[Any]) -> Any:
        client = self._client
        if hasattr(client, "submit"):
            futures = [client.submit(_of_chunk, digest, data, function, one) for one in chunks]
            try:
                for future in futures:
                    yield future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        else:
            yield from client.map(_of_packed, [(digest, data, function, one) for one in chunks])


class _Worker:
    """The parent's end of a worker process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.doing: list[int] = []
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        program = _PROGRAM.format(path=sys.path, descriptor=theirs.fileno())
        # A terminal's Ctrl-C reaches every process of its group; it is the parent that acts on it.
        # The mask is inherited, so there is no moment in which the child would take it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def feed(self, payload: bytes) -> None:
        try:
            self.connection.send_bytes(payload)
        except OSError:
            raise self._lost() from None

    def send(self, index: int, function: Any, item: Any) -> None:
        try:
            self.connection.send((index, function, item))
        except OSError:
            raise self._lost() from None
        self.doing.append(index)

    def receive(self) -> tuple[int, str, Any]:
        try:
            index, state, value = self.connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        self.doing.remove(index)
        return index, state, value

    def _lost(self) -> WorkerLostError:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            why = f"was ended by signal {-code} ({name})"
            if name == "SIGKILL":
                why += ": by somebody, or by the system because memory ran out"
        else:
            why = f"ended by itself with exit code {code}"
        return WorkerLostError(
            f"worker process {self.number} (pid {self._process.pid}) {why}; nothing was kept; "
            f"fewer processes need less memory: --processes"
        )

    def end(self, *, at_once: bool) -> None:
        if at_once:
            self._process.terminate()
        self.connection.close()

    def join(self) -> None:
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


# ---------------------------------------------------------------------- on a client's machines


@lru_cache(maxsize=1)
def _unpacked(digest: str, data: _ByDigest) -> Any:
    return pickle.loads(data.data)


class _ByDigest:
    """Bytes that the cache does not look at: their digest tells them apart."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest)

    def __hash__(self) -> int:
        return 0


def _of_chunk(digest: str, data: bytes, function: Any, items: Sequence[Any]) -> list[Any]:
    shared = _unpacked(digest, _ByDigest(data))
    return [function(shared, item) for item in items]


def _of_packed(packed: tuple[str, bytes, Any, Sequence[Any]]) -> list[Any]:
    return _of_chunk(*packed)
