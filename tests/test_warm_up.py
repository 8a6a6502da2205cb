"""What is compiled ahead: nobody's first bid may have to wait for it, and under VCG who states blocks bids the truth."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from numba.core import event

from gridpilot import warm_up
from gridpilot.agents.registry import build_agent, registered
from gridpilot.market.clearing import PARALLEL_FROM
from gridpilot.market.observation import observe
from gridpilot.setup import MarketSetup, load_setup


class Compiled(event.Listener):
    """Names of kernels that are compiled, or read from the cache."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, event: event.Event) -> None:
        self.names.append(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event: event.Event) -> None: ...


def test_every_agent_is_asked_under_a_rule_that_makes_it_state_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, int]] = []

    def play(setup: MarketSetup, n_markets: int) -> None:
        played.append((setup.rules.mechanism, n_markets))

    monkeypatch.setattr(warm_up, "_play", play)
    for name in ("clear", "clear_batch", "MarketVectorEnv", "_plan", "_forecast"):
        monkeypatch.setattr(warm_up, name, MagicMock())
    warm_up.warm_up()
    assert played == [("vcg", 1), ("uniform", 1), ("vcg", PARALLEL_FROM), ("uniform", PARALLEL_FROM)]


@pytest.mark.parametrize("mechanism", ["uniform", "pay_as_bid"])
def test_after_it_the_first_bid_of_a_live_site_compiles_nothing(mechanism: str) -> None:
    warm_up._play(load_setup(ticks=2, mechanism="uniform"), 1)
    setup = load_setup(ticks=2, history=24, mechanism=mechanism)  # type: ignore[arg-type]
    arena = setup.arena()
    arena.start(setup.scenario(7, [3]))
    observation = observe(arena, 0, 2)  # no curve and no outcome yet
    compiled = Compiled()
    with event.install_listener("numba:compile", compiled):
        for name in registered():
            agent = build_agent(name)
            if not agent.clairvoyant:
                agent.reset(observation.site, observation.market, 1)
                agent.bid(observation)
    assert compiled.names == []
