"""Under ``NUMBA_DISABLE_JIT=1``, for those who step through kernels, they run as plain Python and compute what they compute compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.registry import registered
from gridpilot.agents.seating import AgentSpec, Seating
from gridpilot.envs import MarketVectorEnv
from gridpilot.forecasting.base import CHANNELS, Row
from gridpilot.forecasting.features import FeaturePipeline
from gridpilot.forecasting.garch import run_garch
from gridpilot.forecasting.registry import build_forecaster
from gridpilot.market.clearing import PARALLEL_FROM, clear_batch
from gridpilot.market.observation import observe
from gridpilot.market.plant import dispatch, value_curve
from gridpilot.planning import DynamicProgramme, Outlook
from gridpilot.policies import load_policy
from gridpilot.prices import garch
from gridpilot.prices.kernels import walk_states
from gridpilot.prices.load import load_prices
from gridpilot.risk.budgeting import budget_risk
from gridpilot.setup import MarketSetup, load_setup
from tests.planning.worlds import standard_site
from tests.prices.examples import WILD

ROOT = Path(__file__).resolve().parents[1]
Arrays = list[Any]


def setup(ticks: int, n_sites: int = 3) -> MarketSetup:
    """A market whose GARCH prices start from one state: the table of 4096 takes plain Python minutes."""
    default = load_setup(ticks=ticks, history=4)
    model = load_prices(WILD)
    assert isinstance(model, garch.GarchPrices)
    model._arrays = garch._pack(model.config)
    default.world.prices = model
    market = MarketSetup(tuple(standard_site() for _ in range(n_sites)), default.rules, default.world, ticks, 4)
    vars(market)["reference_prices"] = (2.0, 0.3)  # medians of 32 simulated days otherwise
    return market


def environment(n_markets: int, ticks: int) -> Arrays:
    env = MarketVectorEnv(n_markets, setup(ticks), seat="rotate", autoreset="disabled", opponents=("truthful", "zero_intelligence"))
    observations = [env.reset(seed=1)[0]]
    rng, arena, arrays = np.random.default_rng(0), env.markets.arena, []
    for _ in range(ticks):
        actions = rng.uniform(-1.2, 1.2, env.action_space.shape or ())
        actions[rng.random(n_markets) < 0.3, 1] = 0.0
        actions[-1, -1] = np.nan
        observation, reward, *_ = env.step(actions)
        observations.append(observation)
        state = (arena.outcome, arena.totals, arena.machine_kw, arena.storage, arena.last_price, arena.levels, arena.refused)
        arrays += [reward, *(array.copy() for array in state)]
    return [*observations, *arrays, *arena.scenario[:4]]


def tournament() -> Arrays:
    labels = [
        name for name in registered() if not name.startswith("learned")
    ]  # which computes in single precision, and moves the others' markets
    market = setup(3, n_sites=len(labels))
    arena, arrays = market.arena(2), []
    seating = Seating(arena, {name: AgentSpec(name, {}) for name in labels}, [labels, labels[::-1]])
    arena.start(market.scenario(1, [0, 1]))
    seating.reset(1, [0, 1])
    while not arena.done:
        seating.bid()
        arena.step()
        seating.learn()
        arrays += [arena.outcome.copy(), arena.storage.copy(), *(order.copy() for order in arena.orders)]
    assert seating.first_error == {}
    return arrays


def policy() -> Arrays:
    learned = load_policy("library:vcg")
    rows = np.random.default_rng(4).normal(0.0, 2.0, (5, learned.layout.sizes[0])).astype(np.float32)
    return [learned.act(rows)]


def clearing() -> Arrays:
    rng, arrays = np.random.default_rng(0), []
    for n_markets, n_sites in ((2, 5), (PARALLEL_FROM, 3), (2, 60)):
        kw = rng.uniform(0.0, 100.0, (n_markets, n_sites, 4))
        price = -np.sort(-rng.normal(1.0, 1.0, kw.shape).round(2), axis=2)
        supply = [(20.0 * n_sites, 0.0), (50.0 * n_sites, 0.5), (100.0 * n_sites, 1.0)]
        for mechanism in ("vcg", "uniform", "pay_as_bid"):
            result = clear_batch(np.stack([kw, price], axis=-1), supply, mechanism=mechanism)  # type: ignore[arg-type]
            arrays += list(vars(result).values())
    return arrays


def planning() -> Arrays:
    rng, site = np.random.default_rng(0), standard_site()
    market = setup(1)
    arena = market.arena()
    arena.start(market.scenario(1, [0]))
    state = observe(arena, 0, 0).state
    outlook = Outlook(rng.uniform(-0.02, 0.3, (24, 3)), rng.uniform(5.0, 40.0, 24))
    planner = DynamicProgramme()
    planner.reset(site)
    plan = planner.plan(state, outlook)
    used = dispatch(site, state, 500.0, outlook.prices[0], 30.0, 0.05, 0.04)
    return [
        plan.grid_kw, plan.soc_kwh, plan.machine_kw, plan.objective, plan.storage_value, plan.commitment_value,
        planner.bid_curve(state, outlook), value_curve(site, state, outlook.prices[0], 30.0, 0.05, 0.04),
        used.machine_kw, used.grid_kw, used.cooling_kw, used.charge_kw, used.revenue, used.state.soc_kwh, used.state.theta_c,
    ]  # fmt: skip


def forecasting() -> Arrays:
    rng = np.random.default_rng(0)
    rows = np.exp(np.cumsum(rng.normal(0.0, 0.1, (8, 3)), axis=0))
    forecaster, pipeline = build_forecaster("ensemble", CHANNELS, steps_per_day=24), FeaturePipeline(steps_per_day=24)
    arrays: Arrays = []
    for step, prices in enumerate(rows):
        forecaster.update(Row(step, prices))
        arrays.append(pipeline.update(step, prices))
    forecast = forecaster.forecast(5, scenarios=2)
    variance = run_garch(np.diff(rows[:, 0]), 0.1, 0.01, 0.1, 0.8, 1e-3, 10.0)
    return [*arrays, *(value for value in vars(forecast).values() if isinstance(value, np.ndarray)), variance]


def prices() -> Arrays:
    arrays = []
    for config in (WILD, WILD | {"dynamics": "egarch_t"}):
        model = load_prices(config)
        assert isinstance(model, garch.GarchPrices)
        model._arrays = garch._pack(model.config)
        states = np.empty((8, 9))
        walk_states(model._arrays, np.uint64(3), np.full((4, 9), 0.01), 5, 2, states)
        arrays += [states, *model.simulate(1, np.arange(3), 20), *model.simulate(1, np.arange(70), 2)]
    event = load_setup(prices="mara_event").world.prices
    event._burn_in = 3  # type: ignore[attr-defined]
    return [*arrays, *event.simulate(1, np.arange(3), 20), *event.simulate(1, np.arange(70), 2)]


def risk() -> Arrays:
    a = np.random.default_rng(0).normal(size=(4, 9))
    return [budget_risk(a @ a.T, np.array([50.0, 80.0, 20.0, 100.0]), 120.0, np.ones(4))[0]]


PIECES: dict[str, Callable[[], Arrays]] = {
    "few markets": lambda: environment(2, 4),
    "many markets": lambda: environment(PARALLEL_FROM, 1),
    "tournament": tournament,
    "policy": policy,
    "clearing": clearing,
    "planning": planning,
    "forecasting": forecasting,
    "prices": prices,
    "risk": risk,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What a process without the compiler computes, by piece and number."""
    file = tmp_path_factory.mktemp("plain") / "arrays.npz"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, __file__, str(file)], check=True, env=environment)
    return dict(np.load(file))


@pytest.mark.parametrize("piece", PIECES)
def test_plain_python_computes_the_same(piece: str, plain: dict[str, np.ndarray]) -> None:
    for i, array in enumerate(PIECES[piece]()):
        compiled, interpreted = np.asarray(array), plain[f"{piece} {i}"]
        assert compiled.shape == interpreted.shape
        single = compiled.dtype == np.float32  # of which logarithms are taken in single precision
        np.testing.assert_allclose(interpreted, compiled, rtol=1e-6 if single else 1e-12, atol=1e-6 if single else 1e-12)


if __name__ == "__main__":
    np.savez(sys.argv[1], **{f"{piece} {i}": array for piece, compute in PIECES.items() for i, array in enumerate(compute())})
