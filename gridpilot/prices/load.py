"""Finding and building price models, see :mod:`gridpilot.presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gridpilot import presets
from gridpilot.errors import PriceError
from gridpilot.prices.base import PriceModel

__all__ = ["PRICES", "load_prices"]

PRICES: Final = presets.Kind("prices", PriceModel, PriceError, "gridpilot.PriceModel")  # type: ignore[type-abstract]


def load_prices(spec: str | Mapping[str, Any]) -> PriceModel:
    """The price model that ``spec`` names: a name of ``conf/prices``, a dotted path, or a mapping with either as ``name`` and parameters.

    Raises :class:`~gridpilot.errors.PriceError` for a model that there is not or a file that cannot be used, and
    :class:`~gridpilot.errors.ConfigError` for a parameter that is unknown, of a wrong type or out of range.
    """
    return presets.build(PRICES, spec)
