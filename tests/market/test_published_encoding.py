"""Version 2 of the observation: what it says against brute force, and the same from every side."""

from __future__ import annotations

import re

import gymnasium
import numpy as np
import pytest

from gridpilot.agents.base import BatchAgent
from gridpilot.agents.encoding import PUBLISHED, READS, encode, encode_seats
from gridpilot.agents.seating import AgentSpec
from gridpilot.agents.view import View
from gridpilot.market.auction import VOLUME
from gridpilot.market.bids import Bid
from gridpilot.market.encoding import n_fields
from gridpilot.market.observation import Observation, observe
from gridpilot.market.published_encoding import N_RESIDUAL, n_published, published_fields
from gridpilot.setup import load_setup
from tests.agents.arenas import SITES, Local, day_of_prices, episode, seated
from tests.envs.test_documentation import table


class Looks(BatchAgent):
    """Bids a shaded curve, and keeps what it sees as a vector."""

    writes = ("kind", "shade")
    reads = (*READS, *PUBLISHED)

    def __init__(self, seen: list[np.ndarray]) -> None:
        self.seen = seen

    def bid(self, observation: Observation) -> Bid:
        raise NotImplementedError

    def reset_batch(self, view: View) -> None:
        view.orders.kind[:] = 1

    def bid_batch(self, view: View) -> None:
        view.orders.shade[:] = -0.05 * (1 + view.tick % 3)
        self.seen.append(encode(view, published=True))


@pytest.mark.parametrize("delay", [1, 3, None])
def test_it_is_the_same_from_every_side_and_begins_with_version_1(delay: int | None) -> None:
    seen: list[np.ndarray] = []
    labels = [["own", "truthful", "own", "best_response", "threshold"]] * 2
    agents = {"own": Local(lambda: Looks(seen)), **{name: AgentSpec(name, {}) for name in labels[0] if name != "own"}}
    arena, seating = seated(labels, agents, curve_delay=delay, mechanism="uniform")
    vectors, alone = [], []
    seats = np.array([[0, 2]] * 2)

    def look() -> None:
        vectors.append(encode_seats(arena, seats, published=True).reshape(4, -1))
        alone.append([observe(arena, b, n).to_vector(published=True) for b in (0, 1) for n in (0, 2)])
        assert np.array_equal(vectors[-1][:, : n_fields(arena.arrays.n_classes)], encode_seats(arena, seats).reshape(4, -1))

    episode(arena, seating, day_of_prices(2, 8), each_tick=look)
    assert seating.first_error == {}
    assert np.array_equal(np.stack(vectors), np.stack(seen))
    assert np.array_equal(np.stack(vectors), np.array(alone))
    told = np.stack(vectors)[..., n_fields(arena.arrays.n_classes) :]
    assert np.isfinite(told).all()
    assert (np.abs(told) <= 10.0).all()
    assert (told[0, :, :7] == 0.0).all()  # nothing was cleared yet
    names = [field.name for field in published_fields(len(arena.rules.supply))]
    known = told[..., names.index("curve_known")]
    assert np.array_equal(known[:, 0], [0.0] * 8 if delay is None else [0.0] * delay + [1.0] * (8 - delay))


def test_residual_prices_and_used_supply_against_brute_force() -> None:
    labels = [["truthful"] * len(SITES)] * 2
    arena, seating = seated(labels, {"truthful": AgentSpec("truthful", {})}, capacity_kw=1500.0)
    arena.publish()
    names = [field.name for field in published_fields(len(arena.rules.supply))]
    first = names.index("residual_price_0")

    def look() -> None:
        bids = arena.published_bids()
        if bids is None:
            return
        for b in (0, 1):
            now, size = arena.scenario.history + arena.tick, arena.levels[b, 1]
            capacity = arena.scenario.capacity[now, b] * 1500.0
            steps = [(share * capacity, arena.scenario.prices[now, b, 0] + adder) for share, adder in arena.rules.supply]
            used = arena.supply_used[b]
            before = arena.scenario.capacity[now - 1, b] * 1500.0
            assert used.sum() == pytest.approx(arena.totals[b, VOLUME], rel=1e-12)
            assert (used <= np.array([share for share, _ in arena.rules.supply]) * before + 1e-9).all()
            assert (np.diff((used > 0.0).astype(int)) <= 0).all()  # the cheapest first
            for n in range(len(SITES)):
                others = [block for i in range(len(SITES)) if i != n for block in bids[b, i] if block[0] > 0.0]
                units = sorted([*others, *steps], key=lambda unit: -unit[1])
                told = encode_seats(arena, np.array([[n]] * 2), published=True)[b, 0, n_fields(arena.arrays.n_classes) :]
                for j in range(N_RESIDUAL):
                    left = capacity - SITES[n].grid_kw * (j + 1) / N_RESIDUAL
                    ends = np.cumsum([kw for kw, _ in units])
                    price = np.inf if left < 0.0 else units[min(int((ends <= left).sum()), len(units) - 1)][1]
                    expected = np.clip(np.arcsinh(price / size), -10.0, 10.0)
                    assert told[first + j] == pytest.approx(expected, abs=2e-6)

    episode(arena, seating, day_of_prices(2, 5), each_tick=look)
    assert seating.first_error == {}


def test_ids_of_their_own_see_it_and_the_old_ones_see_what_they_saw() -> None:
    setup = load_setup(ticks=4, history=24)
    d, more = n_fields(3), n_published(3)
    first: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, length in (("Market-v0", d), ("Learner-v0", d), ("MarketPublished-v0", d + more), ("LearnerPublished-v0", d + more)):
        env = gymnasium.make(f"gridpilot.envs:GridPilot/{name}", setup=setup)
        assert env.observation_space.shape == (length,)
        begun, _ = env.reset(seed=3)
        then = env.step(np.zeros(env.action_space.shape or (), dtype=np.float32))[0]
        assert begun.shape == then.shape == (length,)
        if length == d:
            first[name] = begun, then
        else:
            assert then[d + 7] == 1.0
            for seen, before in zip((begun, then), first[name.replace("Published", "")], strict=True):
                assert np.array_equal(seen[:d], before)


def test_the_page_lists_the_entries_with_their_indices() -> None:
    d, rows = n_fields(3), table("### Version 2")
    listed, index = [], d
    for name, meaning in rows:
        meaning, _, where = meaning.rpartition(" (")
        letter = re.search(r"_([sj])$", name)
        count = 1 if letter is None else {"s": 3, "j": N_RESIDUAL}[letter[1]]
        assert where == (f"{index})" if count == 1 else f"{index} to {index + count - 1})")
        for i in range(count):
            text = meaning.replace("j+1/", f"{i + 1}/").replace("step s", f"step {i}")
            listed.append((name if letter is None else f"{name[:-1]}{i}", text))
        index += count
    assert listed == [tuple(field) for field in published_fields(3)]
    assert index == d + n_published(3)
