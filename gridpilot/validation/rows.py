"""The registry of known results: what ``gridpilot validate`` and the tests go through.

To add one, write a :class:`~gridpilot.validation.row.Result` beside its like and name it in :data:`RESULTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gridpilot.errors import ConfigError
from gridpilot.suggestions import did_you_mean, expected_one_of
from gridpilot.validation import (
    collusion,
    demand_reduction,
    indivisible,
    learning,
    misreports,
    reserve,
    single_unit,
    storage,
    supply_functions,
    textbook,
)
from gridpilot.validation.row import Result

__all__ = ["RESULTS", "chosen"]

RESULTS: Final[dict[str, Result]] = {
    result.name: result
    for result in (
        textbook.SECOND_PRICE,
        textbook.MULTI_UNIT,
        textbook.CURVES,
        textbook.RESERVE,
        textbook.CONGESTION,
        textbook.COUNTERFLOW,
        single_unit.REVENUE_EQUIVALENCE,
        single_unit.FIRST_PRICE,
        single_unit.ASYMMETRIC,
        reserve.MYERSON,
        reserve.BULOW_KLEMPERER,
        demand_reduction.DEMAND_REDUCTION,
        demand_reduction.SCARCE_SUPPLY,
        supply_functions.DEMAND_FUNCTIONS,
        supply_functions.COURNOT,
        storage.STORAGE,
        misreports.MISREPORTS,
        learning.FIRST_PRICE_LEARNED,
        learning.REGRET_MATCHING,
        indivisible.TWO_APPLES,
        indivisible.LONELY_VICKREY,
        collusion.COLLUSION,
        collusion.COLLUSION_MULTI_UNIT,
    )
}
"""Known results by name, in the order in which they are shown."""


def chosen(names: Sequence[str]) -> list[Result]:
    """The results called ``names``, in the order of the registry; all where none is named.

    Raises :class:`~gridpilot.errors.ConfigError` for a name that is not in it.
    """
    for name in names:
        if name not in RESULTS:
            hint = did_you_mean(name, RESULTS) or expected_one_of(RESULTS)
            raise ConfigError(f"validate: there is no result {name!r}, {hint}")
    return [result for name, result in RESULTS.items() if not names or name in names]
