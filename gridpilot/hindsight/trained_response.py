"""What a policy that is trained against an agent takes from it: a best response that learns, where replays with hindsight cannot.

All other seats of the run's market play the agent. A clone of ``foresight`` is made among them and PPO goes on from it
(:mod:`gridpilot.training.response`), for about as long as is wished. On days that training has not seen the policy then takes the agent's
own seat, every seat in turn: what it earns more there is a lower bound of what the agent can be exploited by, found in that time.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Final, NamedTuple

from gridpilot.agents.learned import Learned
from gridpilot.agents.seating import AgentSpec
from gridpilot.configuration import composed, validate
from gridpilot.errors import TournamentError
from gridpilot.market.action import N_PRICES_OF_TIME
from gridpilot.market.encoding import n_fields
from gridpilot.policies.policy import Layout, Policy
from gridpilot.progress import Progress
from gridpilot.setup import load_setup
from gridpilot.suggestions import did_you_mean
from gridpilot.tournament.inspection import agents_of
from gridpilot.tournament.manifest import identity_of, seal
from gridpilot.tournament.replay import PlayedRun
from gridpilot.tournament.schedule import CLAIRVOYANT_ROLES
from gridpilot.training.algorithms import ALGORITHMS
from gridpilot.training.card import CardFacts, write_card
from gridpilot.training.clone import clone
from gridpilot.training.config import TRAINING, CloneConfig, TuningConfig
from gridpilot.training.evaluation import Comparison, compare
from gridpilot.training.league_config import ResponseSearch
from gridpilot.training.markets import Field
from gridpilot.training.network import require_torch
from gridpilot.training.response import best_response
from gridpilot.training.search import search
from gridpilot.training.tuning import Tuning

__all__ = ["Trained", "content_of", "train_against"]

_CLONES_SHARE: Final = 0.25  # of the time, at most
_LAYERS: Final = (64, 64)
_TUNING: Final = 100  # episodes
_LOOKS: Final = 8


class Trained(NamedTuple):
    """A policy that was trained against ``against.other``, its card, and what it earns in that agent's seats."""

    policy: Policy
    card: str
    against: Comparison
    seconds: float  # CPU, of training
    rounds: int  # of the clone
    updates: int  # of the search


def train_against(run: PlayedRun, agent: str, minutes: float, episodes: int, progress: Progress) -> Trained:
    """Train for about ``minutes`` of CPU time against ``agent``, and judge on ``episodes`` of the evaluation range.

    How many rounds and updates that time holds is estimated by one of each: the result says how many were made, which depends on the
    machine and what else it does. Raises :class:`~gridpilot.errors.TournamentError` for an agent that is not in the run or is shown the
    future, and a market of one seat; :class:`~gridpilot.errors.MissingExtraError` without stable-baselines3.
    """
    require_torch()
    algorithm = ALGORITHMS["ppo"]
    algorithm.model()
    spec = run.spec
    known = {str(label): str(role) for label, role in run.rows[["agent", "role"]].drop_duplicates().itertuples(index=False)}
    if agent not in known:
        raise TournamentError(
            f"{run.folder}: no agent {agent!r}; {did_you_mean(agent, known) or 'its agents are ' + ', '.join(known)}"
        )
    if known[agent] in CLAIRVOYANT_ROLES:
        raise TournamentError(f"{run.folder}: {agent!r} is shown the future, expected an agent that can play among its like")
    setup = load_setup(spec.market, spec.prices, ticks=spec.ticks, history=spec.history)
    if len(setup.sites) < 2:
        raise TournamentError(f"{run.folder}: the market has one seat, expected others to be trained against")
    rivals = {agent: agents_of(spec)[agent]}
    field = Field(setup, "rotating", rivals, (1.0,))
    settings: dict[str, Any] = composed("league")
    begun = time.process_time()
    cloning, searching = validate(CloneConfig, settings["clone"], "exploit"), validate(ResponseSearch, settings["ppo"], "exploit")
    cloning, searching = _sized(field, cloning, searching, 60.0 * minutes)
    incumbent = _policy_of(rivals[agent], field, searching)
    looks = TuningConfig(episodes=_TUNING, every=max(searching.updates // _LOOKS, 1), against=[agent], patience=0)
    found = best_response(
        field, cloning, searching, Tuning(field, rivals, looks, spec.seed), seed=spec.seed, layers=_LAYERS, checkpoint=None, identity="",
        progress=progress, tell=progress.note, incumbent=None if incumbent is None else (agent, incumbent),
    )  # fmt: skip
    seconds = time.process_time() - begun
    command = f"gridpilot exploit {run.folder.name} --agent {agent} --train {minutes:g}"
    training = {
        "command": command,
        "run": identity_of(run.manifest),
        "rounds": cloning.rounds,
        "updates": searching.updates,
        "episodes": {"first": TRAINING, "count": found.episodes},
    }
    policy = dataclasses.replace(found.policy, training=training)
    with progress.of(2 * episodes, what="episodes of evaluation") as advance:
        (against,) = compare(policy, field, rivals, where=f"all rivals {agent}", episodes=episodes, seed=spec.seed, advance=advance)
    where = f"every seat in turn of the run's {setup.rules.mechanism} market of {len(setup.sites)} sites, all others {agent}"
    facts = CardFacts(command, where, found.how, found.episodes, spec.seed, seconds)
    return Trained(policy, write_card(policy, facts, [against], []), against, seconds, cloning.rounds, searching.updates)


def _policy_of(spec: AgentSpec, field: Field, searching: ResponseSearch) -> Policy | None:
    """The policy that the agent plays, where a search can begin at it: one of the layout that is searched for."""
    agent, rules = spec.build(), field.setup.rules
    if not isinstance(agent, Learned):
        return None
    layout, classes = agent.policy.layout, max(len(site.fleet) for site in field.setup.sites)
    sizes = (n_fields(classes), *_LAYERS, N_PRICES_OF_TIME + searching.shading_under(rules.mechanism))
    same = layout == Layout(sizes, classes, mechanism=rules.mechanism, hold=layout.hold)
    return agent.policy if same else None


def _sized(field: Field, cloning: CloneConfig, searching: ResponseSearch, seconds: float) -> tuple[CloneConfig, ResponseSearch]:
    """As many rounds and updates as ``seconds`` of CPU time hold, by how long one of each takes."""

    def nobody(count: int, whose: str = "") -> None:
        """Watches what is made to be measured."""

    begun = time.process_time()
    clone(field, cloning.model_copy(update={"rounds": 1}), seed=0, layers=_LAYERS, advance=nobody)
    cloned = time.process_time()
    once = searching.model_copy(update={"updates": 1})
    search(ALGORITHMS["ppo"], field, once, seed=0, layers=_LAYERS, start=None, checkpoint=None, identity="", advance=nobody)
    searched = time.process_time()
    a_round, an_update = max(cloned - begun, 1e-3), max(searched - cloned, 1e-3)
    rounds = min(max(int(_CLONES_SHARE * seconds / a_round), 1), cloning.rounds)
    left = seconds - (searched - begun) - rounds * a_round
    updates = min(max(int(left / an_update), 1), 1_000_000)
    return cloning.model_copy(update={"rounds": rounds}), searching.model_copy(update={"updates": updates})


def content_of(run: PlayedRun, minutes: float, found: Trained) -> dict[str, Any]:
    """What is written, with the identity of the run and the digest of the rest."""
    against = found.against
    return seal(
        {
            "command": "exploit --train",
            "run": identity_of(run.manifest),
            "measure": "gain of a policy trained against the agent, in its seat among its like",
            "unit": "$ per site and day",
            "agent": against.other,
            "minutes": minutes,
            "cpu_seconds": found.seconds,
            "rounds": found.rounds,
            "updates": found.updates,
            "episodes": against.episodes,
            "profit": dataclasses.asdict(against.profit),
            "gain": dataclasses.asdict(against.gain),
            "gain_percent": dataclasses.asdict(against.percent),
        }
    )
