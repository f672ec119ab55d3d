"""Virtual time: simulated pools, exact replay, what-if."""

from simulation.distributions import Constant, Empirical, Exponential, LogNormal, Uniform
from simulation.models import Fails, Modelled
from simulation.pool import SimulatedWorkerPool

__all__ = [
    "Constant",
    "Empirical",
    "Exponential",
    "Fails",
    "LogNormal",
    "Modelled",
    "SimulatedWorkerPool",
    "Uniform",
]
