"""What stands in for the slow, flaky services of an orchestrator: waits, failures, late answers.

How long a question takes and whether it fails depends on its number alone, so every run of the
examples does the same work.
"""

from __future__ import annotations

import random
import time

from concurrency import current_attempt


class ServiceUnavailableError(Exception):
    """The service answered 503."""


def ask(number: int) -> str:
    """Answer a micro question: 20 to 200 ms of waiting; one in eight fails at first, one in a
    hundred takes half a second more at first, and heeds no token.

    Args:
        number: the question's number.

    Returns:
        The answer.

    Raises:
        ServiceUnavailableError: now and then.
    """
    attempt = current_attempt()
    luck = random.Random(number * 10 + attempt.number)
    attempt.sleep(luck.uniform(0.02, 0.2))
    if attempt.number == 1 and number % 100 == 17:
        time.sleep(0.5)  # past the demo's timeout: the pool goes on, and the answer comes too late
    if attempt.number == 1 and luck.random() < 0.125:
        raise ServiceUnavailableError(f"question {number}")
    return f"answer {number}"


def score(number: int, answer: str | None) -> float:
    """Score an answer: a few milliseconds.

    Args:
        number: the question's number.
        answer: its answer, ``None`` where there is none.

    Returns:
        A score from 0 to 1.
    """
    current_attempt().sleep(0.004)
    return 0.0 if answer is None else random.Random(number).random()
