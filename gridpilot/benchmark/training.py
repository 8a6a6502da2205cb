"""Training beside the same script in an environment that does nothing, and a decision of a policy from its folder."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.benchmark.timing import Measurement, cpu_seconds
from gridpilot.policies import load_policy
from gridpilot.setup import MarketSetup
from gridpilot.training import make_vec_env

__all__ = ["measure_training"]

ROWS = 1024  # learners side by side
STEPS: Final = 48  # of a rollout
BATCH: Final = 4096
FloatArray = npt.NDArray[np.float64]
SCRIPT: Final[dict[str, Any]] = {
    "n_epochs": 4, "learning_rate": 1e-3, "gamma": 1.0, "gae_lambda": 1.0, "seed": 0, "device": "cpu",
}  # fmt: skip
NOTHING: Final = "an environment that does nothing"
REPEATS = 3  # at most: one takes seconds


def measure_training(repeats: int, setup: MarketSetup) -> Iterator[Measurement]:
    """Yield CPU of a decision, and of a learner's step with PPO's updates of four epochs.

    Raises :class:`~gridpilot.errors.MissingExtraError` without stable-baselines3, after the first.
    """
    yield _decision(repeats)
    sites = len(setup.sites)
    plain: dict[str, Any] = {"hold": 1, "baseline": None}
    yield from _learning(f"PPO, one learner in each of {ROWS} markets, a decision every tick", ROWS, repeats, setup, plain)
    markets = max(ROWS // sites, 1)
    every = plain | {"seats": range(sites), "opponents": []}
    yield from _learning(
        f"PPO, {sites} learners in each of {markets} markets, a decision every tick", markets, repeats, setup, every
    )
    yield from _learning(
        f"PPO, {sites} learners in each of {markets} markets, every half hour", markets, repeats, setup, every | {"hold": 6}
    )
    yield from _learning(f"PPO as gridpilot train, {ROWS} markets: every half hour, with a twin", ROWS, repeats, setup, {})


def _decision(repeats: int) -> Measurement:
    policy = load_policy("library:vcg")
    row = np.zeros((1, policy.layout.sizes[0]), dtype=np.float32)
    median, best = cpu_seconds(lambda: policy.act(row), repeats=repeats)
    without = "" if "torch" in sys.modules else ", torch not imported"
    sizes = " - ".join(map(str, policy.layout.sizes))
    return Measurement("training", f"one decision of a policy from its folder, {sizes}{without}", median * 1e6, best * 1e6)


def _learning(name: str, markets: int, repeats: int, setup: MarketSetup, options: dict[str, Any]) -> Iterator[Measurement]:
    """A line for an episode of each of ``markets``, over as many steps of nothing; their rollouts take turns, as machines are shared."""
    env = make_vec_env(markets, setup, **options)
    from gridpilot.benchmark.idle_env import IdleVecEnv
    from gridpilot.training.network import one_thread

    length = min(STEPS, env.decisions)
    script = SCRIPT | {"n_steps": length, "batch_size": min(BATCH, length * env.num_envs)}
    with one_thread(), warnings.catch_warnings(action="ignore", category=UserWarning):  # of a last batch that is smaller
        models = [_ppo()("MlpPolicy", one, **script) for one in (env, IdleVecEnv(env))]
        spent = np.zeros((min(repeats, REPEATS), 2))
        _rollouts(models, length * env.num_envs, 1)
        for one in spent:
            one += _rollouts(models, length * env.num_envs, env.decisions // length)
    env.close()
    us = 1e6 * spent / (env.decisions // length * length * env.num_envs)
    median, nothing = np.median(us, axis=0).tolist()
    ratio = float(np.median(us[:, 0] / us[:, 1]))
    name = f"{name}: {100.0 / ratio:.0f} % of the speed without a market, which takes {nothing:.3g} us"
    yield Measurement("training", name, median, float(us[:, 0].min()), 1e6 / median, "learner-steps", ratio, NOTHING)


def _rollouts(models: Sequence[Any], steps: int, count: int) -> FloatArray:
    """CPU seconds that each of ``models`` took for ``count`` rollouts of ``steps``, with their updates."""
    spent = np.zeros(len(models))
    for _ in range(count):
        for i, model in enumerate(models):
            begun = time.process_time()
            model.learn(steps, log_interval=None, reset_num_timesteps=False)
            spent[i] += time.process_time() - begun
    return spent


def _ppo() -> Any:
    from stable_baselines3 import PPO

    return PPO
