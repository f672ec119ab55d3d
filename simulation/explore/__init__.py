"""Exploration: the search for the schedule in which something goes wrong."""

from simulation.explore.search import Failure, Report, explore, replay_token
from simulation.explore.world import World

__all__ = ["Failure", "Report", "World", "explore", "replay_token"]
