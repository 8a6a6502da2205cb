"""Configurations the tests of this room share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FLAT = {"weekday": [0.0] * 24, "weekend": [0.0] * 24}
ONES = {"weekday": [1.0] * 24, "weekend": [1.0] * 24}


def deviation(**changes: Any) -> dict[str, Any]:
    """A white, normal deviation of sd 0.1, unless changed."""
    return {"phi_slow": 0.0, "sd": 0.1, "alpha": 0.0, "beta": 0.0, "nu": 1e9, **changes}


def garch(
    energy: dict[str, Any] | None = None, hash_: dict[str, Any] | None = None, token: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A GARCH configuration; each price white and normal unless changed."""
    return {
        "name": "gridpilot.prices.garch.GarchPrices",
        "energy": {"centre": 0.02, "scale": 0.01, "location": FLAT, "spread": ONES, **deviation(**(energy or {}))},
        "hash": {"level": 2.0, **deviation(**(hash_ or {}))},
        "token": {"level": 0.3, **deviation(**(token or {}))},
        **changes,
    }


WILD = garch(
    energy={
        "phi_slow": 0.97,
        "phi_fast": 0.2,
        "transient": 0.3,
        "sd": 0.4,
        "alpha": 0.2,
        "beta": 0.78,
        "nu": 4.0,
        "sd_bounds": [0.2, 5.0],
    },
    hash_={"phi_slow": 0.999, "sd": 0.004, "alpha": 0.02, "beta": 0.97, "nu": 3.0},
    token={"phi_slow": 0.99, "phi_fast": 0.1, "transient": 0.5, "sd": 0.02, "alpha": 0.2, "beta": 0.7, "nu": 5.0},
    correlation={"energy_hash": 0.3, "hash_token": 0.5},
)


def table(days: int = 4, step: int = 15, start: str = "2024-05-31 00:00") -> pd.DataFrame:
    """Energy in $/MWh that counts the rows, 2024-05-31 being a Friday."""
    times = pd.date_range(start, periods=days * 1440 // step, freq=f"{step}min")
    return pd.DataFrame({"time": times.astype(str), "lmp": 20.0 + 0.01 * np.arange(len(times))})


def write_recording(path: Path, days: int) -> Path:
    """A CSV file of ``table(days)``."""
    table(days).to_csv(path, index=False)
    return path
