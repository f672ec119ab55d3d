"""The determinism audit: what differs in another process, where first, and why it may."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import run

_CULPRITS = """
import datetime, random, threading, time, uuid
import pytest

@pytest.fixture
def pool(simulated_pool):
    return simulated_pool(max_workers=1, task_timeout_seconds=None)

def test_set(pool):
    for name in {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}:
        pool.submit_task(name, time.sleep, (1,))
    pool.wait_for_all()

class Thing:
    def __init__(self, number):
        self.number = number

def test_id(pool):
    things = [Thing(n) for n in range(30)]
    for thing in sorted(things, key=id):
        pool.submit_task(f"thing{thing.number}", int)
    pool.wait_for_all()

def test_random(pool):
    pool.submit_task("t", lambda: time.sleep(random.random()))
    pool.wait_for_all()

def test_real_clock(pool):
    pool.submit_task("t", time.sleep, (time.perf_counter() % 1,))
    pool.wait_for_all()

def test_bytes(pool):
    pool.submit_task("t", time.sleep, (uuid.uuid4().int % 1000,))
    pool.wait_for_all()

def test_thread(pool):
    started = time.perf_counter()
    told = []
    thread = threading.Thread(target=lambda: told.append(time.perf_counter()), name="beside")
    thread.start()
    thread.join()
    pool.submit_task("t", time.sleep, (told[0] - started,))
    pool.wait_for_all()

class Dates(datetime.datetime):
    pass

def test_captured(pool):
    pool.submit_task("t", lambda: Dates.now() and None)
    pool.wait_for_all()

@pytest.mark.no_sim_audit
def test_left_alone(pool):
    pool.submit_task("t", time.sleep, (time.perf_counter() % 1,))
    pool.wait_for_all()

def test_good(pool):
    pool.submit_task("t", time.sleep, (random.Random(1).random(),))
    pool.wait_for_all()

@pytest.mark.schedules(20)
def test_good_under_schedules(simulated_pool):
    pool = simulated_pool(max_workers=2)
    for n in range(3):
        pool.submit_task("t", time.sleep, (n,))
    pool.wait_for_all()
"""

_CAUSES = {
    "set": "the order of a set, or of what else goes by hash(): *",
    "id": "an id() or an address *",
    "random": "the global random generator, unseeded: *",
    "real_clock": "a real clock, or random bytes *",
    "bytes": "a real clock, or random bytes *",
    "thread": "a thread that escaped: beside was started by the test itself *",
}


def test_a_worker_of_xdist_has_an_audit_of_its_own(suite: pytest.Pytester) -> None:
    suite.makepyfile(_CULPRITS)
    result = run(suite, "-n", "1", "-k", "set or good", audit="on")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["likely cause: the order of a set*"])


def test_each_culprit_is_named(suite: pytest.Pytester) -> None:
    suite.makepyfile(_CULPRITS)
    result = run(suite, audit="on")
    result.assert_outcomes(failed=len(_CAUSES) + 1, passed=3)
    told = result.stdout.str()
    for name, cause in _CAUSES.items():
        part = told[told.index(f"___ test_{name} ___") :].splitlines()
        until = next(i for i, line in enumerate(part[1:], 1) if line.startswith(("____", "====")))
        lines = part[:until]
        assert sum(line.startswith("likely cause: " + cause[:-2]) for line in lines) == 1, part
        assert sum(line.startswith(("  here ", "  there ")) for line in lines) == 2
        assert any(line.startswith("transition ") for line in lines)
        assert "to leave this test alone: @pytest.mark.no_sim_audit" in lines
    result.stdout.fnmatch_lines(["  Dates.now, the real one, at *test_*.py:* in <lambda>"])


def test_it_is_off_where_it_is_not_wanted(suite: pytest.Pytester) -> None:
    suite.makepyfile(_CULPRITS)
    run(suite, audit="off").assert_outcomes(passed=len(_CAUSES) + 4)
    suite.makeini("[pytest]\nsim_audit = off\n")
    run(suite, audit=None).assert_outcomes(passed=len(_CAUSES) + 4)


def test_what_cannot_be_run_twice_is_told_and_no_failure(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import os, time
        import pytest

        @pytest.fixture
        def only_here():
            assert "TWINCLOCK_AUDIT_FDS" not in os.environ

        def test_it(only_here, simulated_pool):
            simulated_pool().submit_task("t", int)

        def test_that_dies_there(simulated_pool):
            simulated_pool().submit_task("t", int)
            if "TWINCLOCK_AUDIT_FDS" in os.environ:
                os._exit(3)

        def test_after(simulated_pool):
            simulated_pool().submit_task("t", int)
        """
    )
    result = run(suite, audit="on")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "determinism audit: not run a second time were 1 test, *::test_it first: *",
            "determinism audit: not run a second time were 2 tests, *::test_that_dies_there first*",
        ]
    )


def test_a_bad_setting_is_one_clear_line(suite: pytest.Pytester) -> None:
    result = run(suite, "-o", "sim_audit=perhaps")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: sim_audit = 'perhaps': must be on or off"])


def test_a_suite_that_uses_no_pool_starts_no_process(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import sys
        def test_it():
            assert not {"simulation", "runtime"} & set(sys.modules)
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)


def test_reports_and_folders_are_the_first_processs(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\naddopts = --junitxml=report.xml --basetemp=here -n1\n")
    suite.makepyfile(
        """
        import os
        def test_it(simulated_pool, tmp_path):
            second = "TWINCLOCK_AUDIT_FDS" in os.environ
            assert ("here" in str(tmp_path)) != second
            simulated_pool().submit_task("t", int)
        """
    )
    result = run(suite, audit="on")
    result.assert_outcomes(passed=1)
    assert "determinism audit" not in result.stdout.str()
    report = (suite.path / "report.xml").read_text()
    assert 'tests="1"' in report
