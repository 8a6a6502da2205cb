"""Regret matching over episodes: all seats of a market learn together how much of their value to hold back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.regret_matching import RegretMatching
from gridpilot.agents.view import Window
from gridpilot.errors import AgentError
from gridpilot.setup import MarketSetup

__all__ = ["learn_shading"]


def learn_shading(
    setup: MarketSetup, episodes: Sequence[int], *, rounds: int = 1, seed: int = 0, storage: str = "mpc", state: str | None = None
) -> RegretMatching:
    """Let ``regret_matching`` play itself in all seats of ``episodes`` side by side, ``rounds`` times over.

    Each round begins with the regrets that the one before ended with, averaged over all seats. Returns the rule as it was at the end;
    :func:`~gridpilot.agents.bidding.regret_matching.write_state` makes a file of it, with which
    ``agents=[{name: regret_matching, state: FILE}]`` begins. Learn from tuning episodes, and judge on others.

    Raises :class:`~gridpilot.errors.AgentError` for no episode, no round, and VCG, where there is nothing to be learned.

    >>> from gridpilot.setup import load_preset, load_setup
    >>> market = {**load_preset("market", "default"), "mechanism": "pay_as_bid"}
    >>> rule = learn_shading(load_setup(market, load_preset("prices", "ercot"), ticks=12, history=24), [0, 1])
    >>> rule.regret.shape
    (20, 5, 10)
    """
    if not len(episodes) or rounds < 1:
        raise AgentError(f"learn_shading: {len(episodes)} episodes and {rounds} rounds, expected at least one of each")
    if setup.rules.mechanism == "vcg":
        raise AgentError("learn_shading: the mechanism is vcg, under which the truth is a best response: expected another")
    arena, numbers = setup.arena(len(episodes)), np.array(episodes, dtype=np.int64)
    rule = RegretMatching(state=state)
    market, seat = (index.ravel() for index in np.indices((arena.n_markets, arena.n_sites)))
    for turn in range(rounds):
        arena.orders.clear()
        arena.start(setup.scenario(seed, numbers))
        agent = Bidder(storage, rule)
        window = Window(arena, market, seat, reads=agent.reads, writes=agent.writes, stated_blocks=agent.stated_blocks)
        arena.make_room(agent.stated_blocks)
        streams = np.random.SeedSequence(seed, spawn_key=(turn,)).generate_state(len(seat), np.uint64).astype(np.uint64)
        view = window.open(streams)
        agent.reset_batch(view)
        window.take(everything=True)
        while not arena.done:
            window.look(view)
            agent.bid_batch(view)
            window.take()
            arena.step()
        rule.carry_over()
    return rule
