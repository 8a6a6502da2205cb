"""Markets side by side as learners take them: as Gymnasium's vector environment, and in the form of stable-baselines3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gridpilot.envs import MarketVectorEnv
from gridpilot.envs._market import Opponents
from gridpilot.errors import ConfigError, MissingExtraError
from gridpilot.market.clearing import Mechanism
from gridpilot.policies.policy import Bidding
from gridpilot.setup import MarketSetup
from gridpilot.training.config import TRAINING

if TYPE_CHECKING:
    from gridpilot.training.sb3_env import MarketVecEnv

__all__ = ["make_vec_env", "make_vector_env"]


def make_vec_env(
    num_envs: int = 64,
    setup: MarketSetup | None = None,
    *,
    market: str | Mapping[str, Any] | None = None,
    prices: str | Mapping[str, Any] | None = None,
    ticks: int | None = None,
    history: int | None = None,
    mechanism: Mechanism | None = None,
    seat: int | Literal["rotate"] = 8,
    seats: Sequence[int] | None = None,
    opponents: Opponents = ("truthful", "threshold"),
    lineup: Literal["cycle", "draw", "mixture"] = "cycle",
    weights: Sequence[float] | None = None,
    shading: int = 0,
    bidding: Bidding | None = None,
    hold: int = 6,
    reward: Literal["profit", "profit_and_stored", "marked"] = "profit_and_stored",
    baseline: str | None = "truthful",
    time_limit: float = math.inf,
    seed: int = 0,
    first_episode: int = TRAINING,
    bootstrap: bool = False,
) -> MarketVecEnv:
    """Return markets stepped together as a ``VecEnv``, so that stable-baselines3 learns in them: ``PPO("MlpPolicy", env)``.

    Actions are of version 2 (:mod:`gridpilot.market.action`) and the other defaults those that PPO learned best with here: a decision every
    half hour, what is stored paid at the end, a truthful bidder's reward in the same world subtracted. With ``n_steps`` equal to the
    ``decisions`` of an episode a rollout is whole episodes; use ``gamma=1`` and, where storage is to be learned, ``gae_lambda=1``.

    ``seats``   several seats of each market that learn at once, each a row of the environment: one policy, which they share. ``num_envs``
                then counts markets. The ``baseline`` plays all of them in the twin; with every seat learning there are no opponents
    ``seed``, ``first_episode``   the days that are played: by default from 1,000,000,000 on, where nothing is ever judged
    ``bootstrap``   whether the end of an episode is told as a time limit, beyond which a critic's value counts; by default it is an end
    Other arguments are those of :class:`~gridpilot.envs.MarketVectorEnv` and :class:`~gridpilot.envs._task.Task`.

    Raises :class:`~gridpilot.errors.MissingExtraError` without stable-baselines3, :class:`~gridpilot.errors.ConfigError` and
    :class:`~gridpilot.errors.AgentError` for bad arguments.
    """
    try:
        from gridpilot.training.sb3_env import MarketVecEnv
    except ImportError as error:
        raise MissingExtraError("an environment of stable-baselines3", "rl") from error
    env = make_vector_env(
        num_envs, setup, market=market, prices=prices, ticks=ticks, history=history, mechanism=mechanism, seat=seat, seats=seats,
        opponents=opponents, lineup=lineup, weights=weights, shading=shading, bidding=bidding, hold=hold, reward=reward,
        baseline=baseline, time_limit=time_limit, seed=seed, first_episode=first_episode, autoreset="disabled",
    )  # fmt: skip
    return MarketVecEnv(env, seed, first_episode, bootstrap)


def make_vector_env(
    num_envs: int = 64,
    setup: MarketSetup | None = None,
    *,
    market: str | Mapping[str, Any] | None = None,
    prices: str | Mapping[str, Any] | None = None,
    ticks: int | None = None,
    history: int | None = None,
    mechanism: Mechanism | None = None,
    seat: int | Literal["rotate"] = 8,
    seats: Sequence[int] | None = None,
    opponents: Opponents = ("truthful", "threshold"),
    lineup: Literal["cycle", "draw", "mixture"] = "cycle",
    weights: Sequence[float] | None = None,
    shading: int = 0,
    bidding: Bidding | None = None,
    hold: int = 6,
    reward: Literal["profit", "profit_and_stored", "marked"] = "profit_and_stored",
    baseline: str | None = "truthful",
    time_limit: float = math.inf,
    seed: int = 0,
    first_episode: int = TRAINING,
    bootstrap: bool = False,
    autoreset: Literal["next_step", "same_step", "disabled"] = "same_step",
) -> MarketVectorEnv:
    """Return markets stepped together as a Gymnasium ``VectorEnv``, which skrl, TorchRL and others wrap: ``docs/other-libraries.md``.

    What :func:`make_vec_env` is to stable-baselines3, with the same arguments: actions of version 2, half-hour decisions, what is stored
    paid at the end, a truthful bidder's reward in the same world subtracted, on days that nothing is judged on, whichever seed ``reset`` is
    given. An episode has ``ticks / hold`` steps and ends by termination: what is stored then is paid, and some libraries would otherwise
    add up rewards of one day and the next.

    ``autoreset``   by default the step that ends the episodes begins the next ones, so that no step is empty

    Raises :class:`~gridpilot.errors.ConfigError` and :class:`~gridpilot.errors.AgentError` for bad arguments.
    """
    _check_days(seed, first_episode)
    env = MarketVectorEnv(
        num_envs, setup, market=market, prices=prices, ticks=ticks, history=history, mechanism=mechanism, seat=seat, seats=seats,
        opponents=opponents, time_limit=time_limit, autoreset=autoreset, first_episode=first_episode, bootstrap=bootstrap,
        action_version=2, shading=shading, bidding=bidding, hold=hold, reward=reward, baseline=baseline, lineup=lineup,
        weights=weights,
    )  # fmt: skip
    env.markets.start_at(seed, first_episode)
    return env


def _check_days(seed: Any, first_episode: Any) -> None:
    for name, value in (("seed", seed), ("first_episode", first_episode)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
            raise ConfigError(f"env: {name} is {value!r:.60}, expected a whole number >= 0")
