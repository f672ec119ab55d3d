"""A run as attempts: nothing is lost between the pieces, and the critical chain has no gap."""

from __future__ import annotations

from itertools import pairwise

import pytest

from runtime.core import CoreSettings
from runtime.core.records import FinishTask
from runtime.journal import Journal
from runtime.observers import Step
from simulation.models import Fails, Modelled
from simulation.simulate import simulate
from simulation.timeline.attempts import Timeline, read_timeline
from simulation.timeline.find import find_task
from simulation.timeline.lateness import Splitter, busy_with, critical_chain, slowest
from simulation.timeline.levels import levels
from simulation.timeline.sentences import about_chain, duration, why_late
from simulation.whatif.timed import recorded_run, simulated_run
from simulation.workload import Batch, SyntheticWorkload

S = 10**9


def steps_of(journal: Journal) -> list[Step]:
    return [(record.at, record.stimulus, record.instructions) for record in journal.records]


def synthetic(settings: CoreSettings, *batches: Batch) -> Timeline:
    return read_timeline(settings, simulate(SyntheticWorkload(batches), settings, log=True).steps)


@pytest.fixture(params=["simulated", "real"])
def run(request: pytest.FixtureRequest) -> Journal:
    found: Journal = request.getfixturevalue(
        {"simulated": "journal", "real": "real"}[request.param]
    )
    return found


def test_each_tasks_time_adds_up_to_the_nanosecond(run: Journal) -> None:
    timeline = read_timeline(run.header.settings, steps_of(run))
    splitter = Splitter(timeline)
    ends = {
        instruction.task: (record.at, instruction)
        for record in run.records
        for instruction in record.instructions
        if isinstance(instruction, FinishTask)
    }
    assert len(ends) == len(timeline.tasks) > 30
    for number, (at_ns, end) in ends.items():
        task = timeline.tasks[number]
        split = splitter.split(task)
        assert split.total_ns == task.took_ns == at_ns - end.submitted_at_ns
        # the core keeps these two itself
        assert split.queue_ns == end.queued_ns
        assert split.backoff_ns == end.delayed_ns
        assert (task.outcome, len(task.attempts)) == (end.outcome, end.attempts)


def test_the_pieces_leave_no_gap(run: Journal) -> None:
    timeline = read_timeline(run.header.settings, steps_of(run))
    for task in timeline.tasks.values():
        at_ns = task.submitted_at_ns
        for piece in task.pieces():
            assert piece.from_ns == at_ns
            assert piece.to_ns > piece.from_ns
            at_ns = piece.to_ns
        assert at_ns == task.ended_at_ns


def test_the_running_time_is_split_into_what_was_measured(real: Journal) -> None:
    timeline = read_timeline(real.header.settings, steps_of(real))
    splitter = Splitter(timeline)
    seen = 0
    for task in timeline.tasks.values():
        split = splitter.split(task)
        cpu = split.cpu
        if cpu is None:
            continue
        seen += 1
        measured = cpu.used_ns + cpu.handover_ns + cpu.other_ns
        assert measured + cpu.unmeasured_ns == split.running_ns
        assert 0 <= cpu.waited_at_least_ns <= cpu.waited_at_most_ns
        assert cpu.waited_at_most_ns <= cpu.handover_ns + cpu.other_ns
    assert seen >= 39


def test_waiting_for_a_cpu_is_bounded_by_what_the_others_used() -> None:
    from runtime.core.records import AttemptSucceeded, StartAttempt, TaskSubmitted

    def run(cpus: list[int]) -> Timeline:
        """Attempts of 10 s at once, with that many seconds of CPU time each."""
        steps: list[Step] = []
        for task in range(1, len(cpus) + 1):
            steps.append((0, TaskSubmitted(task), [StartAttempt(task, 1, task - 1)]))
        for task, cpu in enumerate(cpus, 1):
            done = AttemptSucceeded(task, 1, 0, 0, 10 * S, cpu * S)
            steps.append((10 * S, done, [FinishTask(task, "ok", 1)]))
        return read_timeline(CoreSettings(max_workers=9), steps)

    def most(cpus: list[int], at_once: int) -> float:
        timeline = run(cpus)
        cpu = Splitter(timeline, at_once).split(timeline.tasks[1]).cpu
        assert cpu is not None
        return cpu.waited_at_most_ns / S

    assert most([4], 1) == 0  # alone, it waited for something else
    assert most([4, 6], 1) == pytest.approx(6)
    assert most([4, 3], 1) == pytest.approx(3)
    assert most([4, 3, 2], 2) == pytest.approx(2.5)
    assert most([4, 6, 6, 6], 1) == pytest.approx(6)  # not more than it did not compute


def test_the_chain_adds_up_to_the_makespan(run: Journal) -> None:
    timeline = read_timeline(run.header.settings, steps_of(run))
    chain = critical_chain(timeline)
    assert chain[0].from_ns == timeline.first_ns
    assert chain[-1].to_ns == timeline.end_ns
    for before, after in pairwise(chain):
        assert before.to_ns == after.from_ns
    assert sum(link.to_ns - link.from_ns for link in chain) == timeline.makespan_ns
    assert "running attempts" in about_chain(timeline, chain)


def test_the_chain_names_who_freed_the_worker_that_the_next_waited_for() -> None:
    # two workers: 1 takes 5 s, 2 and 3 take 3 s each; the end hangs on 2, then 3
    timeline = synthetic(
        CoreSettings(max_workers=2),
        Batch(1, Modelled(5.0), name="long"),
        Batch(2, Modelled(3.0), name="short"),
    )
    assert [(link.kind, link.task) for link in critical_chain(timeline)] == [
        ("running", 2),
        ("running", 3),
    ]


def test_the_chain_goes_through_backoff_and_the_wait_for_a_first_task() -> None:
    settings = CoreSettings(
        max_workers=1, max_retries=1, backoff_base_ns=2 * S, backoff_max_ns=9 * S
    )
    flaky = Modelled(1.0, [Fails(), None])
    early = Batch(1, Modelled(1.0), name="early")
    timeline = synthetic(settings, early, Batch(1, flaky, name="flaky", start_seconds=3.0))
    links = [(link.kind, link.from_ns // S, link.to_ns // S) for link in critical_chain(timeline)]
    assert links == [("before", 0, 3), ("running", 3, 4), ("backoff", 4, 6), ("running", 6, 7)]


def test_a_retry_that_waited_for_a_worker_hangs_on_who_freed_it() -> None:
    settings = CoreSettings(max_workers=1, max_retries=1, backoff_base_ns=S, backoff_max_ns=S)
    flaky = Batch(1, Modelled(1.0, [Fails(), None]), name="flaky")
    timeline = synthetic(settings, flaky, Batch(1, Modelled(4.0), name="other"))
    links = [(link.kind, link.task, link.to_ns // S) for link in critical_chain(timeline)]
    assert links == [("running", 1, 1), ("running", 2, 5), ("running", 1, 6)]


def test_a_worker_that_an_abandoned_attempt_keeps_is_in_the_chain() -> None:
    settings = CoreSettings(max_workers=1, timeout_ns=2 * S, max_abandoned=0)
    stuck = Batch(1, Modelled(5.0), name="stuck")
    timeline = synthetic(settings, stuck, Batch(1, Modelled(1.0), name="next"))
    chain = [(link.kind, link.task, link.to_ns // S) for link in critical_chain(timeline)]
    assert chain == [("running", 1, 2), ("held", 1, 5), ("running", 2, 6)]
    assert busy_with(timeline, 0, 6 * S) == {"timeout": 2 * S, "abandoned": 3 * S, "ok": 1 * S}


def test_late_in_the_very_step_that_abandons_it() -> None:
    """On threads a timeout may be noticed only by the completion that comes too late."""
    from runtime.core import Core
    from runtime.core.records import AttemptFailed, TaskSubmitted

    core = Core(CoreSettings(max_workers=1, timeout_ns=5, max_abandoned=1))
    steps: list[Step] = []
    for at_ns, stimulus in (
        (0, TaskSubmitted(1)),
        (9, AttemptFailed(1, 1, 0, 1, 8, "KeyError")),
    ):
        steps.append((at_ns, stimulus, core.handle(at_ns, stimulus)))
    (attempt,) = read_timeline(core.settings, steps).attempts
    assert (attempt.outcome, attempt.error, attempt.abandoned) == ("timeout", "", True)
    assert (attempt.end_at_ns, attempt.home_at_ns) == (9, 9)


def test_a_run_that_has_not_ended_is_told_up_to_its_last_instant() -> None:
    settings = CoreSettings(max_workers=1)
    work = SyntheticWorkload([Batch(2, Modelled(3.0))])
    steps = simulate(work, settings, log=True).steps[:2]
    timeline = read_timeline(settings, steps)
    assert [task.outcome for task in timeline.tasks.values()] == ["running", "running"]
    told = why_late(timeline, timeline.tasks[1], Splitter(timeline))
    assert "had not ended when the record ends" in told[0]
    critical_chain(timeline)


def test_levels_are_those_of_the_run(journal: Journal) -> None:
    run = recorded_run(journal)
    busy, waiting, ended = levels(run.timeline)
    assert max(busy.values) == run.timeline.settings.max_workers
    assert min(busy.values) >= 0
    assert min(waiting.values) >= 0
    assert waiting.values[-1] == 0
    assert ended.values[-1] == len(run.timeline.tasks)
    assert busy.instants == sorted(busy.instants)


def test_many_levels_are_thinned_out_and_keep_their_extremes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from simulation.timeline import levels as module

    settings = CoreSettings(max_workers=3)
    timeline = synthetic(settings, Batch(300, Modelled(1.0), rate_per_second=2.0))
    whole = levels(timeline)
    monkeypatch.setattr(module, "MOST_POINTS", 60)
    for full, thin in zip(whole, levels(timeline), strict=True):
        assert len(thin.values) <= 60 < len(full.values)
        assert max(thin.values) == max(full.values)
        assert min(thin.values) == min(full.values)
        assert thin.values[-1] == full.values[-1]


def test_a_variant_is_told_like_a_recording(journal: Journal) -> None:
    run = simulated_run(journal, "one worker more", {"max_workers": 7}, force=True)
    assert run.timeline.settings.max_workers == 7
    assert {a.slot for a in run.timeline.attempts} == set(range(7))
    task = slowest(run.timeline)[0]
    assert run.splitter.split(task).total_ns == task.took_ns


def test_why_says_what_most_of_the_time_went_to() -> None:
    settings = CoreSettings(max_workers=1, timeout_ns=6 * S, max_abandoned=1)
    timeline = synthetic(
        settings,
        Batch(1, Modelled(8.0), name="stuck"),
        Batch(3, Modelled(1.0), name="quick"),
    )
    splitter = Splitter(timeline)
    task = slowest(timeline)[0]
    told = " ".join(why_late(timeline, task, splitter))
    assert task.name == "quick-3"
    assert "took 9 s, the longest of 4 tasks" in told
    assert "Most of it, 8 s (89%), went by waiting for a worker" in told
    assert "75% of their time with attempts that timed out" in told
    assert "was not measured" in told


def test_durations_as_people_read_them() -> None:
    assert [duration(ns) for ns in (0, 5, 1_500, 2_340_000, 61 * S, 700 * S, 7_300 * S)] == [
        "0 s", "5 ns", "1.5 µs", "2.34 ms", "61 s", "11 min 40 s", "2 h 2 min",
    ]  # fmt: skip


def test_a_task_is_found_by_name_id_or_number(journal: Journal) -> None:
    timeline = recorded_run(journal).timeline
    prefix = journal.header.prefix
    assert find_task(timeline, "Q003", prefix)[0].number == 4
    assert find_task(timeline, f"{prefix}4", prefix)[0].name == "Q003"
    assert find_task(timeline, "4", prefix)[0].name == "Q003"
    with pytest.raises(ValueError, match="did you mean Q010 or Q011 or Q012"):
        find_task(timeline, "Q01", prefix)
    with pytest.raises(ValueError, match="did you mean comes late"):
        find_task(timeline, "comes_lat", prefix)
    with pytest.raises(ValueError, match="ids are"):
        find_task(timeline, "99999999999999999999999", prefix)
