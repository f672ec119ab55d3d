"""How sure one can be of what simulated runs came to; no file in here knows a pool."""

from simulation.statistics.intervals import Interval, intervals, student
from simulation.statistics.multiple import holm
from simulation.statistics.paired import Difference, paired
from simulation.statistics.quantiles import estimable, least_sample, pooled_quantile
from simulation.statistics.rates import clustered_rate, next_rate, wilson
from simulation.statistics.stopping import Precision, enough

__all__ = [
    "Difference",
    "Interval",
    "Precision",
    "clustered_rate",
    "enough",
    "estimable",
    "holm",
    "intervals",
    "least_sample",
    "next_rate",
    "paired",
    "pooled_quantile",
    "student",
    "wilson",
]
