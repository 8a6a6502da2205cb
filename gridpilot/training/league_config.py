"""What a league is told."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StrictBool, model_validator

from gridpilot.equilibrium.symmetric import MOST_STRATEGIES
from gridpilot.errors import ConfigError
from gridpilot.tournament.config import AgentSpecs, agent_specs
from gridpilot.tournament.inspection import assign_roles
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES
from gridpilot.training.config import EVALUATION, CloneConfig, PpoConfig, TuningConfig

__all__ = [
    "LABELS",
    "LeagueConfig",
    "ResponseSearch",
    "SelfPlayConfig",
    "exploiter_label",
    "initial_agents",
    "policy_label",
    "response_label",
]


LABELS: Final = r"(response|policy|exploiter)-\d+"
"""What policies are called that a league trains."""


class FromPolicy(BaseModel):
    """What a search changes that begins at a policy that was searched for already."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    gae_lambda: Annotated[float, Field(ge=0.0, le=1.0)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    log_std: Annotated[float, Field(ge=-10.0, le=2.0)]


class ResponseSearch(PpoConfig):
    """How a best response is searched for; who plays the other seats is the mixture's affair."""

    lineup: Literal["cycle"] = "cycle"
    from_policy: FromPolicy

    def beginning_at_policy(self) -> ResponseSearch:
        """The same for a search that begins at a policy."""
        return self.model_copy(update=self.from_policy.model_dump())


class SelfPlayConfig(BaseModel):
    """How one policy learns in all seats at once."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    markets: Annotated[int, Field(ge=1, le=100_000)]
    against: Annotated[int, Field(ge=0, le=100_000)]
    updates: Annotated[int, Field(ge=1, le=1_000_000)]
    begin_among: str | dict[str, Any]
    priority: Annotated[float, Field(ge=0.0, le=100.0)]
    exploit_every: NonNegativeInt


class _Tuning(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: Annotated[int, Field(ge=1, le=EVALUATION)]
    every: PositiveInt
    patience: NonNegativeInt


class _Evaluation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: Annotated[int, Field(ge=1, le=EVALUATION)]
    seed: NonNegativeInt


class LeagueConfig(BaseModel):
    """``conf/league.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["psro", "self_play"]
    agents: Annotated[list[Any], Field(min_length=1)]
    iterations: Annotated[int, Field(ge=1)]
    out: str | None
    seed: NonNegativeInt
    ticks: PositiveInt
    history: NonNegativeInt
    layers: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)]
    clone: CloneConfig
    search: StrictBool
    ppo: ResponseSearch
    self_play: SelfPlayConfig
    tuning: _Tuning
    evaluation: _Evaluation
    json_: Annotated[StrictBool, Field(alias="json")]
    market: dict[str, Any]
    prices: dict[str, Any]

    @model_validator(mode="after")
    def _can_be_solved(self) -> LeagueConfig:
        if self.method == "psro" and len(self.agents) + self.iterations > MOST_STRATEGIES:
            raise ValueError(
                f"{len(self.agents)} agents and {self.iterations} iterations, expected at most {MOST_STRATEGIES} strategies together"
            )
        return self

    @property
    def looks(self) -> TuningConfig:
        """When the search looks at what it has reached."""
        return TuningConfig(
            episodes=self.tuning.episodes, every=self.tuning.every, against=["truthful"], patience=self.tuning.patience
        )


def response_label(number: int) -> str:
    """What the response of an iteration, from 1, is called."""
    return f"response-{number}"


def policy_label(number: int) -> str:
    """What the policy that plays itself is called after an iteration; 0 is what it begins at."""
    return f"policy-{number}"


def exploiter_label(number: int) -> str:
    """What the response to the policy of an iteration alone is called."""
    return f"exploiter-{number}"


def initial_agents(agents: list[Any]) -> AgentSpecs:
    """The population that a league begins with, by label. Raises :class:`~gridpilot.errors.ConfigError` for one that cannot take part."""
    given = agent_specs(agents)
    found = {label: given[label] for label in list(given)[: len(agents)]}
    for label, role in assign_roles(found).items():
        if role in CLAIRVOYANT_ROLES:
            raise ConfigError(f"league: {label!r} is shown the future, which no strategy of a population is")
        if re.fullmatch(LABELS, label):
            raise ConfigError(f"league: the label {label!r} is that of a policy of a league, expected another")
    return found
