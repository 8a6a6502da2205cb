"""Small matches of all kinds, and what their seats really did as columns of the hindsight programme."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from gridpilot.hindsight.programme import Numbers, Programme
from gridpilot.hindsight.seat_day import SeatDay, seat_day
from gridpilot.market.physics import CHARGED, COOLING, DISCHARGED, DRAWN
from gridpilot.setup import load_preset
from gridpilot.tournament.config import TournamentSpec, agent_specs
from gridpilot.tournament.replay import Trace, trace_matches
from gridpilot.tournament.schedule import schedule

AGENTS = ("truthful", "zero_intelligence", "threshold", "mpc")
MECHANISMS = ("vcg", "uniform", "pay_as_bid")
PRICES = ("ercot", "aemo_nsw")


def spec_of(mechanism: str, prices: str, ticks: int) -> TournamentSpec:
    return TournamentSpec(
        market={**load_preset("market", "default"), "mechanism": mechanism},
        prices=load_preset("prices", prices),
        agents=agent_specs(list(AGENTS)),
        seed=0,
        ticks=ticks,
        history=48,
        deadline=60.0,
    )


@functools.cache
def traced(mechanism: str, prices: str = "ercot", ticks: int = 48, episode: int = 3) -> Trace:
    """The four matches of a mixed episode: every strategy at every seat."""
    spec = spec_of(mechanism, prices, ticks)
    return trace_matches(spec, schedule(list(AGENTS), len(spec.market["sites"]), [episode], ["mixed"]))


def days_of(trace: Trace) -> list[SeatDay]:
    """Every fourth seat of every match."""
    return [seat_day(trace, b, i) for b in range(len(trace.matches)) for i in range(b, trace.arena.n_sites, 4)]


def realised(day: SeatDay, programme: Programme, numbers: Numbers) -> npt.NDArray[np.float64]:
    """What the plant did in the match; power drawn from the cheapest segments upwards."""
    trace, b, i = day.trace, day.market, day.seat
    outcome = trace.outcome[:, b, i]
    columns = np.zeros(len(numbers.profit))
    machine_kw = trace.machine_kw[:, b, i, : programme.n_classes]
    columns[programme.x] = machine_kw[1:]
    columns[programme.started] = np.maximum(machine_kw[1:] - machine_kw[:-1], 0.0)
    columns[programme.charge], columns[programme.discharge] = outcome[:, CHARGED], outcome[:, DISCHARGED]
    columns[programme.cooling] = outcome[:, COOLING]
    columns[programme.soc], columns[programme.theta] = trace.storage[1:, b, i].T
    for t in range(day.ticks):
        left = float(outcome[t, DRAWN])
        for k in range(day.paid.start[t], day.paid.start[t + 1]):
            columns[programme.n_fixed + k] = take = min(left, float(day.paid.kw[k]))
            left -= take
        if day.paid.start[t + 1] > day.paid.start[t]:
            columns[programme.n_fixed + day.paid.start[t + 1] - 1] += left  # what rounding leaves over
    return columns


def violation(numbers: Numbers, columns: npt.NDArray[np.float64]) -> float:
    """The most by which a row or a bound is broken."""
    column = np.repeat(np.arange(len(columns)), np.diff(numbers.start))
    rows = np.bincount(numbers.row, numbers.value * columns[column], len(numbers.row_lower))
    return float(
        max(
            (numbers.row_lower - rows).max(), (rows - numbers.row_upper).max(), (numbers.lower - columns).max(),
            (columns - numbers.upper).max(),
        )
    )  # fmt: skip
