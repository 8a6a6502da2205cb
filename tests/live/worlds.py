"""Rows, facilities and configurations that the tests of live operation share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import yaml

from gridpilot.live.api import INVENTORIES, TICK, PriceRow, build_site
from gridpilot.live.config import LiveConfig, RiskLimits
from gridpilot.live.facility import Facility
from tests.test_structure import ROOT

START = datetime(2025, 6, 21, 12, tzinfo=UTC)
BASE: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "live" / "base.yaml").read_text(encoding="utf-8"))


def config(**changes: Any) -> LiveConfig:
    """``conf/live/base.yaml`` with changes; ``risk`` takes a mapping of changes to the risk limits."""
    risk = {**BASE["risk"], **changes.pop("risk", {})}
    return LiveConfig.model_validate({**BASE, "venue": "mara", "speed": 1.0, "risk": risk, **changes})


def risk(**changes: Any) -> RiskLimits:
    """The risk limits of ``conf/live/base.yaml`` with changes."""
    return RiskLimits.model_validate({**BASE["risk"], **changes})


def facility(inventory: str = "documented", *powers: int, cap_w: int | None = None) -> Facility:
    """Sites of an inventory; one of 1 MW by default."""
    watts = powers or (1_000_000,)
    sites = tuple(build_site(f"site {i}", INVENTORIES[inventory], power) for i, power in enumerate(watts))  # type: ignore[index]
    return Facility(sites, sum(watts) if cap_w is None else cap_w)


def walk(n: int, seed: int = 0) -> list[PriceRow]:
    """A bounded walk like the event's, written out here so that tests do not rest on the code they test."""
    rng = np.random.default_rng(seed)
    step, low, high = np.array([0.1, 0.25, 0.25]), np.array([0.5, 1.0, 0.5]), np.array([5.0, 5.0, 5.0])
    price, rows = np.array([3.0, 4.0, 2.0]), []
    for i in range(n):
        rows.append(PriceRow(START + i * TICK, *(float(p) for p in price)))
        price = np.clip(price * (1.0 + rng.uniform(-step, step)), low, high)
    return rows


def entry(row: PriceRow, **changes: Any) -> dict[str, Any]:
    """A row as ``GET /prices`` gives it."""
    body = {
        "timestamp": row.at.replace(tzinfo=None).isoformat(), "energy_price": row.energy, "hash_price": row.hash, "token_price": row.token,
    }  # fmt: skip
    return {**body, **changes}
