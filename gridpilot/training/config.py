"""What training is told, and the episodes that it may see."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StrictBool

from gridpilot.errors import ConfigError

__all__ = [
    "EVALUATION", "TRAINING", "CloneConfig", "EvaluationConfig", "PpoConfig", "TrainConfig", "evaluation_episodes", "training_episodes",
]  # fmt: skip

EVALUATION: Final = 1_000_000
"""The first episode that policies are judged on, as in tournaments; below lie those that parameters may be tuned on."""
TRAINING: Final = 1_000_000_000
"""The first episode that policies are trained on."""


class CloneConfig(BaseModel):
    """How a teacher is imitated: DAgger (Ross, Gordon and Bagnell 2011)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    teacher: str | dict[str, Any]
    markets: Annotated[int, Field(ge=2, le=100_000)]
    rounds: Annotated[int, Field(ge=1, le=1000)]
    every: PositiveInt
    passes: PositiveInt
    last_passes: PositiveInt
    batch: PositiveInt
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]


Share = Annotated[float, Field(ge=-1.0, le=1.0)]


class PpoConfig(BaseModel):
    """How a policy is searched for: proximal policy optimisation (Schulman et al. 2017)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seeds: Annotated[int, Field(ge=1, le=100)]
    selection: PositiveInt
    markets: Annotated[int, Field(ge=2, le=100_000)]
    updates: Annotated[int, Field(ge=1, le=1_000_000)]
    hold: PositiveInt
    shading: Annotated[int, Field(ge=0, le=64)] | None
    storage_start: Share
    shading_start: Share
    log_std: Annotated[float, Field(ge=-10.0, le=2.0)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)] | None
    epochs: PositiveInt
    batch: Annotated[int, Field(ge=2)]
    baseline: str | None
    lineup: Literal["cycle", "draw"]
    checkpoint_every: PositiveInt

    def shading_under(self, mechanism: str) -> int:
        """Shading factors of the action: those that are set, or two under pay-as-bid and none elsewhere, where they only add noise."""
        if self.shading is not None:
            return self.shading
        return 2 if mechanism == "pay_as_bid" else 0

    def gae_lambda_under(self, mechanism: str) -> float:
        """Lambda of the advantages: that which is set, or .95 under pay-as-bid and 1 elsewhere."""
        if self.gae_lambda is not None:
            return self.gae_lambda
        return 0.95 if mechanism == "pay_as_bid" else 1.0


class EvaluationConfig(BaseModel):
    """What a finished policy is measured on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: NonNegativeInt
    against: Annotated[list[Any], Field(min_length=1)]
    elsewhere: NonNegativeInt
    seed: NonNegativeInt


class TrainConfig(BaseModel):
    """``conf/train.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    algo: Literal["clone", "ppo"]
    init: Literal["clone"] | None
    out: str | None
    seed: NonNegativeInt
    seat: NonNegativeInt | Literal["rotating"]
    rivals: Annotated[list[Any], Field(min_length=1)]
    ticks: PositiveInt
    history: NonNegativeInt
    layers: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)]
    clone: CloneConfig
    ppo: PpoConfig
    evaluation: EvaluationConfig
    json_: Annotated[StrictBool, Field(alias="json")]
    market: dict[str, Any]
    prices: dict[str, Any]


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
