"""Playing a league: the next iteration, and the game of the population so far."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import TournamentError
from gridpilot.files import making_folder, write_atomically
from gridpilot.policies.folder import load_policy, save_policy
from gridpilot.progress import Progress
from gridpilot.setup import MarketSetup
from gridpilot.tournament.config import AgentSpecs
from gridpilot.tournament.intervals import Estimate, in_words, mean, ratio_percent
from gridpilot.training.card import CardFacts, write_card
from gridpilot.training.config import TRAINING, evaluation_episodes
from gridpilot.training.evaluation import Comparison
from gridpilot.training.league_config import LABELS, LeagueConfig, response_label
from gridpilot.training.league_folder import CPU, FIGURES, PAYOFFS, POLICY, TOGETHER, identity_of, name_of, write_document
from gridpilot.training.markets import Field
from gridpilot.training.payoffs import COLUMNS, equilibrium_of, gain_over, new_matches, payoff_tensor, play_matches
from gridpilot.training.response import Response, best_response
from gridpilot.training.together import alike, mixed_matches
from gridpilot.training.tuning import Tuning

__all__ = ["Joining", "Play", "Psro", "mixture_in_words"]

FloatArray = npt.NDArray[np.float64]


class Joining(NamedTuple):
    """A policy that joins the population, the mixture among which it is judged, and its rivals in training, in words."""

    label: str
    response: Response
    weights: Mapping[str, float]
    rivals: str


class Play(abc.ABC):
    """A league that is being played: what its folder holds of it, and the next iteration."""

    def __init__(
        self, settings: LeagueConfig, setup: MarketSetup, agents: AgentSpecs, out: Path, command: str, progress: Progress
    ) -> None:
        self.settings, self.setup, self.initial, self.out, self.command, self.progress = (
            settings, setup, agents, out, command, progress,
        )  # fmt: skip
        self.tuned = list(range(settings.tuning.episodes))
        self.judged = evaluation_episodes(settings.evaluation.episodes).tolist()
        self.identity = identity_of(settings)

    @abc.abstractmethod
    def joining(self, number: int) -> Mapping[str, str]:
        """What joins in that iteration: labels, and where in its folder the policies are."""

    @abc.abstractmethod
    def mixture(self, number: int, tuned: FloatArray) -> FloatArray:
        """What the population settles at after that iteration, ``(S,)``, of its payoffs ``(E, S, S)`` on the episodes of tuning."""

    @abc.abstractmethod
    def responder(self, number: int, last: int) -> str | None:
        """The label of the response to that mixture, of ``last`` iterations; ``None`` where none was trained."""

    @abc.abstractmethod
    def train(self, number: int, folder: Path) -> Sequence[Joining]:
        """Train what joins in that iteration, in the order of :meth:`joining`, and save it in ``folder``."""

    def drawn(self, number: int) -> Mapping[str, float]:
        """How often each opponent is drawn in training for that iteration, beyond the mixture that it answers."""
        return {}

    def note(self, number: int, tuned: FloatArray) -> Mapping[str, Any]:
        """What else ``iteration.json`` is to hold, of the payoffs on the episodes of tuning after it."""
        return {}

    def agents(self, number: int, folder: Path | None = None) -> AgentSpecs:
        """The population after that iteration; ``folder`` is where its own is as long as it has not got its name."""
        found = dict(self.initial)
        for k in range(number + 1):
            place = folder if folder is not None and k == number else self.out / name_of(k)
            found |= {
                label: {"target": "learned", "params": {"policy": str(place / name)}} for label, name in self.joining(k).items()
            }
        return found

    def size(self, number: int) -> int:
        """Strategies of the population after that iteration."""
        return len(self.initial) + sum(len(self.joining(k)) for k in range(number + 1))

    def payoff(self, number: int, rows: pd.DataFrame | None = None) -> tuple[FloatArray, FloatArray]:
        """The tensors ``(E, S, S)`` of the population after that iteration, on the episodes of tuning and of evaluation.

        ``rows``  what that iteration added, where it is not in the folder yet.
        """
        before = [self._rows(k, PAYOFFS) for k in range(number)]
        whole = pd.concat([*before, self._rows(number, PAYOFFS) if rows is None else rows], ignore_index=True)
        tensor = payoff_tensor(whole, list(self.agents(number)), len(self.tuned) + len(self.judged), str(self.out))
        return tensor[: len(self.tuned)], tensor[len(self.tuned) :]

    def together(self, number: int) -> FloatArray:
        """``(E, 3)`` of :func:`~gridpilot.training.together.alike`: all seats play the mixture after that iteration."""
        return alike(self._rows(number, TOGETHER))

    def initially(self) -> dict[str, FloatArray]:
        """The same of each agent that the league began with."""
        rows = self._rows(0, PAYOFFS)
        return {label: alike(self._selves(rows, label)) for label in self.initial}

    def iterate(self, number: int) -> None:
        """Train what joins the population in that iteration, and let it play."""
        begun = time.process_time()
        with making_folder(self.out / name_of(number), TournamentError) as folder:
            joining = self.train(number, folder)
            agents = self.agents(number, folder)
            old = self.size(number - 1) if number else 0
            matches = new_matches(list(agents), old, len(self.setup.sites), [*self.tuned, *self.judged])
            rows = self._played(agents, matches, f"matches of iteration {number}")
            write_atomically(folder / PAYOFFS, rows.to_parquet(), TournamentError)
            tuned, judged = self.payoff(number, rows)
            mixture = self.mixture(number, tuned)
            together = self._together(agents, dict(zip(agents, mixture.tolist(), strict=True)), rows, number)
            write_atomically(folder / TOGETHER, together.to_parquet(), TournamentError)
            seconds = time.process_time() - begun
            if joining:
                self._tell(folder, joining, judged, number, self.note(number, tuned), seconds)
            write_document(folder / CPU, {"seconds": seconds})
        for left in self.out.glob(f".*-{number}.pt"):
            left.unlink()

    def _played(self, agents: AgentSpecs, matches: Any, what: str) -> pd.DataFrame:
        settings = self.settings
        with self.progress.of(len(matches), what=what) as advance:
            return play_matches(
                settings.market, settings.prices, agents, matches, seed=settings.evaluation.seed, ticks=settings.ticks,
                history=settings.history, advance=advance,
            )  # fmt: skip

    def _together(self, agents: AgentSpecs, weights: Mapping[str, float], rows: pd.DataFrame, number: int) -> pd.DataFrame:
        """Rows of one match an episode of evaluation, in which all seats play the mixture."""
        support = {label: weight for label, weight in weights.items() if weight > 0.0}
        if len(support) > 1:
            matches = mixed_matches(support, len(self.setup.sites), self.judged)
            return self._played({label: agents[label] for label in support}, matches, f"matches of the mixture after {number}")
        (label,) = support
        before = [self._rows(k, PAYOFFS) for k in range(number)]
        return self._selves(pd.concat([*before, rows], ignore_index=True), label)

    def _selves(self, rows: pd.DataFrame, label: str) -> pd.DataFrame:
        chosen = (rows["lineup"] == "self") & (rows["agent"] == label) & rows["episode"].isin(self.judged)
        return rows[chosen].reset_index(drop=True)

    def respond(self, rivals: Mapping[str, AgentSpec], weights: Mapping[str, float], number: int) -> Response:
        """Train a best response, in every seat in turn, to ``rivals`` of whom in each episode one plays all other seats."""
        settings = self.settings
        field = Field(self.setup, "rotating", rivals, tuple(weights.values()))
        seed = self.seed(number)
        heaviest = max(weights, key=lambda label: weights[label])
        policy = rivals[heaviest].params.get("policy") if re.fullmatch(LABELS, heaviest) else None
        incumbent = None if policy is None else (heaviest, load_policy(policy))
        found = best_response(
            field, settings.clone, settings.ppo if settings.search else None,
            Tuning(field, rivals, settings.looks, settings.evaluation.seed), seed=seed, layers=tuple(settings.layers),
            checkpoint=self.out / f".checkpoint-{number}.pt", identity=self.known_as(number, dict(weights)), progress=self.progress,
            tell=self.progress.note, incumbent=incumbent,
        )  # fmt: skip
        return self.signed(found, seed, weights)

    def seed(self, number: int) -> int:
        """Of what is trained in that iteration."""
        return int(np.random.SeedSequence(self.settings.seed, spawn_key=(number,)).generate_state(1)[0])

    def known_as(self, *what: Any) -> str:
        """The identity of a search in this league."""
        return hashlib.sha256(json.dumps([self.identity, *what], sort_keys=True).encode()).hexdigest()

    def signed(self, response: Response, seed: int, rivals: Mapping[str, float]) -> Response:
        """The same with what its policy came from."""
        training = {
            "command": self.command,
            "config": self.identity["settings"],
            "episodes": {"first": TRAINING, "count": response.episodes},
            "seed": seed,
            "rivals": dict(rivals),
            "code": self.identity["code"],
            "versions": self.identity["versions"],
        }
        return response._replace(policy=dataclasses.replace(response.policy, training=training))

    def _tell(
        self, folder: Path, joining: Sequence[Joining], judged: FloatArray, number: int, notes: Mapping[str, Any], seconds: float
    ) -> None:
        """Write what those who join are worth among whom they are judged: on their cards, and for programs of the last of them."""
        population, places = list(self.agents(number)), self.joining(number)
        for each in joining:
            exploiter = joining[-1].label if each is not joining[-1] else ""
            card = self._card(each, population, judged, seconds, exploiter)
            save_policy(each.response.policy, folder / places[each.label], card)
        one = joining[-1]
        weights = {label: one.weights.get(label, 0.0) for label in population if label != one.label or one.label in one.weights}
        figures: dict[str, Any] = {"weights": weights, "response": None}
        mixture = np.array([one.weights.get(label, 0.0) for label in population])
        value, gain, percent = gain_over(judged, mixture, population.index(one.label))
        if one.label in one.weights:  # it is no response
            gain = percent = Estimate(None)
        else:
            figures["response"] = one.label
            told = f"over {mixture_in_words(one.weights)}, which earns {in_words(value)}"
            self.progress.note(f"{one.label}: {in_words(gain)} $ per site and day {told}")
        figures |= {name: dataclasses.asdict(of) for name, of in (("value", value), ("gain", gain), ("percent", percent))}
        write_document(folder / FIGURES, {**figures, **notes})

    def _card(self, one: Joining, population: Sequence[str], judged: FloatArray, seconds: float, exploiter: str) -> str:
        among = judged @ np.array([one.weights.get(label, 0.0) for label in population])
        own, field = among[:, population.index(one.label)], f"among {mixture_in_words(one.weights)}"
        compared = [
            Comparison(field, label, len(own), mean(own), mean(own - theirs), ratio_percent(own - theirs, theirs))
            for label, theirs in zip(population, among.T, strict=True)
            if label != one.label
        ]
        where = (
            f"every seat in turn of a {self.setup.rules.mechanism} market of {len(self.setup.sites)} sites, days of "
            f"{self.settings.ticks} ticks, {one.rivals}"
        )
        facts = CardFacts(
            self.command, where, one.response.how, one.response.episodes, self.settings.evaluation.seed, seconds, exploiter
        )
        return write_card(one.response.policy, facts, compared, [])

    def _rows(self, number: int, name: str) -> pd.DataFrame:
        path = self.out / name_of(number) / name
        try:
            return pd.read_parquet(path, columns=COLUMNS)
        except (OSError, ValueError) as error:  # an ArrowInvalid is a ValueError
            raise TournamentError(f"{path} cannot be read, expected the payoffs of an iteration: {str(error)[:200]!r}") from error


class Psro(Play):
    """Best responses to the equilibrium of those so far."""

    def joining(self, number: int) -> Mapping[str, str]:
        """The response."""
        return {response_label(number): POLICY} if number else {}

    def mixture(self, number: int, tuned: FloatArray) -> FloatArray:
        """The equilibrium."""
        return equilibrium_of(tuned)

    def responder(self, number: int, last: int) -> str | None:
        """The response of the next iteration."""
        return response_label(number + 1) if number < last else None

    def train(self, number: int, folder: Path) -> Sequence[Joining]:
        """Train the response to the equilibrium so far."""
        if not number:
            return []
        agents = self.agents(number - 1)
        weights = dict(zip(agents, equilibrium_of(self.payoff(number - 1)[0]).tolist(), strict=True))
        support = {label: weight for label, weight in weights.items() if weight > 0.0}
        told = mixture_in_words(support)
        self.progress.note(f"iteration {number} of {self.settings.iterations}: a response to {told}")
        response = self.respond({label: AgentSpec(**agents[label]) for label in support}, support, number)
        save_policy(response.policy, folder / POLICY, "")
        rivals = f"in each of which all others play one of a mixture, drawn anew: {told}"
        return [Joining(response_label(number), response, support, rivals)]


def mixture_in_words(weights: Mapping[str, float]) -> str:
    """A mixture in words, what is played most first."""
    played = sorted(((weight, label) for label, weight in weights.items() if weight > 0.0), key=lambda pair: -pair[0])
    return ", ".join(label if weight > 0.9995 else f"{label} {weight:.2f}" for weight, label in played)
