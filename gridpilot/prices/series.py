"""Reading price series from CSV and Parquet files: columns, times, units, and the errors of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PriceError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNITS", "check_magnitude", "column_of", "read_file", "times_of"]

FloatArray = npt.NDArray[np.float64]
TimeArray = npt.NDArray[np.datetime64]

# unit: (channel, factor to the unit the market uses)
UNITS: Final[dict[str, tuple[str, float]]] = {
    "$/kWh": ("energy", 1.0),
    "$/MWh": ("energy", 1e-3),
    "$/PH/s/h": ("hash", 1.0),
    "$/PH/s/day": ("hash", 1.0 / 24.0),
    "$/Mtok": ("token", 1.0),
}
# Where nine tenths of a price's magnitudes lie below, at the least and at the most: wide enough for every market, narrow enough to
# tell a unit from the next.
_PLAUSIBLE: Final = {"energy": (0.004, 2.0), "hash": (0.2, 30.0), "token": (1e-4, 1e3)}


def read_file(path: Path) -> pd.DataFrame:
    """The table in a ``.csv`` or ``.parquet`` file. Raises :class:`~gridpilot.errors.PriceError`, naming the file."""
    import pandas as pd  # here and below: it takes half a second, which a simulation need not wait for

    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise PriceError(f"{path}: expected a .csv or .parquet file, got {suffix or 'no suffix'!r}")
    try:
        table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    except FileNotFoundError:
        raise PriceError(f"{path}: no such file") from None
    except (OSError, ValueError, UnicodeError, pd.errors.ParserError) as error:  # pyarrow's errors are OSErrors and ValueErrors
        reason = str(error).splitlines() or [type(error).__name__]
        raise PriceError(f"{path}: cannot be read as {suffix[1:]}: {reason[0]}") from None
    if table.empty:
        raise PriceError(f"{path}: has no rows")
    return table


def column_of(table: pd.DataFrame, column: str, where: str) -> FloatArray:
    """A numeric column, which may hold NaN. Raises :class:`~gridpilot.errors.PriceError` for a missing or a text column."""
    import pandas as pd

    if column not in table.columns:
        raise PriceError(f"{where}: no column {column!r}; the columns are {_listed(table.columns)}")
    values = table[column]
    if values.dtype == bool:
        raise PriceError(f"{where}: column {column!r} holds truth values, expected numbers")
    numbers = pd.to_numeric(values, errors="coerce")
    broken = np.flatnonzero(numbers.isna().to_numpy() & values.notna().to_numpy())
    if len(broken):
        raise PriceError(f"{where}: column {column!r} has {values.iloc[broken[0]]!r} in row {broken[0] + 1}, expected a number")
    result = numbers.to_numpy(dtype=np.float64)
    infinite = np.flatnonzero(np.isinf(result))
    if len(infinite):
        raise PriceError(f"{where}: column {column!r} has {result[infinite[0]]} in row {infinite[0] + 1}, expected a finite number")
    return np.array(result)


def times_of(table: pd.DataFrame, column: str, where: str) -> TimeArray:
    """A time column as ``datetime64[s]`` on its own clock. Raises :class:`~gridpilot.errors.PriceError`."""
    import pandas as pd

    if column not in table.columns:
        raise PriceError(f"{where}: no time column {column!r}; the columns are {_listed(table.columns)}")
    values = table[column]
    if pd.api.types.is_numeric_dtype(values):
        raise PriceError(f"{where}: time column {column!r} holds numbers like {values.iloc[0]}, expected ISO 8601 times")
    try:
        times = pd.to_datetime(
            values, errors="raise", format="ISO8601" if not pd.api.types.is_datetime64_any_dtype(values) else None
        )
    except (ValueError, TypeError):
        times = _times_one_by_one(values, column, where)
    if times.isna().any():
        row = int(np.flatnonzero(times.isna().to_numpy())[0]) + 1
        raise PriceError(f"{where}: time column {column!r} is empty in row {row}")
    if getattr(times.dt, "tz", None) is not None:
        times = times.dt.tz_localize(None)  # the local clock, which profiles by hour of the day belong to
    return np.asarray(times.to_numpy(), dtype="datetime64[s]")


def _times_one_by_one(values: Any, column: str, where: str) -> Any:
    """Times whose UTC offset changes along the file (summer time), or an error that names the row."""
    import pandas as pd

    clock = []
    for row, value in enumerate(values, start=1):
        try:
            clock.append(pd.Timestamp(value).replace(tzinfo=None))
        except (ValueError, TypeError):
            raise PriceError(f"{where}: time column {column!r} has {value!r} in row {row}, expected an ISO 8601 time") from None
    return pd.Series(clock)


def check_magnitude(values: FloatArray, unit: str, where: str) -> None:
    """Refuse a series whose size does not fit ``unit`` (a key of ``UNITS``). ``values`` are in that unit."""
    channel, factor = UNITS[unit]
    size = float(np.nanquantile(np.abs(values), 0.9))
    low, high = _PLAUSIBLE[channel]
    if not low <= size * factor <= high:
        others = ", ".join(other for other, (of, f) in UNITS.items() if of == channel and other != unit and low <= size * f <= high)
        hint = f"; do you mean {others}?" if others else ""
        raise PriceError(
            f"{where}: a tenth of the prices are above {size:.6g} {unit} in size, expected {low / factor:g} to {high / factor:g}{hint}"
        )


def _listed(names: Iterable[Any]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
