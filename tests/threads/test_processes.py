"""Forks, signals and the interpreter's exit, each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.journal import read_journal
from tests.threads.helpers import DEADLINE, run_script

START = """
import contextlib, faulthandler, gc, logging, os, random, signal, sys, threading, time
faulthandler.dump_traceback_later(25, exit=True)  # a hang shows where
from runtime import *
def config(**fields):
    return WorkerPoolConfig(**{"task_timeout_seconds": None, "backoff_base_seconds": 0.0, **fields})
"""

# ---------------------------------------------------------------- fork

FORK = """
pool = WorkerPool(config(max_workers=2))
done = pool.submit_task("done", lambda: 1)
assert pool.get_task_result(done).success
gate = threading.Event()
waits = pool.submit_task("waits", gate.wait)
held, release = threading.Event(), threading.Event()
def hold():
    pool._host.held(lambda: (held.set(), release.wait()))
if HELD:
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
calls = {
    "submit": lambda: pool.submit_task("t", print),
    "result": lambda: pool.get_task_result(waits),
    "all": lambda: pool.wait_for_all(),
    "first": lambda: pool.wait_for_all(timeout=1, return_when="FIRST_EXCEPTION"),
    "cancel": lambda: pool.cancel(waits),
    "abort": lambda: pool.abort_pending_tasks(),
    "drain": lambda: pool.drain(),
}
child = os.fork()
if child == 0:
    for name, call in calls.items():
        try:
            call()
        except ForkedPoolError as error:
            assert "new pool in the child" in str(error), error
        else:
            print("no error by", name, flush=True)
            os._exit(9)
    assert pool.get_task_result(done).result == 1
    pool.shutdown()
    with pool:
        pass
    with WorkerPool(config(max_workers=2)) as own:
        own.submit_task("t", lambda: 2)
        assert own.wait_for_all()[0].result == 2
    sys.exit(7)
release.set()
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
gate.set()
assert pool.get_task_result(waits).result is True
assert pool.get_task_result(pool.submit_task("t", lambda: 3)).result == 3
pool.shutdown()
print("fine")
"""


@pytest.mark.parametrize("held", [False, True], ids=["", "while a thread decides"])
def test_a_forked_child_is_refused_at_once_and_the_parent_goes_on(held: bool) -> None:
    # without faulthandler, whose watchdog a forked child waits for at its exit, for ever
    start = "\n".join(line for line in START.splitlines() if "dump_traceback" not in line)
    done = run_script(f"{start}\nHELD = {held}\n{FORK}")
    assert done.stdout.splitlines() == ["fine"]


# ---------------------------------------------------------------- exit


def test_an_interpreter_that_exits_finishes_short_tasks() -> None:
    code = """
pool = WorkerPool(config(max_workers=2))
for n in range(50):
    pool.submit_task(f"t{n}", lambda: os.write(1, b"done\\n"))
"""
    assert run_script(START + code).stdout.split() == ["done"] * 50


def test_a_stuck_task_cannot_hold_the_process() -> None:
    code = """
pool = WorkerPool(config(max_workers=1, exit_grace_seconds=0.2))
pool.submit_task("the stuck one", threading.Event().wait)
pool.submit_task("behind it", print)
"""
    done = run_script(START + code, timeout=15)
    assert "the stuck one, behind it" in done.stderr


@pytest.mark.parametrize("how", ["shutdown(wait=False)", "shutdown()", "drain()", "now"])
def test_the_journal_is_whole_however_the_process_ends(tmp_path: Path, how: str) -> None:
    code = """
pool = WorkerPool(config(max_workers=2), journal=sys.argv[1])
for n in range(300):
    pool.submit_task(f"t{n}", lambda: 1)
pool.HOW
if "wait=False" in "HOW":
    pool.wait_for_all()
""".replace("HOW", how)
    run_script(START + code, str(tmp_path / "j"))
    journal = read_journal(tmp_path / "j")
    assert journal.complete
    assert sum(type(r.stimulus).__name__ == "TaskSubmitted" for r in journal.records) == 300


def test_a_forgotten_pools_journal_is_whole(tmp_path: Path) -> None:
    code = """
pool = WorkerPool(config(max_workers=2), journal=sys.argv[1])
for n in range(300):
    pool.submit_task(f"t{n}", lambda: 1)
del pool
gc.collect()
"""
    run_script(START + code, str(tmp_path / "j"))
    assert read_journal(tmp_path / "j").complete


# ---------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
logging.getLogger("twinclock").setLevel(logging.ERROR)
from runtime.journal import read_journal
folder, rounds = sys.argv[1], int(sys.argv[2])
def interrupt_soon(after):
    def later():
        threading.Event().wait(after)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=later, daemon=True).start()

def submits(pool):
    while True:
        pool.submit_task("t", lambda: 1)

def waits(pool):
    while True:
        for n in range(20):
            pool.submit_task("t", lambda: 1, timeout=9.0)
        pool.wait_for_all()

def stops(pool):
    while True:
        for n in range(20):
            pool.cancel(pool.submit_task("t", lambda: 1))
        pool.abort_pending_tasks()
        pool.get_summary_metrics()

def sits(pool):
    gate = threading.Event()
    pool.get_task_result(pool.submit_task("t", lambda: current_attempt().sleep(1000)))

assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
for n in range(rounds):
    draw = random.Random(n)
    path = f"{folder}/{n}"
    caught = False
    began = time.monotonic()
    try:
        with WorkerPool(config(max_workers=3, exit_grace_seconds=1.0), journal=path) as pool:
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            interrupt_soon(draw.uniform(0.0, 0.03))
            (submits, waits, stops, sits)[n % 4](pool)
    except KeyboardInterrupt:
        caught = True
    assert caught
    assert time.monotonic() - began < 15
    assert pool._host.refusal is None, pool._host.refusal
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert read_journal(path).complete
    summary = pool.get_summary_metrics()
    assert summary["pending"] == summary["running"] == summary["retrying"] == 0, summary
print("fine")
"""


def test_control_c_at_any_moment_leaves_a_whole_pool(tmp_path: Path) -> None:
    done = run_script(START + INTERRUPTED, str(tmp_path), "24")
    assert done.stdout.splitlines() == ["fine"]


UNCAUGHT = """
def work(n):
    current_attempt().sleep(0.001)
with WorkerPool(config(max_workers=3, exit_grace_seconds=1.0), journal=sys.argv[1]) as pool:
    print("ready", flush=True)
    while True:
        for n in range(30):
            pool.submit_task("t", work, (n,))
        pool.wait_for_all()
"""


@pytest.mark.parametrize("presses", [1, 2, 5])
def test_control_c_ends_the_process_promptly(tmp_path: Path, presses: int) -> None:
    path = tmp_path / "j"
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", START + UNCAUGHT, str(path)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT, errors
    assert "KeyboardInterrupt" in errors
    assert "PoolBrokenError" not in errors
    journal = read_journal(path)
    assert journal.damage is None
    if presses == 1:
        assert journal.complete


def test_a_users_own_handler_is_respected() -> None:
    code = """
seen = []
def mine(signum, frame):
    seen.append(signum)
signal.signal(signal.SIGINT, mine)
with WorkerPool(config()) as pool:
    assert signal.getsignal(signal.SIGINT) is mine
    os.kill(os.getpid(), signal.SIGINT)
    assert pool.get_task_result(pool.submit_task("t", lambda: 1)).success
assert signal.getsignal(signal.SIGINT) is mine and seen == [signal.SIGINT]
signal.signal(signal.SIGINT, signal.default_int_handler)
with WorkerPool(config()) as pool:
    signal.signal(signal.SIGINT, mine)  # meanwhile
assert signal.getsignal(signal.SIGINT) is mine
signal.signal(signal.SIGINT, signal.SIG_IGN)
with WorkerPool(config()) as pool:
    os.kill(os.getpid(), signal.SIGINT)
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""
    run_script(START + code)


def test_the_handler_is_put_back_after_the_last_pool() -> None:
    code = """
default = signal.default_int_handler
def now():
    return signal.getsignal(signal.SIGINT)
with WorkerPool(config()):
    guarding = now()
    assert guarding is not default
    with WorkerPool(config()):
        pass
    assert now() is guarding
assert now() is default
def elsewhere():
    with WorkerPool(config()):
        assert now() is default  # only the main thread may set handlers
thread = threading.Thread(target=elsewhere)
thread.start(); thread.join()
pool = WorkerPool(config())
thread = threading.Thread(target=pool.shutdown)
thread.start(); thread.join()
with WorkerPool(config()):
    assert now() is guarding
assert now() is default, "a pool closed by another thread left its handler behind"
"""
    run_script(START + code)


BROKEN = """
logging.getLogger("twinclock").setLevel(logging.CRITICAL + 1)
class Boom(Exception): pass
rang = []
def boom(signum, frame):
    rang.append(signum)  # Python ignores what is raised in a weak reference's callback
    raise Boom
signal.signal(signal.SIGALRM, boom)
def submits(pool):
    while not rang:
        pool.submit_task("t", lambda: 1)
def stops(pool):
    while not rang:
        for n in range(300):
            pool.submit_task("t", lambda: 1, priority=n)
        pool.abort_pending_tasks()
def asks(pool):
    pool.submit_task("t", lambda: 1)
    while not rang:
        pool.get_summary_metrics()
        pool.wait_for_all()
broken = 0
for n in range(int(sys.argv[1])):
    draw = random.Random(n)
    pool = WorkerPool(config(max_workers=2, enable_instrumentation=False))
    told = []
    rang.clear()
    def ask():
        try:
            while True:
                pool.get_task_result(pool.submit_task("asks", lambda: 1))
        except RuntimeError as error:
            told.append(error)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.0002, 0.01))
        (submits, stops, asks)[n % 3](pool)
    except Boom:
        pass
    except PoolBrokenError as error:
        assert isinstance(error.__cause__, Boom)
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        pool.get_task_result(pool.submit_task("after", lambda: 1))
        pool.get_summary_metrics()
        pool.abort_pending_tasks()
    except PoolBrokenError:
        broken += 1
    pool.shutdown()
    thread.join(10)
    assert not thread.is_alive() and len(told) == 1, (n, told)
    if pool._host.refusal is None:
        from runtime.core.invariants import check
        check(pool._engine.core)
print("fine")
"""


def test_a_signal_handler_that_raises_breaks_the_pool_at_worst() -> None:
    done = run_script(START + BROKEN, "150")
    assert done.stdout.splitlines() == ["fine"]


# ---------------------------------------------------------------- signals that stop

STOPPING = """
signals = [getattr(signal, name) for name in sys.argv[1:]]
submitted = threading.Event()
before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
def works(n):
    if n == 3:
        submitted.wait()
        for count, one in enumerate(signals, 1):
            os.kill(os.getpid(), one)
            while len(stopping.seen) < count:
                current_attempt().sleep(0.001)
    current_attempt().sleep(0.01 if len(signals) == 1 else 1000)
    return n
try:
    with (
        WorkerPool(config(max_workers=4, exit_grace_seconds=0.1)) as pool,
        stop_on_signals(pool) as stopping,
    ):
        for n in range(40):
            pool.submit_task(f"t{n}", works, (n,))
        submitted.set()
        results = pool.wait_for_all()
        assert stopping.seen == signals, stopping.seen
        assert [result.result for result in results] == list(range(40))
        try:
            pool.submit_task("too late", int)
        except PoolClosedError:
            print("drained")
finally:
    after = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert after == before, after
    summary = pool.get_summary_metrics()
    print(summary["completed"], summary["cancelled"])
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_drains(name: str) -> None:
    done = run_script(START + STOPPING, name)
    assert done.stdout.splitlines() == ["drained", "40 0"]


@pytest.mark.parametrize(("second", "code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_the_second_signal_exits(second: str, code: int) -> None:
    other = "SIGTERM" if second == "SIGINT" else "SIGINT"
    done = run_script(START + STOPPING, other, second, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == ["0 40"]


def test_only_the_main_thread_may_say_what_signals_do() -> None:
    code = """
def elsewhere():
    with WorkerPool(config()) as pool:
        try:
            with stop_on_signals(pool):
                pass
        except RuntimeError as error:
            print(error)
thread = threading.Thread(target=elsewhere); thread.start(); thread.join()
"""
    assert "enter it there" in run_script(START + code).stdout


def test_a_signal_that_nobody_may_handle_leaves_the_others_as_they_were() -> None:
    code = """
with WorkerPool(config()) as pool:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stop_on_signals(pool, [signal.SIGTERM, signal.SIGKILL]):
            pass
    except OSError:
        print("refused")
    assert signal.getsignal(signal.SIGTERM) is before
"""
    assert run_script(START + code).stdout.splitlines() == ["refused"]


def test_nested_pools_all_drain() -> None:
    code = """
with WorkerPool(config()) as p, stop_on_signals(p), WorkerPool(config()) as q, stop_on_signals(q):
    os.kill(os.getpid(), signal.SIGTERM)
    for pool in (p, q):
        try:
            pool.submit_task("too late", int)
        except PoolClosedError:
            print("drained")
"""
    assert run_script(START + code).stdout.splitlines() == ["drained"] * 2


CALLS_BACK = """
logging.getLogger("twinclock").setLevel(logging.CRITICAL + 1)
told = []
def handler(signum, frame):
    pool.submit_task("by a handler", int)
    try:
        pool.get_summary_metrics()
    except ReentrantCallError:
        told.append(signum)
signal.signal(signal.SIGALRM, handler)
with WorkerPool(config(max_workers=2, enable_instrumentation=False)) as pool:
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
    ends = time.monotonic() + 15
    while not told and time.monotonic() < ends:
        for n in range(50):
            pool.submit_task("t", int)
        pool.abort_pending_tasks()
        pool.get_summary_metrics()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert pool.get_task_result(pool.submit_task("after", int)).success
    assert len(pool.wait_for_all()) == pool.get_summary_metrics()["total_tasks"]
print("told" if told else "never met")
"""


def test_a_signal_handler_that_calls_the_pool_in_mid_decision_is_put_off_or_told() -> None:
    assert run_script(START + CALLS_BACK).stdout.splitlines() == ["told"]


def test_a_destructor_that_calls_the_pool_in_mid_decision_is_put_off_or_told() -> None:
    code = """
seen = []
class Calls:
    def __del__(self):
        pool.submit_task("by a destructor", int)
        try:
            pool.abort_pending_tasks()
        except ReentrantCallError as error:
            seen.append(error)
def collected_in_mid_decision():
    cycle = Calls(); cycle.itself = cycle; del cycle
    gc.collect()
with WorkerPool(config(max_workers=1)) as pool:
    pool._host.held(collected_in_mid_decision)
    assert "destructor" in str(seen.pop())
    assert pool.get_task_result(pool.submit_task("after", int)).success
    assert pool.get_summary_metrics()["total_tasks"] == 2
"""
    run_script(START + code)
