"""Searches for a policy by an algorithm of stable-baselines3 or sb3-contrib, with what was found to matter here.

A day is an episode whose end is an end, a rollout is whole episodes, and PPO's gamma is 1: charging pays twelve hours later. Generalised
advantages (Schulman et al. 2016) take lambda 1 under truthful mechanisms, as the critic does not know the worth of what is stored; under
pay-as-bid, where shading pays at once, lambda .95 has less noise. The mean starts where the battery is used, since from an idle one no
small change earns anything. A twin's reward is subtracted, which takes most of the luck out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.market.action import N_PRICES_OF_TIME
from gridpilot.market.encoding import n_fields
from gridpilot.policies.policy import Bidding, Layout, Policy
from gridpilot.progress import Advance
from gridpilot.training.algorithms import Algorithm
from gridpilot.training.config import TRAINING, OffPolicyConfig, PpoConfig
from gridpilot.training.markets import Field
from gridpilot.training.network import LEAST_STD, Network, one_thread, require_torch
from gridpilot.training.random_state import kept_random_state
from gridpilot.training.tuning import Look, Tuning
from gridpilot.training.vec_env import make_vec_env

if TYPE_CHECKING:
    from gridpilot.training.sb3_env import MarketVecEnv

__all__ = ["Found", "search"]

Array32 = npt.NDArray[np.float32]
_UNSATURATED: Final = 0.99  # beyond which the tanh of an actor has no slope to learn by


class Found(NamedTuple):
    """What a search came to."""

    policy: Policy
    curve: tuple[float, ...]  # mean reward of an episode in each update, the exploration's noise included
    looks: tuple[Look, ...]


def search(
    algorithm: Algorithm,
    field: Field,
    settings: PpoConfig | OffPolicyConfig,
    *,
    seed: int,
    layers: tuple[int, ...],
    start: Callable[[], Network] | None,
    bidding: Bidding | None = None,
    checkpoint: Path | None,
    identity: str,
    advance: Advance,
    tuning: Tuning | None = None,
    tell: Callable[[str], None] | None = None,
    board: Path | None = None,
) -> Found:
    """Train a policy of hidden ``layers``.

    ``start``       makes the network that the search begins at, as a clone; ``None``: from scratch. It is not asked where a checkpoint is
                    gone on from.
    ``bidding``     the rule that makes bids of the values of an action, in place of shading factors
    ``checkpoint``  a file that is written every ``settings.checkpoint_every`` updates, and gone on from where it is of the same
                    ``identity``, to the same bits as without the interruption

    ``tuning``      what is looked at every ``tuning.settings.every`` updates; the policy of the best look is kept
    ``tell``        is told of each look, in a line
    ``board``       a folder for TensorBoard

    ``advance`` counts updates. Raises :class:`~gridpilot.errors.MissingExtraError` without its package,
    :class:`~gridpilot.errors.PolicyError` for a checkpoint that cannot be read or written.
    """
    algorithm.model()
    from gridpilot.training.sb3_learner import Learner

    mechanism = field.setup.rules.mechanism
    classes = max(len(site.fleet) for site in field.setup.sites) or 1
    shading = settings.shading_under(mechanism, bidding)
    sizes = (n_fields(classes), *layers, N_PRICES_OF_TIME + shading)
    output = "linear" if algorithm.section == "ppo" else "tanh"
    layout = Layout(sizes, classes, hold=settings.hold, mechanism=mechanism, output=output, bidding=bidding)
    env = make_vec_env(
        settings.markets, field.setup, seat="rotate" if field.seat == "rotating" else field.seat, opponents=list(field.rivals.values()),
        lineup=settings.lineup if field.weights is None else "mixture", weights=field.weights, shading=shading, bidding=bidding,
        hold=settings.hold, reward=settings.reward, baseline=settings.baseline, seed=seed,
    )  # fmt: skip
    with one_thread(), kept_random_state():
        found = Learner.resumed(algorithm, env, layout, settings, seed, checkpoint, identity, tuning, tell, board)
        if found is None:
            network = _begin(env, layout, settings, seed) if start is None else start()
            if start is not None and layout.shading:
                network.shading_starts_at(settings.shading_start)
            found = Learner(algorithm, env, layout, settings, seed, network.arrays(), checkpoint, identity, tuning, tell, board)
        advance(found.updates)
        found.learn(advance)
        policy = Policy(layout, found.best or found.arrays())
    env.close()
    return Found(policy, tuple(found.curve), tuple(found.looks))


def _begin(env: MarketVecEnv, layout: Layout, settings: PpoConfig | OffPolicyConfig, seed: int) -> Network:
    """A network that hardly looks at what it sees, and does what ``settings`` say that the search starts at."""
    action = np.zeros(layout.sizes[-1], dtype=np.float32)
    action[0] = settings.storage_start
    seen, paid = [env.reset()], []
    for _ in range(env.decisions - 1):
        env.step_async(np.tile(action, (env.num_envs, 1)))
        observations, rewards, _, _ = env.step_wait()
        seen.append(observations)
        paid.append(rewards)
    if layout.output == "tanh":
        env.scale = 1.0 / max(float(np.std(paid, dtype=np.float64)), 1e-9)
    env.start_at(seed, TRAINING)  # the same days will be learned from
    network = Network(layout, np.concatenate(seen), seed)
    with require_torch().no_grad():
        network.module[-1].weight *= 0.01
        network.module[-1].bias[0] = settings.storage_start
    if layout.shading:
        network.shading_starts_at(settings.shading_start)
    if layout.output == "tanh":
        with require_torch().no_grad():
            network.module[-1].bias.clamp_(-_UNSATURATED, _UNSATURATED).atanh_()
    network.std = np.maximum(network.std, np.float32(LEAST_STD))
    return network
