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
    learned,
    learning,
    misreports,
    reserve,
    single_unit,
    storage,
    supply_functions,
    textbook,
)
from gridpilot.validation.row import Result

__all__ = ["RESULTS", "WITH_TORCH", "chosen"]

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


WITH_TORCH: Final[dict[str, Result]] = {result.name: result for result in learned.LEARNED}
"""Those that need the extra ``[rl]``; they follow the others."""


def chosen(names: Sequence[str], *, with_torch: bool = True) -> list[Result]:
    """The results called ``names``, in the order of the registry; all where none is named, ``WITH_TORCH`` among them if so wanted.

    Raises :class:`~gridpilot.errors.ConfigError` for a name that is not in it.
    """
    known = RESULTS | WITH_TORCH
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or expected_one_of(known)
            raise ConfigError(f"validate: there is no result {name!r}, {hint}")
    if not names:
        return list((known if with_torch else RESULTS).values())
    return [result for name, result in known.items() if name in names]
