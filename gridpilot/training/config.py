"""What training is told, and the episodes that it may see."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StrictBool, field_validator

from gridpilot.errors import ConfigError
from gridpilot.policies.policy import Bidding
from gridpilot.training.algorithms import ALGORITHMS

__all__ = [
    "EVALUATION", "TRAINING", "CalibrationConfig", "ChosenRule", "CloneConfig", "EvaluationConfig", "OffPolicyConfig", "PpoConfig",
    "SearchConfig", "TrainConfig", "TuningConfig", "bidding_rule", "evaluation_episodes", "training_episodes",
]  # fmt: skip

EVALUATION: Final = 1_000_000
"""The first episode that policies are judged on, as in tournaments; below lie those that parameters may be tuned on."""
TRAINING: Final = 1_000_000_000
"""The first episode that policies are trained on."""


class CloneConfig(BaseModel):
    """How a teacher is imitated: DAgger (Ross, Gordon and Bagnell 2011)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    teacher: str | dict[str, Any]
    also: list[Any] | None
    imitates: Literal["worth", "entry"] | None
    markets: Annotated[int, Field(ge=2, le=100_000)]
    rounds: Annotated[int, Field(ge=1, le=1000)]
    every: PositiveInt
    passes: PositiveInt
    last_passes: PositiveInt
    batch: PositiveInt
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]

    def also_under(self, mechanism: str) -> list[Any]:
        """Who plays as well: those that are set, or mpc where the truth pays best, for the learner to have seen who plans."""
        if self.also is not None:
            return self.also
        return ["mpc"] if mechanism == "vcg" else []

    def imitates_under(self, mechanism: str) -> str:
        """What is averaged over what the learner cannot know: what is set, or worth where the truth pays best, and elsewhere the entry."""
        if self.imitates is not None:
            return self.imitates
        return "worth" if mechanism == "vcg" else "entry"


class CalibrationConfig(BaseModel):
    """How the constant parts of a clone's entries are moved (:mod:`gridpilot.training.calibration`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: Annotated[int, Field(ge=0, le=20)] | None
    episodes: Annotated[int, Field(ge=2, le=100_000)]

    def rounds_under(self, bidding: str | None) -> int:
        """The rounds that are set, or three where a rule makes bids of the values, which the teacher's plan does not know of."""
        if self.rounds is not None:
            return self.rounds
        return 0 if bidding is None else 3


ChosenRule = Literal["truthful", "best_response"] | None
Share = Annotated[float, Field(ge=-1.0, le=1.0)]


class SearchConfig(BaseModel):
    """What all searches are told."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    markets: Annotated[int, Field(ge=2, le=100_000)]
    updates: Annotated[int, Field(ge=1, le=1_000_000)]
    hold: PositiveInt
    shading: Annotated[int, Field(ge=0, le=64)] | None
    storage_start: Share
    shading_start: Share
    log_std: Annotated[float, Field(ge=-10.0, le=2.0)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    batch: Annotated[int, Field(ge=2)]
    reward: Literal["profit_and_stored", "marked"]
    baseline: str | None
    lineup: Literal["cycle", "draw"]
    checkpoint_every: PositiveInt

    def shading_under(self, mechanism: str, bidding: str | None = None) -> int:
        """Shading factors of the action: those that are set, or two where bids are paid and no rule makes them, and none elsewhere."""
        if self.shading is not None:
            return self.shading
        return 2 if mechanism == "pay_as_bid" and bidding is None else 0


class PpoConfig(SearchConfig):
    """How a policy is searched for on the episodes just played."""

    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)] | None
    epochs: PositiveInt

    def gae_lambda_under(self, mechanism: str, bidding: str | None = None) -> float:
        """Lambda of the advantages: that which is set, or .95 where the policy has to shade and 1 where it says what storage is worth."""
        if self.gae_lambda is not None:
            return self.gae_lambda
        return 0.95 if mechanism == "pay_as_bid" and bidding is None else 1.0


class OffPolicyConfig(SearchConfig):
    """How a policy is searched for on what was ever played."""

    actor_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    action_unit: Annotated[float, Field(gt=0.0, le=1.0)]
    buffer: Annotated[int, Field(ge=2)]
    gradient_steps: PositiveInt
    n_steps: PositiveInt
    gamma: Annotated[float, Field(gt=0.0, le=1.0)]
    tau: Annotated[float, Field(gt=0.0, le=1.0)]


class TuningConfig(BaseModel):
    """What is chosen on episodes that are neither trained nor judged on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: Annotated[int, Field(ge=1, le=EVALUATION)]
    every: NonNegativeInt
    against: Annotated[list[Any], Field(min_length=1)] | None
    patience: NonNegativeInt

    def against_under(self, mechanism: str) -> list[Any]:
        """Those that are set, or last who is hardest to beat under ``mechanism``."""
        if self.against is not None:
            return self.against
        return ["truthful", "mpc"] if mechanism == "vcg" else ["mpc", "best_response"]


class EvaluationConfig(BaseModel):
    """What a finished policy is measured on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: NonNegativeInt
    against: Annotated[list[Any], Field(min_length=1)] | None
    elsewhere: NonNegativeInt
    seed: NonNegativeInt

    def against_under(self, mechanism: str) -> list[Any]:
        """Those that are set, or last who is hardest to beat under ``mechanism``."""
        if self.against is not None:
            return self.against
        return ["truthful", "threshold", "mpc"] if mechanism == "vcg" else ["truthful", "mpc", "best_response"]


class TrainConfig(BaseModel):
    """``conf/train.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    algo: Literal["clone", "ppo", "sac", "td3", "tqc"]
    init: Literal["clone"] | None
    bidding_rule: ChosenRule
    out: str | None
    seed: NonNegativeInt
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1, max_length=100)] | None
    seat: NonNegativeInt | Literal["rotating"]
    rivals: Annotated[list[Any], Field(min_length=1)]
    ticks: PositiveInt
    history: NonNegativeInt
    layers: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)]
    clone: CloneConfig
    calibration: CalibrationConfig
    ppo: PpoConfig
    off_policy: OffPolicyConfig
    tuning: TuningConfig
    tensorboard: StrictBool
    evaluation: EvaluationConfig
    json_: Annotated[StrictBool, Field(alias="json")]
    market: dict[str, Any]
    prices: dict[str, Any]

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds is not None and len(set(seeds)) < len(seeds):
            raise ValueError("expected each seed once")
        return seeds

    def bidding_under(self, mechanism: str) -> Bidding | None:
        """The rule that makes bids of what an action says things are worth; ``None``: an action is an order, and so is the truth."""
        return bidding_rule(mechanism, self.bidding_rule)

    @property
    def search(self) -> PpoConfig | OffPolicyConfig:
        """The section of ``algo``, where it is no clone."""
        return self.ppo if ALGORITHMS[self.algo].section == "ppo" else self.off_policy

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds that are trained with."""
        return (self.seed,) if self.seeds is None else tuple(self.seeds)


def bidding_rule(mechanism: str, chosen: ChosenRule = None) -> Bidding | None:
    """The rule ``chosen`` to make bids of what actions say things are worth; ``None`` chosen: the best response where the truth is not it.

    Returns ``None`` where an action is an order.
    """
    if chosen is None:
        return None if mechanism == "vcg" else "best_response"
    return None if chosen == "truthful" else chosen


def training_episodes(first: int, count: int) -> npt.NDArray[np.int64]:
    """``count`` episode numbers for training, from the ``first`` of them on; none is ever tuned or judged on."""
    if first < 0 or count < 0:
        raise ConfigError(f"train: episodes {first} and {count} more, expected numbers >= 0")
    return TRAINING + np.arange(first, first + count)


def evaluation_episodes(count: int) -> npt.NDArray[np.int64]:
    """The first ``count`` episode numbers that policies are judged on. Raises :class:`~gridpilot.errors.ConfigError` for too many."""
    if not 0 <= count <= TRAINING - EVALUATION:
        raise ConfigError(
            f"train: {count:,} episodes of evaluation, expected at most {TRAINING - EVALUATION:,}, where training begins"
        )
    return EVALUATION + np.arange(count)
