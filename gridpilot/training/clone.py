"""Cloning: a policy that imitates a teacher which is shown the future, by DAgger.

DAgger (Ross, Gordon and Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", 2011): the
teacher says what it would do in the states that the learner gets into, and the learner is fitted to all that it has said so far. What the
learner cannot know averages out: it imitates the mean of the teacher's storage values, in money, given what it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import BatchAgent
from gridpilot.agents.bidding import build_bidding_rule
from gridpilot.agents.encoding import encode_seats
from gridpilot.agents.learners import Learners
from gridpilot.agents.registry import build_agent
from gridpilot.agents.view import Window
from gridpilot.errors import AgentError
from gridpilot.market.action import N_PRICES_OF_TIME, storage_entry
from gridpilot.market.encoding import SIZE, n_fields
from gridpilot.policies.policy import Bidding, Layout, Policy
from gridpilot.progress import Advance
from gridpilot.training.config import CloneConfig, training_episodes
from gridpilot.training.markets import Field, begun, specs_of
from gridpilot.training.network import Network, one_thread

__all__ = ["build_teacher", "clone"]

Array32 = npt.NDArray[np.float32]


def build_teacher(spec: str | Mapping[str, Any]) -> BatchAgent:
    """The teacher of that name or mapping. Raises :class:`~gridpilot.errors.AgentError` for one that does not value storage on arrays."""
    teacher = build_agent(spec)
    if not isinstance(teacher, BatchAgent) or not teacher.on_arrays or "storage_value" not in teacher.writes:
        raise AgentError(
            f"clone: teacher is {spec!r:.80}, expected an agent on arrays that writes storage values, such as foresight or mpc"
        )
    return teacher


def clone(
    field: Field,
    settings: CloneConfig,
    *,
    seed: int,
    layers: tuple[int, ...] = (64, 64),
    shading: int = 0,
    bidding: Bidding | None = None,
    advance: Advance,
) -> tuple[Policy, Network]:
    """Train a policy of hidden ``layers`` with ``shading`` factors, and the network that it is of, in case training goes on.

    In every round ``settings.markets`` new episodes are played. In the first the teacher plays them all, later the learner plays half;
    every ``settings.every`` ticks what is seen is written down with what the teacher says it is worth. Those of ``settings`` who play as
    well take turns with the rivals of ``field``, where these are no mixture. With ``bidding``, a rule of ``conf/bidding``, that rule makes
    bids of the values of both. Equal seeds give the same bits on a machine. Raises
    :class:`~gridpilot.errors.MissingExtraError` without torch, :class:`~gridpilot.errors.AgentError` where no seat has a battery, or a
    rival fails.
    """
    teacher = build_teacher(settings.teacher)
    mechanism = field.setup.rules.mechanism
    also, worth = settings.also_under(mechanism), settings.imitates_under(mechanism) == "worth"
    if also and field.weights is None:
        field = field._replace(rivals={**field.rivals, **specs_of(also), **field.rivals})
    classes = max(len(site.fleet) for site in field.setup.sites) or 1
    sizes = (n_fields(classes), *layers, N_PRICES_OF_TIME + shading)
    layout = Layout(sizes, classes, mechanism=mechanism, bidding=bidding)
    policy: Policy | None = None
    network: Network | None = None
    inputs, entries = [], []
    with one_thread():
        for number in range(settings.rounds):
            seen, said = _rehearse(field, settings, teacher, policy, bidding, seed, number)
            if network is None:
                network = Network(layout, seen, seed)
            inputs.append(network.standardised(seen))
            entries.append(said)
            rate, last = settings.learning_rate, number == settings.rounds - 1
            passes = settings.last_passes if last else settings.passes
            rates = np.linspace(rate, 0.0, passes + 1).tolist() if last else [rate] * (passes + 1)
            network.fit(np.concatenate(inputs), np.concatenate(entries), rates, settings.batch, worth=worth)
            policy = Policy(layout, network.arrays())
            advance(1)
    assert policy is not None
    assert network is not None
    return policy, network


def _rehearse(
    field: Field, settings: CloneConfig, teacher: BatchAgent, policy: Policy | None, bidding: Bidding | None, seed: int, number: int
) -> tuple[Array32, Array32]:
    """Play a round; what was seen ``(R, D)`` and the teacher's entries ``(R,)``, of seats with a battery."""
    n = settings.markets
    arena, seating, seats = begun(field, seed, training_episodes(number * n, n), bidding=bidding)
    rule = build_bidding_rule("truthful" if bidding is None else bidding)
    window = Window(
        arena, np.arange(n), seats[:, 0], reads=(*teacher.reads, *rule.reads), writes=(*teacher.writes, *rule.writes),
        stated_blocks=max(teacher.stated_blocks, rule.stated_blocks), clairvoyant=teacher.clairvoyant,
    )  # fmt: skip
    view = window.open(np.zeros(n, dtype=np.uint64))
    teacher.reset_batch(view)
    rule.reset_batch(view)
    window.take(everything=True)
    own = np.arange(n if policy is None else n // 2, n)
    learners = Learners(arena, seats[own], bidding, own)
    if len(own):
        learners.reset()
    seen, said = [], []
    while not arena.done:
        window.look(view)
        teacher.bid_batch(view)
        rule.bid_batch(view)
        window.take()
        labelled = arena.tick % settings.every == 0
        if labelled or len(own):
            vectors = encode_seats(arena, seats)[:, 0]
        if labelled:
            seen.append(vectors)
            said.append(storage_entry(view.orders.storage_value, arena.levels[:, SIZE]))
        if policy is not None:
            learners.bid(policy.act(vectors[own])[:, None])
        seating.bid()
        arena.step()
        seating.learn()
    seating.close()
    if seating.first_error:
        raise AgentError(f"clone: a rival failed: {next(iter(seating.first_error.values()))}")
    rows, targets = np.concatenate(seen), np.concatenate(said)
    valued = np.isfinite(targets)
    if not valued.any():
        raise AgentError("clone: the teacher values no storage, expected a seat with a battery")
    return rows[valued], targets[valued].astype(np.float32)
