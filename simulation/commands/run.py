"""``run SCENARIO``: a synthetic workload."""

from __future__ import annotations

from array import array

import click

from simulation.commands import options
from simulation.commands.common import FINE, REFUSED, console, print_json, warn
from simulation.commands.progress import Progress

__all__ = ["run"]


@click.command(short_help="Simulate a scenario.")
@click.argument("scenario")
@options.runs
@options.seed
@options.force
@options.as_json
def run(scenario: str, runs: int | None, seed: int, force: bool, as_json: bool) -> int:
    """Simulate the synthetic workload of SCENARIO, a TOML file.

    \b
    Example:
      python -m simulation run examples/outage.toml --runs 100
    """
    from simulation.outcome import measure, task_seconds  # noqa: PLC0415  # start-up time
    from simulation.scenario import read_scenario  # noqa: PLC0415  # start-up time
    from simulation.simulate import simulate  # noqa: PLC0415  # start-up time
    from simulation.whatif.predict import DEFAULT_RUNS  # noqa: PLC0415  # start-up time
    from simulation.whatif.summary import summarise_scenario  # noqa: PLC0415  # start-up time

    read = read_scenario(scenario)
    settings = read.config.core_settings()
    wanted = runs or (DEFAULT_RUNS if read.workload.random else 1)
    replications = []
    seconds: list[array[float]] = []
    unfinished = 0
    with Progress() as progress:
        for index in range(wanted):
            done = simulate(read.workload, settings, seed + index)
            replications.append(measure(done))
            seconds.append(array("d", task_seconds(done)))
            unfinished = max(unfinished, done.unfinished)
            progress(index + 1, wanted)
    outcome = summarise_scenario(replications, seconds, seed)
    if not unfinished or force:
        if as_json:
            print_json({**outcome, "runs": wanted, "seed": seed})
        else:
            from simulation.render.whatif import show_outcome  # noqa: PLC0415  # start-up time

            show_outcome(console(), outcome, wanted, seed, random=read.workload.random)
    if unfinished and not force:
        warn(
            f"refused: up to {unfinished} of {read.workload.tasks} tasks never end: attempts that "
            f"never return hold the workers, or there is no timeout; what the others come to would "
            f"mislead (--force answers anyway)"
        )
        return REFUSED
    return FINE
