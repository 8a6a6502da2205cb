"""From recorded prices to a price model and its file: what ``gridpilot calibrate`` does, and Python."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import yaml

from gridpilot.errors import CalibrationError, PriceError
from gridpilot.files import write_atomically
from gridpilot.presets import find, load_preset, names
from gridpilot.prices.calibrate import Calibration, Sampling, Target, calibrate
from gridpilot.prices.calibrate_file import rounded, yaml_text
from gridpilot.prices.calibrate_picture import draw
from gridpilot.prices.calibrate_series import RecordedSeries, read_series
from gridpilot.prices.garch import Dynamics, GarchPrices
from gridpilot.prices.load import PRICES
from gridpilot.series.options import FLAGS, Dates, Decimal, Label, ReadOptions, options_of
from gridpilot.series.units import UNITS, check_magnitude

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RAW", "CalibratedPrices", "Settings", "calibrate_prices", "fit_prices"]

RAW: Final = "raw"  # a unit that is not checked
_DEFAULT_UNIT: Final = {"energy": "$/MWh", "hash": "$/PH/s/day", "token": RAW}


@dataclass(frozen=True)
class Settings:
    """How a series is fitted, see :func:`calibrate_prices`."""

    target: Target = "energy"
    unit: str | None = None
    factor: float = 1.0
    level: float | None = None
    half_life: float = 30.0
    sampling: Sampling | None = None
    dynamics: Dynamics = "garch_t"
    others: str = "ercot"
    step: float | None = None


@dataclass(frozen=True)
class _Reading:
    time: list[str] | str | None
    label: Label | None
    dates: Dates | None
    zone: str | None
    pick: list[str] | str | None
    decimal: Decimal | None


def calibrate_prices(
    data: str | Path | pd.DataFrame,
    column: str,
    *,
    target: Target = "energy",
    unit: str | None = None,
    factor: float = 1.0,
    level: float | None = None,
    half_life: float = 30.0,
    sampling: Literal["point", "average"] | None = None,
    dynamics: Dynamics = "garch_t",
    others: str = "ercot",
    step: float | None = None,
    time: str | list[str] | None = None,
    label: Label | None = None,
    dates: Dates | None = None,
    zone: str | None = None,
    pick: str | list[str] | None = None,
    decimal: Decimal | None = None,
) -> CalibratedPrices:
    """Fit a price model to a recorded series, simulate it and compare the two: what ``gridpilot calibrate`` does.

    ``data``       a CSV or Parquet file, or a data frame; its ``column`` of prices.
    ``target``     ``energy``, which reverts to a daily profile, or a product: ``hash`` or ``token``.
    ``unit``       of the column: ``$/MWh``, ``$/kWh``, ``$/PH/s/day``, ..., or ``raw``, which is not checked.
    ``factor``     multiplies the column, for another currency.
    ``level``      of a product, in the market's unit; ``half_life`` days of its return to it.
    ``sampling``   a row is the price at its time (``point``) or the ``average`` since the row above; by default what returns look like.
    ``dynamics``   of the variance.
    ``others``     preset of the other two prices.
    ``step``       minutes between rows, for data without times; ``time`` to ``decimal`` as :class:`gridpilot.series.ReadOptions` has them.

    Raises :class:`~gridpilot.errors.PriceError` for data that cannot be read and :class:`~gridpilot.errors.CalibrationError` for what
    cannot be fitted; a poor fit is returned, with ``good`` false.

    >>> import numpy as np, pandas as pd
    >>> times = pd.date_range("2024-01-01", periods=28 * 24, freq="h")
    >>> noise = np.random.default_rng(0).standard_t(5, len(times)).cumsum() * 0.5
    >>> price = 40 + 10 * np.sin(2 * np.pi * times.hour / 24) + noise - pd.Series(noise).rolling(24, min_periods=1).mean()
    >>> fit = calibrate_prices(pd.DataFrame({"lmp": price.to_numpy()}, index=times), "lmp")
    >>> fit.target, fit.prices["name"]
    ('energy', 'gridpilot.prices.garch.GarchPrices')
    """
    given = _Reading(time, label, dates, zone, pick, decimal)
    settings = Settings(target, unit, factor, level, half_life, sampling, dynamics, others, step)
    return fit_prices(Path(data) if isinstance(data, str) else data, column, options_of(given), settings)


def fit_prices(
    data: Path | pd.DataFrame,
    column: str,
    options: ReadOptions,
    settings: Settings,
    *,
    command: str = "gridpilot.calibrate_prices(...)",
) -> CalibratedPrices:
    """:func:`calibrate_prices` with its options together; ``command`` is written into the file."""
    target = settings.target
    unit = settings.unit or _DEFAULT_UNIT.get(target, "")
    _check(settings, unit, options)
    others = load_preset("prices", settings.others)
    series = read_series(data, column, options=options, step_minutes=settings.step)
    factor = settings.factor
    if unit != RAW:
        check_magnitude(series.values * factor, unit, series.source)
        factor *= UNITS[unit][1]
    fitted = calibrate(
        series,
        target,
        settings.dynamics,
        others,
        factor=factor,
        level=settings.level,
        half_life_days=settings.half_life,
        sampling=settings.sampling,
    )
    return CalibratedPrices(fitted, series, settings, unit, command)


def _check(settings: Settings, unit: str, options: ReadOptions) -> None:
    def name(key: str) -> str:
        return f"--{key.replace('_', '-')}" if options.prefix == FLAGS else key

    if settings.target not in get_args(Target):
        raise CalibrationError(f"{name('target')} is {settings.target!r}, expected one of {', '.join(get_args(Target))}")
    if settings.dynamics not in get_args(Dynamics):
        raise CalibrationError(f"{name('dynamics')} is {settings.dynamics!r}, expected one of {', '.join(get_args(Dynamics))}")
    if settings.others not in names("prices") or find(PRICES, settings.others) is not GarchPrices:
        raise CalibrationError(
            f"{name('others')} is {settings.others}, expected a file of conf/prices that names {GarchPrices.__name__}"
        )
    for key in ("factor", "level", "half_life", "step"):
        value = getattr(settings, key)
        if value is not None and not 0.0 < value < float("inf"):
            raise CalibrationError(f"{name(key)} is {value}, expected a number above 0")
    if unit != RAW and (unit not in UNITS or UNITS[unit][0] != settings.target):
        fitting = ", ".join([*(one for one, (of, _) in UNITS.items() if of == settings.target), RAW])
        raise CalibrationError(f"{name('unit')} is {unit}, expected one of {fitting} for the {settings.target} price")
    if settings.target == "energy" and settings.level is not None:
        raise CalibrationError(
            f"{name('level')} is for products; an energy price has the level of its data ({name('factor')} scales it)"
        )


@dataclass(frozen=True)
class CalibratedPrices:
    """A price model that was fitted to a series.

    ``fitted``  parameters, comparisons and simulated paths, a :class:`~gridpilot.prices.calibrate.Calibration`
    ``series``  what it was fitted to
    ``unit``    of the series
    """

    fitted: Calibration
    series: RecordedSeries
    settings: Settings
    unit: str
    command: str

    @property
    def target(self) -> Target:
        """Which price was fitted."""
        return self.fitted.target

    @property
    def good(self) -> bool:
        """Whether simulated and real agree in every statistic."""
        return self.fitted.good

    @property
    def comparison(self) -> pd.DataFrame:
        """A row a statistic: real, simulated, the range of simulated paths, the tolerance, and whether they agree."""
        import pandas as pd

        return pd.DataFrame(self.fitted.comparison.rows)

    @property
    def notes(self) -> list[str]:
        """What was repaired in the series, and what the fit had to settle for."""
        return [*self.series.notes, *self.fitted.fit.notes]

    @property
    def prices(self) -> dict[str, Any]:
        """The price model, to be given as ``prices=`` to :func:`gridpilot.load_setup` and the like."""
        loaded: dict[str, Any] = yaml.safe_load(self._text())
        return loaded

    def save(self, path: str | Path) -> Path:
        """Write the model as a file of the form of ``conf/prices``, and a picture of the comparison beside it, whose path is returned.

        Raises :class:`~gridpilot.errors.PriceError` where they cannot be written.
        """
        path = Path(path)
        picture = path.with_suffix(".png")
        write_atomically(path, self._text().encode(), PriceError)
        drawn = io.BytesIO()
        draw(self.fitted, self.series, self.unit if self.unit != RAW else "unit of the file", drawn)
        write_atomically(picture, drawn.getvalue(), PriceError)
        return picture

    def _text(self) -> str:
        about = {
            "source": self.series.source,
            "period": self.series.period,
            "rows": len(self.series.values),
            "step_minutes": self.series.step * 5,
            "unit": self.unit,
            "factor": self.settings.factor,
            "command": self.command,
            "others": self.settings.others,
            "sampling": self.fitted.sampling,
            "good": self.good,
            "repaired": list(self.series.notes),
            "persistence_estimated": rounded(self.fitted.fit.persistence, 5),
        }
        return yaml_text(self.fitted, load_preset("prices", self.settings.others), about)

    def __repr__(self) -> str:
        verdict = "good" if self.good else f"NOT GOOD: {', '.join(self.fitted.comparison.disagreeing)}"
        return f"<CalibratedPrices of {self.series.source}: {verdict}>"
