"""The welfare of a network market as a linear or mixed-integer programme for HiGHS, built once and solved again without a bidder.

    maximise    sum_j price_j fill_j - sum_s cost_s used_s
    over        0 <= fill_j <= size_j                      (an indivisible block: 0 or size_j)
                0 <= used_s <= step_s,   -limit_l <= flow_l <= limit_l
    such that   demand at bus b = supply at bus b + flow into b - flow out of b           for every bus
                sum of +-x_l flow_l round each fundamental cycle of the lines = 0         (no voltage angles needed)
                sum of fill below a feeder node <= its limit
                sum of fill of a site <= its cap                                          (sites with indivisible blocks)

The DC flow with Kirchhoff's voltage law on cycles is the formulation of Hoersch et al., "Linear optimal power flow using cycle
flows", Electric Power Systems Research 158 (2018). A cap on divisible blocks truncates them. Quantities and prices are scaled to at
about 1000 by powers of two, which rounds nothing, and the solver's tolerances are 1e-10 in that scale.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

import highspy
import numpy as np
import numpy.typing as npt

from gridpilot.errors import MarketError
from gridpilot.market._network_document import Line, NetworkMarket

__all__ = ["WelfareProgramme"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SIZE: Final = 1024.0  # the largest block and price, for the solver: its tolerances are absolute
SNAP: Final = 1e-12 * SIZE  # 1e-12 of the largest quantity: rounding left in a fill that is meant to be nothing or a whole block
TIE: Final = 1e-12 * SIZE  # 1e-12 of the largest price: reduced costs below it leave welfare unchanged
ROOM: Final = 1.0 + 1e-12  # an all-or-nothing block fits a limit that equals it but for rounding
OPTIONS: Final[dict[str, bool | int | float | str]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
    "mip_feasibility_tolerance": 1e-10,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 0.0,
    "small_matrix_value": 1e-12,
}

Row = tuple[dict[int, float], float, float]  # coefficients by column, lower bound, upper bound


class WelfareProgramme:
    """The programme of one market; ``solve()`` gives the fill of its blocks for all sites, ``solve(i)`` without site i.

    ``site``, ``size``, ``price``  ``(J,)`` the blocks that can be served at all: whose, kW, $/kWh
    ``supply``                     ``(S, 2)`` steps within the capacity, kW and $/kWh, reserve applied
    """

    def __init__(self, market: NetworkMarket, time_limit: float) -> None:
        self._time_limit = time_limit
        self.supply = _supply_steps(market)
        blocks = _servable_blocks(market, float(self.supply[:, 0].sum()))
        self.site = np.array([b[0] for b in blocks], dtype=np.int64)
        self.size = np.array([b[1] for b in blocks])
        self.price = np.array([b[2] for b in blocks])
        self._whole = np.flatnonzero(np.array([b[3] for b in blocks], dtype=np.bool_)).astype(np.int32)
        if blocks:
            self._quantity = _power_of_two(float(self.size.max())) / SIZE
            lp = self._build(market)
            self._blocks = np.arange(len(blocks), dtype=np.int32)
            self._linear = _solver(lp, integer=None)
            self._linear.setOptionValue("presolve", "off")  # a presolved model forgets the basis
            self._integer = _solver(lp, integer=self._whole) if len(self._whole) else None
            self._basis: Any = None

    def solve(self, without: int | None = None) -> FloatArray:
        """Return the fill of every block, ``(J,)`` kW, of greatest welfare; first for all sites, then without any one of them.

        With all sites present and the all-or-nothing choices made, volume is as large as that welfare allows. Raises
        :class:`~gridpilot.errors.MarketError` naming the solver's status if it does not reach an optimum.
        """
        if len(self.size) == 0:
            return np.zeros(0)
        upper = np.where(self.site == without, 0.0, self._upper)
        if self._integer is not None:
            chosen = self._choose(self._integer, upper)
            upper = upper.copy()
            upper[self._whole] = chosen
        lower = np.zeros_like(upper)
        lower[self._whole] = upper[self._whole]
        self._linear.changeColsBounds(len(upper), self._blocks, lower, upper)
        if self._basis is not None:
            self._linear.setBasis(self._basis)
        self._run(self._linear)
        if self._basis is None:
            self._basis = self._linear.getBasis()
            self._maximise_volume(lower, upper)
        return self._fill(upper)

    def _choose(self, solver: Any, upper: FloatArray) -> FloatArray:
        """Which all-or-nothing blocks are served, 0.0 or 1.0 each."""
        solver.changeColsBounds(len(upper), self._blocks, np.zeros_like(upper), upper)
        self._run(solver)  # without a starting point: from the choice for all sites it takes longer
        return np.round(np.array(solver.getSolution().col_value)[self._whole])

    def _maximise_volume(self, lower: FloatArray, upper: FloatArray) -> None:
        """Move along the face of equal welfare to its largest volume: what is not on that face is held where it is."""
        solver, solution = self._linear, self._linear.getSolution()
        lp = solver.getLp()
        columns, rows = np.arange(lp.num_col_, dtype=np.int32), range(lp.num_row_)
        cost, low, high = np.array(lp.col_cost_), np.array(lp.col_lower_), np.array(lp.col_upper_)
        row_low, row_high = np.array(lp.row_lower_), np.array(lp.row_upper_)
        at, row_dual = np.array(solution.col_value), np.array(solution.row_dual)
        held = np.abs(np.array(solution.col_dual)) > TIE
        nearest = np.where(np.abs(at - low) <= np.abs(at - high), low, high)
        held &= np.isfinite(nearest)
        solver.changeColsBounds(len(columns), columns, np.where(held, nearest, low), np.where(held, nearest, high))
        for i in rows:
            if abs(row_dual[i]) > TIE:
                bound = row_low[i] if math.isinf(row_high[i]) else row_high[i]
                solver.changeRowBounds(i, bound, bound)
        volume = np.zeros(len(columns))
        volume[: len(upper)] = self._scale
        solver.changeColsCost(len(columns), columns, volume)
        self._run(solver)
        solver.changeColsCost(len(columns), columns, cost)
        solver.changeColsBounds(len(columns), columns, low, high)
        for i in rows:
            solver.changeRowBounds(i, row_low[i], row_high[i])

    def _fill(self, upper: FloatArray) -> FloatArray:
        x = np.clip(np.array(self._linear.getSolution().col_value)[: len(upper)], 0.0, upper)
        nothing, everything = x < SNAP, upper - x < SNAP
        x = np.where(nothing & (x <= upper - x), 0.0, np.where(everything, upper, x))
        return np.where(x == self._upper, self.size, x * self._scale * self._quantity)

    def _run(self, solver: Any) -> None:
        for attempt in ("warm", "cold"):  # a basis can be numerically bad for the next solve; from scratch it need not be
            solver.setOptionValue("time_limit", solver.getRunTime() + self._time_limit)
            solver.run()
            status = solver.getModelStatus()
            if status == highspy.HighsModelStatus.kOptimal:
                return
            if attempt == "warm" and status != highspy.HighsModelStatus.kTimeLimit:
                solver.clearSolver()
                solver.setOptionValue("threads", 0)  # HiGHS refuses 1 where somebody else in the process began with more
        name = solver.modelStatusToString(status)
        raise MarketError(f"the market could not be cleared: HiGHS stopped with status {name!r}, expected 'Optimal'")

    def _build(self, market: NetworkMarket) -> Any:
        """Columns: blocks (kW, an indivisible one as a share), supply steps, lines."""
        whole = np.zeros(len(self.size), dtype=np.bool_)
        whole[self._whole] = True
        self._upper = np.where(whole, 1.0, self.size / self._quantity)
        self._scale = np.where(whole, self.size / self._quantity, 1.0)
        lines = _lines_of_supply(market)
        n, s = len(self.size), len(self.supply)
        rows = _balance_rows(market, self.site, self._scale, lines, s)
        rows += _feeder_rows(market, self.site, self._scale, self._quantity)
        rows += _site_rows(market, self.site, whole, self._upper, self._scale, self._quantity)
        price = _power_of_two(float(np.abs(self.price).max())) / SIZE  # a dear last supply step must not blur the bids
        limits = np.array([line.limit for line in lines]) / self._quantity
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n + s + len(lines), len(rows)
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = np.concatenate([self.price / price * self._scale, -self.supply[:, 1] / price, np.zeros(len(lines))])
        lp.col_lower_ = np.concatenate([np.zeros(n + s), -limits])
        lp.col_upper_ = np.concatenate([self._upper, self.supply[:, 0] / self._quantity, limits])
        lp.row_lower_ = np.array([row[1] for row in rows])
        lp.row_upper_ = np.array([row[2] for row in rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.cumsum([0, *(len(row[0]) for row in rows)]).astype(np.int32)
        lp.a_matrix_.index_ = np.array([j for row in rows for j in row[0]], dtype=np.int32)
        lp.a_matrix_.value_ = np.array([a for row in rows for a in row[0].values()], dtype=np.float64)
        return lp


def _solver(lp: Any, integer: npt.NDArray[np.int32] | None) -> Any:
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in OPTIONS.items():
        solver.setOptionValue(name, value)
    if solver.passModel(lp) == highspy.HighsStatus.kError:
        raise MarketError("the market could not be cleared: HiGHS refuses its programme")
    if integer is not None:
        solver.changeColsIntegrality(len(integer), integer, np.full(len(integer), highspy.HighsVarType.kInteger))
    return solver


def _supply_steps(market: NetworkMarket) -> FloatArray:
    """Steps within the capacity (and twice what is asked for), at max(cost, reserve), without those that can never pay."""
    cost = np.maximum(market.supply[:, 1], market.reserve)
    asked = sum(min(float(blocks[:, 0].sum()), float(cap)) for blocks, cap in zip(market.bids, market.caps, strict=True))
    ends = np.minimum(np.cumsum(market.supply[:, 0]), min(market.capacity, 2.0 * asked))
    steps = np.column_stack([np.diff(ends, prepend=0.0), cost])
    useful = steps[:, 0] > 0.0
    if not any(map(any, market.indivisible)):  # flows scale down together, so a kW is never bought for more than the best bid
        useful &= steps[:, 1] <= max((blocks[0, 1] for blocks in market.bids if len(blocks)), default=-math.inf)
    return steps[useful]


def _servable_blocks(market: NetworkMarket, total: float) -> list[tuple[int, float, float, bool]]:
    """``(site, kW, $/kWh, all-or-nothing)`` of the blocks that some allocation could serve, in the order of the bids."""
    kept = []
    for i, blocks in enumerate(market.bids):
        whole = market.indivisible[i] if market.indivisible else (False,) * len(blocks)
        cap = room = min(total, float(market.caps[i]), _feeder_limit(market, i))
        for k, (kw, price) in enumerate(blocks):
            quantity = float(kw)
            if not whole[k]:
                quantity = min(quantity, cap if any(whole) else room)
                room -= quantity
            if quantity > 0.0 and not (whole[k] and quantity > cap * ROOM):
                kept.append((i, quantity, float(price), whole[k]))
            if market.block_order and kw > cap * ROOM:
                break  # it can never be full
    return kept


def _feeder_limit(market: NetworkMarket, site: int) -> float:
    return min((market.nodes[node].limit for node in _feeder_path(market, site)), default=math.inf)


def _feeder_path(market: NetworkMarket, site: int) -> list[int]:
    path: list[int] = []
    node = market.site_node[site] if market.nodes else -1
    while node >= 0:
        path.append(node)
        node = market.nodes[node].parent
    return path


def _feeder_rows(market: NetworkMarket, site: IntArray, scale: FloatArray, quantity: float) -> list[Row]:
    below: list[dict[int, float]] = [{} for _ in market.nodes]
    for j, i in enumerate(site):
        for node in _feeder_path(market, int(i)):
            below[node][j] = float(scale[j])
    limits = [node.limit / quantity for node in market.nodes]
    return [(row, -math.inf, limit) for row, limit in zip(below, limits, strict=True) if math.isfinite(limit)]


def _site_rows(
    market: NetworkMarket, site: IntArray, whole: BoolArray, upper: FloatArray, scale: FloatArray, quantity: float
) -> list[Row]:
    """Caps that truncation has not met, and block order where prices that fall do not see to it: sites with indivisible blocks."""
    rows: list[Row] = []
    for i in np.unique(site):
        own = [int(j) for j in np.flatnonzero(site == i)]
        cap = float(market.caps[i]) / quantity
        if float((upper * scale)[own].sum()) > cap * ROOM:
            rows.append(({j: float(scale[j]) for j in own}, -math.inf, cap))
        if market.block_order:
            rows += _order_rows(own, whole, upper)
    return rows


def _order_rows(own: list[int], whole: BoolArray, upper: FloatArray) -> list[Row]:
    """A block after an all-or-nothing one needs that one; an all-or-nothing one needs the divisible ones before it to be full."""
    rows: list[Row] = []
    gate: int | None = None  # the last all-or-nothing block before j
    before: list[int] = []  # the divisible ones since
    for j in own:
        if gate is not None:
            rows.append(({j: 1.0, gate: -float(upper[j])}, -math.inf, 0.0))
        if whole[j]:
            rows += [({d: 1.0, j: -float(upper[d])}, 0.0, math.inf) for d in before]
            gate, before = j, []
        else:
            before.append(j)
    return rows


def _lines_of_supply(market: NetworkMarket) -> list[Line]:
    """The lines of the part of the network that holds the supply; elsewhere nothing can flow."""
    reached = {market.supply_bus}
    while more := {b for x in market.lines if (x.origin in reached) != (x.end in reached) for b in (x.origin, x.end)} - reached:
        reached |= more
    return [line for line in market.lines if line.origin in reached]


def _balance_rows(market: NetworkMarket, site: IntArray, scale: FloatArray, lines: list[Line], n_steps: int) -> list[Row]:
    n = len(site)
    balance: dict[int, dict[int, float]] = {market.supply_bus: {n + s: -1.0 for s in range(n_steps)}}
    for j, i in enumerate(site):
        bus = market.site_bus[i] if market.site_bus else market.supply_bus
        balance.setdefault(bus, {})[j] = float(scale[j])
    for k, line in enumerate(lines):
        balance.setdefault(line.origin, {})[n + n_steps + k] = 1.0
        balance.setdefault(line.end, {})[n + n_steps + k] = -1.0
    rows: list[Row] = [(row, 0.0, 0.0) for _, row in sorted(balance.items())]
    return rows + [({n + n_steps + k: a for k, a in cycle.items()}, 0.0, 0.0) for cycle in _cycles(lines, market.supply_bus)]


def _cycles(lines: list[Line], root: int) -> list[dict[int, float]]:
    """Kirchhoff's voltage law: signed reactances round the cycle that each line outside a breadth-first tree closes."""
    touching: dict[int, list[int]] = {}
    for k, line in enumerate(lines):
        touching.setdefault(line.origin, []).append(k)
        touching.setdefault(line.end, []).append(k)
    to_root: dict[int, dict[int, float]] = {root: {}}  # by bus: angle at the root minus angle at the bus, in flows
    tree: set[int] = set()
    front = deque([root])
    while front:
        bus = front.popleft()
        for k in touching.get(bus, ()):
            line = lines[k]
            other, sign = (line.end, 1.0) if line.origin == bus else (line.origin, -1.0)
            if other not in to_root:
                to_root[other] = {**to_root[bus], k: sign * line.reactance}
                tree.add(k)
                front.append(other)
    cycles = []
    for k, line in enumerate(lines):
        if k not in tree:
            cycle = dict(to_root[line.origin])
            for member, a in to_root[line.end].items():
                cycle[member] = cycle.get(member, 0.0) - a
            cycle[k] = line.reactance
            largest = _power_of_two(max(map(abs, cycle.values())))
            cycles.append({member: a / largest for member, a in cycle.items() if a != 0.0})
    return cycles


def _power_of_two(x: float) -> float:
    """The smallest power of two that is greater than ``x``; 1 for 0."""
    return math.ldexp(1.0, math.frexp(x)[1]) if x > 0.0 else 1.0
