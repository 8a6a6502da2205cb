"""``gridpilot simulate-prices``: draw price paths and write them to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gridpilot.errors import ConfigError, PriceError
from gridpilot.files import check_output, replacing
from gridpilot.memory import check_disk
from gridpilot.prices.base import CHANNELS, PriceModel
from gridpilot.prices.load import load_prices
from gridpilot.prices.simulate import paths
from gridpilot.progress import Progress
from gridpilot.stdout import results_only
from gridpilot.sweep import Found

__all__ = ["SimulationConfig", "main", "write_paths"]

_CHUNK = 1024  # episodes simulated and written together


class SimulationConfig(BaseModel):
    """``conf/simulate_prices.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: dict[str, Any]
    episodes: Annotated[int, Field(ge=1)]
    ticks: Annotated[int, Field(ge=1)]
    history: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    out: Path
    json_: Annotated[bool, Field(alias="json")] = False


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.ConfigError` or :class:`~gridpilot.errors.PriceError`."""
    from gridpilot.configuration import run

    return run("simulate_prices", list(argv), _simulate)


def _simulate(config: dict[str, Any]) -> Found:
    try:
        settings = SimulationConfig.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"simulate-prices: {key} is {first['input']!r}: {first['msg']}") from None
    with results_only() as out:
        model = load_prices(settings.prices)
        rows = write_paths(model, settings.seed, settings.episodes, settings.ticks, settings.history, settings.out)
        if settings.json_:
            done = {"out": str(settings.out), "rows": rows, "episodes": settings.episodes, "ticks": settings.ticks}
            print(json.dumps(done), file=out)
        else:
            print(f"wrote {rows} rows, {settings.episodes} episodes of {settings.ticks} ticks, to {settings.out}", file=out)
    return Found({"rows": f"{rows:,}", "file": str(settings.out)})


def write_paths(model: PriceModel, seed: int, episodes: int, ticks: int, history: int, out: Path) -> int:
    """Simulate ``episodes`` paths and write them to a ``.parquet`` or ``.csv`` file; returns the number of rows.

    Columns as of :func:`gridpilot.prices.simulate.paths`. The file appears whole or not at all. Raises
    :class:`~gridpilot.errors.PriceError` for a suffix or path that cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if out.suffix not in (".parquet", ".csv"):
        raise PriceError(f"out is {str(out)!r}, expected a name that ends in .parquet or .csv")
    check_output(out, PriceError)
    rows = episodes * (history + ticks)
    check_disk(rows * (25 if out.suffix == ".csv" else 8), out, f"episodes={episodes:,} of {history + ticks:,} ticks", PriceError)
    schema = pa.schema(
        [
            ("episode", pa.int64()),
            ("tick", pa.int32()),
            ("weekday", pa.int8()),
            ("hour", pa.float64()),
            *((name, pa.float64()) for name in CHANNELS),
        ]
    )
    writer = pyarrow.parquet.ParquetWriter if out.suffix == ".parquet" else pyarrow.csv.CSVWriter
    rows = 0
    with (
        Progress("simulate-prices").of(episodes, what="episodes") as advance,
        replacing(out, PriceError) as temporary,
        writer(temporary, schema) as sink,
    ):
        for first in range(0, episodes, _CHUNK):
            numbers = np.arange(first, min(first + _CHUNK, episodes))
            table = pa.Table.from_arrays(
                [pa.array(column) for column in paths(model, seed, numbers, ticks, history).values()], schema=schema
            )
            sink.write_table(table)
            rows += table.num_rows
            advance(len(numbers))
    return rows
