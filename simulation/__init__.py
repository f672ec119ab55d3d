"""Virtual time: simulated pools, exact replay, what-if."""

from simulation.distributions import Constant, Empirical, Exponential, LogNormal, Uniform
from simulation.explore import World, explore, replay_token
from simulation.models import Fails, Modelled
from simulation.pool import SimulatedWorkerPool
from simulation.replay import NondeterminismError, replay
from simulation.whatif import DishonestError, what_if

__all__ = [
    "Constant",
    "DishonestError",
    "Empirical",
    "Exponential",
    "Fails",
    "LogNormal",
    "Modelled",
    "NondeterminismError",
    "SimulatedWorkerPool",
    "Uniform",
    "World",
    "explore",
    "replay",
    "replay_token",
    "what_if",
]
