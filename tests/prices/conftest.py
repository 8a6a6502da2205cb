"""Shorter simulations for the calibrations under test: the same code, with a little more noise in the tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gridpilot.prices import calibrate


@pytest.fixture(autouse=True, scope="package")
def _short_simulations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "_LONGEST_RUN", 2_500_000)
        patch.setattr(calibrate, "_SHORT_RUN", 1_000_000)
        patch.setattr(calibrate, "_MAP_PATHS", 128)
        yield
