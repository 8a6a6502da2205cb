"""The best response to bids that are known: nothing more is to be gained, and nobody else sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gridpilot.agents.base import BatchAgent
from gridpilot.agents.bidder import Bidder
from gridpilot.agents.oracle_response import OracleResponse
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.agents.view import View
from gridpilot.equilibrium.best_response import best_response_batch
from gridpilot.errors import AgentError
from gridpilot.market.arena import Arena
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation, observe
from gridpilot.market.step import OWN_CURVE
from gridpilot.setup import load_preset, load_setup

from .arenas import SITES, Local, day_of_prices, episode, seated

MARKET: dict[str, Any] = load_preset("market", "default")
RIVALS = ("mpc", "best_response", "zero_intelligence", "truthful")
EPISODES = np.arange(3)


def played(mechanism: str, seat: int) -> tuple[Arena, Seating]:
    """A short day in three markets, the oracle in one seat among bidders of every kind."""
    setup = load_setup({**MARKET, "mechanism": mechanism}, load_preset("prices", "ercot"), ticks=24, history=24)
    arena = setup.arena(len(EPISODES))
    arena.measure_gains()
    labels = ["oracle" if n == seat else RIVALS[n % len(RIVALS)] for n in range(arena.n_sites)]
    agents = {"oracle": AgentSpec("oracle_response", {}), **{name: AgentSpec(name, {}) for name in RIVALS}}
    arena.start(setup.scenario(0, EPISODES))
    seating = Seating(arena, agents, [labels] * len(EPISODES))
    seating.reset(0, EPISODES)
    return arena, seating


@pytest.mark.parametrize("mechanism", ["vcg", "uniform", "pay_as_bid"])
def test_it_gains_what_nashconv_says_its_seat_can_gain(mechanism: str) -> None:
    seat = 4
    arena, seating = played(mechanism, seat)
    gained = 0.0
    while not arena.done:
        seating.bid()
        bids, kind = arena.standing_bids(), arena.orders.kind[:, seat].copy()
        arena.orders.kind[:, seat] = OWN_CURVE
        truth = arena.standing_bids()
        arena.orders.kind[:, seat] = kind
        now = arena.scenario.history + arena.tick
        capacity = arena.rules.capacity_kw * arena.scenario.capacity[now]
        ladder = np.array(arena.rules.supply)
        supply = np.stack([ladder[:, 0] * capacity[:, None], arena.scenario.prices[now, :, :1] + ladder[:, 1]], axis=-1)
        for array in (bids, truth):
            array[..., 1] = np.where(array[..., 0] > 0.0, array[..., 1], -1e3)  # behind the last block
        told, answered = (
            best_response_batch(array, supply, capacity, values=truth, mechanism=mechanism)  # type: ignore[arg-type]
            for array in (truth, bids)
        )
        close = 1e-9 * (truth[:, seat, :, 0] * np.abs(truth[:, seat, :, 1])).sum(axis=1)
        assert (answered.gain[:, seat] <= close).all()
        assert (np.abs(answered.payoff[:, seat] - told.payoff[:, seat] - told.gain[:, seat]) <= close).all()
        if mechanism == "vcg":
            assert bids.tobytes() == truth.tobytes()
        gained += told.gain[:, seat].sum()
        arena.step()
        assert (arena.gain[:, seat] <= close).all()
        seating.learn()
    assert seating.first_error == {}
    assert (gained > 1.0) == (mechanism != "vcg")


def test_looking_at_standing_bids_changes_nothing_and_tells_what_will_be_cleared() -> None:
    arena, seating = played("uniform", 0)
    arena.keep_bids(1)
    seating.bid()
    before = {name: value.tobytes() for name, value in vars(arena).items() if isinstance(value, np.ndarray) and name != "_bids"}
    bids = arena.standing_bids()
    assert {name: vars(arena)[name].tobytes() for name in before} == before
    arena.step()
    cleared = arena.bids_of(0)
    assert cleared is not None
    assert bids.tobytes() == cleared.tobytes()


def test_it_bids_after_those_who_play_seat_by_seat() -> None:
    seen: list[np.ndarray] = []

    class Watches(OracleResponse):
        def bid_batch(self, view: View) -> None:
            super().bid_batch(view)
            seen.append(view.rivals_now.copy())  # type: ignore[attr-defined]

    class Late(BatchAgent):
        on_arrays, reads, writes = False, (), ()

        def bid(self, observation: Observation) -> Bid:
            return Bid([(1.0 + observation.tick, 7.0)])

        def reset_batch(self, view: View) -> None: ...

        def bid_batch(self, view: View) -> None: ...

    labels = [["a", "z", "a", "", ""]]
    arena, seating = seated(labels, {"a": Local(Watches), "z": Local(Late)})
    episode(arena, seating, day_of_prices(1, 3))
    assert seating.first_error == {}
    for tick, curve in enumerate(seen):
        assert curve[:, 0].tolist() == [[1.0 + tick, 7.0]] * 2
    # Of its own two seats each sees what the other has said last: nothing at first.
    assert (seen[0][0, :, 0] > 0.0).sum() < (seen[1][0, :, 0] > 0.0).sum()


def test_the_others_bids_stay_sealed_to_all_others() -> None:
    class Curious(BatchAgent):
        reads, writes = ("rivals_now",), ("kind",)

        def bid(self, observation: Observation) -> Bid:
            return Bid([])

        def reset_batch(self, view: View) -> None: ...

        def bid_batch(self, view: View) -> None: ...

    class Seer(Curious):
        clairvoyant = True

        def bid_batch(self, view: View) -> None:
            view.rivals_now.sum()  # type: ignore[attr-defined]

    with pytest.raises(AgentError, match="its reads names 'rivals_now', expected some of history, cleared"):
        seated([["it", "", "", "", ""]], {"it": Local(Curious)})
    with pytest.raises(AgentError, match="Bidder: its bidding rule is clairvoyant"):
        Bidder(bidding="gridpilot.agents.bidding.oracle_response.OracleResponse")
    spec = Local(Seer)
    object.__setattr__(spec, "clairvoyant", False)  # as a tournament sets it for who says something else than the inspection found
    arena, seating = seated([["it", "", "", "", ""]], {"it": spec})
    episode(arena, seating, day_of_prices(1, 2))
    assert "has no 'rivals_now'" in seating.first_error[0, 0]


def test_an_observation_is_not_enough() -> None:
    arena, seating = seated([[""] * len(SITES)], {})
    arena.start(day_of_prices(1, 2))
    seating.reset(0, [0])
    with pytest.raises(AgentError, match="plays only where all bids are known"):
        OracleResponse("none").bid(observe(arena, 0, 0))
