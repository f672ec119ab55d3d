"""The planted bugs: each is one text of one file of the core, and what stands there instead."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """A planted bug.

    Args:
        name: what it is.
        module: the file in ``runtime/core``.
        old: the text that it replaces; it must stand there exactly once.
        new: what stands there instead.
    """

    name: str
    module: str
    old: str
    new: str


def _s(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, "scheduler", old, new)


MUTANTS: Final = (
    _s("a retry too many", "if task.retries_left == 0:", "if task.retries_left < 0:"),
    _s("a retry too few", "if task.retries_left == 0:", "if task.retries_left <= 1:"),
    _s("retries are not counted down", "task.retries_left -= 1", "task.retries_left -= 0"),
    _s("what is not retryable is retried", "not failure.retryable:", "failure.retryable is None:"),
    _s(
        "a lost wake-up of a backoff",
        "        self._wake_by(due_at)\n",
        "",
    ),
    _s("a lost wake-up of a deadline", "                self._wake_by(deadline)\n", ""),
    _s(
        "a lost wake-up of a timeout",
        "                self.wake_at_ns = timeout_at\n",
        "                pass\n",
    ),
    _s("the next wake forgets deadlines", "self._deadlines[0][0] < wake:", "wake < 0:"),
    _s("the next wake forgets backoffs", "self._backoffs[0][0] < wake:", "wake < 0:"),
    _s(
        "a timer leaks after a return",
        "        task.running_ns += ran_ns\n        task.timeout_at_ns = None\n",
        "        task.running_ns += ran_ns\n",
    ),
    _s(
        "a timer leaks after a loss",
        "        task.timeout_at_ns = None\n        out.append(r.AbandonAttempt",
        "        out.append(r.AbandonAttempt",
    ),
    _s(
        "a result told twice is taken",
        "        if held is None:\n            raise",
        "        if held is None:\n            return\n            raise",
    ),
    _s(
        "an old attempt's result is taken: no fence",
        "if task is None or task.attempt != s.attempt or task.state != _RUNNING:\n"
        "            self._late(now, s, out)\n            return\n        slot",
        "if task is None or task.state != _RUNNING:\n"
        "            self._late(now, s, out)\n            return\n        slot",
    ),
    _s(
        "an old attempt's failure is taken: no fence",
        "if task is None or task.attempt != s.attempt or task.state != _RUNNING:\n"
        "            self._late(now, s, out)\n            return\n        self._retry",
        "if task is None or task.state != _RUNNING:\n"
        "            self._late(now, s, out)\n            return\n        self._retry",
    ),
    _s("a late result is not told", "        out.append(r.DropResult(s.task, s.attempt))\n", ""),
    _s(
        "a late result keeps its slot",
        "            self._free.append(held)\n",
        "            pass\n",
    ),
    _s("a replaced attempt counts for ever", "self._replaced -= 1", "self._replaced -= 0"),
    _s(
        "the cap of replacements is ignored",
        "freed = self._replaced < self.settings.max_abandoned",
        "freed = True",
    ),
    _s(
        "the cap of replacements is off by one",
        "freed = self._replaced < self.settings.max_abandoned",
        "freed = self._replaced <= self.settings.max_abandoned",
    ),
    _s(
        "a lost attempt's slot is given away twice",
        "-1 if freed else slot\n",
        "slot\n",
    ),
    _s(
        "cancel leaks the slot",
        "            self._replaced += 1\n            self._free.append(slot)\n",
        "            self._replaced += 1\n",
    ),
    _s(
        "cancel of a running task is told as a timeout",
        'outcome: r.Outcome = "cancelled" if cause == Cause.CANCEL_REQUESTED else "timeout"',
        'outcome: r.Outcome = "timeout"',
    ),
    _s(
        "cancel misses delayed tasks",
        '                raise UnknownTask(s, "no task has this number", self.story(s.task))\n'
        "            return\n",
        '                raise UnknownTask(s, "no task has this number", self.story(s.task))\n'
        "            return\n        if task.state == _DELAYED:\n            return\n",
    ),
    _s(
        "abort misses delayed tasks",
        "            if task.state == _RUNNING:\n                task.retries_left = 0",
        "            if task.state == _DELAYED:\n                continue\n"
        "            if task.state == _RUNNING:\n                task.retries_left = 0",
    ),
    _s(
        "abort lets running tasks retry",
        "                task.retries_left = 0\n",
        "                pass\n",
    ),
    _s(
        "abort misses the last task",
        "for task in list(self._tasks.values()):\n            if task.state == _RUNNING:",
        "for task in list(self._tasks.values())[:-1]:\n            if task.state == _RUNNING:",
    ),
    _s(
        "drain accepts",
        "        if self._draining:\n            self._end(now, task, Cause.ABORT",
        "        if self._draining and self._stopped:\n"
        "            self._end(now, task, Cause.ABORT",
    ),
    _s(
        "drain accepts where a slot is free",
        "if alone and self._free and deadline is None and not self._draining:",
        "if alone and self._free and deadline is None:",
    ),
    _s(
        "workers are stopped before the last end",
        "if self._draining and not self._tasks and not self._stopped:",
        "if self._draining and len(self._tasks) <= 1 and not self._stopped:",
    ),
    _s(
        "workers are stopped twice",
        "            self._stopped = True\n",
        "            self._stopped = not self._abandoned\n",
    ),
    _s(
        "a deadline is ignored while it runs",
        '        self._end(now, task, Cause.DEADLINE_PASSED, "deadline passed", out)\n\n',
        "        if task.state != _RUNNING:\n"
        '            self._end(now, task, Cause.DEADLINE_PASSED, "deadline passed", out)\n\n',
    ),
    _s(
        "a retry may pass the deadline",
        "if deadline is not None and due_at >= deadline:",
        "if deadline is not None and due_at > deadline + 10**12:",
    ),
    _s(
        "a deadline is kept twice",
        "                heapq.heappush(self._deadlines, (deadline, number))\n",
        "                heapq.heappush(self._deadlines, (deadline, number))\n"
        "                heapq.heappush(self._deadlines, (deadline, number))\n",
    ),
    _s(
        "a timeout fires before a result of its instant",
        "at_now_too = rank > r.RANK_TIMEOUT",
        "at_now_too = rank >= r.RANK_COMPLETION",
    ),
    _s(
        "a timeout is 1 ns early",
        "task.timeout_at_ns = timeout_at = now + limit",
        "task.timeout_at_ns = timeout_at = now + limit - 1",
    ),
    _s(
        "a limit counts from the first attempt",
        "task.timeout_at_ns = timeout_at = now + limit",
        "task.timeout_at_ns = timeout_at = (task.started_at_ns or 0) + limit",
    ),
    _s(
        "attempts begin at 0",
        "task.attempt = attempt = task.attempt + 1",
        "task.attempt = attempt = task.attempt + (task.slot >= 0)",
    ),
    _s("retry-after is ignored", "wait = max(delay, failure.retry_after_ns)", "wait = delay"),
    _s(
        "retry-after shortens the backoff",
        "wait = max(delay, failure.retry_after_ns)",
        "wait = failure.retry_after_ns // 8",
    ),
    _s(
        "a completion frees no slot",
        "        self._slots[slot] = None\n        self._free.append(slot)\n        task.state",
        "        self._slots[slot] = None\n        task.state",
    ),
    _s("one more worker is none more", "        if more > 0:\n", "        if more > 1:\n"),
    _s(
        "all that are free are retired",
        "        many = min(len(free), self._in_service - self.workers)\n",
        "        many = len(free)\n",
    ),
    _s(
        "a slot that takes up nothing is kept",
        "            if self._in_service > self.workers:\n",
        "            if self._in_service > self.workers + 1:\n",
    ),
    _s(
        "what is too many starts first",
        "            if self._in_service > self.workers:\n"
        "                self._retire(now_ns, out)\n"
        "            if self._ready.live:\n"
        "                self._dispatch(now_ns, out)\n",
        "            if self._ready.live:\n"
        "                self._dispatch(now_ns, out)\n"
        "            if self._free and self._in_service > self.workers:\n"
        "                self._retire(now_ns, out)\n",
    ),
    _s(
        "the first slots are retired first",
        "        going = sorted(free)[-many:]\n"
        "        free[:] = [slot for slot in free if slot < going[0]]\n",
        "        going = sorted(free)[:many]\n"
        "        free[:] = [slot for slot in free if slot > going[-1]]\n",
    ),
    _s(
        "slots that come back are new ones",
        "            back, self._retired = self._retired[:more], self._retired[more:]\n",
        "            back: list[int] = []\n",
    ),
    _s(
        "a retirement is not told",
        "        out.extend([r.RetireSlot(slot) for slot in reversed(going)])\n",
        "",
    ),
    _s(
        "only one task starts a step",
        "        while free and ready.live:\n",
        "        if free and ready.live:\n",
    ),
    _s(
        "what ended while it waited stays in line",
        "            self._ready.discard_one()\n",
        "            pass\n",
    ),
    _s(
        "time in line is counted from the submission",
        "task.queued_ns += now - task.ready_at_ns\n        limit",
        "task.queued_ns += now - task.submitted_at_ns\n        limit",
    ),
    _s(
        "parts of an instant are taken as they come",
        "for part in sorted(s.stimuli, key=r.order_of):",
        "for part in s.stimuli:",
    ),
    _s(
        "a task that failed is forgotten without its state",
        "        self._fate[number] = _ENDED + state\n",
        "        self._fate[number] = _ENDED + TaskState.FAILED\n",
    ),
    Mutant(
        "wrong backoff exponent", "backoff", "base_ns << min(retry - 1,", "base_ns << min(retry,"
    ),
    Mutant(
        "the backoff has no cap",
        "backoff",
        "return min(cap_ns, base_ns <<",
        "return max(0, base_ns <<",
    ),
    Mutant(
        "jitter is reused by each retry",
        "backoff",
        "return low + int(uniform(seed, task, retry, Purpose.BACKOFF) * (high - low + 1))",
        "return low + int(uniform(seed, task, 1, Purpose.BACKOFF) * (high - low + 1))",
    ),
    Mutant(
        "decorrelated jitter forgets its cap",
        "backoff",
        "return min(cap_ns, drawn)",
        "return drawn",
    ),
    Mutant(
        "an inverted priority",
        "ready",
        "key = priority if ageing is None else task.ready_at_ns + priority * ageing\n"
        "            heapq.heappush(self._heads, (key, priority))",
        "key = -priority if ageing is None else task.ready_at_ns + priority * ageing\n"
        "            heapq.heappush(self._heads, (key, priority))",
    ),
    Mutant(
        "ageing is inverted",
        "ready",
        "key = priority if ageing is None else task.ready_at_ns + priority * ageing\n"
        "            heapq.heappush(self._heads, (key, priority))",
        "key = priority if ageing is None else task.ready_at_ns - priority * ageing\n"
        "            heapq.heappush(self._heads, (key, priority))",
    ),
    Mutant(
        "ageing is forgotten where the head changes",
        "ready",
        "key = fifo[0].ready_at_ns + priority * self._ageing_ns",
        "key = task.ready_at_ns + priority * self._ageing_ns",
    ),
    Mutant("last ready, first started", "ready", "fifo.popleft()", "fifo.pop()"),
    Mutant(
        "who ended in line is started",
        "ready",
        "            if task.state == _READY:\n                self.live",
        "            if task.state != 99:\n                self.live",
    ),
)
