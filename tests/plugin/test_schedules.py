"""One test under many schedules: found, made small, told, run again, kept."""

from __future__ import annotations

import fnmatch
import re

import pytest

from tests.plugin.conftest import run

_RACE = """
import threading
import pytest

@pytest.mark.schedules(200)
def test_race(simulated_pool):
    pool = simulated_pool(max_workers=2)
    lock, seen = threading.Lock(), {"count": 0}

    def add():
        with lock:
            count = seen["count"]
        print("read", count)
        with lock:
            seen["count"] = count + 1

    tasks = [pool.submit_task("add", add) for _ in range(2)]
    pool.wait_for_all()
    assert seen["count"] == 2
"""


def token_of(result: pytest.RunResult) -> str:
    found = re.search(r"--sim-replay (tc3-\w+)", result.stdout.str())
    assert found is not None, result.stdout.str()
    return found[1]


def test_a_lost_update_is_found_made_small_and_replayed(suite: pytest.Pytester) -> None:
    path = suite.makepyfile(_RACE)
    found = run(suite)
    found.assert_outcomes(failed=1)
    found.stdout.re_match_lines(
        [
            r"seed 0, token tc3-\w+: found after \d+ schedules by .*, shrunk to 1 departure .*",
            r" +0 s  order: task 'add' \(pool-0\.1\) is held up at a lock, and others run first$",
            r"again, exactly:$",
            rf"  pytest {path.name}::test_race --sim-replay tc3-\w+$",
        ]
    )
    told = found.stdout.str()
    assert told.count("read ") == 2, "what other schedules printed is not shown"
    again = run(suite, f"{path.name}::test_race", "--sim-replay", token_of(found))
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"seed 0, token {token_of(found)}: replayed"])
    ordinary = run(suite, "--sim-schedules", "1")
    ordinary.assert_outcomes(passed=1)


def test_failures_are_kept_and_run_first_and_forgotten_once_they_pass(
    suite: pytest.Pytester,
) -> None:
    others = "def test_before(): pass\n" + _RACE
    path = suite.makepyfile(others)
    first = run(suite, "-v", cache=True)
    assert first.stdout.str().index("test_before") < first.stdout.str().index("test_race")
    token = token_of(first)
    for workers in ("0", "1"):
        second = run(suite, "-v", "-n", workers, "--sim-schedules", "1", cache=True)
        second.assert_outcomes(passed=1, failed=1)
        second.stdout.fnmatch_lines([f"seed 0, token {token}: kept from an earlier run"])
    assert second.stdout.str().index("test_race") < second.stdout.str().index("test_before")
    path.write_text(others.replace('seen["count"] = count + 1', 'seen["count"] += 1'))
    run(suite, cache=True).assert_outcomes(passed=2)
    third = run(suite, "-v", cache=True)
    assert third.stdout.str().index("test_before") < third.stdout.str().index("test_race")


def test_a_kept_failure_comes_from_any_worker(suite: pytest.Pytester) -> None:
    suite.makepyfile(_RACE)
    token = token_of(run(suite, "-n", "1", cache=True))
    assert token_of(run(suite, "--sim-schedules", "1", cache=True)) == token


_FIXTURES_POOL = """
@pytest.fixture
def pool(simulated_pool):
    return simulated_pool()

@pytest.mark.schedules(2)
def test_it(pool):
    pass
"""

_MISUSES = {
    "no pool": (
        "@pytest.mark.schedules(3)\ndef test_it(): pass",
        "schedules: the test must take simulated_pool",
    ),
    "no number": (
        "@pytest.mark.schedules()\ndef test_it(simulated_pool): pass",
        "schedules(): give one whole number, 1 or more, and perhaps faults=",
    ),
    "nothing": (
        "@pytest.mark.schedules(0)\ndef test_it(simulated_pool): pass",
        "schedules(0): give one whole number, 1 or more, and perhaps faults=",
    ),
    "a fixture's pool": (
        _FIXTURES_POOL,
        "schedules: a fixture has made the pool already, and each schedule needs its own: *",
    ),
    "no such fault": (
        "@pytest.mark.schedules(2, faults='gremlins')\ndef test_it(simulated_pool): pass",
        "schedules: no fault 'gremlins': there are order, late,*",
    ),
    "a fault's name misspelt": (
        "@pytest.mark.schedules(2, faults='hnag')\ndef test_it(simulated_pool): pass",
        "schedules: no fault 'hnag': did you mean 'hang'?",
    ),
    "a field's name misspelt": (
        "def test_it(simulated_pool): simulated_pool(max_worker=2)",
        "*TypeError: there is no option 'max_worker': did you mean 'max_workers'?",
    ),
}


def test_misuse_is_named(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        **{
            f"test_{number}": f"import pytest\n{code}\n"
            for number, (code, _) in enumerate(_MISUSES.values())
        }
    )
    result = run(suite)
    result.assert_outcomes(failed=len(_MISUSES))
    lines = result.stdout.lines
    for _, message in _MISUSES.values():
        assert any(fnmatch.fnmatchcase(line, message) for line in lines), message
    assert "hidden" not in result.stdout.str()


@pytest.mark.parametrize("token", ["nonsense", "tc2-aabqdi3lxjdq", "tc3-aaaa", "tc9-adjaf34n"])
def test_a_bad_token_is_one_clear_line(suite: pytest.Pytester, token: str) -> None:
    result = run(suite, "--sim-replay", token)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --sim-replay: '{token}' *"])


def test_a_token_of_another_test_says_so(suite: pytest.Pytester) -> None:
    from simulation.explore.token import write_token

    suite.makepyfile(test_it="def test_it(simulated_pool): simulated_pool()\ndef test_b(): ...\n")
    token = write_token(0, [0, 0, 0, 0, 0, 1], "test_it.py::test_old_name")
    result = run(suite, "--sim-replay", token)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --sim-replay: '{token}' is of none of the 2 tests here" in result.stderr.str()
    assert "(test_it.py::test_it, test_it.py::test_b)" in result.stderr.str()


def test_a_token_of_another_version_of_the_test_says_so(suite: pytest.Pytester) -> None:
    from simulation.explore.token import write_token

    suite.makepyfile(test_it="def test_it(simulated_pool): simulated_pool()\ndef test_b(): ...\n")
    token = write_token(0, [0, 0, 0, 0, 0, 1], "test_it.py::test_it")
    result = run(suite, "--sim-replay", token)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["--sim-replay: the token has 6 choices, and the run made ?: *"])


def test_a_replay_of_a_whole_file_runs_the_tokens_test_alone(suite: pytest.Pytester) -> None:
    path = suite.makepyfile(f"{_RACE}\n\ndef test_unmarked(simulated_pool): simulated_pool()\n")
    token = token_of(run(suite))
    result = run(suite, str(path), "--sim-replay", token)
    result.assert_outcomes(failed=1, deselected=1)
    assert token_of(result) == token


def test_faults_make_sleeps_late(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import time
        import pytest

        @pytest.mark.schedules(50, faults=["late", "slow"])
        def test_it(simulated_pool):
            pool = simulated_pool()
            assert pool.get_task_result(pool.submit_task("t", time.sleep, (5,))).success
            assert pool.now < 10
        """
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*slow: what task 't' (pool-0.1) waits for ends later"])


def test_pools_of_each_schedule_are_closed_and_skips_are_skips(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import time
        import pytest
        ran = []

        @pytest.mark.schedules(20)
        def test_many(simulated_pool, caplog):
            ran.append(1)
            pools = [simulated_pool(max_workers=1), simulated_pool()]
            assert caplog.records == []
            for pool in pools:
                pool.submit_task("left", time.sleep, (1e6,))

        def test_after():
            assert len(ran) > 1
            assert "simulation" not in repr(time.sleep)

        @pytest.mark.schedules(20)
        def test_skipped(simulated_pool):
            pytest.skip("no reason")
        """
    )
    run(suite).assert_outcomes(passed=2, skipped=1)


def test_schedules_are_of_the_virtual_clock_only(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        ran = []

        @pytest.mark.schedules(5)
        def test_both(worker_pool, request):
            ran.append(request.node.name)
            pool = worker_pool(max_workers=2)
            for n in range(3):
                pool.submit_task("n", int)
            pool.wait_for_all()

        def test_counts():
            assert ran.count("test_both[real]") == 1
            assert ran.count("test_both[virtual]") == 5
        """
    )
    run(suite).assert_outcomes(passed=3)


def test_methods_classes_and_late_fixtures(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        ran = []

        class TestIt:
            @pytest.mark.schedules(7)
            @pytest.mark.parametrize("number", [1, 2])
            def test_method(self, simulated_pool, number, tmp_path):
                ran.append(number)
                pool = simulated_pool(max_workers=2)
                for n in range(3):
                    pool.submit_task("n", int)
                pool.wait_for_all()

        def test_counts():
            assert ran == [1] * 7 + [2] * 7

        def test_late(request):
            request.getfixturevalue("simulated_pool")()
            assert 0
        """
    )
    result = run(suite, "-s", "--sim-seed=5")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["seed 5; again:", "  pytest test_*::test_late --sim-seed 5"])


def test_what_blocks_or_takes_long_is_not_made_small(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import threading, time
        import pytest

        @pytest.mark.schedules(50)
        def test_it(simulated_pool):
            pool = simulated_pool(max_workers=2, watchdog_seconds=0.1)
            lock, first = threading.Lock(), []

            def task(number):
                with lock:
                    first.append(number)
                if first[0] == 2:
                    raise pytest.fail.Exception("Timeout (>1.0s) from pytest-timeout.")

            tasks = [pool.submit_task("t", task, (number,), max_retries=0) for number in (1, 2)]
            for result in pool.wait_for_all():
                if result.error is not None:
                    raise result.error.__cause__
        """
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["seed 0, token tc3-*, and not made small: *"])


def test_a_kept_failure_of_a_test_that_is_not_marked_any_more_is_forgotten(
    suite: pytest.Pytester,
) -> None:
    path = suite.makepyfile(_RACE)
    run(suite, cache=True).assert_outcomes(failed=1)
    path.write_text(_RACE.replace("@pytest.mark.schedules(200)", ""))
    run(suite, cache=True).assert_outcomes(passed=1)
    path.write_text(_RACE)
    run(suite, "--sim-schedules=1", cache=True).assert_outcomes(passed=1)


def test_a_replay_has_the_tokens_seed_wherever_the_pool_is_made(suite: pytest.Pytester) -> None:
    from simulation.explore.token import write_token

    suite.makepyfile(
        """
        import pytest

        @pytest.fixture
        def pool(simulated_pool):
            return simulated_pool()

        def test_fixture(pool):
            assert pool.config.seed == 5
            assert pool.get_task_result(pool.submit_task("t", int)).success

        def test_own(simulated_pool):
            assert simulated_pool().config.seed == 5
        """
    )
    name = "test_a_replay_has_the_tokens_seed_wherever_the_pool_is_made.py"
    for test, misfit in (
        ("test_fixture", "a fixture has made the pool already, *"),
        ("test_own", "the token has 10 choices, and the run made ?: *"),
    ):
        of = f"{name}::{test}"
        run(suite, "--sim-replay", write_token(5, [], of)).assert_outcomes(passed=1, deselected=1)
        result = run(suite, "--sim-replay", write_token(5, [0] * 9 + [1], of))
        result.assert_outcomes(failed=1, deselected=1)
        result.stdout.fnmatch_lines([f"--sim-replay: {misfit}"])


def test_a_race_in_plain_python_is_found_where_it_is_asked_for(suite: pytest.Pytester) -> None:
    path = suite.makepyfile(
        """
        import pytest

        class Counter:
            count = 0

            def add(self):
                self.count = self.count + 1

        @pytest.mark.schedules(200, faults=["preempt"])
        def test_race(simulated_pool):
            counter = Counter()
            pool = simulated_pool(max_workers=2)
            for _ in range(2):
                pool.submit_task("add", counter.add)
            pool.wait_for_all()
            assert counter.count == 2
        """
    )
    found = run(suite)
    found.assert_outcomes(failed=1)
    held_up = (
        f" preempt: task 'add' (pool-0.1) is held up at {path.name}:7 in add, and others run first"
    )
    found.stdout.fnmatch_lines([f"*{held_up}"])
    again = run(suite, f"{path.name}::test_race", "--sim-replay", token_of(found))
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"*{held_up}"])
