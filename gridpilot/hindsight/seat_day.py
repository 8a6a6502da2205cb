"""A seat of a match that was played, on its own: the plant, the day as it came, and what power would have cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gridpilot.hindsight.supply import Segments, residual_supply
from gridpilot.market.auction import VCG
from gridpilot.market.clearing import check_mechanism
from gridpilot.market.encoding import MEAN
from gridpilot.market.physics import MIN_COP
from gridpilot.market.site import SiteArrays, pack_sites
from gridpilot.tournament.replay import Trace

__all__ = ["SeatDay", "seat_day"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SeatDay:
    """One seat over the T ticks of a match, rivals' bids given; C machine classes of its own."""

    trace: Trace
    market: int  # the match's place in the trace
    seat: int
    arrays: SiteArrays  # of this site alone
    revenue: FloatArray  # (T, C) $ per kWh of machines
    ambient: FloatArray  # (T,) degC
    cop: FloatArray  # (T,)
    supply: Segments  # R(x-) as it is
    paid: Segments  # what the mechanism charges at least: the supply itself under VCG, else its hull
    end_value: float  # $ per kWh in the battery at the end

    @property
    def ticks(self) -> int:
        """Number of ticks T."""
        return len(self.ambient)

    @property
    def profit(self) -> float:
        """What the seat earned in the match, $, the change of charge included: ``rows.profit``."""
        return float(self.trace.rows["profit"].iloc[self.market * self.trace.arena.n_sites + self.seat])


def seat_day(trace: Trace, market: int, seat: int) -> SeatDay:
    """The seat ``seat`` of match ``market`` of ``trace``."""
    arena, scenario = trace.arena, trace.arena.scenario
    arrays = pack_sites([arena.sites[seat]], arena.arrays.n_classes)
    plant = arrays.plant[0]
    ticks = slice(scenario.history, scenario.history + len(trace.bids))
    fleet = int(plant["n_classes"])
    prices, ambient = scenario.prices[ticks, market], scenario.ambient[ticks, market]
    supply = residual_supply(trace, market, seat)
    return SeatDay(
        trace, market, seat, arrays,
        revenue=prices[:, arrays.product[0, :fleet]] * arrays.output[0, :fleet],
        ambient=ambient,
        cop=np.maximum(MIN_COP, plant["cop"] - plant["cop_slope"] * (ambient - plant["cop_reference"])),
        supply=supply,
        paid=supply if check_mechanism(arena.rules.mechanism) == VCG else supply.hull(),
        end_value=float(plant["eta_d"] * trace.levels[-1, market, MEAN]),
    )  # fmt: skip
