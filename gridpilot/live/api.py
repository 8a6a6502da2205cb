"""The words of the MARA Hackathon 2025 API: fields, rows, inventories, and how its figures translate to this project's units.

The API gives no units. Its figures are plain products, ``revenue = count x output x price`` and ``cost = watts x energy price``, one of
each per row of five minutes; so ``energy $/kWh = energy price x 1000 / dt``, and a machine's ``output = hashrate / dt`` an hour. Everything
outside this room is in kW, $ and hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from gridpilot.market.site import Battery, Cooling, MachineClass, Site
from gridpilot.market.units import CHANNELS, DT

__all__ = [
    "CLASSES",
    "INVENTORIES",
    "KWH_PER_UNIT",
    "PRICE_FIELDS",
    "ROW_FIELDS",
    "TICK",
    "Counts",
    "Inventory",
    "MachineType",
    "PriceRow",
    "build_site",
    "format_time",
    "machine_site",
    "parse_time",
]

TICK: Final = timedelta(minutes=5)
KWH_PER_UNIT: Final = 1000.0 / DT  # $/kWh of one unit of the API's energy price

CLASSES: Final = ("air_miners", "hydro_miners", "immersion_miners", "gpu_compute", "asic_compute")
"""The fields of ``PUT /machines``, in the order in which ``Counts`` and fleets hold the machine classes."""

PRICE_FIELDS: Final = tuple(f"{name}_price" for name in CHANNELS)
ROW_FIELDS: Final = ("timestamp", *PRICE_FIELDS)
"""The fields of a row of ``GET /prices``, and the columns of a file of such rows."""

Counts = tuple[int, ...]
"""Machines of each class, in the order of a site's fleet."""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A row of ``GET /prices``, in the API's units."""

    at: datetime  # UTC, aware
    energy: float
    hash: float
    token: float

    @property
    def raw(self) -> tuple[float, float, float]:
        """Energy, hash and token price as the API gives them."""
        return self.energy, self.hash, self.token

    @property
    def prices(self) -> tuple[float, float, float]:
        """Energy in $/kWh, hash and token in $ per unit of output."""
        return self.energy * KWH_PER_UNIT, self.hash, self.token


@dataclass(frozen=True, slots=True)
class MachineType:
    """An entry of ``GET /inventory``."""

    output: int  # hashrate or tokens a row
    power: int  # W, > 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """``GET /inventory``: the machine types, in the order of ``CLASSES``."""

    air: MachineType
    hydro: MachineType
    immersion: MachineType
    gpu: MachineType
    asic: MachineType

    @property
    def types(self) -> tuple[MachineType, ...]:
        """The five types in the order of ``CLASSES``."""
        return self.air, self.hydro, self.immersion, self.gpu, self.asic

    def to_json(self) -> dict[str, dict[str, dict[str, int]]]:
        """The body of ``GET /inventory``."""
        miners = {"air": self.air, "hydro": self.hydro, "immersion": self.immersion}
        inference = {"asic": self.asic, "gpu": self.gpu}
        return {
            "miners": {name: {"hashrate": kind.output, "power": kind.power} for name, kind in miners.items()},
            "inference": {name: {"tokens": kind.output, "power": kind.power} for name, kind in inference.items()},
        }


INVENTORIES: Final[Mapping[Literal["documented", "live"], Inventory]] = MappingProxyType(
    {
        "documented": Inventory(
            MachineType(1000, 3500),
            MachineType(5000, 5000),
            MachineType(10000, 10000),
            MachineType(1000, 5000),
            MachineType(50000, 15000),
        ),
        "live": Inventory(
            MachineType(1000, 3333),
            MachineType(10000, 5000),
            MachineType(5000, 10000),
            MachineType(1000, 3333),
            MachineType(5000, 10000),
        ),
    }
)
"""As the organisers documented it, and as the API answered during the event."""


def build_site(name: str, inventory: Inventory, power_w: int) -> Site:
    """The site behind a key: any mix of machines within ``power_w``, no battery, no heat, no start-up.

    A class has as many units as would fill the connection alone; a class that does not fit once has none.
    """
    products: tuple[Literal["hash", "token"], ...] = ("hash", "hash", "hash", "token", "token")
    fleet = tuple(
        MachineClass(label, product, kind.power / 1000.0, power_w // kind.power, kind.output / DT)
        for label, product, kind in zip(CLASSES, products, inventory.types, strict=True)
    )
    return machine_site(name, fleet, power_w)


def machine_site(name: str, fleet: Sequence[MachineClass], power_w: int) -> Site:
    """A site of machines alone, behind a connection of ``power_w``."""
    grid_kw = power_w / 1000.0
    no_heat = Cooling(max_kw=0.0, capacity_kwh_per_c=1e12, loss_kw_per_c=0.0, set_point_c=1e6)
    return Site(name, tuple(fleet), grid_kw=grid_kw, ramp_up_kw=grid_kw, boot_loss=0.0, battery=Battery(), cooling=no_heat)


_LONGEST_TIME: Final = 64  # characters


def parse_time(text: Any) -> datetime:
    """A timestamp of the API: naive ISO 8601 means UTC; a trailing Z or an offset is understood too. Raises ``ValueError``."""
    if not isinstance(text, str):
        raise ValueError(f"timestamp is {text!r:.60}, expected ISO 8601 text")
    if len(text) > _LONGEST_TIME:
        raise ValueError(f"timestamp has {len(text)} characters, expected ISO 8601 text")
    return _parsed(text)


@lru_cache(maxsize=4096)  # a reading repeats the rows of the one before
def _parsed(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"timestamp is {text!r}, expected ISO 8601 text") from error
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"timestamp is {text!r:.60}, which is out of range in UTC") from error


def format_time(at: datetime) -> str:
    """The API's way of writing a time: naive ISO 8601 in UTC.

    >>> format_time(datetime(2025, 6, 21, 12, tzinfo=UTC))
    '2025-06-21T12:00:00'
    """
    return at.astimezone(UTC).replace(tzinfo=None).isoformat()
