"""Playing a league: the next iteration, and the game of the population so far."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import TournamentError
from gridpilot.files import making_folder, write_atomically
from gridpilot.policies.folder import save_policy
from gridpilot.progress import Progress
from gridpilot.provenance import code_hash
from gridpilot.setup import MarketSetup
from gridpilot.tournament.config import AgentSpecs
from gridpilot.tournament.intervals import Estimate, mean, ratio_percent
from gridpilot.training.card import CardFacts, write_card
from gridpilot.training.config import TRAINING, evaluation_episodes
from gridpilot.training.evaluation import Comparison
from gridpilot.training.league_config import LeagueConfig, response_label
from gridpilot.training.league_folder import CPU, FIGURES, PAYOFFS, POLICY, identity_of, name_of, write_document
from gridpilot.training.markets import Field
from gridpilot.training.payoffs import COLUMNS, equilibrium_of, gain_over, new_matches, payoff_tensor, play_matches
from gridpilot.training.response import Response, best_response
from gridpilot.training.tuning import Tuning

__all__ = ["Play", "in_words", "mixture_in_words"]

FloatArray = npt.NDArray[np.float64]


class Play:
    """A league that is being played: what its folder holds of it, and the next iteration."""

    def __init__(
        self, settings: LeagueConfig, setup: MarketSetup, agents: AgentSpecs, out: Path, command: str, progress: Progress
    ) -> None:
        self.settings, self.setup, self.initial, self.out, self.command, self.progress = (
            settings, setup, agents, out, command, progress,
        )  # fmt: skip
        self.tuned = list(range(settings.tuning.episodes))
        self.judged = evaluation_episodes(settings.evaluation.episodes).tolist()

    def agents(self, number: int) -> AgentSpecs:
        """The population after that iteration."""
        responses = {
            response_label(k): {"target": "learned", "params": {"policy": str(self.out / name_of(k) / POLICY)}}
            for k in range(1, number + 1)
        }
        return {**self.initial, **responses}

    def payoff(self, number: int) -> tuple[FloatArray, FloatArray]:
        """The tensors ``(E, S, S)`` of the population after that iteration, on the episodes of tuning and of evaluation."""
        rows = pd.concat([_rows(self.out / name_of(k) / PAYOFFS) for k in range(number + 1)], ignore_index=True)
        episodes = len(self.tuned) + len(self.judged)
        tensor = payoff_tensor(rows, list(self.agents(number)), episodes, str(self.out))
        return tensor[: len(self.tuned)], tensor[len(self.tuned) :]

    def iterate(self, number: int) -> None:
        """Let the response to the equilibrium so far join the population; at 0 let the agents that it begins with play."""
        begun = time.process_time()
        agents = self.agents(number)
        population = list(agents)
        old = population[:-1] if number else []
        with making_folder(self.out / name_of(number), TournamentError) as folder:
            weights, response = np.zeros(0), None
            if number:
                weights = equilibrium_of(self.payoff(number - 1)[0])
                response = self._respond(number, dict(zip(old, weights.tolist(), strict=True)))
                save_policy(response.policy, folder / POLICY, "")
                agents = {**agents, population[-1]: {"target": "learned", "params": {"policy": str(folder / POLICY)}}}
            seats = len(self.setup.sites)
            matches = new_matches(population, len(old), seats, [*self.tuned, *self.judged])
            with self.progress.of(len(matches), what=f"matches of iteration {number}") as advance:
                rows = play_matches(
                    self.settings.market, self.settings.prices, agents, matches, seed=self.settings.evaluation.seed,
                    ticks=self.settings.ticks, history=self.settings.history, advance=advance,
                )  # fmt: skip
            write_atomically(folder / PAYOFFS, rows.to_parquet(), TournamentError)
            seconds = time.process_time() - begun
            if response is not None:
                self._tell(number, folder, rows, weights, response, seconds)
            write_document(folder / CPU, {"seconds": seconds})
        self._checkpoint(number).unlink(missing_ok=True)

    def _respond(self, number: int, weights: Mapping[str, float]) -> Response:
        settings, agents = self.settings, self.agents(number - 1)
        support = {label: weight for label, weight in weights.items() if weight > 0.0}
        self.progress.note(f"iteration {number} of {settings.iterations}: a response to {mixture_in_words(support)}")
        rivals = {label: AgentSpec(agents[label]["target"], agents[label]["params"]) for label in support}
        field = Field(self.setup, "rotating", rivals, tuple(support.values()))
        seed = int(np.random.SeedSequence(settings.seed, spawn_key=(number,)).generate_state(1)[0])
        identity = hashlib.sha256(json.dumps([identity_of(settings), number, dict(weights)], sort_keys=True).encode()).hexdigest()
        tuning = Tuning(field, rivals, settings.looks, settings.evaluation.seed)
        found = best_response(
            field,
            settings.clone,
            settings.ppo if settings.search else None,
            tuning,
            seed=seed,
            layers=tuple(settings.layers),
            checkpoint=self._checkpoint(number),
            identity=identity,
            progress=self.progress,
            tell=self.progress.note,
        )
        training = {
            "command": self.command,
            "config": identity_of(settings)["settings"],
            "episodes": {"first": TRAINING, "count": found.episodes},
            "seed": seed,
            "rivals": dict(support),
            "code": code_hash(),
            "versions": identity_of(settings)["versions"],
        }
        return found._replace(policy=dataclasses.replace(found.policy, training=training))

    def _tell(self, number: int, folder: Path, rows: pd.DataFrame, weights: FloatArray, response: Response, seconds: float) -> None:
        """Write what the response is worth against those it was trained against: for programs, and on its card."""
        before = [_rows(self.out / name_of(k) / PAYOFFS) for k in range(number)]
        population = list(self.agents(number))
        tensor = payoff_tensor(
            pd.concat([*before, rows], ignore_index=True), population, len(self.tuned) + len(self.judged), str(self.out)
        )[len(self.tuned) :]
        padded = np.append(weights, 0.0)
        among = tensor @ padded
        own = among[:, -1]
        support = {label: float(weight) for label, weight in zip(population, padded, strict=True) if weight > 0.0}
        field = f"among {mixture_in_words(support)}"
        compared = [
            Comparison(field, label, len(own), mean(own), mean(own - among[:, s]), ratio_percent(own - among[:, s], among[:, s]))
            for s, label in enumerate(population[:-1])
        ]
        value, gain, percent = gain_over(tensor, padded, len(population) - 1)
        self.progress.note(f"{population[-1]}: {in_words(gain)} $ per site and day over the mixture, which earns {in_words(value)}")
        write_document(
            folder / FIGURES,
            {
                "weights": dict(zip(population[:-1], weights.tolist(), strict=True)),
                "response": population[-1],
                "value": dataclasses.asdict(value),
                "gain": dataclasses.asdict(gain),
                "percent": dataclasses.asdict(percent),
            },
        )
        where = (
            f"every seat in turn of a {self.setup.rules.mechanism} market of {len(self.setup.sites)} sites, days of {self.settings.ticks} "
            f"ticks, in each of which all others play one of a mixture, drawn anew: {mixture_in_words(support)}"
        )
        facts = CardFacts(self.command, where, response.how, response.episodes, self.settings.evaluation.seed, seconds)
        save_policy(response.policy, folder / POLICY, write_card(response.policy, facts, compared, []))

    def _checkpoint(self, number: int) -> Path:
        return self.out / f".checkpoint-{number}.pt"


def _rows(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=COLUMNS)
    except (OSError, ValueError) as error:  # an ArrowInvalid is a ValueError
        raise TournamentError(f"{path} cannot be read, expected the payoffs of an iteration: {str(error)[:200]!r}") from error


def mixture_in_words(weights: Mapping[str, float]) -> str:
    """A mixture in words, what is played most first."""
    played = sorted(((weight, label) for label, weight in weights.items() if weight > 0.0), key=lambda pair: -pair[0])
    return ", ".join(label if weight > 0.9995 else f"{label} {weight:.2f}" for weight, label in played)


def in_words(estimate: Estimate) -> str:
    """An estimate with its interval, if it has one."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.1f}"
    return f"{estimate.value:+.1f} [{estimate.low:+.1f}, {estimate.high:+.1f}]"
