"""What a league came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridpilot.tournament.intervals import LEVEL, Estimate
from gridpilot.training.together import Together

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["League", "Step", "document_of"]


@dataclass(frozen=True)
class Step:
    """The equilibrium of a population, and what the response that was trained against it gains; $ per site and day, on evaluation."""

    number: int  # of strategies that have joined since the beginning
    weights: Mapping[str, float]  # of the whole population, in the order in which it grew
    seconds: float  # CPU, until the mixture was known
    value: Estimate  # what it earns
    response: str | None  # None after the last iteration
    gain: Estimate  # of the response over the mixture
    percent: Estimate  # of the value
    best: str  # of all that were ever in the league who gains most over the mixture on the episodes of tuning
    best_gain: Estimate  # its gain on those of evaluation
    together: Together  # when all seats play the mixture
    drawn: Mapping[str, float]  # how often each opponent was drawn before it, where one policy plays itself


@dataclass(frozen=True)
class League:
    """What a league came to."""

    folder: Path
    method: str  # psro or self_play
    mechanism: str
    agents: tuple[Mapping[str, Any], ...]  # all strategies, as configurations name them
    steps: tuple[Step, ...]  # one more than iterations
    initially: tuple[Together, ...]  # when all seats play one of the agents that it began with
    ratings: Mapping[str, float]  # deviation ratings of all strategies on the episodes of evaluation, <= 0, $ per site and day
    payoff: tuple[tuple[Estimate, ...], ...]  # on the same: one who plays the row's strategy among others who play the column's
    episodes: tuple[int, int]  # of tuning and evaluation
    seconds: float  # CPU, in all

    @property
    def weights(self) -> Mapping[str, float]:
        """The last equilibrium."""
        return self.steps[-1].weights

    @property
    def figures(self) -> pd.DataFrame:
        """A row a step; estimates with the ends of their intervals (``_low``, ``_high``); ``over`` an agent when all play either."""
        import pandas as pd

        rows = []
        for step in self.steps:
            row: dict[str, Any] = {"iteration": step.number, "seconds": step.seconds, "response": step.response, "best": step.best}
            together = step.together
            told: dict[str, Estimate] = {name: getattr(step, name) for name in ("value", "gain", "percent", "best_gain")}
            told |= {name: getattr(together, name) for name in ("profit", "revenue", "welfare")}
            told |= {f"over {label}": gain for label, gain in together.over.items()}
            for name, estimate in told.items():
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append(row)
        return pd.DataFrame(rows)


def document_of(league: League) -> dict[str, Any]:
    """The league as plain values: what ``result.json`` holds."""
    return {
        "method": league.method,
        "mechanism": league.mechanism,
        "episodes": {"tuning": league.episodes[0], "evaluation": league.episodes[1]},
        "level": LEVEL,
        "cpu_seconds": league.seconds,
        "agents": [dict(agent) for agent in league.agents],
        "steps": [dataclasses.asdict(step) for step in league.steps],
        "initially": [dataclasses.asdict(one) for one in league.initially],
        "ratings": dict(league.ratings),
        "payoff": [[dataclasses.asdict(cell) for cell in row] for row in league.payoff],
    }
