"""The threshold bidder: truthful, with a storage rule on running price quantiles. The honest hand-made baseline."""

from __future__ import annotations

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.storage.quantiles import Quantiles

__all__ = ["Threshold"]


class Threshold(Bidder):
    """Bids its value curve with a stored kWh worth something between a high and a low quantile of recent prices.

    ``low`` is the quantile that the last kWh which fits into the battery is worth, ``high`` that of the first, and ``gain`` the step
    of the tracking in mean price deviations: :class:`~gridpilot.agents.storage.quantiles.Quantiles`.
    """

    def __init__(self, low: float = 0.8, high: float = 0.95, gain: float = 0.05) -> None:
        super().__init__(storage=Quantiles(low, high, gain))
