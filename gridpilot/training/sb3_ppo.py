"""The PPO of stable-baselines3 around the network of a policy, and its checkpoints. It needs the extra ``[rl]``."""

from __future__ import annotations

import io
import itertools
import pickle
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from gridpilot.errors import PolicyError
from gridpilot.files import write_atomically
from gridpilot.policies.policy import Layout
from gridpilot.progress import Advance
from gridpilot.training.config import TRAINING, PpoConfig
from gridpilot.training.sb3_env import MarketVecEnv

__all__ = ["Learner", "Standardised"]

Array32 = npt.NDArray[np.float32]
_GENERATOR: Final = "MT19937"  # numpy's global one


class Standardised(BaseFeaturesExtractor):
    """Observations ``(M, D)`` minus ``mean``, over ``std``, clipped: what a policy of :mod:`gridpilot.policies` begins with."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, observation_space: spaces.Box, mean: Array32, std: Array32, clip: float) -> None:
        super().__init__(observation_space, len(mean))
        self.register_buffer("mean", torch.from_numpy(np.array(mean, dtype=np.float32)))
        self.register_buffer("std", torch.from_numpy(np.array(std, dtype=np.float32)))
        self.clip = clip

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Standardise."""
        return torch.clamp((observations - self.mean) / self.std, -self.clip, self.clip)


class Learner:
    """A search for a policy of ``layout`` that begins at ``arrays``, named as in :meth:`~gridpilot.policies.policy.Layout.shapes`.

    ``updates``  how many were made; ``curve`` has the mean reward of an episode in each.
    """

    def __init__(
        self,
        env: MarketVecEnv,
        layout: Layout,
        settings: PpoConfig,
        seed: int,
        arrays: dict[str, Array32],
        checkpoint: Path | None,
        identity: str,
    ) -> None:
        self.env, self.layout, self.settings, self.seed = env, layout, settings, seed
        self.checkpoint, self.identity = checkpoint, identity
        self.updates = 0
        self.curve: list[float] = []
        hidden = list(layout.sizes[1:-1])
        rate = settings.learning_rate
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a last batch that is smaller than the others
            self.model = PPO(
                "MlpPolicy",
                env,
                learning_rate=lambda left: rate * left,
                n_steps=env.decisions,
                batch_size=min(settings.batch, env.decisions * env.num_envs),
                n_epochs=settings.epochs,
                gamma=1.0,
                gae_lambda=settings.gae_lambda_under(layout.mechanism),
                ent_coef=0.0,
                policy_kwargs={
                    "features_extractor_class": Standardised,
                    "features_extractor_kwargs": {"mean": arrays["mean"], "std": arrays["std"], "clip": layout.clip},
                    "net_arch": {"pi": hidden, "vf": hidden},
                    "activation_fn": torch.nn.Tanh,
                    "log_std_init": settings.log_std,
                },
                stats_window_size=env.num_envs,
                seed=seed,
                device="cpu",
            )
        with torch.no_grad():
            for i, linear in enumerate(self._actor()):
                linear.weight.copy_(torch.from_numpy(arrays[f"layers.{i}.weight"]))
                linear.bias.copy_(torch.from_numpy(arrays[f"layers.{i}.bias"]))

    @classmethod
    def resumed(
        cls, env: MarketVecEnv, layout: Layout, settings: PpoConfig, seed: int, checkpoint: Path | None, identity: str
    ) -> Learner | None:
        """The search as ``checkpoint`` left it; ``None`` where there is none of that ``identity``."""
        if checkpoint is None or not checkpoint.exists():
            return None
        try:
            state = torch.load(io.BytesIO(checkpoint.read_bytes()), weights_only=True)
            if state["identity"] != identity:
                return None
            blank = {name: np.ones(shape, dtype=np.float32) for name, shape in layout.shapes().items()}
            learner = cls(env, layout, settings, seed, blank, checkpoint, identity)
            learner.model.policy.load_state_dict(state["policy"])
            learner.model.policy.optimizer.load_state_dict(state["optimiser"])
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise PolicyError(f"{checkpoint} is no checkpoint that can be gone on from, delete it to begin anew") from error
        learner.updates, learner.curve = state["updates"], list(state["curve"])
        learner.model.num_timesteps = learner.updates * env.decisions * env.num_envs
        env.start_at(seed, TRAINING + learner.updates * env.num_envs)
        torch.set_rng_state(state["torch"])
        keys = state["numpy"].numpy().astype(np.uint32)
        np.random.set_state((_GENERATOR, keys, *state["numpy_rest"]))
        return learner

    def learn(self, advance: Advance) -> None:
        """Make the updates that are left; ``advance`` counts them."""
        left = self.settings.updates - self.updates
        if left > 0:
            steps = left * self.env.decisions * self.env.num_envs
            self.model.learn(
                steps, callback=_Watch(self, advance), reset_num_timesteps=False, log_interval=self.settings.updates + 1
            )

    def updated(self) -> None:
        """Take down the update just made, and write a checkpoint where one is due."""
        self.updates += 1
        assert self.model.ep_info_buffer is not None
        self.curve.append(float(np.mean([episode["r"] for episode in self.model.ep_info_buffer])))
        if self.checkpoint is not None and (
            self.updates % self.settings.checkpoint_every == 0 or self.updates == self.settings.updates
        ):
            self._write(self.checkpoint)

    def arrays(self) -> dict[str, Array32]:
        """The arrays of the policy: the mean of the actor's actions."""
        extractor = self.model.policy.features_extractor
        found: dict[str, Array32] = {name: getattr(extractor, name).numpy().copy() for name in ("mean", "std")}
        for i, linear in enumerate(self._actor()):
            found[f"layers.{i}.weight"] = linear.weight.detach().numpy().copy()
            found[f"layers.{i}.bias"] = linear.bias.detach().numpy().copy()
        return found

    def _actor(self) -> list[Any]:
        policy = self.model.policy
        linear = [part for part in policy.mlp_extractor.policy_net if isinstance(part, torch.nn.Linear)]
        return list(itertools.chain(linear, [policy.action_net]))

    def _write(self, path: Path) -> None:
        _, keys, *rest = np.random.get_state()
        content = io.BytesIO()
        torch.save(
            {
                "identity": self.identity,
                "updates": self.updates,
                "curve": self.curve,
                "policy": self.model.policy.state_dict(),
                "optimiser": self.model.policy.optimizer.state_dict(),
                "torch": torch.get_rng_state(),
                "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
                "numpy_rest": [int(rest[0]), int(rest[1]), float(rest[2])],
            },
            content,
        )
        write_atomically(path, content.getvalue(), PolicyError)


class _Watch(BaseCallback):
    """Tells the learner of every update: as the next rollout begins, and after the last."""

    def __init__(self, learner: Learner, advance: Advance) -> None:
        super().__init__()
        self._learner, self._advance, self._pending = learner, advance, False

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._tell()

    def _on_rollout_end(self) -> None:
        self._pending = True

    def _on_training_end(self) -> None:
        self._tell()

    def _tell(self) -> None:
        if self._pending:
            self._pending = False
            self._learner.updated()
            self._advance(1)
