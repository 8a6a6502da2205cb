"""The planner's problem in cvxpy: variables, constraints and profit; see :mod:`gridpilot.planning.convex`."""

from __future__ import annotations

import importlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.market.plant import SiteState
from gridpilot.market.site import SiteArrays
from gridpilot.market.units import DT
from gridpilot.planning.base import Outlook, Plan
from gridpilot.planning.blocks import Blocks

__all__ = ["ConvexProblem"]

FloatArray = npt.NDArray[np.float64]

SCALE: Final = 100.0  # kW and kWh to the solvers' unit of power and energy
BOTH: Final = 1e-3  # kW of charge and discharge in one block that count as both at once


class ConvexProblem:
    """The programme for C classes, J blocks, S scenarios and up to K blocks of terminal value.

    Powers and energies are in units of SCALE kW and kWh, temperatures in degC, money in $.
    """

    def __init__(self, n_classes: int, n_blocks: int, n_scenarios: int, n_terminal: int, *, quadratic: bool) -> None:
        cp: Any = importlib.import_module("cvxpy")

        self._site = _site_parameters(cp, n_classes, n_blocks, n_terminal)
        self._prices = [_price_parameters(cp, n_classes, n_blocks) for _ in range(n_scenarios)]
        self._plans = [_plan_variables(cp, n_classes, n_blocks, n_terminal) for _ in range(n_scenarios)]
        self._storage, self._starts, constraints, profits = [], [], [], []
        for v, own in zip(self._plans, self._prices, strict=True):
            limits, storage, starts = _constraints(cp, self._site, v, own)
            constraints += [*limits, storage, starts]
            self._storage.append(storage)
            self._starts.append(starts)
            profits.append(_profit(cp, self._site, v, own, quadratic))
            if v is not self._plans[0]:  # one decision now, whatever comes
                constraints += [v[name][0] == self._plans[0][name][0] for name in ("machine", "charge", "discharge", "cooling")]

        # (1 - risk weight) mean + risk weight CVaR, in the form of Rockafellar and Uryasev (2000). Profits are variables of their own so
        # that no parameter multiplies another.
        self._weights = {name: cp.Parameter(nonneg=True) for name in ("mean", "risk", "tail")}
        earned = cp.Variable(n_scenarios)
        constraints += [earned[k] <= profit for k, profit in enumerate(profits)]
        objective = self._weights["mean"] * cp.sum(earned)
        if n_scenarios > 1:
            eta, shortfall = cp.Variable(), cp.Variable(n_scenarios, nonneg=True)
            constraints.append(shortfall >= eta - earned)
            objective += self._weights["risk"] * eta - self._weights["tail"] * cp.sum(shortfall)
        self.programme = cp.Problem(cp.Maximize(objective), constraints)

    @property
    def objective(self) -> float:
        """Value of the optimum, $."""
        return float(self.programme.value)

    def fill_site(self, arrays: SiteArrays, state: SiteState, outlook: Outlook, blocks: Blocks) -> None:
        """Set what holds in every scenario: the plant, its state, weather and caps."""
        plant, class_kw = arrays.plant[0], arrays.class_kw[0]
        self._arrays, self._blocks = arrays, blocks
        ticks, ambient = blocks.ticks.astype(np.float64), blocks.mean(outlook.ambient_c)
        hours, fleet = DT * ticks, float(class_kw.sum())
        cap = np.full(len(blocks), float(plant["grid_kw"]))
        if outlook.cap_kw is not None:
            cap = np.clip(blocks.least(outlook.cap_kw), 0.0, plant["grid_kw"])
        cop = np.maximum(1.0, plant["cop"] - plant["cop_slope"] * (ambient - plant["cop_reference"]))

        # The hall over a block: the tick's law as often as the block has ticks. It may be as warm as its set point, or as warm as it
        # is now and gets through its walls; what heat it may take up at that limit need not, and so may not, be cooled.
        leak = DT * float(plant["loss"] / plant["heat_capacity"])
        decay = (1.0 - leak) ** ticks
        warms = DT / float(plant["heat_capacity"]) * np.array([sum((1.0 - leak) ** k for k in range(int(n))) for n in ticks])
        drift = (1.0 - decay) * ambient
        limit = [max(float(plant["set_point"]), state.theta_c)]
        for a, d in zip(decay, drift, strict=True):
            limit.append(max(float(plant["set_point"]), a * limit[-1] + d))
        uncooled = (np.array(limit[1:]) - decay * np.array(limit[:-1]) - drift) / warms
        cooling = np.minimum(np.maximum(0.0, fleet - uncooled) / cop, plant["cooling_kw"])

        room = max(0.0, float(plant["soc_max"] - plant["soc_min"]))
        running = np.zeros(len(class_kw))
        running[: len(state.machine_kw)] = state.machine_kw[: len(class_kw)]
        self._cap, self._busiest = cap, fleet + cooling
        self._battery_kw = float(plant["battery_kw"]) if room > 0.0 else 0.0
        self._wear = float(plant["wear"])
        self._hours = hours
        _set(
            self._site,
            class_kw=class_kw / SCALE,
            startable=np.minimum(ticks[:, None] * float(plant["ramp_kw"]), class_kw) / SCALE,
            running=np.clip(running, 0.0, class_kw) / SCALE,
            cap=cap / SCALE,
            pinned_low=0.0,
            pinned_high=cap[0] / SCALE,
            cooling_kw=cooling / SCALE,
            cop=cop,
            warmest=np.array(limit[1:]),
            decay=decay,
            drift=drift + np.where(np.arange(len(drift)) == 0, decay * state.theta_c, 0.0),
            warms=warms * SCALE,
            cools=warms * cop * SCALE,
            fills=hours * float(plant["eta_c"]),
            drains=hours / float(plant["eta_d"]),
            room=room / SCALE,
            stored=min(max(state.soc_kwh - float(plant["soc_min"]), 0.0), room) / SCALE,
        )

    def fill_prices(self, arrays: SiteArrays, scenarios: FloatArray, terminal: FloatArray) -> None:
        """Set what is earned and paid, ``scenarios (S, H, 3)``, and the worth of what is stored at the end, ``terminal (K, 2)``."""
        plant, hours = arrays.plant[0], self._hours
        for own, prices in zip(self._prices, scenarios, strict=True):
            mean = self._blocks.mean(prices)
            revenue, energy = mean[:, arrays.product[0]] * arrays.output[0], mean[:, 0]
            # Paid to draw, a programme would charge and discharge at once. Where power is not short nobody paid to draw discharges.
            burns = (energy < 0.0) & (self._cap >= self._busiest)
            _set(
                own,
                revenue=hours[:, None] * revenue * SCALE,
                boot=DT * float(plant["boot_loss"]) * np.maximum(0.0, revenue) * SCALE,
                energy=hours * energy * SCALE,
                charge_kw=np.full(len(hours), self._battery_kw / SCALE),
                discharge_kw=np.where(burns, 0.0, self._battery_kw / SCALE),
            )
        kwh, value = np.zeros(self._site["end_kwh"].shape), np.zeros(self._site["end_kwh"].shape)
        kwh[: len(terminal)], value[: len(terminal)] = terminal[:, 0], terminal[:, 1]
        kwh[-1], value[-1] = float(self._site["room"].value) * SCALE, min(0.0, float(terminal[-1, 1])) if len(terminal) else 0.0
        _set(self._site, end_kwh=kwh / SCALE, end_value=value * SCALE)

    def fill_measure(self, risk_weight: float, tail: float, quadratic_wear: float) -> None:
        """Set the weights of mean and tail, and the wear."""
        n_scenarios = len(self._prices)
        weights = ((1.0 - risk_weight) / n_scenarios, risk_weight, risk_weight / (tail * n_scenarios))
        _set(self._weights, **dict(zip(("mean", "risk", "tail"), weights, strict=True)))
        per_square = self._hours * (quadratic_wear / self._battery_kw if self._battery_kw > 0.0 else 0.0)
        _set(self._site, wear=self._hours * self._wear * SCALE, root_wear=np.sqrt(per_square) * SCALE)

    def pin(self, kw: float) -> None:
        """Hold the first block's grid power at ``kw``."""
        _set(self._site, pinned_low=kw / SCALE, pinned_high=kw / SCALE)

    def hold_to_one(self) -> bool:
        """Hold every block to charging or discharging if one does both: to what it does in sum, idle ones by the sign of the price."""
        flows = [(SCALE * v["charge"].value, SCALE * v["discharge"].value) for v in self._plans]
        if not any((np.minimum(charge, discharge) > BOTH).any() for charge, discharge in flows):
            return False
        eta_c, eta_d = float(self._arrays.plant[0]["eta_c"]), float(self._arrays.plant[0]["eta_d"])
        for (charge, discharge), own in zip(flows, self._prices, strict=True):
            stored = eta_c * charge - discharge / eta_d
            fills = (stored > BOTH) | ((stored >= -BOTH) & (own["energy"].value < 0.0))
            own["discharge_kw"].value = np.where(fills, 0.0, own["discharge_kw"].value)
            own["charge_kw"].value = np.where(fills, own["charge_kw"].value, 0.0)
        return True

    def most_power(self) -> float:
        """The most that the plant can draw in the first block, kW."""
        s = {name: parameter.value for name, parameter in self._site.items()}
        machines = float(np.minimum(s["running"] + s["startable"][0], s["class_kw"]).sum())
        uncooled = max(0.0, float((s["warmest"][0] - s["drift"][0]) / s["warms"][0]))
        machines = min(machines, uncooled + float(s["cop"][0] * s["cooling_kw"][0]))
        charge = min(float(self._prices[0]["charge_kw"].value[0]), float((s["room"] - s["stored"]) / s["fills"][0]))
        power = machines + max(0.0, machines - uncooled) / float(s["cop"][0]) + charge
        return SCALE * min(power, float(s["cap"][0]))

    def read(self, n_classes: int, rung: str, reasons: tuple[str, ...]) -> Plan:
        """The plan as solved, means over the scenarios."""

        def mean(name: str) -> FloatArray:
            return np.asarray(SCALE * np.mean([v[name].value for v in self._plans], axis=0))

        charge, discharge = np.maximum(0.0, mean("charge")), np.maximum(0.0, mean("discharge"))
        at_once = np.minimum(charge, discharge)
        second = min(1, len(self._blocks) - 1)
        stored = float(self._site["stored"].value) * SCALE
        soc = np.concatenate([[stored], np.clip(mean("soc"), 0.0, float(self._site["room"].value) * SCALE)])
        kept = sum(rows.dual_value[second] for rows in self._starts) / (SCALE * DT)
        worth = -sum(float(row.dual_value[second]) for row in self._storage) / SCALE  # cvxpy's sign of an equality's dual price
        return Plan(
            storage_value=worth,
            commitment_value=np.maximum(0.0, kept[:n_classes]) * second,
            objective=self.objective,
            ticks=self._blocks.ticks,
            grid_kw=np.maximum(0.0, mean("grid")),
            machine_kw=np.maximum(0.0, mean("machine")[:, :n_classes]),
            cooling_kw=np.maximum(0.0, mean("cooling")),
            charge_kw=charge - at_once,
            discharge_kw=discharge - at_once,
            soc_kwh=soc + float(self._arrays.plant[0]["soc_min"]),
            rung=rung,
            reasons=reasons,
        )


def _site_parameters(cp: Any, n_classes: int, n_blocks: int, n_terminal: int) -> dict[str, Any]:
    each_block = ("cap", "cooling_kw", "cop", "decay", "warms", "cools", "fills", "drains", "wear", "root_wear")
    parameters = {name: cp.Parameter(n_blocks, nonneg=True) for name in each_block}
    parameters |= {name: cp.Parameter(n_classes, nonneg=True) for name in ("class_kw", "running")}
    parameters |= {name: cp.Parameter(nonneg=True) for name in ("pinned_low", "pinned_high", "room", "stored")}
    parameters |= {name: cp.Parameter(n_blocks) for name in ("warmest", "drift")}
    parameters["startable"] = cp.Parameter((n_blocks, n_classes), nonneg=True)
    parameters["end_kwh"], parameters["end_value"] = cp.Parameter(n_terminal + 1, nonneg=True), cp.Parameter(n_terminal + 1)
    return parameters


def _price_parameters(cp: Any, n_classes: int, n_blocks: int) -> dict[str, Any]:
    parameters = {name: cp.Parameter(n_blocks, nonneg=True) for name in ("charge_kw", "discharge_kw")}
    parameters["energy"] = cp.Parameter(n_blocks)  # $ a unit of power over the block
    parameters["revenue"] = cp.Parameter((n_blocks, n_classes))
    parameters["boot"] = cp.Parameter((n_blocks, n_classes), nonneg=True)
    return parameters


def _plan_variables(cp: Any, n_classes: int, n_blocks: int, n_terminal: int) -> dict[str, Any]:
    variables = {name: cp.Variable(n_blocks, nonneg=True) for name in ("grid", "charge", "discharge", "cooling", "soc")}
    variables |= {name: cp.Variable((n_blocks, n_classes), nonneg=True) for name in ("machine", "started")}
    variables["hall"] = cp.Variable(n_blocks)
    variables["end"] = cp.Variable(n_terminal + 1, nonneg=True)
    return variables


def _constraints(cp: Any, s: dict[str, Any], v: dict[str, Any], own: dict[str, Any]) -> tuple[list[Any], Any, Any]:
    """Limits and balances of one scenario; apart from them the storage balance and the starts, whose dual prices are asked for."""
    n_blocks, n_classes = v["machine"].shape
    as_row = {name: cp.reshape(s[name], (1, n_classes), order="C") for name in ("class_kw", "running")}
    machines = cp.sum(v["machine"], axis=1)
    before = {
        "machine": cp.vstack([as_row["running"], v["machine"][:-1]]) if n_blocks > 1 else as_row["running"],
        "soc": cp.hstack([s["stored"], v["soc"][:-1]]) if n_blocks > 1 else cp.hstack([s["stored"]]),
        "hall": cp.hstack([0.0, v["hall"][:-1]]) if n_blocks > 1 else np.zeros(1),  # `drift` holds what it is now
    }
    limits = [
        v["grid"] + v["discharge"] == machines + v["cooling"] + v["charge"],
        v["grid"] <= s["cap"],
        v["grid"][0] >= s["pinned_low"],
        v["grid"][0] <= s["pinned_high"],
        v["machine"] <= np.ones((n_blocks, 1)) @ as_row["class_kw"],
        v["started"] <= s["startable"],
        v["charge"] <= own["charge_kw"],
        v["discharge"] <= own["discharge_kw"],
        v["soc"] <= s["room"],
        v["hall"]
        == cp.multiply(s["decay"], before["hall"])
        + s["drift"]
        + cp.multiply(s["warms"], machines)
        - cp.multiply(s["cools"], v["cooling"]),
        v["hall"] <= s["warmest"],
        v["cooling"] <= s["cooling_kw"],
        cp.multiply(s["cop"], v["cooling"]) <= machines,
        v["soc"][-1] == cp.sum(v["end"]),
        v["end"] <= s["end_kwh"],
    ]
    storage = before["soc"] + cp.multiply(s["fills"], v["charge"]) - cp.multiply(s["drains"], v["discharge"]) == v["soc"]
    return limits, storage, v["machine"] - before["machine"] <= v["started"]


def _profit(cp: Any, s: dict[str, Any], v: dict[str, Any], own: dict[str, Any], quadratic: bool) -> Any:
    """Revenue less boot losses, energy and wear, and the worth of what is stored at the end, $."""
    battery = v["charge"] + v["discharge"]
    profit = cp.sum(cp.multiply(own["revenue"], v["machine"]) - cp.multiply(own["boot"], v["started"]))
    profit += s["end_value"] @ v["end"] - own["energy"] @ v["grid"] - s["wear"] @ battery
    return profit - cp.sum_squares(cp.multiply(s["root_wear"], battery)) if quadratic else profit


def _set(parameters: dict[str, Any], **values: Any) -> None:
    for name, value in values.items():
        parameters[name].value = value
