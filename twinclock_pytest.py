"""The pytest plugin: pools on virtual time, one test on both clocks, one test under many schedules.

It imports nothing of the project until one of its fixtures is used; what it does then stands in
``simulation/testing``.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from runtime import WorkerPool
    from simulation import SimulatedWorkerPool
    from simulation.testing.audit import Audit
    from simulation.testing.bench import Bench
    from simulation.testing.schedules import Found, Schedules

__all__ = ["simulated_pool", "worker_pool"]

_SEEDS: Final = 1 << 63
_KEPT_KEY: Final = "twinclock/failures"  # in pytest's cache: a token by the test that it fails

_BENCH: Final = pytest.StashKey["Bench"]()
_FOUND: Final = pytest.StashKey["Found"]()
_KEPT: Final = pytest.StashKey[dict[str, str]]()
_AUDIT: Final = pytest.StashKey["Audit"]()
_FIXTURES_POOL: Final = (
    "a fixture has made the pool already, and each schedule needs its own: make it in the test, "
    "with simulated_pool(...)"
)
_SECOND: Final = "simulation.testing.second"  # the plugin of the audit's own process


# ---------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which options there are."""
    group = parser.getgroup("simulation", "virtual time (twinclock)")
    group.addoption(
        "--sim-seed",
        type=_seed,
        default=0,
        metavar="SEED",
        help="the seed of simulated pools that a test gives none, and of the search for "
        "schedules; 0 by default",
    )
    group.addoption(
        "--sim-schedules",
        type=_count,
        default=None,
        metavar="N",
        help="run each test that is marked with schedules(n) under N schedules instead of n",
    )
    group.addoption(
        "--sim-replay",
        default=None,
        metavar="TOKEN",
        help="run the tests that use simulated pools under exactly this schedule; a failing test "
        "prints its token",
    )
    group.addoption(
        "--sim-audit",
        choices=["on", "off"],
        default=None,
        help="run each test that uses simulated pools a second time, in a process of another hash "
        "seed and garbage collection, and compare every decision; on by default (sim_audit=)",
    )
    parser.addini("sim_audit", "the determinism audit of simulated pools: on or off", default="on")


def _seed(text: str) -> int:
    return _whole(text, 0, _SEEDS, "from 0 to 2**63 - 1")


def _count(text: str) -> int:
    return _whole(text, 1, 1_000_000_001, "from 1 to 1000000000")


def _whole(text: str, least: int, past: int, bounds: str) -> int:
    import argparse  # noqa: PLC0415  # it costs nothing to suites that do not use it

    try:
        number = int(text)
    except ValueError:
        number = -1
    if not least <= number < past:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number {bounds}")
    return number


def pytest_configure(config: pytest.Config) -> None:
    """Say which markers there are, and look at what was given."""
    config.addinivalue_line(
        "markers",
        "schedules(n, faults=('order',)): run the test, which takes simulated_pool, under n "
        "schedules: other orders of what happens at one instant, and other faults where named",
    )
    config.addinivalue_line(
        "markers",
        "no_sim_audit(reason): do not run this test a second time to see whether it is "
        "deterministic",
    )
    audit = config.getini("sim_audit")
    if audit not in {"on", "off"}:
        raise pytest.UsageError(f"sim_audit = {audit!r}: must be on or off")
    token = config.getoption("--sim-replay")
    if token is not None:
        from simulation.explore.token import TokenError, read_token  # noqa: PLC0415

        try:
            read_token(token)
        except TokenError as error:
            raise pytest.UsageError(f"--sim-replay: {error}") from None


# ---------------------------------------------------------------- fixtures


@pytest.fixture
def simulated_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., SimulatedWorkerPool]]:
    """Makes pools on virtual time: ``simulated_pool(max_workers=4, seed=1)``.

    It takes the fields of ``WorkerPoolConfig`` or a ``config``, and the keyword arguments of
    ``SimulatedWorkerPool``; the seed is ``--sim-seed`` unless it is given. The pools are closed
    with the test.
    """
    from simulation.testing.bench import Bench  # noqa: PLC0415

    token = request.config.getoption("--sim-replay")
    seed: int = request.config.getoption("--sim-seed")
    if token is not None:
        from simulation.explore.token import read_token  # noqa: PLC0415

        seed, _ = read_token(token)
    audit = _audit(request.node)
    if audit is not None:
        audit.start()  # it gets ready while the test runs
    with Bench(seed) as bench:
        request.node.user_properties.append(("sim_seed", seed))
        request.node.stash[_BENCH] = bench
        yield bench.maker


@pytest.fixture(params=["real", "virtual"])
def worker_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., WorkerPool]]:
    """Makes pools, on real threads in one run of the test and on virtual time in the other:
    ``worker_pool(max_workers=4)``.

    It takes the fields of ``WorkerPoolConfig`` or a ``config``, and ``journal`` and
    ``observers``. The pools are closed with the test.
    """
    if request.param == "virtual":
        yield request.getfixturevalue("simulated_pool")
        return
    from simulation.testing.bench import Bench  # noqa: PLC0415

    with Bench(virtual=False) as bench:
        yield bench.maker


# ---------------------------------------------------------------- the test is run


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a test that uses simulated pools under its schedules, and audit it."""
    bench = pyfuncitem.stash.get(_BENCH, None)
    marker = pyfuncitem.get_closest_marker("schedules")
    original = pyfuncitem.obj
    if bench is None:
        if marker is not None and "worker_pool" not in pyfuncitem.fixturenames:
            pytest.fail("schedules: the test must take simulated_pool", pytrace=False)
        return (yield)
    if bench.pools and marker is not None:
        pytest.fail(f"schedules: {_FIXTURES_POOL}", pytrace=False)
    if inspect.iscoroutinefunction(original):
        return (yield)

    @functools.wraps(original)
    def scheduled(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        _run(pyfuncitem, bench, marker, lambda: original(*args, **kwargs))

    pyfuncitem.obj = scheduled
    try:
        return (yield)
    finally:
        pyfuncitem.obj = original


def _run(
    item: pytest.Function, bench: Bench, marker: pytest.Mark | None, test: Callable[[], object]
) -> None:
    """Run a test as the options and its marker say."""
    __tracebackhide__ = True
    from simulation.testing import schedules as s  # noqa: PLC0415

    config = item.config
    passing = (pytest.skip.Exception, pytest.exit.Exception)
    schedules = s.Schedules(bench, test, passing, lambda: _forget_output(config), _called(item))
    most, bench.faults = _marked(marker)
    token = config.getoption("--sim-replay")
    kept = _kept(config).get(item.nodeid)
    try:
        if token is not None:
            from simulation.explore.token import read_token  # noqa: PLC0415

            _, values = read_token(token)
            if bench.pools and any(values):
                pytest.fail(f"--sim-replay: {_FIXTURES_POOL}", pytrace=False)
            elif marker is None and not any(values):
                schedules.plainly()
            else:
                s.replay(schedules, values)
            return
        if marker is None or config.pluginmanager.hasplugin(_SECOND):
            schedules.plainly()
            if kept is not None:  # it is marked no longer
                item.user_properties.append(("sim_kept", "passed"))
        elif s.search(schedules, config.getoption("--sim-schedules") or most, bench.seed, kept):
            item.user_properties.append(("sim_kept", "passed"))
    except s.TapeError as error:
        misfit = str(error)
    else:
        _check_again(item, schedules)
        return
    finally:
        if schedules.found is not None:
            item.stash[_FOUND] = schedules.found
    pytest.fail(f"--sim-replay: {misfit}", pytrace=False)


def _forget_output(config: pytest.Config) -> None:
    """Drop what was printed and logged so far: a report shows the run that it is about."""
    import logging  # noqa: PLC0415

    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.read_global_capture()
    for handler in logging.getLogger().handlers:
        if type(handler).__module__ == "_pytest.logging" and hasattr(handler, "reset"):
            handler.reset()


def _marked(marker: pytest.Mark | None) -> tuple[int, frozenset[str]]:
    """How many schedules a test is to be run under, and which faults are on."""
    from simulation.explore.faults import check_faults  # noqa: PLC0415

    if marker is None:
        return 1, check_faults(["order"])
    given = dict(marker.kwargs)
    faults = given.pop("faults", ("order",))
    number = marker.args[0] if len(marker.args) == 1 else given.pop("n", None)
    if given or len(marker.args) > 1 or type(number) is not int or number < 1:
        told = ", ".join(repr(argument) for argument in marker.args)
        pytest.fail(
            f"schedules({told}): give one whole number, 1 or more, and perhaps faults=",
            pytrace=False,
        )
    try:
        return number, check_faults([faults] if isinstance(faults, str) else faults)
    except ValueError as error:
        message = str(error)
    pytest.fail(f"schedules: {message}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failure under which schedule it was, and how to run that again."""
    report = yield
    found: Found | None = item.stash.get(_FOUND, None)
    if call.when != "call" or not report.failed:
        return report
    if found is None:
        seed = dict(item.user_properties).get("sim_seed")
        if seed and item.config.getoption("--sim-replay") is None:  # 0 needs no option
            again = f"pytest {shlex.quote(_from_here(item))} --sim-seed {seed}"
            report.sections.append(("simulation", f"seed {seed}; again:\n  {again}"))
        return report
    report.user_properties.append(("sim_token", found.token))
    again = f"pytest {shlex.quote(_from_here(item))} --sim-replay {found.token}"
    lines = [f"seed {found.seed}, token {found.token}: {found.how}", *found.strikes]
    report.sections.append(("simulation", "\n".join([*lines, "again, exactly:", f"  {again}"])))
    return report


def _called(item: pytest.Item) -> str:
    """A test as its tokens know it: by its file's name and its own, wherever the file is."""
    path, colons, rest = item.nodeid.partition("::")
    return os.path.basename(path) + colons + rest


def _from_here(item: pytest.Item) -> str:
    """A test as it is named in the folder where pytest was started."""
    path, colons, rest = item.nodeid.partition("::")
    here = item.config.invocation_params.dir
    return os.path.relpath(item.config.rootpath / path, here) + colons + rest


# ---------------------------------------------------------------- the audit


def _audit(item: pytest.Item) -> Audit | None:
    """The session's audit, ``None`` where this test is not to be audited."""
    config = item.config
    wanted = config.getoption("--sim-audit") or config.getini("sim_audit")
    if wanted == "off" or config.getoption("--sim-replay") is not None:
        return None
    if config.pluginmanager.hasplugin(_SECOND) or item.get_closest_marker("no_sim_audit"):
        return None
    audit = config.stash.get(_AUDIT, None)
    if audit is None:
        from simulation.testing.audit import Audit  # noqa: PLC0415

        config.stash[_AUDIT] = audit = Audit(_arguments(config), config.invocation_params.dir)
        config.add_cleanup(audit.close)
    return audit


def _arguments(config: pytest.Config) -> list[str]:
    """What the audit's own process is started with: no more of the user's than it needs."""
    option = config.getoption
    given = [f"--rootdir={config.rootpath}", f"--import-mode={option('importmode')}"]
    given += ["-c", str(config.inipath)] if config.inipath else []
    for name in option("plugins") or ():
        given += ["-p", name]
    for name in option("override_ini") or ():
        given += ["-o", name]
    for name in option("pythonwarnings") or ():
        given += ["-W", name]
    # without addopts: a report or a cache that they name is the first process's alone
    given += ["-o", "addopts=", "-p", _SECOND, "-p", "no:cacheprovider", "--sim-audit=off"]
    given += [f"--sim-seed={option('--sim-seed')}"]
    given += ["-n0"] if config.pluginmanager.hasplugin("xdist") else []
    given += ["--no-cov"] if config.pluginmanager.hasplugin("_cov") else []
    return [*given, *config.args]


def _check_again(item: pytest.Function, schedules: Schedules) -> None:
    """Run a test that has passed in the audit's process, and compare."""
    first = schedules.first
    if item.config.pluginmanager.hasplugin(_SECOND):
        from simulation.testing.second import ran  # noqa: PLC0415

        ran(first)
        return
    audit = _audit(item) if first else None
    if audit is None:
        return
    from simulation.testing.audit import NotAuditedError, NotDeterministicError  # noqa: PLC0415

    try:
        audit.check(item.nodeid, first)
        return
    except NotAuditedError as error:
        item.user_properties.append(("sim_not_audited", str(error)))
        return
    except NotDeterministicError as error:
        message = str(error)
    pytest.fail(f"{message}\nto leave this test alone: @pytest.mark.no_sim_audit", pytrace=False)


# ---------------------------------------------------------------- failures are kept


def _kept(config: pytest.Config) -> dict[str, str]:
    """The tokens under which tests failed before; read once, by the controller for all workers."""
    kept = config.stash.get(_KEPT, None)
    if kept is None:
        inherited = getattr(config, "workerinput", {}).get("twinclock_kept")
        cache = getattr(config, "cache", None)
        if inherited is None and cache is not None:
            inherited = cache.get(_KEPT_KEY, None)
        config.stash[_KEPT] = kept = dict(inherited or {})
    return kept


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what was kept: all must run the tests in one order."""
    node.workerinput["twinclock_kept"] = dict(_kept(node.config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Replay a token with its own test alone; put those that failed under a kept schedule first."""
    token = config.getoption("--sim-replay")
    if token is not None and items:
        from simulation.explore.token import is_of  # noqa: PLC0415

        others = [item for item in items if not is_of(token, _called(item))]
        items[:] = [item for item in items if is_of(token, _called(item))]
        if not items and not hasattr(config, "workerinput"):
            shown = ", ".join(_called(item) for item in others[:3])
            raise pytest.UsageError(
                f"--sim-replay: {token!r} is of none of the {len(others)} tests here ({shown}"
                f"{', ...' if len(others) > 3 else ''}): it fits only the test that printed it, "
                f"under the same name and parameters"
            )
        config.hook.pytest_deselected(items=others)
    kept = _kept(config)
    if kept:
        items.sort(key=lambda item: item.nodeid not in kept)


class _Keeper:
    """Keeps failing schedules in pytest's cache, and tells of tests that could not be audited; in
    the process that hears of all reports.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._cache = getattr(config, "cache", None)
        self._not_audited: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a new one, and let go of one that passes now."""
        if report.when != "call" or not report.user_properties:
            return
        told = dict(report.user_properties)
        if "sim_not_audited" in told:
            self._not_audited.setdefault(str(told["sim_not_audited"]), []).append(report.nodeid)
        if self._cache is None or not ("sim_token" in told or told.get("sim_kept") == "passed"):
            return
        kept = dict(self._cache.get(_KEPT_KEY, None) or {})
        if "sim_token" in told:
            kept[report.nodeid] = told["sim_token"]
        else:
            kept.pop(report.nodeid, None)
        self._cache.set(_KEPT_KEY, kept)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what could not be audited, and why."""
        for why, tests in self._not_audited.items():
            count = f"{len(tests)} test{'s' if len(tests) > 1 else ''}, {tests[0]} first"
            terminalreporter.write_line(
                f"determinism audit: not run a second time were {count}: {why}"
            )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to listen to reports."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Keeper(session.config), "twinclock-keeper")
