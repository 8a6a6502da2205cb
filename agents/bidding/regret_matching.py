"""Regret matching over discounts: how much of its value a site holds back is learned from what other discounts would have earned."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.agents.bidding.residual import expect_rivals, payoff, units_beyond
from gridpilot.agents.bidding.stated import FloatArray, Situation, StatedRule
from gridpilot.documents import read_json
from gridpilot.errors import AgentError
from gridpilot.files import write_atomically
from gridpilot.market.arena import MarketRules
from gridpilot.market.auction import truncate_supply
from gridpilot.market.compilation import kernel
from gridpilot.market.random import seed_streams, uniform
from gridpilot.market.site import SiteArrays

__all__ = ["LEVELS", "RegretMatching", "read_state", "write_state"]

IntArray = npt.NDArray[np.int64]

FACTORS: Final = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of its value that it bids
LEVELS: Final = (0.5, 0.8, 1.25, 2.0)  # energy price over its running mean: what is learned is learned for each range apart
_FORMAT: Final = 1


class RegretMatching(StatedRule):
    """Bids a factor of the whole value curve, drawn in proportion to the factors' positive regrets (RM+).

    When the bids of a tick are made public, every factor's payoff in it is worked out against them, values of storage and running
    machines fixed, and what it beats the played mixture by is added to its regret, which never falls below zero (Tammelin, arXiv
    1407.5042, 2014; :class:`gridpilot.equilibrium.learning.RegretMatching`). Where no bids are made public, rivals are taken to ask at any
    price for what they got. It begins with the truth, or with the regrets of ``state``.

    ``factors``  of the value that may be bid, > 0 and at most 1, the first of which it begins with
    ``state``    a file that :func:`write_state` has written: regrets by price level, for every seat the same; null for none

    It assumes that what would have paid will pay. An episode learns from its own ticks alone: results do not depend on what was played
    before or beside it.
    """

    name = "regret_matching"

    def __init__(self, factors: Sequence[float] = FACTORS, state: str | None = None) -> None:
        self.factors = np.array(factors, dtype=np.float64)
        if self.factors.ndim != 1 or not len(self.factors) or not ((self.factors > 0.0) & (self.factors <= 1.0)).all():
            raise AgentError(f"regret_matching: factors are {list(factors)!r:.80}, expected numbers in (0, 1], at least one")
        self.state = state
        self._begun: FloatArray | None = None if state is None else read_state(Path(state), len(self.factors))

    def begin(self, rules: MarketRules, n_sites: int, seeds: npt.NDArray[np.uint64], arrays: SiteArrays, plant: IntArray) -> None:
        """Begin an episode with the regrets of ``state``, or none."""
        super().begin(rules, n_sites, seeds, arrays, plant)
        m = len(seeds)
        self.regret = np.zeros((m, len(LEVELS) + 1, len(self.factors)))
        if self._begun is not None:
            self.regret[:] = self._begun
        self._streams = np.empty((m, 4), dtype=np.uint64)
        seed_streams(seeds, self._streams)
        self._past: deque[tuple[FloatArray, FloatArray, FloatArray, IntArray]] = deque(maxlen=max(1, self.delay))

    def carry_over(self) -> None:
        """Begin the next episode with what was learned in this one, averaged over the seats."""
        self._begun = self.regret.mean(axis=0)

    def respond(self, now: Situation, blocks: FloatArray) -> None:
        """Learn from the tick whose bids have just been made public, then draw a factor for this one."""
        if len(self._past) == self._past.maxlen:
            true, prices, capacity_kw, level = self._past[0]
            # What is public of a tick that many ticks ago needs no rescaling, and without curves the last tick's volume is its own.
            _learn(
                self.ladder, self.reserve, self.mechanism, self.factors, true, now.market, prices, capacity_kw, now.last_price,
                now.volume, now.won, now.curves, level, self.regret,
            )  # fmt: skip
        level = np.searchsorted(LEVELS, now.prices[:, 0] / np.where(now.mean_price > 0.0, now.mean_price, math.inf), side="right")
        self._past.append((now.true.copy(), now.prices.copy(), now.capacity_kw.copy(), level))
        _draw(self.factors, now.true, now.market, level, self.regret, self._streams, blocks)


def read_state(path: Path, factors: int) -> FloatArray:
    """The regrets ``(levels, factors)`` that :func:`write_state` wrote. Raises :class:`~gridpilot.errors.AgentError` for any other file."""
    try:
        content = read_json(path.read_bytes(), str(path), AgentError)
    except OSError as error:
        raise AgentError(f"regret_matching: state {path}: {error.strerror or error}") from error
    expected = f"expected what write_state wrote for {len(LEVELS) + 1} price levels and {factors} factors"
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT or content.get("levels") != list(LEVELS):
        raise AgentError(f"regret_matching: state {path} is no state of this version, {expected}")
    try:
        regret = np.array(content.get("regret"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AgentError(f"regret_matching: state {path}: regret is no table of numbers, {expected}") from error
    if regret.shape != (len(LEVELS) + 1, factors) or not (np.isfinite(regret) & (regret >= 0.0)).all():
        raise AgentError(f"regret_matching: state {path}: regret has shape {regret.shape}, {expected}, finite and >= 0")
    return regret


def write_state(path: Path, rule: RegretMatching) -> None:
    """Write what a rule has learned, averaged over its seats, for ``state=``. Raises :class:`~gridpilot.errors.AgentError`."""
    content = {
        "format": _FORMAT,
        "levels": list(LEVELS),
        "factors": rule.factors.tolist(),
        "regret": rule.regret.mean(axis=0).tolist(),
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode(), AgentError)


@kernel
def _learn(
    ladder: Any, reserve: float, mechanism: int, factors: Any, true: Any, market: Any, prices: Any, capacity_kw: Any, last_price: Any,
    volume: Any, won: Any, curves: Any, level: Any, regret: Any,
) -> None:  # fmt: skip
    supply, steps = np.empty((1, len(ladder), 2)), np.empty((len(ladder) + 1, 4))
    rivals = np.empty((curves.shape[1] + 1, 2))
    units = np.empty((curves.shape[1] + len(ladder) + 1, 2))
    price, paid = np.empty(true.shape[1]), np.empty(len(factors))
    for m in range(len(market)):
        p = market[m]
        for s in range(len(ladder)):
            supply[0, s, 0], supply[0, s, 1] = ladder[s, 0] * capacity_kw[p], prices[p, 0] + ladder[s, 1]
        n_steps, total = truncate_supply(supply, 0, capacity_kw[p], reserve, steps)
        asked = expect_rivals(curves, m, 1, last_price[p], volume[p] - won[m], rivals)
        count = units_beyond(rivals, asked, steps, n_steps, total, units)
        for f in range(len(factors)):
            for k in range(true.shape[1]):
                price[k] = true[m, k, 1] - (1.0 - factors[f]) * abs(true[m, k, 1])
            paid[f] = payoff(true, m, price, units, count, mechanism)
        row = regret[m, level[p]]
        total_regret = 0.0
        for f in range(len(factors)):
            total_regret += row[f]
        played = paid[0]
        if total_regret > 0.0:
            played = 0.0
            for f in range(len(factors)):
                played += row[f] / total_regret * paid[f]
        for f in range(len(factors)):
            row[f] = max(0.0, row[f] + paid[f] - played)


@kernel
def _draw(factors: Any, true: Any, market: Any, level: Any, regret: Any, streams: Any, blocks: Any) -> None:
    for m in range(len(market)):
        row = regret[m, level[market[m]]]
        total = 0.0
        for f in range(len(factors)):
            total += row[f]
        chosen, left = 0, uniform(streams[m]) * total
        if total > 0.0:
            while chosen < len(factors) - 1 and left >= row[chosen]:
                left -= row[chosen]
                chosen += 1
        for k in range(true.shape[1]):
            if true[m, k, 0] <= 0.0:
                break
            blocks[m, k, 0] = true[m, k, 0]
            blocks[m, k, 1] = true[m, k, 1] - (1.0 - factors[chosen]) * abs(true[m, k, 1])
