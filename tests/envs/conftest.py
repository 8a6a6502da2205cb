"""The market most tests play: the default one, shortened."""

from __future__ import annotations

import pytest

from gridpilot.setup import MarketSetup, load_setup


@pytest.fixture(scope="session")
def setup() -> MarketSetup:
    return load_setup(ticks=24, history=40)


@pytest.fixture(scope="session")
def whole_day() -> MarketSetup:
    return load_setup()
