"""No storage at all."""

from __future__ import annotations

from gridpilot.agents.storage.base import StorageRule, Worth
from gridpilot.agents.view import View
from gridpilot.market.observation import Observation

__all__ = ["Idle"]


class Idle(StorageRule):
    """Leaves the battery alone, with default commitment values: what an order says where nobody says otherwise."""

    writes = ()

    def worth(self, observation: Observation) -> Worth:
        """Nothing is said of either."""
        return Worth()

    def value_batch(self, view: View) -> None:
        """Nothing to do: the orders stand."""
