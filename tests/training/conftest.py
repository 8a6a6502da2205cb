"""What tests of training share: the smallest market that has all there is."""

from __future__ import annotations

from typing import Any

import pytest

from gridpilot.presets import described
from gridpilot.setup import MarketSetup, load_setup


@pytest.fixture(scope="session")
def market() -> dict[str, Any]:
    """The default market with two sites."""
    sites = [{"name": "hydro", "fleet": {"hydro": 118}}, {"name": "gpu", "fleet": {"gpu": 62}}]
    return described("market", "default") | {"sites": sites}


@pytest.fixture(scope="session")
def tiny(market: dict[str, Any]) -> MarketSetup:
    """It for two hours."""
    return load_setup(market, ticks=24, history=24)
