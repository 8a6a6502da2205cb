"""From configuration to a market ready to be played: sites, rules and the world around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from gridpilot.configuration import validate
from gridpilot.errors import ConfigError
from gridpilot.market.arena import Arena, MarketRules, Scenario
from gridpilot.market.clearing import Mechanism
from gridpilot.market.site import Battery, Cooling, MachineClass, Site
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.memory import check_memory
from gridpilot.presets import described, load_preset
from gridpilot.prices.load import load_prices
from gridpilot.prices.weather_and_capacity import CapacityConfig, WeatherConfig
from gridpilot.prices.world import World
from gridpilot.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MarketConfig", "MarketSetup", "load_preset", "load_setup", "load_site"]

Built = TypeVar("Built")

# A hall that never warms up, for sites without a heat model (``cooling: null``).
_NO_HEAT: Final = Cooling(max_kw=0.0, capacity_kwh_per_c=1e12, loss_kw_per_c=0.0, set_point_c=1e6)
_BYTES_A_SEAT: Final = 500  # of an arena: orders, states and outcomes
_SITE_KEYS: Final = {"name", "fleet", "machines", "grid_kw", "ramp_up_kw", "boot_loss", "battery", "cooling"}


class PublicationConfig(BaseModel):
    """What the market tells of a tick later: ``curve_delay`` ticks until all bids are public, without names; ``None``: never."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    curve_delay: PositiveInt | None = 1


class MarketConfig(BaseModel):
    """A ``conf/market`` file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    capacity_kw: NonNegativeFloat
    supply: list[tuple[NonNegativeFloat, float]]
    mechanism: Mechanism = "vcg"
    reserve: float | None = None
    publication: PublicationConfig = PublicationConfig()
    capacity: CapacityConfig = CapacityConfig()
    weather: WeatherConfig = WeatherConfig()
    machines: dict[str, dict[str, Any]] = {}
    site: dict[str, Any] = {}  # what sites share unless they say otherwise
    sites: Annotated[list[str | dict[str, Any]], Field(min_length=1)]  # descriptions, or names of conf/site

    def build_sites(self) -> tuple[Site, ...]:
        """The plants. Raises :class:`~gridpilot.errors.ConfigError` or :class:`~gridpilot.errors.SiteError`."""
        described = [load_preset("site", site) if isinstance(site, str) else {**self.site, **site} for site in self.sites]
        machines = [{**self.machines, **site.get("machines", {})} for site in described]
        return tuple(
            _site({**site, "machines": catalogue}, f"market: sites[{i}]")
            for i, (site, catalogue) in enumerate(zip(described, machines, strict=True))
        )


@dataclasses.dataclass(frozen=True)
class MarketSetup:
    """Everything a run of a market needs but the agents."""

    sites: tuple[Site, ...]
    rules: MarketRules
    world: World
    ticks: int = TICKS_PER_DAY  # length of an episode
    history: int = TICKS_PER_DAY  # ticks of prices known before its first one

    def arena(self, n_markets: int = 1) -> Arena:
        """A new arena of ``n_markets`` of this market. Raises :class:`~gridpilot.errors.ConfigError` for more than the memory holds."""
        check_memory(n_markets * len(self.sites) * _BYTES_A_SEAT, f"{n_markets:,} markets of {len(self.sites)} sites", ConfigError)
        return Arena(self.sites, self.rules, n_markets)

    def scenario(self, root: int, episodes: Any) -> Scenario:
        """What happens in the given ``episodes (B,)`` under the root seed."""
        return self.world.simulate(root, episodes, self.ticks, self.history)

    @cached_property
    def reference_prices(self) -> tuple[float, float]:
        """Median hash and token price of the price model, $ per unit of output: over 32 simulated days of a fixed seed."""
        prices, _ = self.world.prices.simulate(0, np.arange(32), TICKS_PER_DAY)
        return float(np.median(prices[..., 1])), float(np.median(prices[..., 2]))

    def rated_values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Hourly revenue of each site's whole fleet at the reference prices, $/h, ``(N,)``."""
        return np.array([site.rated_value(*self.reference_prices) for site in self.sites])


def load_setup(
    market: str | Path | Mapping[str, Any] = "default",
    prices: str | Path | Mapping[str, Any] | pd.DataFrame = "ercot",
    *,
    ticks: int = TICKS_PER_DAY,
    history: int = TICKS_PER_DAY,
    mechanism: Mechanism | None = None,
) -> MarketSetup:
    """A market and its prices.

    ``market``  a name of ``conf/market``, the path of a YAML file of that form, or such a mapping.
    ``prices``  a name of ``conf/prices``, a dotted path, a mapping with either as ``name`` and parameters, the path of a YAML file of that
                form, or recorded prices: a CSV or Parquet file or a data frame, see :func:`gridpilot.prices.load.price_parameters`.

    ``mechanism`` replaces the market's. Raises :class:`~gridpilot.errors.ConfigError` and the errors of what is built, naming the
    value that is wrong.
    """
    if ticks < 1 or history < 0:
        raise ConfigError(f"ticks is {ticks} and history {history}, expected ticks >= 1 and history >= 0")
    config = validate(MarketConfig, described("market", market), "market")
    rules = MarketRules(
        config.capacity_kw, tuple(config.supply), mechanism or config.mechanism, config.reserve, config.publication.curve_delay
    )
    return MarketSetup(config.build_sites(), rules, World(load_prices(prices), config.weather, config.capacity), ticks, history)


def load_site(name: str) -> Site:
    """The site preset ``conf/site/NAME.yaml``. Raises :class:`~gridpilot.errors.ConfigError` where there is none."""
    return _site(load_preset("site", name), f"site {name!r}")


def _site(data: Mapping[str, Any], where: str) -> Site:
    _check_keys(data, _SITE_KEYS, {"name", "fleet"}, where)
    where = f"{where} {data['name']!r}"
    machines, fleet = data.get("machines") or {}, data["fleet"]
    if not isinstance(fleet, Mapping):
        raise ConfigError(f"{where}: fleet is {fleet!r}, expected a mapping of machine names to numbers of units")
    classes = []
    for name, units in fleet.items():
        if name not in machines:
            raise ConfigError(f"{where}: fleet has {name!r}, expected one of the machines {', '.join(machines) or '(none)'}")
        classes.append(_build(MachineClass, {"name": name, "units": units, **machines[name]}, f"{where}: machine {name!r}"))
    plain = {key: data[key] for key in ("grid_kw", "ramp_up_kw", "boot_loss") if key in data}
    battery = _build(Battery, data.get("battery") or {}, f"{where}: battery")
    cooling = _NO_HEAT if data.get("cooling") is None else _build(Cooling, data["cooling"], f"{where}: cooling")
    return _build(
        Site, {"name": str(data["name"]), "fleet": tuple(classes), "battery": battery, "cooling": cooling, **plain}, where
    )


def _build(kind: type[Built], data: Mapping[str, Any], where: str) -> Built:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: {data!r}, expected a mapping")
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    needed = {name for name, field in known.items() if field.default is dataclasses.MISSING}
    _check_keys(data, set(known), needed, where)
    return kind(**data)


def _check_keys(data: Mapping[str, Any], known: set[str], needed: set[str], where: str) -> None:
    for key in data:
        if key not in known:
            hint = did_you_mean(key, known) or f"known keys are {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    missing = sorted(needed - set(data))
    if missing:
        raise ConfigError(f"{where}: key {missing[0]!r} is missing")
