"""A site: a fleet of machines, a battery, cooling and a grid connection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import SiteError
from gridpilot.market.units import DT

__all__ = ["PLANT", "Battery", "Cooling", "MachineClass", "Site", "SiteArrays", "pack_sites"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PRODUCTS = ("hash", "token")


def _check(where: str, name: str, value: float, *, low: float, high: float = math.inf, strict: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SiteError(f"{where}: {name} is {value!r}, expected a finite number")
    if value < low or value > high or (strict and value == low):
        bound = f"above {low}" if strict else f"at least {low}"
        raise SiteError(f"{where}: {name} is {value}, expected {bound}" + (f" and at most {high}" if high < math.inf else ""))


@dataclass(frozen=True)
class MachineClass:
    """Identical machines: ``units`` of ``unit_kw`` each, making ``output`` units of ``product`` per machine and hour.

    Hash output is in PH/s h per hour (so 335 TH/s is 0.335) and is paid $ per PH/s h; token output is in millions of tokens.
    """

    name: str
    product: Literal["hash", "token"]
    unit_kw: float  # kW, > 0
    units: int  # >= 0
    output: float  # units of product per machine and hour, >= 0

    def __post_init__(self) -> None:
        if self.product not in PRODUCTS:
            raise SiteError(f"machine class {self.name!r}: product is {self.product!r}, expected one of {PRODUCTS}")
        _check(f"machine class {self.name!r}", "unit_kw", self.unit_kw, low=0.0, strict=True)
        _check(f"machine class {self.name!r}", "units", self.units, low=0.0)
        _check(f"machine class {self.name!r}", "output", self.output, low=0.0)
        if self.units != int(self.units):
            raise SiteError(f"machine class {self.name!r}: units is {self.units}, expected a whole number")

    @property
    def capacity_kw(self) -> float:
        """Power of the whole class, kW."""
        return self.unit_kw * self.units


@dataclass(frozen=True)
class Battery:
    """A battery behind the meter; ``energy_kwh = 0`` or ``power_kw = 0`` is no battery."""

    power_kw: float = 0.0  # kW, limit of charge and of discharge at the terminals
    energy_kwh: float = 0.0  # kWh
    charge_efficiency: float = 0.95  # (0, 1]
    discharge_efficiency: float = 0.95  # (0, 1]
    wear_cost: float = 0.005  # $/kWh through the terminals, either way
    soc_min: float = 0.05  # share of energy_kwh
    soc_max: float = 0.95  # share of energy_kwh
    soc_start: float = 0.05  # share of energy_kwh at the start of an episode

    def __post_init__(self) -> None:
        for name in ("power_kw", "energy_kwh", "wear_cost"):
            _check("battery", name, getattr(self, name), low=0.0)
        for name in ("charge_efficiency", "discharge_efficiency"):
            _check("battery", name, getattr(self, name), low=0.0, high=1.0, strict=True)
        for name in ("soc_min", "soc_max", "soc_start"):
            _check("battery", name, getattr(self, name), low=0.0, high=1.0)
        if not self.soc_min <= self.soc_start <= self.soc_max:
            raise SiteError(
                f"battery: soc_start is {self.soc_start}, expected soc_min {self.soc_min} <= soc_start <= soc_max {self.soc_max}"
            )


@dataclass(frozen=True)
class Cooling:
    """A hall with one thermostat, which cools first and throttles the machines when cooling is at its limit."""

    max_kw: float = 160.0  # kW, limit of the cooling power
    capacity_kwh_per_c: float = 20.0  # kWh/degC, heat capacity of the hall, > 0
    loss_kw_per_c: float = 8.0  # kW/degC, heat loss through the walls (UA)
    set_point_c: float = 35.0  # degC
    cop: float = 6.0  # heat moved per unit of power, at cop_reference_c
    cop_slope: float = 0.1  # lost per degC of ambient temperature above cop_reference_c
    cop_reference_c: float = 20.0  # degC

    def __post_init__(self) -> None:
        for name in ("max_kw", "loss_kw_per_c", "cop_slope"):
            _check("cooling", name, getattr(self, name), low=0.0)
        for name in ("capacity_kwh_per_c", "cop"):
            _check("cooling", name, getattr(self, name), low=0.0, strict=True)
        for name in ("set_point_c", "cop_reference_c"):
            _check("cooling", name, getattr(self, name), low=-1e9)
        if self.loss_kw_per_c * DT > self.capacity_kwh_per_c:
            raise SiteError(
                f"cooling: capacity_kwh_per_c is {self.capacity_kwh_per_c}, expected at least loss_kw_per_c x {DT:.4f} h = "
                f"{self.loss_kw_per_c * DT:.4f}: the hall would overshoot the ambient temperature within a tick"
            )


@dataclass(frozen=True)
class Site:
    """One bidder's plant."""

    name: str
    fleet: tuple[MachineClass, ...]
    grid_kw: float = 1000.0  # kW, import limit; there is no export
    ramp_up_kw: float = 250.0  # kW a tick and machine class
    boot_loss: float = 0.3  # share of a tick's output lost by power started in it, [0, 1]
    battery: Battery = Battery()
    cooling: Cooling = Cooling()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fleet", tuple(self.fleet))
        _check(f"site {self.name!r}", "grid_kw", self.grid_kw, low=0.0)
        _check(f"site {self.name!r}", "ramp_up_kw", self.ramp_up_kw, low=0.0)
        _check(f"site {self.name!r}", "boot_loss", self.boot_loss, low=0.0, high=1.0)

    @property
    def fleet_kw(self) -> float:
        """Power of all machines, kW."""
        return sum(machines.capacity_kw for machines in self.fleet)

    def rated_value(self, hash_price: float, token_price: float) -> float:
        """Hourly revenue of the whole fleet at these product prices, $/h."""
        price = {"hash": hash_price, "token": token_price}
        return sum(machines.units * machines.output * price[machines.product] for machines in self.fleet)


PLANT = np.dtype(
    [
        ("n_classes", np.int64),
        ("grid_kw", np.float64),  # kW
        ("ramp_kw", np.float64),  # kW a tick and machine class
        ("boot_loss", np.float64),
        ("battery_kw", np.float64),  # kW
        ("eta_c", np.float64),
        ("eta_d", np.float64),
        ("wear", np.float64),  # $/kWh
        ("soc_min", np.float64),  # kWh
        ("soc_max", np.float64),  # kWh
        ("soc_start", np.float64),  # kWh
        ("cooling_kw", np.float64),  # kW
        ("heat_capacity", np.float64),  # kWh/degC
        ("loss", np.float64),  # kW/degC
        ("set_point", np.float64),  # degC
        ("cop", np.float64),
        ("cop_slope", np.float64),  # 1/degC
        ("cop_reference", np.float64),  # degC
        # Derived, so that no kernel divides:
        ("per_eta_d", np.float64),  # 1 / eta_d
        ("charge_rate", np.float64),  # 1 / (eta_c dt), kW of charging a kWh of room
        ("discharge_rate", np.float64),  # eta_d / dt, kW of discharging a kWh stored
        ("lowest_value", np.float64),  # $/kWh, storage value below which charging would outbid discharging
        ("heat_rate", np.float64),  # capacity / dt, kW/degC
        ("warming", np.float64),  # dt / capacity, degC/kW
    ]
)


class SiteArrays(NamedTuple):
    """The sites of a market as arrays, padded to the largest fleet: what the kernels read. N sites, C machine classes."""

    plant: npt.NDArray[np.void]  # (N,) of PLANT
    class_kw: FloatArray  # (N, C) kW, power of all machines of a class
    output: FloatArray  # (N, C) units of product per kWh of machine energy
    product: IntArray  # (N, C) 1 = hash, 2 = token: the column of the price table

    @property
    def n_sites(self) -> int:
        """Number of sites N."""
        return len(self.plant)

    @property
    def n_classes(self) -> int:
        """Machine classes C of the largest fleet."""
        return int(self.class_kw.shape[1])

    @property
    def n_blocks(self) -> int:
        """Blocks a value curve needs at the most, K = 2 C + 3."""
        return 2 * self.n_classes + 3


def pack_sites(sites: Sequence[Site], n_classes: int = 1) -> SiteArrays:
    """Lay ``sites`` out as :class:`SiteArrays`, with room for ``n_classes`` machine classes at least.

    Raises :class:`~gridpilot.errors.SiteError` when there are none.
    """
    if not sites:
        raise SiteError("a market needs at least one site, got none")
    n, c = len(sites), max(n_classes, *(len(site.fleet) for site in sites), 1)
    class_kw, output, product = np.zeros((n, c)), np.zeros((n, c)), np.ones((n, c), dtype=np.int64)
    plant = np.zeros(n, dtype=(np.record, PLANT))  # a record's fields are attributes in plain Python, as they are in kernels
    for i, site in enumerate(sites):
        for j, machines in enumerate(site.fleet):
            class_kw[i, j] = machines.capacity_kw
            output[i, j] = machines.output / machines.unit_kw
            product[i, j] = 1 + PRODUCTS.index(machines.product)
        battery, cooling = site.battery, site.cooling
        spread = 1.0 / battery.discharge_efficiency - battery.charge_efficiency
        plant[i] = (
            len(site.fleet),
            site.grid_kw,
            site.ramp_up_kw,
            site.boot_loss,
            battery.power_kw,
            battery.charge_efficiency,
            battery.discharge_efficiency,
            battery.wear_cost,
            battery.soc_min * battery.energy_kwh,
            battery.soc_max * battery.energy_kwh,
            battery.soc_start * battery.energy_kwh,
            cooling.max_kw,
            cooling.capacity_kwh_per_c,
            cooling.loss_kw_per_c,
            cooling.set_point_c,
            cooling.cop,
            cooling.cop_slope,
            cooling.cop_reference_c,
            1.0 / battery.discharge_efficiency,
            1.0 / (battery.charge_efficiency * DT),
            battery.discharge_efficiency / DT,
            -2.0 * battery.wear_cost / spread if spread > 0.0 else -math.inf,
            cooling.capacity_kwh_per_c / DT,
            DT / cooling.capacity_kwh_per_c,
        )
    return SiteArrays(plant, class_kw, output, product)
