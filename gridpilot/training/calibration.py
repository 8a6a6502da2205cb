"""Calibration: the constant part of each entry of a policy's action, moved to where it earns most on days of training.

A clone imitates what a plan says that a stored kWh is worth at the prices of truthful bidders. Where a rule bids less than the truth, a kWh
that is not bought lowers what is paid for all others, so that the plan's values are off by about as much everywhere. A pattern search
(Hooke and Jeeves, "Direct Search Solution of Numerical and Statistical Problems", 1961) over these few numbers, all tries on the same
days, finds by how much; a search by noise in every decision, as PPO is, needs many times the days.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gridpilot.policies.policy import Policy
from gridpilot.progress import Advance
from gridpilot.tournament.intervals import mean
from gridpilot.training.config import CalibrationConfig, training_episodes
from gridpilot.training.evaluation import CHUNK, played
from gridpilot.training.markets import Field

__all__ = ["calibrate"]

_STEPS: Final = (0.04, 0.5)  # of the storage value and the commitment value, in the first round


def calibrate(
    policy: Policy, field: Field, settings: CalibrationConfig, *, rounds: int, seed: int, first: int, advance: Advance
) -> tuple[Policy, tuple[float, ...]]:
    """Move the constant parts of the policy's entries; returns it and by how much each was moved.

    In each of ``rounds`` a step up and, where that is no better, one down is tried for the storage value and then for the commitment
    value, and gone on with while it is better; the next round's steps are half as long. Better is what earns more on
    ``settings.episodes`` episodes of training, from the ``first`` on, with the paired interval above zero. Equal seeds give the same bits
    on a machine. Raises :class:`~gridpilot.errors.AgentError` where a decision fails.
    """
    episodes = training_episodes(first, settings.episodes)
    moved = np.zeros(len(_STEPS))
    best = _profits(policy, field, episodes, seed) if rounds else np.zeros(0)
    for number in range(rounds):
        for entry, step in enumerate(_STEPS):
            for sign in (1.0, -1.0):
                gone = False
                while True:
                    tried = moved.copy()
                    tried[entry] += sign * step / 2.0**number
                    earned = _profits(_moved(policy, tried), field, episodes, seed)
                    gain = mean(earned - best)
                    if not (gain.low is not None and gain.low > 0.0):
                        break
                    moved, best, gone = tried, earned, True
                if gone:
                    break
        advance(1)
    return _moved(policy, moved), tuple(moved.tolist())


def _moved(policy: Policy, offsets: npt.NDArray[np.float64]) -> Policy:
    """The policy whose first entries are so much more."""
    last = f"layers.{len(policy.layout.sizes) - 2}.bias"
    bias = policy.arrays[last].copy()
    bias[: len(offsets)] += offsets.astype(np.float32)
    return Policy(policy.layout, {**policy.arrays, last: bias}, policy.training)


def _profits(policy: Policy, field: Field, episodes: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    chunks = [episodes[first : first + CHUNK] for first in range(0, len(episodes), CHUNK)]
    return np.concatenate([played(policy, field, chunk, seed) for chunk in chunks])
