"""The pytest plugin, in suites of its users."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.plugin.conftest import run
from tests.tidy.test_tidy import ROOT

_USERS_OWN = """
import threading
import time
import pytest
from runtime import TaskTimeoutError, current_attempt
from simulation import assert_story

PATCHED = [repr(f) for f in (time.sleep, time.time, threading.Lock, threading.RLock)]

@pytest.fixture
def unit(request):
    return 60.0 if "virtual" in request.node.name else 1 / 64

def flaky(unit):
    time.sleep(10 * unit)          # 600 s
    if current_attempt().number < 3:
        raise ConnectionError
    return "there"

def stuck(unit):
    time.sleep(20 * unit)

def test_it(worker_pool, unit):
    pool = worker_pool(
        max_workers=4, max_retries=2, backoff_base_seconds=unit, task_timeout_seconds=15 * unit
    )
    tasks = [pool.submit_task("flaky", flaky, (unit,)), pool.submit_task("stuck", stuck, (unit,))]
    first, second = [pool.get_task_result(task) for task in tasks]
    assert first.result == "there"
    assert first.metrics.retries_used == 2
    assert isinstance(second.error, TaskTimeoutError)
    busy, again = "failed with ConnectionError", "retried after"
    assert_story(first, "started", busy, again, "failed", again, "succeeded")
    assert_story(second, "started", "timed out", ..., "timed out: retries exhausted")

@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(threading.enumerate())
    yield
    assert [repr(f) for f in (time.sleep, time.time, threading.Lock, threading.RLock)] == PATCHED
    for thread in set(threading.enumerate()) - before:
        thread.join(10)  # an abandoned attempt sleeps on, on real threads
        assert not thread.is_alive()
"""


def test_a_users_own_test_runs_on_both_clocks(suite: pytest.Pytester) -> None:
    suite.makepyfile(_USERS_OWN)
    result = run(suite, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?real? PASSED*", "*test_it?virtual? PASSED*"])


def test_the_seed_is_the_options_unless_a_test_gives_one(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_seeds(simulated_pool):
            assert simulated_pool(max_workers=1).config.seed == 77
            assert simulated_pool(seed=5).config.seed == 5
        """
    )
    run(suite, "--sim-seed", "77").assert_outcomes(passed=1)
    run(suite).assert_outcomes(failed=1)


def test_a_failure_says_how_to_see_it_again(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_bad(simulated_pool):\n    simulated_pool()\n    assert 0\n")
    result = run(suite, "--sim-seed", "77")
    result.stdout.fnmatch_lines(["seed 77; again:"])
    result.stdout.re_match_lines([r"  pytest test_a_failure\S*::test_bad --sim-seed 77$"])
    again = run(suite).stdout.str()
    assert "- simulation -" not in again, "it fails again by itself, and needs no option"
    assert "simulated_pool = <simulated_pool: max_workers=..., seed=...>" in again


def test_what_a_mistake_shows_is_the_users_own_code(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import threading

        def test_range(simulated_pool):
            simulated_pool(max_workers=0)

        def test_deadlock(simulated_pool):
            pool = simulated_pool(task_timeout_seconds=None)
            lock = threading.Lock()
            pool.submit_task("takes", lock.acquire)
            pool.submit_task("waits", lock.acquire)
            pool.wait_for_all()

        def test_argument(simulated_pool):
            simulated_pool().submit_task("t", len, [1])
        """
    )
    result = run(suite, "--tb=short")
    result.assert_outcomes(failed=3)
    lines = [line for line in result.stdout.lines if ": in " in line]
    assert len(lines) == 3, lines
    assert all(line.startswith("test_what_a_mistake") for line in lines), lines


def test_the_pools_are_closed_with_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import time
        REAL = repr(time.sleep)
        def test_open(simulated_pool):
            simulated_pool().submit_task("t", time.sleep, (600,))
            assert repr(time.sleep) != REAL
        def test_closed():
            assert repr(time.sleep) == REAL
        """
    )
    run(suite).assert_outcomes(passed=2)


@pytest.mark.parametrize("seed", ["x", "-1", str(1 << 63)])
def test_a_bad_seed_is_one_clear_line(suite: pytest.Pytester, seed: str) -> None:
    result = run(suite, f"--sim-seed={seed}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--sim-seed: '{seed}': must be a whole number*"])


def test_it_imports_nothing_until_it_is_used() -> None:
    code = "import sys, twinclock_pytest; print({'simulation', 'runtime'} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout == "set()\n"
