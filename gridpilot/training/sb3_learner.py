"""An algorithm of stable-baselines3 around the network of a policy, and its checkpoints. It needs the extra ``[rl]``."""

from __future__ import annotations

import dataclasses
import io
import itertools
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from gridpilot.errors import PolicyError
from gridpilot.files import write_atomically
from gridpilot.policies.policy import Layout, Policy
from gridpilot.progress import Advance
from gridpilot.tournament.intervals import Estimate
from gridpilot.training.algorithms import Algorithm
from gridpilot.training.config import TRAINING, OffPolicyConfig, PpoConfig
from gridpilot.training.joint_env import JointVecEnv
from gridpilot.training.off_policy import explores_by_itself, sees_actions_in_units_of
from gridpilot.training.sb3_env import MarketVecEnv
from gridpilot.training.tuning import Look, Tuning

__all__ = ["Learner", "Standardised"]

Array32 = npt.NDArray[np.float32]
_GENERATOR: Final = "MT19937"  # numpy's global one
_REMEMBERED: Final = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")  # of a replay buffer
_QUIET: Final = 1e-2  # of the weights of a standard deviation that starts as one number


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
    """A search by ``algorithm`` for a policy of ``layout`` that begins at ``arrays``, named as in ``Layout.shapes``.

    An update is an episode of every market and the gradient steps on it. ``updates`` says how many were made; ``curve`` has the mean reward
    of an episode in each, ``looks`` what ``tuning`` found, and ``best`` the arrays of the best of them. ``tell`` is told of each look;
    ``board`` is a folder for TensorBoard.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        env: MarketVecEnv | JointVecEnv,
        layout: Layout,
        settings: PpoConfig | OffPolicyConfig,
        seed: int,
        arrays: dict[str, Array32],
        checkpoint: Path | None,
        identity: str,
        tuning: Tuning | None = None,
        tell: Callable[[str], None] | None = None,
        board: Path | None = None,
    ) -> None:
        self.env, self.layout, self.settings, self.seed = env, layout, settings, seed
        self.checkpoint, self.identity = checkpoint, identity
        self.updates = 0
        self.curve: list[float] = []
        self.tuning, self.tell, self.board = tuning, tell, board
        self.looks: list[Look] = []
        self.best: dict[str, Array32] = {}
        self.over = False  # before all updates are made
        self._busy = 0.0  # CPU seconds of looks
        self.steps = env.decisions * env.num_envs  # of an update
        hidden, rate, kind = list(layout.sizes[1:-1]), settings.learning_rate, algorithm.model()
        kwargs: dict[str, Any] = {
            "features_extractor_class": Standardised,
            "features_extractor_kwargs": {"mean": arrays["mean"], "std": arrays["std"], "clip": layout.clip},
            "activation_fn": torch.nn.Tanh,
        }
        if isinstance(settings, PpoConfig):
            kwargs |= {"net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": settings.log_std}
            own: dict[str, Any] = {
                "n_steps": env.decisions,
                "batch_size": min(settings.batch, self.steps),
                "n_epochs": settings.epochs,
                "gae_lambda": settings.gae_lambda_under(layout.mechanism, layout.bidding),
            }
        else:
            kwargs |= {"net_arch": {"pi": hidden, "qf": hidden}}
            kind = explores_by_itself(kind, settings.actor_rate)
            own = {
                "batch_size": settings.batch,
                "buffer_size": settings.buffer,
                "learning_starts": self.steps,  # when the first episodes are over
                "train_freq": 1,
                "gradient_steps": settings.gradient_steps,
                "n_steps": settings.n_steps,
                "gamma": settings.gamma,
                "tau": settings.tau,
            }
            if algorithm.title == "TD3":  # the others explore by themselves
                spread = np.full(layout.sizes[-1], np.exp(settings.log_std))
                own["action_noise"] = NormalActionNoise(np.zeros(layout.sizes[-1]), spread)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a last batch that is smaller than the others
            self.model = kind(
                "MlpPolicy",
                env,
                learning_rate=lambda left: rate * left,
                policy_kwargs=kwargs,
                stats_window_size=env.num_envs,
                seed=seed,
                device="cpu",
                tensorboard_log=None if board is None else str(board),
                **algorithm.defaults,
                **own,
            )
        if isinstance(settings, OffPolicyConfig):
            critics = self.model.critic, self.model.critic_target
            sees_actions_in_units_of(settings.action_unit, critics, layout.sizes[-1])
        with torch.no_grad():
            for i, linear in enumerate(self._actor()):
                linear.weight.copy_(torch.from_numpy(arrays[f"layers.{i}.weight"]))
                linear.bias.copy_(torch.from_numpy(arrays[f"layers.{i}.bias"]))
            if layout.output == "tanh" and algorithm.title != "TD3":
                self.model.actor.log_std.weight.mul_(_QUIET)
                self.model.actor.log_std.bias.fill_(settings.log_std)

    @classmethod
    def resumed(
        cls,
        algorithm: Algorithm,
        env: MarketVecEnv | JointVecEnv,
        layout: Layout,
        settings: PpoConfig | OffPolicyConfig,
        seed: int,
        checkpoint: Path | None,
        identity: str,
        tuning: Tuning | None = None,
        tell: Callable[[str], None] | None = None,
        board: Path | None = None,
    ) -> Learner | None:
        """The search as ``checkpoint`` left it; ``None`` where there is none of that ``identity``."""
        if checkpoint is None or not checkpoint.exists():
            return None
        try:
            state = torch.load(io.BytesIO(checkpoint.read_bytes()), weights_only=True)
            if state["identity"] != identity:
                return None
            blank = {name: np.ones(shape, dtype=np.float32) for name, shape in layout.shapes().items()}
            learner = cls(algorithm, env, layout, settings, seed, blank, checkpoint, identity, tuning, tell, board)
            learner._restore(state)
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise PolicyError(f"{checkpoint} is no checkpoint that can be gone on from, delete it to begin anew") from error
        return learner

    def _restore(self, state: dict[str, Any]) -> None:
        model = self.model
        model.set_parameters(state["parameters"])
        model._n_updates = state["gradient_steps"]
        self.updates, self.curve = state["updates"], list(state["curve"])
        self.looks = [Look(at, {name: Estimate(*gain) for name, gain in gains.items()}) for at, gains in state["looks"]]
        self.best = {name: array.numpy() for name, array in state["best"].items()}
        self.over = state["over"]
        self.env.scale = state["scale"]
        model.num_timesteps = self.updates * self.steps
        if "remembered" in state:
            buffer, kept = model.replay_buffer, state["remembered"]
            for name in _REMEMBERED:
                getattr(buffer, name)[: len(kept[name])] = kept[name].numpy()
            buffer.pos, buffer.full = kept["pos"], kept["full"]
        if "log_ent_coef" in state:
            with torch.no_grad():
                model.log_ent_coef.copy_(state["log_ent_coef"])
        self.env.start_at(self.seed, TRAINING + self.updates * self.env.n_markets)
        torch.set_rng_state(state["torch"])
        keys = state["numpy"].numpy().astype(np.uint32)
        np.random.set_state((_GENERATOR, keys, *state["numpy_rest"]))

    def learn(self, advance: Advance) -> None:
        """Make the updates that are left; ``advance`` counts them."""
        left = 0 if self.over else self.settings.updates - self.updates
        if left > 0:
            self._begun, self._before = time.process_time(), self.updates
            log_interval = None if self.board is None else 1
            if log_interval and isinstance(self.settings, OffPolicyConfig):
                log_interval = self.env.num_envs  # episodes
            self.model.learn(
                left * self.steps, callback=_Watch(self, advance), reset_num_timesteps=False, log_interval=log_interval,
                tb_log_name=f"seed-{self.seed}",
            )  # fmt: skip

    def updated(self) -> None:
        """Take down the update just made; look at what it reached, and write a checkpoint, where one is due."""
        self.updates += 1
        self.curve.append(float(np.mean([episode["r"] for episode in self.model.ep_info_buffer])))
        last = self.updates == self.settings.updates
        if self.tuning is not None and (self.updates % self.tuning.settings.every == 0 or last):
            self._look(self.tuning)
        if self.checkpoint is not None and (self.updates % self.settings.checkpoint_every == 0 or last or self.over):
            self._write(self.checkpoint)

    def _look(self, tuning: Tuning) -> None:
        begun, arrays = time.process_time(), self.arrays()
        rate = (self.updates - self._before) * self.steps / max(begun - self._begun - self._busy, 1e-9)
        look = tuning.look(Policy(self.layout, arrays), self.updates)
        if not self.looks or look.bound > max(one.bound for one in self.looks):
            self.best = arrays
        self.looks.append(look)
        best = max(range(len(self.looks)), key=lambda i: self.looks[i].bound)
        self.over = 0 < tuning.settings.patience <= len(self.looks) - 1 - best
        for label, gain in look.gains.items():
            for name, value in (("gain", gain.value), ("low", gain.low), ("high", gain.high)):
                if value is not None:
                    self.model.logger.record(f"over {label}/{name}", value)
        if self.tell is not None:
            ended = f"; no better in {tuning.settings.patience} looks: it ends" if self.over else ""
            self.tell(
                f"seed {self.seed}, update {self.updates} of {self.settings.updates}: {rate:,.0f} steps a CPU second; "
                f"{look.told()} $ per site and day{ended}"
            )
        self._busy += time.process_time() - begun

    def arrays(self) -> dict[str, Array32]:
        """The arrays of the policy: the mean of the actor's actions."""
        policy = self.model.policy
        extractor = policy.features_extractor if self.layout.output == "linear" else policy.actor.features_extractor
        found: dict[str, Array32] = {name: getattr(extractor, name).numpy().copy() for name in ("mean", "std")}
        for i, linear in enumerate(self._actor()):
            found[f"layers.{i}.weight"] = linear.weight.detach().numpy().copy()
            found[f"layers.{i}.bias"] = linear.bias.detach().numpy().copy()
        return found

    def _actor(self) -> list[Any]:
        """The layers from what is standardised to the action's mean, before any tanh."""
        policy = self.model.policy
        if self.layout.output == "linear":
            parts = itertools.chain(policy.mlp_extractor.policy_net, [policy.action_net])
        elif hasattr(policy.actor, "latent_pi"):
            parts = itertools.chain(policy.actor.latent_pi, [policy.actor.mu])
        else:
            parts = itertools.chain(policy.actor.mu)
        return [part for part in parts if isinstance(part, torch.nn.Linear)]

    def _write(self, path: Path) -> None:
        _, keys, *rest = np.random.get_state()
        model = self.model
        state: dict[str, Any] = {
            "identity": self.identity,
            "updates": self.updates,
            "curve": self.curve,
            "looks": [(one.update, {name: dataclasses.astuple(gain) for name, gain in one.gains.items()}) for one in self.looks],
            "best": {name: torch.from_numpy(array) for name, array in self.best.items()},
            "over": self.over,
            "parameters": model.get_parameters(),
            "gradient_steps": model._n_updates,
            "scale": self.env.scale,
            "torch": torch.get_rng_state(),
            "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "numpy_rest": [int(rest[0]), int(rest[1]), float(rest[2])],
        }
        buffer = getattr(model, "replay_buffer", None)
        if buffer is not None:
            filled = len(buffer.observations) if buffer.full else buffer.pos
            arrays = {name: torch.from_numpy(getattr(buffer, name)[:filled]) for name in _REMEMBERED}
            state["remembered"] = {**arrays, "pos": buffer.pos, "full": buffer.full}
        if getattr(model, "log_ent_coef", None) is not None:
            state["log_ent_coef"] = model.log_ent_coef.detach()
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(path, content.getvalue(), PolicyError)


class _Watch(BaseCallback):
    """Tells the learner of every update: as the next decisions are taken, when its gradient steps are made, and after the last."""

    def __init__(self, learner: Learner, advance: Advance) -> None:
        super().__init__()
        self._learner, self._advance = learner, advance

    def _on_step(self) -> bool:
        return not self._learner.over

    def _on_rollout_start(self) -> None:
        self._tell()

    def _on_training_end(self) -> None:
        self._tell()

    def _tell(self) -> None:
        if self.model.num_timesteps // self._learner.steps > self._learner.updates:
            self._learner.updated()
            self._advance(1)
