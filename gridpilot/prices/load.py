"""Finding and building price models, see :mod:`gridpilot.presets`; and the other things that prices can be given as."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gridpilot import presets
from gridpilot.errors import ConfigError, PriceError
from gridpilot.files import write_atomically
from gridpilot.market.units import CHANNELS
from gridpilot.prices.base import PriceModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PRICES", "load_prices", "price_parameters"]

PRICES: Final = presets.Kind("prices", PriceModel, PriceError, "gridpilot.PriceModel")  # type: ignore[type-abstract]

_UNITS: Final = dict(zip(CHANNELS, ("$/kWh", "$/PH/s/h", "$/Mtok"), strict=True))


def load_prices(spec: str | Path | Mapping[str, Any] | pd.DataFrame) -> PriceModel:
    """The price model that ``spec`` stands for, see :func:`price_parameters`.

    Raises :class:`~gridpilot.errors.PriceError` for a model that there is not or a file that cannot be used, and
    :class:`~gridpilot.errors.ConfigError` for a parameter that is unknown, of a wrong type or out of range.
    """
    return presets.build(PRICES, price_parameters(spec))


def price_parameters(spec: str | Path | Mapping[str, Any] | pd.DataFrame) -> dict[str, Any]:
    """Prices as configurations have them: a mapping with a name or dotted path as ``name``, and parameters.

    ``spec`` may be such a mapping; a name of ``conf/prices`` or a dotted path; a YAML file of that form; a CSV or Parquet file of
    recorded energy prices, whose other two prices are those of ``conf/prices/replay.yaml``; or a data frame with times as its index and
    columns ``energy`` $/kWh and, where they change, ``hash`` $ per PH/s h and ``token`` $ per million. A frame, here or as a mapping's
    ``file``, is kept as a file below ``runs``, for whoever plays or continues the run.

    Raises :class:`~gridpilot.errors.ConfigError` and :class:`~gridpilot.errors.PriceError`, as :func:`load_prices`.
    """
    if isinstance(spec, Mapping):
        kept = spec.get("file")
        return dict(spec) if kept is None or isinstance(kept, str | Path) else _replayed_frame(kept, spec)
    if not isinstance(spec, str | Path):
        return _own_columns(spec)
    name = str(spec)
    return (
        presets.load_preset("prices", name)
        if presets.is_file(name, "prices") or name in presets.names("prices")
        else {"name": name}
    )


def _own_columns(frame: Any) -> dict[str, Any]:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"prices is {type(frame).__name__} {frame!r:.60}, expected a name, a path, a mapping or a data frame")
    columns = [name for name in CHANNELS if name in frame]
    if "energy" not in columns or not isinstance(frame.index, pd.DatetimeIndex):
        raise ConfigError(
            f"prices is a data frame of {', '.join(map(str, frame.columns[:8]))} over {type(frame.index).__name__}, "
            "expected times as its index and a column energy in $/kWh; of other columns: "
            "prices={name: replay, file: frame, energy: {column: ..., unit: ...}}"
        )
    return _replayed_frame(frame, {name: {"column": name, "unit": _UNITS[name]} for name in columns})


def _replayed_frame(frame: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a replay of ``frame``, which is written into a file named by its contents."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"prices.file is {type(frame).__name__} {frame!r:.60}, expected a path or a data frame")
    timed = isinstance(frame.index, pd.DatetimeIndex)
    name = str(frame.index.name or "time")
    table = frame.rename_axis(name).reset_index() if timed else frame
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    path = Path("runs") / f"prices-{hashlib.sha256(buffer.getvalue()).hexdigest()[:10]}.parquet"
    write_atomically(path, buffer.getvalue(), PriceError)
    return {**({"time": name} if timed else {}), **parameters, "name": "replay", "file": str(path)}
