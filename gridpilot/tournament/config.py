"""What a tournament is told: the validated configuration, and the part of it that playing a match needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, StrictBool, model_validator

from gridpilot.configuration import validate
from gridpilot.errors import ConfigError
from gridpilot.tournament.schedule import BASELINES

__all__ = [
    "EXECUTION_KEYS",
    "EXTENSIBLE_KEYS",
    "AgentSpecs",
    "Inspection",
    "TournamentConfig",
    "TournamentSpec",
    "agent_specs",
    "validate_tournament",
]

EXECUTION_KEYS: Final = ("backend", "workers", "chunk", "out", "json", "name")  # cannot change a result
EXTENSIBLE_KEYS: Final = ("episodes",)  # say how much of a run is played

AgentSpecs = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class TournamentSpec:
    """All that playing a match depends on, besides the match itself; picklable.

    ``market``, ``prices``  the configuration groups of these names, resolved.
    ``agents``              ``{label: {"target": name or dotted path, "params": {...}}}``.
    ``seed``                root of all random numbers: ``SeedSequence(seed, spawn_key=(episode, stream))``.
    ``ticks``               length of an episode; ``history`` ticks of prices are known before its first one.
    ``deadline``            s, the time a Python agent has for a decision.
    ``files``               absolute paths of the files that agents may read; ``None``: any.
    ``memory_gib``          what an agent of one's own may use in its own process; ``None``: it plays in this one.
    ``roles``               of the agents, by label, where their classes are not to be looked at in this process.
    """

    market: dict[str, Any]
    prices: dict[str, Any]
    agents: AgentSpecs
    seed: int
    ticks: int
    history: int
    deadline: float
    files: frozenset[str] | None = None
    memory_gib: float | None = None
    roles: dict[str, str] | None = None


@dataclass(frozen=True)
class Inspection:
    """What is known of a specification once its parts have been built and reset."""

    seats: int
    roles: dict[str, str]  # of the agents, by label: one of schedule.ROLES
    opened: dict[str, tuple[Path, ...]] = field(default_factory=dict)  # files that an agent read meanwhile, by label
    defaults: dict[str, dict[str, str]] = field(default_factory=dict)  # default arguments of an agent that name a file, by label
    market: tuple[Path, ...] = ()  # files that building market and prices read
    readable: frozenset[str] | None = None  # for TournamentSpec.files; None where no agent has files
    notes: tuple[str, ...] = ()  # to be told before it plays


class TournamentConfig(BaseModel):
    """The configuration ``conf/tournament.yaml`` composes; every key is documented in ``conf/tournament/default.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    agents: list[Any]  # see agent_specs
    seed: NonNegativeInt
    episodes: PositiveInt
    first_episode: NonNegativeInt
    purpose: Literal["evaluation", "tuning"]
    evaluation_offset: PositiveInt
    ticks: PositiveInt
    history: NonNegativeInt
    lineups: list[Literal["mixed", "self", "alone", "pairs"]]
    deadline: PositiveFloat
    isolation: Literal["none", "process"]
    agent_memory_gib: Annotated[float, Field(ge=0.5, le=4096.0)]
    backend: Literal["serial", "processes"]
    workers: PositiveInt | None
    chunk: PositiveInt
    out: str | None
    as_json: StrictBool = Field(alias="json")
    market: dict[str, Any]
    prices: dict[str, Any]

    @model_validator(mode="after")
    def _purposes_are_disjoint(self) -> TournamentConfig:
        last = self.first_episode + self.episodes - 1
        if self.purpose == "tuning" and last >= self.evaluation_offset:
            raise ValueError(
                f"tuning episodes {self.first_episode} to {last} reach into the evaluation episodes, "
                f"which start at evaluation_offset={self.evaluation_offset}"
            )
        if "mixed" not in self.lineups or len(set(self.lineups)) < len(self.lineups):
            raise ValueError(
                f"lineups is {list(self.lineups)}, expected mixed, which is ranked, and self, alone and pairs if wanted, each once"
            )
        return self

    @property
    def episode_numbers(self) -> range:
        """Absolute numbers of the episodes played: tuning ones count from 0, evaluation ones from ``evaluation_offset``."""
        start = self.first_episode + (self.evaluation_offset if self.purpose == "evaluation" else 0)
        return range(start, start + self.episodes)

    def spec(self) -> TournamentSpec:
        """The part that playing depends on."""
        return TournamentSpec(
            market=self.market,
            prices=self.prices,
            agents=agent_specs(self.agents),
            seed=self.seed,
            ticks=self.ticks,
            history=self.history,
            deadline=self.deadline,
            memory_gib=self.agent_memory_gib if self.isolation == "process" else None,
        )


def validate_tournament(config: Mapping[str, Any]) -> TournamentConfig:
    """Check a composed configuration. Raises :class:`~gridpilot.errors.ConfigError` naming every offending key."""
    validated = validate(TournamentConfig, config, "tournament")
    agent_specs(validated.agents)
    return validated


def agent_specs(agents: Sequence[Any]) -> AgentSpecs:
    """Agents by label, in the order given, with the baselines appended where they are absent.

    An entry is a name (``threshold``), a dotted path (``my_file.MyAgent``), or a mapping ``{name: threshold, label: patient,
    **params}``. The label is by default the last part of the name. Raises :class:`~gridpilot.errors.ConfigError` for an entry of
    another form, a label used twice, and a baseline's label on anything but the baseline as it is.

    >>> agent_specs(["threshold", {"name": "my_file.MyAgent", "label": "mine", "greed": 2}])["mine"]
    {'target': 'my_file.MyAgent', 'params': {'greed': 2}}
    """
    specs: AgentSpecs = {}
    for entry in agents:
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping):
            raise ConfigError(
                f"agents: {entry!r:.100} is not an agent, expected a name, a dotted path or {{name: ..., label: ...}}"
            )
        params = {str(key): value for key, value in entry.items() if key not in ("name", "label")}
        target = entry.get("name")
        if not isinstance(target, str) or not re.fullmatch(r"\w+(\.\w+)*", target):
            raise ConfigError(
                f"agents: {entry!r:.100}: name is {target!r}, expected an agent's name or a dotted path like my_file.MyAgent"
            )
        label = entry.get("label", target.rpartition(".")[2])
        if not isinstance(label, str) or not re.fullmatch(r"[\w.+-]{1,40}", label):
            raise ConfigError(f"agents: {target} has label {label!r}, expected 1 to 40 letters, digits and . + - _")
        if label in specs:
            raise ConfigError(f"agents: the label {label!r} is used twice; write {{name: {target}, label: another}}")
        if label in BASELINES and (target != label or params):
            raise ConfigError(f"agents: {label!r} is a frozen baseline; give {entry!r:.100} a label of its own")
        specs[label] = {"target": target, "params": params}
    for baseline in BASELINES:
        specs.setdefault(baseline, {"target": baseline, "params": {}})
    return specs
