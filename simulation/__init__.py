"""Virtual time: simulated pools, exact replay, what-if."""

from simulation.distributions import Constant, Empirical, Exponential, LogNormal, Uniform
from simulation.explore import World, explore, replay_token
from simulation.models import Fails, Modelled
from simulation.pool import SimulatedWorkerPool
from simulation.replay import NondeterminismError, replay
from simulation.whatif.answer import DishonestError
from simulation.whatif.forecast import Forecast, forecast
from simulation.whatif.predict import what_if
from simulation.whatif.sweep import sweep
from simulation.world.errors import BlockedOutsideError, DeadlockError, NothingLeftError

__all__ = [
    "BlockedOutsideError",
    "Constant",
    "DeadlockError",
    "DishonestError",
    "Empirical",
    "Exponential",
    "Fails",
    "Forecast",
    "LogNormal",
    "Modelled",
    "NondeterminismError",
    "NothingLeftError",
    "SimulatedWorkerPool",
    "Uniform",
    "World",
    "explore",
    "forecast",
    "replay",
    "replay_token",
    "sweep",
    "what_if",
]
