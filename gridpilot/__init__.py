"""GridPilot: mining and AI-inference sites compete for power every five minutes.

The most used names are reachable from here and are imported when they are first used, so that ``import gridpilot`` stays light:

>>> import gridpilot
>>> gridpilot.Bid([(300.0, 0.12)]).storage_value is None
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gridpilot.errors import GridPilotError
    from gridpilot.market.bids import Bid
    from gridpilot.market.site import Battery, Cooling, MachineClass, Site

__all__ = ["Battery", "Bid", "Cooling", "GridPilotError", "MachineClass", "Site", "__version__"]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "Battery": "gridpilot.market.site",
    "Bid": "gridpilot.market.bids",
    "Cooling": "gridpilot.market.site",
    "GridPilotError": "gridpilot.errors",
    "MachineClass": "gridpilot.market.site",
    "Site": "gridpilot.market.site",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gridpilot' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
