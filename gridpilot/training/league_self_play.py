"""Self-play: one policy that learns in all seats at once, against its past, and against what is trained to exploit it.

The league of Vinyals et al., "Grandmaster level in StarCraft II using multi-agent reinforcement learning" (Nature 2019), of one main agent:
in some markets all seats are the policy's and all of them learn; in others every second seat learns, and the rest play one opponent, drawn
anew in each episode by prioritised fictitious self-play (:func:`gridpilot.training.payoffs.priorities`). Opponents are snapshots of the
policy, and exploiters: responses to the last snapshot alone, of which those join that gain by an interval above zero on the days of tuning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import TournamentError
from gridpilot.files import write_atomically
from gridpilot.market.action import N_PRICES_OF_TIME
from gridpilot.policies.folder import load_policy, save_policy
from gridpilot.policies.policy import Policy
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.clone import clone
from gridpilot.training.config import TRAINING
from gridpilot.training.league_config import exploiter_label, policy_label
from gridpilot.training.league_folder import EXPLOITER, FIGURES, LEARNER, POLICY, name_of, read_document
from gridpilot.training.league_play import Joining, Play, mixture_in_words
from gridpilot.training.markets import Field, specs_of
from gridpilot.training.network import one_thread
from gridpilot.training.payoffs import gain_over, priorities
from gridpilot.training.random_state import kept_random_state
from gridpilot.training.response import Response, cloned_in_words
from gridpilot.training.vec_env import make_vec_env

__all__ = ["SelfPlay"]

FloatArray = npt.NDArray[np.float64]


class SelfPlay(Play):
    """A league of one policy, its past and its exploiters; the n-th iteration ends with its n-th snapshot."""

    def joining(self, number: int) -> Mapping[str, str]:
        """The snapshot, and where one is trained the exploiter."""
        every = self.settings.self_play.exploit_every
        exploited = number > 0 and every > 0 and number % every == 0
        return {policy_label(number): POLICY} | ({exploiter_label(number): EXPLOITER} if exploited else {})

    def mixture(self, number: int, tuned: FloatArray) -> FloatArray:
        """All play the snapshot."""
        return np.array([float(label == policy_label(number)) for label in self.agents(number)])

    def responder(self, number: int, last: int) -> str | None:
        """The exploiter of the snapshot."""
        return exploiter_label(number) if exploiter_label(number) in self.joining(number) else None

    def train(self, number: int, folder: Path) -> Sequence[Joining]:
        """Go on to the next snapshot, and train its exploiter."""
        own = policy_label(number)
        policy = self._next(number, folder) if number else self._first()
        save_policy(policy.policy, folder / POLICY, "")
        drawn = mixture_in_words(self.drawn(number))
        rivals = f"in each of which all others play it too, or half of them one of {drawn}" if number else f"among {self._among()}"
        joining = [Joining(own, policy, {own: 1.0}, rivals)]
        if self.responder(number, number):
            self.progress.note(f"iteration {number}: a response to {own} alone")
            spec = AgentSpec("learned", {"policy": str(folder / POLICY)})
            response = self.respond({own: spec}, {own: 1.0}, number)
            save_policy(response.policy, folder / EXPLOITER, "")
            joining.append(Joining(exploiter_label(number), response, {own: 1.0}, f"in each of which all others play {own}"))
        return joining

    def note(self, number: int, tuned: FloatArray) -> Mapping[str, Any]:
        """How often each opponent was drawn, and whether the exploiter joins them."""
        joins = None
        if exploiter := self.responder(number, number):
            gain = gain_over(tuned, self.mixture(number, tuned), list(self.agents(number)).index(exploiter))[1]
            joins = gain.low is not None and gain.low > 0.0
            self.progress.note(f"{exploiter} {'joins' if joins else 'does not join'} the opponents")
        return {"drawn": dict(self.drawn(number)), "joins": joins}

    def drawn(self, number: int) -> dict[str, float]:
        """How often each opponent is drawn in that iteration: from the last snapshot's results on the episodes of tuning."""
        if not number or not self.settings.self_play.against:
            return {}
        population = list(self.agents(number - 1))
        pool = [policy_label(k) for k in range(number)]
        pool += [exploiter_label(k) for k in range(1, number) if self._figures(k)["joins"]]
        at = [population.index(label) for label in pool]
        tuned = self.payoff(number - 1)[0]
        found = priorities(tuned, population.index(policy_label(number - 1)), at, self.settings.self_play.priority)
        return dict(zip(pool, found.tolist(), strict=True))

    def _figures(self, number: int) -> Mapping[str, Any]:
        path = self.out / name_of(number) / FIGURES
        found = read_document(path)
        if not isinstance(found, Mapping) or not isinstance(found.get("joins"), bool | None):
            raise TournamentError(f"{path} does not say whether the exploiter joins, expected a file that gridpilot league wrote")
        return found

    def _among(self) -> str:
        return ", ".join(specs_of([self.settings.self_play.begin_among]))

    def _first(self) -> Response:
        """The clone that the policy begins at."""
        settings = self.settings
        field = Field(self.setup, "rotating", specs_of([settings.self_play.begin_among]))
        shading = settings.ppo.shading_under(self.setup.rules.mechanism)
        with self.progress.of(settings.clone.rounds, what="rounds of the clone") as advance:
            policy, _ = clone(
                field, settings.clone, seed=self.seed(0), layers=tuple(settings.layers), shading=shading, advance=advance
            )
        response = Response(policy, cloned_in_words(settings.clone), settings.clone.rounds * settings.clone.markets)
        return self.signed(response, self.seed(0), {self._among(): 1.0})

    def _next(self, number: int, folder: Path) -> Response:
        """The policy after another ``updates``, from where the search was at the last snapshot."""
        wanted = self.settings.self_play
        drawn = self.drawn(number)
        told = f", every second one against {mixture_in_words(drawn)} in {wanted.against}" if drawn else ""
        self.progress.note(f"iteration {number} of {self.settings.iterations}: all seats learn in {wanted.markets} markets{told}")
        agents = self.agents(number - 1)
        opponents = {label: AgentSpec(**agents[label]) for label in drawn}
        going_on = self.out / f".learner-{number}.pt"
        if number > 1 and not going_on.exists():
            before = self.out / name_of(number - 1) / LEARNER
            try:
                write_atomically(going_on, before.read_bytes(), TournamentError)
            except OSError as error:
                raise TournamentError(f"cannot read {before}: {error.strerror or error}") from error
        policy, updates = self._learned(number, opponents, list(drawn.values()), going_on)
        write_atomically(folder / LEARNER, going_on.read_bytes(), TournamentError)
        how = (
            f"{cloned_in_words(self.settings.clone)} among {self._among()}, then by {ALGORITHMS['ppo'].title} in all seats at once "
            f"({updates} updates of {wanted.markets + (wanted.against if drawn else 0)} episodes, {wanted.markets} of them against itself)"
        )
        episodes = max(updates * (wanted.markets + wanted.against), self.settings.clone.rounds * self.settings.clone.markets)
        return self.signed(Response(policy, how, episodes), self.seed(0), drawn)

    def _learned(
        self, number: int, opponents: Mapping[str, AgentSpec], weights: Sequence[float], checkpoint: Path
    ) -> tuple[Policy, int]:
        """The policy after ``number`` times as many updates as lie between two snapshots, and their number.

        It is one search all along: within an iteration its learning rate goes down to 0 from the n-th part of that of the first.
        """
        from gridpilot.training.joint_env import JointVecEnv
        from gridpilot.training.sb3_learner import Learner

        wanted, seed = self.settings.self_play, self.seed(0)
        settings = self.settings.ppo.model_copy(update={"updates": number * wanted.updates})
        begun = load_policy(self.out / name_of(0) / POLICY)
        layout = dataclasses.replace(begun.layout, hold=settings.hold)
        same: dict[str, Any] = {"shading": layout.shading, "hold": layout.hold, "baseline": settings.baseline}
        seats = range(len(self.setup.sites))
        parts = [make_vec_env(wanted.markets, self.setup, seats=seats, opponents=(), **same)]
        for one, count in enumerate((wanted.against - wanted.against // 2, wanted.against // 2)):
            if opponents and count:  # the even seats learn, then the odd ones
                parts.append(
                    make_vec_env(
                        count, self.setup, seats=seats[one::2], opponents=list(opponents.values()), lineup="mixture", weights=weights,
                        **same,
                    )
                )  # fmt: skip
        env = JointVecEnv(parts, seed, TRAINING)
        algorithm, identity = ALGORITHMS["ppo"], self.known_as("self-play")
        with (
            one_thread(),
            kept_random_state(),
            self.progress.of(settings.updates, what=f"updates of iteration {number}") as advance,
        ):
            learner = Learner.resumed(algorithm, env, layout, settings, seed, checkpoint, identity)
            if learner is None:
                arrays = {name: array.copy() for name, array in begun.arrays.items()}
                arrays[f"layers.{len(layout.sizes) - 2}.bias"][N_PRICES_OF_TIME:] = settings.shading_start
                learner = Learner(algorithm, env, layout, settings, seed, arrays, checkpoint, identity)
            advance(learner.updates)
            learner.learn(advance)
        env.close()
        return Policy(layout, learner.arrays()), learner.updates
