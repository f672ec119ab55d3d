"""What must not matter, and what must carry over."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core import records as r
from runtime.core.scheduler import Core
from runtime.core.settings import CoreSettings
from tests.core.helpers import Work, plain_settings, play, works

replace = msgspec.structs.replace
quick = settings(max_examples=150, derandomize=True, deadline=None)


def scaled(value: Any, by: int) -> Any:
    """A record with every instant and duration in it multiplied."""
    changes = {}
    for name in value.__struct_fields__:
        number = getattr(value, name)
        if name.endswith("_ns") and isinstance(number, int):
            changes[name] = number * by
    return replace(value, **changes)


def renamed(spec: r.TaskSubmitted) -> r.TaskSubmitted:
    return replace(spec, name=f"other name of {spec.task}", group=f"other than {spec.group}")


def transitions(own: CoreSettings, arrivals: list[tuple[int, r.TaskSubmitted]]) -> list[Any]:
    core = Core(own, record="all")
    for at, spec in arrivals:
        core.handle(at, spec)
    while (due := core.next_deadline_ns()) is not None:
        core.handle(due, r.TimeElapsed())
    return core.take_transitions()


@quick
@given(own=plain_settings, work=works())
def test_renaming_changes_no_instruction(own: CoreSettings, work: Work) -> None:
    other = Work(
        [(at, renamed(spec)) for at, spec in work.arrivals],
        work.lasts_ns,
        work.ends,
        work.cancels,
    )
    assert play(own, other) == play(own, work)


@quick
@given(own=plain_settings, work=works())
def test_renaming_renames_the_log_and_nothing_else(own: CoreSettings, work: Work) -> None:
    log = transitions(own, work.arrivals)
    log_of_others = transitions(own, [(at, renamed(spec)) for at, spec in work.arrivals])
    assert log_of_others == [
        replace(entry, detail=renamed(entry.detail)) if entry.cause is None else entry
        for entry in log
    ]


@quick
@given(own=plain_settings, work=works(), by=st.integers(2, 5), plus=st.integers(0, 300))
def test_other_numbers_in_the_same_order_renumber_the_log(
    own: CoreSettings, work: Work, by: int, plus: int
) -> None:
    other = Work(
        [(at, replace(spec, task=spec.task * by + plus)) for at, spec in work.arrivals],
        work.lasts_ns,
        work.ends,
        work.cancels,
    )
    assert play(own, other) == [
        (at, replace(told, task=told.task * by + plus))  # no play ends by StopWorkers
        for at, told in play(own, work)
    ]


@quick
@given(own=plain_settings, work=works(), by=st.sampled_from([2, 3, 1_000, 10**9]))
def test_scaling_every_duration_scales_every_instant(
    own: CoreSettings, work: Work, by: int
) -> None:
    slower = Work(
        [(at * by, scaled(spec, by)) for at, spec in work.arrivals],
        [lasts * by for lasts in work.lasts_ns],
        work.ends,
        [(after * by, index) for after, index in work.cancels],
    )
    expected = [(at * by, scaled(told, by)) for at, told in play(own, work)]
    assert play(scaled(own, by), slower) == expected
