"""Scenarios of ordinary functions, drawn from a seed; run in every Python that is here."""

from __future__ import annotations

import queue
import random
import threading
import time

from runtime import WorkerPoolConfig
from simulation import SimulatedWorkerPool


def scenario(seed: int, carrier: str) -> tuple[str, list[object], float]:
    """Tasks that lock, queue, start threads, fail, time out and submit, drawn from a seed."""
    draw = random.Random(seed)
    config = WorkerPoolConfig(
        max_workers=draw.randint(1, 6),
        max_retries=draw.randint(0, 3),
        task_timeout_seconds=draw.choice([None, 5.0, 20.0]),
        backoff_base_seconds=draw.choice([0.0, 1.0]),
        enable_instrumentation=False,
    )
    seen: list[object] = []
    with SimulatedWorkerPool(config, seed, carrier=carrier) as pool:
        locks = [threading.Lock(), threading.RLock()]
        items: queue.Queue[int] = queue.Queue(2)
        event = threading.Event()

        def task(number: int, steps: list[int]) -> int:
            for step in steps:
                match step % 7:
                    case 0:
                        time.sleep(step % 4)
                    case 1:
                        with locks[step % 2]:
                            time.sleep(step % 3)
                    case 2:
                        try:
                            items.put(number, timeout=step % 5)
                        except queue.Full:
                            seen.append(("full", number))
                    case 3:
                        try:
                            seen.append((number, items.get(timeout=step % 5)))
                        except queue.Empty:
                            seen.append(("empty", number))
                    case 4:
                        thread = threading.Thread(target=time.sleep, args=(step % 6,))
                        thread.start()
                        thread.join(timeout=2)
                        seen.append(thread.is_alive())
                    case 5:
                        seen.append(event.wait(timeout=step % 3))
                        event.set()
                    case _:
                        if step % 4 == 0:
                            raise ConnectionError(number)
                seen.append((number, time.monotonic()))
            return number

        for number in range(draw.randint(1, 12)):
            steps = [draw.randrange(1000) for _ in range(draw.randint(1, 8))]
            pool.submit_task(f"t{number}", task, (number, steps), priority=draw.randint(0, 2))
        seen.append([result.success for result in pool.wait_for_all()])
        return pool.digest, seen, pool.now
