"""The audit's second process: a pytest that runs the tests it is asked for (``-p`` of a child)."""

from __future__ import annotations

import contextlib
import gc
import os
import random
from typing import Any, Final

import msgspec
import pytest

from simulation.testing.audit import FDS, Answer, Question, receive, send
from simulation.testing.bench import Seen
from simulation.testing.captured import Watcher

__all__ = ["ran"]

#: Other moments of garbage collection than Python's own choice: far more of them.
_THRESHOLDS: Final = (97, 3, 3)

_seen: list[Seen] = []
_random: list[bool] = []
_reports: list[pytest.TestReport] = []
_watcher: Final = Watcher()
#: The test functions that were watched already: it trebles a run, and parameters change no alias.
_watched: Final[set[str]] = set()
_stirring: Final = random.Random(4711)


def ran(seen: list[Seen]) -> None:
    """Take what a test's pools did; called in its run, before they are closed.

    Args:
        seen: what they did.
    """
    _seen.extend(seen)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool:
    """Collect nothing yet."""
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run what is asked for, until the other side has gone."""
    source, to = (int(fd) for fd in os.environ[FDS].split(","))
    gc.set_threshold(*_THRESHOLDS)
    known: dict[str, pytest.Item] = {}
    while True:
        try:
            question = msgspec.json.decode(receive(source), type=Question)
        except EOFError:
            return True
        send(to, msgspec.json.encode(_answer(session, question, known)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test comes to."""
    _reports.append(report)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Look whether the test uses the global random generator."""
    before = random.getstate()
    try:
        return (yield)
    finally:
        _random.append(random.getstate() != before)


def _answer(session: pytest.Session, question: Question, known: dict[str, pytest.Item]) -> Answer:
    item = known.get(question.test)
    if item is None:
        path = question.test.partition("::")[0]
        root = session.config.rootpath
        try:
            known.update((i.nodeid, i) for i in session.perform_collect([str(root / path)]))
        except pytest.UsageError as error:
            return Answer("error", str(error))
        item = known.get(question.test)
        if item is None:
            return Answer("error", f"{question.test} is not collected in the second process")
    for kept in (_seen, _random, _reports):
        kept.clear()
    _watcher.found.clear()
    function = question.test.partition("[")[0]
    watching = _watcher if function not in _watched else contextlib.nullcontext()
    _watched.add(function)
    junk = _stir()
    with watching:
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    del junk
    outcome, message = "passed", ""
    for report in _reports:
        if report.failed:
            outcome = "failed" if report.when == "call" else "error"
        elif report.skipped:
            outcome = "skipped"
        else:
            continue
        message = _shown(report)
        break
    digests = [one.digest for one in _seen]
    differs = question.whole or digests != question.digests
    return Answer(
        outcome,
        message,
        digests,
        list(_seen) if differs else [],
        list(_watcher.found),
        any(_random),
    )


class _Junk:
    """Takes up room."""


def _stir() -> list[object]:
    """Scatter the free places of memory, so that new objects come to lie in another order."""
    junk: list[object] = []
    for size in range(1, 12):
        junk += [bytes(size * 16 + n % 16) for n in range(97)]
        junk += [(n,) * size for n in range(97)]
    junk += [_Junk() for _ in range(397)]
    _stirring.shuffle(junk)
    del junk[: len(junk) // 2]
    return junk  # to be kept while the test runs


def _shown(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return getattr(crash, "message", None) or str(report.longrepr).strip().splitlines()[-1]
