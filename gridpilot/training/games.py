"""Auctions as an environment of stable-baselines3, with bidders that share a policy: games whose equilibria are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.market.clearing import Clearing
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.game import Game
from gridpilot.training.network import one_thread
from gridpilot.training.random_state import kept_random_state

if TYPE_CHECKING:
    from gridpilot.training.game_env import GameEnv

__all__ = ["Game", "learned_shares"]

FloatArray = npt.NDArray[np.float64]

_JUDGED: Final = 10_000  # draws of values that the shares are means over


def learned_shares(
    game: Game, clear_batch: Callable[..., Clearing], *, seed: int, rows: int = 2048, updates: int = 200
) -> FloatArray:
    """The share of its value that a bidder bids for each unit after learning by PPO, ``(units,)``: mean bid over mean value.

    One policy is every bidder's: it sees the bidder's value, and is paid its surplus. Equal seeds give equal shares on a machine. Raises
    :class:`~gridpilot.errors.MissingExtraError` without stable-baselines3.
    """
    ppo = ALGORITHMS["ppo"].model()
    from gridpilot.training.game_env import GameEnv

    env: GameEnv = GameEnv(game, clear_batch, 2 * max(rows // (2 * game.bidders), 1), seed)  # two equal batches
    with one_thread(), kept_random_state():
        model: Any = ppo(
            "MlpPolicy",
            env,
            n_steps=1,
            batch_size=env.num_envs // 2,
            n_epochs=4,
            learning_rate=lambda left: 0.006 * left,
            gamma=1.0,
            policy_kwargs={"net_arch": {"pi": [16], "vf": [16]}, "log_std_init": -1.5},
            seed=seed,
            device="cpu",
        )
        model.learn(updates * env.num_envs, log_interval=None)
        values = env.drawn(_JUDGED)
        actions, _ = model.predict(env.seen(values), deterministic=True)
    shares: FloatArray = env.bids_of(actions, values).sum(axis=0) / values.sum(axis=0)
    return shares
