"""Training of policies: from nothing to a folder that the agent ``learned`` plays."""

from __future__ import annotations

from gridpilot.training.league import psro, self_play
from gridpilot.training.run import train
from gridpilot.training.vec_env import make_vec_env, make_vector_env

__all__ = ["make_vec_env", "make_vector_env", "psro", "self_play", "train"]
