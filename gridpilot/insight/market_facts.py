"""Facts of a market that somebody has written down: what its auction decides under each mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridpilot.market.auction import MECHANISMS
from gridpilot.market.clear_command import clear_document

__all__ = ["clear_market"]

Facts = dict[str, Any]

_UNITS = {
    "welfare": "welfare_dollars_per_hour",
    "supply_cost": "supply_cost_dollars_per_hour",
    "volume": "sold_kw",
    "price_lo": "highest_losing_price_dollars_per_kwh",
    "price_hi": "lowest_winning_price_dollars_per_kwh",
}
_SITE_UNITS = {
    "allocation": "won_kw",
    "payment": "paid_dollars_per_hour",
    "value": "value_dollars_per_hour",
    "surplus": "surplus_dollars_per_hour",
}


def clear_market(document: Mapping[str, Any]) -> Facts:
    """A market in the form of ``gridpilot clear``, cleared under each mechanism; networks under those that they have.

    Raises :class:`~gridpilot.errors.MarketError` for what is no market.
    """
    results = {}
    for mechanism in MECHANISMS:
        result = clear_document(document, mechanism)  # type: ignore[arg-type]
        sites = [
            {"seat_number": i} | {unit: result[name][i] for name, unit in _SITE_UNITS.items()}
            for i in range(len(result["allocation"]))
        ]
        results[mechanism] = {unit: result[name] for name, unit in _UNITS.items()} | {"seats": sites}
    return results
