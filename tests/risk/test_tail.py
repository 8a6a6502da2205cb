"""Weights of the tail against the measure they belong to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gridpilot.errors import RiskError
from gridpilot.risk import scenario_cvar, tail_weights

PROFITS = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e3, 1e3))


@given(PROFITS, st.floats(0.01, 1.0))
def test_they_give_the_conditional_value_at_risk(profits: np.ndarray, tail: float) -> None:
    weights = tail_weights(profits, tail)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0.0).all()
    alpha = 1.0 - tail
    assert -(weights @ profits) == pytest.approx(scenario_cvar(profits, alpha), abs=1e-6)


def test_every_row_has_its_own_tail() -> None:
    weights = tail_weights([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]], 0.5)
    assert weights.tolist() == [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]


@pytest.mark.parametrize(("profits", "tail"), [([], 0.5), ([np.nan], 0.5), (3.0, 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_what_has_no_tail_is_refused(profits: object, tail: float) -> None:
    with pytest.raises(RiskError):
        tail_weights(profits, tail)  # type: ignore[arg-type]
