"""What a backtest is told, validated, and the series and members it asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, StrictBool

from gridpilot.backtest.series import PriceSeries
from gridpilot.backtest.summary import BEST, REFERENCE
from gridpilot.configuration import validate
from gridpilot.errors import ConfigError
from gridpilot.forecasting.base import Forecaster
from gridpilot.memory import check_memory
from gridpilot.series.options import Dates, Decimal, Label, options_of
from gridpilot.suggestions import did_you_mean

__all__ = [
    "EXECUTION_KEYS",
    "BacktestConfig",
    "build_series",
    "member_builders",
    "member_specs",
    "validate_backtest",
    "warm_up_days",
]

EXECUTION_KEYS: Final = ("out", "json")  # cannot change a result
ALL: Final = "all"
_DAYS, _WARM_UP_DAYS = 30.0, 14.0  # of a simulation

Build = Callable[[], Forecaster]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, Mapping)) else value


def _listed_or_none(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


class BacktestConfig(BaseModel):
    """``conf/backtest.yaml``, where every key is explained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prices: dict[str, Any]
    preset: str
    data: str | None
    column: Annotated[list[str] | None, BeforeValidator(_listed)]
    time: Annotated[list[str], BeforeValidator(_listed_or_none)]
    label: Label | None = None
    dates: Dates | None = None
    zone: str | None = None
    pick: Annotated[list[str], BeforeValidator(_listed_or_none)] = []
    decimal: Decimal | None = None
    step_minutes: PositiveFloat | None
    process: Literal["seasonal", "near_random_walk", "random_walk"] | None
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    members: Annotated[list[str | dict[str, Any]], BeforeValidator(_listed), Field(min_length=1)]
    horizons: Annotated[list[PositiveFloat], Field(min_length=1)]
    days: PositiveFloat | None
    warm_up_days: PositiveFloat | None
    every: PositiveInt | None
    scenarios: NonNegativeInt
    out: str | None
    as_json: StrictBool = Field(alias="json")


def validate_backtest(config: Mapping[str, Any]) -> BacktestConfig:
    """Check a composed configuration. Raises :class:`~gridpilot.errors.ConfigError` naming every offending key."""
    settings = validate(BacktestConfig, config, "backtest")
    if settings.data is not None and settings.process is not None:
        raise ConfigError(f"backtest: data={settings.data} and process={settings.process} exclude each other, give one of them")
    if settings.data is None:
        for key in ("column", "time", "label", "dates", "zone", "pick", "decimal", "step_minutes"):
            if getattr(settings, key) not in (None, []):
                raise ConfigError(f"backtest: {key}={getattr(settings, key)} belongs to a file, but no data=FILE is given")
    paths = settings.scenarios * max(settings.horizons) / 5.0
    check_memory(paths * 3 * 8, f"backtest: scenarios={settings.scenarios:,}", ConfigError)
    if max(settings.horizons) > 7 * 1440:
        raise ConfigError(f"backtest: horizons has {max(settings.horizons):g}, expected minutes up to {7 * 1440}, a week")
    return settings


_BYTES_A_ROW = 100  # of a simulated series: three prices, and what they are made from


def build_series(settings: BacktestConfig) -> PriceSeries:
    """Read or simulate the series. Raises :class:`~gridpilot.errors.PriceError` or :class:`~gridpilot.errors.ConfigError`."""
    if settings.data is not None:
        from gridpilot.backtest.series import read_series

        series = read_series(Path(settings.data), settings.column, options=options_of(settings), step_minutes=settings.step_minutes)
        if settings.days is None:
            return series
        warm_up = _WARM_UP_DAYS if settings.warm_up_days is None else settings.warm_up_days
        return series.last_rows(round((settings.days + warm_up) * series.steps_per_day))
    days = (settings.days or _DAYS) + (_WARM_UP_DAYS if settings.warm_up_days is None else settings.warm_up_days)
    rows = round(days * 288)
    check_memory(rows * _BYTES_A_ROW, f"backtest: days={settings.days}, warm_up_days={settings.warm_up_days}", ConfigError)
    if settings.process is not None:
        from gridpilot.backtest.processes import simulate_process

        return simulate_process(settings.process, rows, settings.seed)
    from gridpilot.backtest.presets import simulate_preset

    return simulate_preset(settings.prices, rows, settings.seed, settings.preset)


def warm_up_days(settings: BacktestConfig, series: PriceSeries) -> float | None:
    """Days before the first forecast, so that ``days`` are left to score; None where the series has to be divided in some other way."""
    if settings.warm_up_days is not None:
        return settings.warm_up_days
    room = settings.data is None or (settings.days is not None and series.days >= settings.days + _WARM_UP_DAYS - 0.5)
    return _WARM_UP_DAYS if room else None


def member_specs(members: list[str | dict[str, Any]], known: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Members by label, persistence first: ``{label: {"name": name or dotted path, **parameters}}``.

    An entry is a name of ``known``, a dotted path, or a mapping with ``name``, parameters, and a ``label`` of its own if wanted; ``all``
    stands for everything in ``known``. Raises :class:`~gridpilot.errors.ConfigError` for an unknown name, with what was perhaps
    meant, and for a label used twice.
    """
    entries: list[dict[str, Any]] = []
    for entry in members:
        if entry == ALL:
            # The ensemble last, where its readers expect the sum of the others.
            entries += [{"name": name} for name in sorted(known, key=lambda name: (name.startswith("ensemble"), name))]
        else:
            entries.append({"name": entry} if isinstance(entry, str) else dict(entry))
    specs: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name = entry.get("name")
        if not isinstance(name, str) or not (name in known or re.fullmatch(r"\w+(\.\w+)+", name)):
            names = [*known, ALL]
            hint = did_you_mean(name, names) or f"known are {', '.join(names)} or a dotted path"
            raise ConfigError(f"members: unknown member {name!r}; {hint}")
        label = str(entry.get("label", name.rpartition(".")[2]))
        spec = {str(key): value for key, value in entry.items() if key != "label"}
        if label == BEST or specs.get(label, spec) != spec:
            raise ConfigError(f"members: the label {label!r} is taken; write {{name: {name}, label: another}}")
        specs[label] = spec
    reference = specs.pop(REFERENCE, {"name": REFERENCE} if REFERENCE in known else None)
    return specs if reference is None else {REFERENCE: reference, **specs}


def member_builders(specs: Mapping[str, Mapping[str, Any]], series: PriceSeries) -> dict[str, Build]:
    """Functions that make a fresh forecaster of ``series`` each, by label."""
    from gridpilot.forecasting.registry import build_forecaster

    def builder(spec: Mapping[str, Any]) -> Build:
        return lambda: build_forecaster(spec, series.channels, series.steps_per_day)

    return {label: builder(spec) for label, spec in specs.items()}
