"""The interface of a storage rule: one half of a bidder, the other being its bidding rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot import presets
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site

__all__ = ["STORAGE", "StorageRule", "Worth", "build_storage_rule"]


class Worth(NamedTuple):
    """What carrying something over to the next tick is worth to a site."""

    storage_value: float | None = None  # $/kWh stored; None leaves the battery alone
    commitment_value: npt.NDArray[np.float64] | None = None  # (C,) $/kWh of each machine class; None takes the defaults


class StorageRule(ABC):
    """Values storage and running machines, for one seat or for many at once.

    ``reads`` and ``writes`` are, as for an agent on arrays, the fields of the view that it needs and the orders that it changes every
    tick; ``on_arrays`` says whether this instance values many seats at once, ``clairvoyant`` whether it has to be shown the future.
    """

    clairvoyant: ClassVar[bool] = False
    reads: Sequence[str] = ()
    writes: Sequence[str] = ("storage_value",)
    on_arrays: bool = True

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:  # noqa: B027 - there may be nothing to reset
        """Begin an episode at ``site``."""

    @abstractmethod
    def worth(self, observation: Observation) -> Worth:
        """What storage and running machines are worth in the coming tick."""

    def learn(self, outcome: Outcome) -> None:  # noqa: B027 - learning is optional
        """Take note of the tick just played."""

    def rationale(self, row: int) -> Mapping[str, Any]:
        """Its part of :meth:`~gridpilot.agents.base.Agent.rationale` for the seat in a row of the last view, or for its one seat, 0."""
        return {}

    def reset_batch(self, view: View) -> None:  # noqa: B027 - there may be nothing to reset
        """Begin an episode in all seats of ``view``."""

    def value_batch(self, view: View) -> None:
        """Write ``view.orders.storage_value`` and ``commitment`` of all seats for the coming tick."""
        raise NotImplementedError(f"{type(self).__name__} values seat by seat")


STORAGE: Final = presets.Kind("storage", StorageRule, AgentError, "gridpilot.agents.storage.StorageRule")  # type: ignore[type-abstract]


def build_storage_rule(rule: str | Mapping[str, Any]) -> StorageRule:
    """The storage rule of a name of ``conf/storage`` or dotted path, or of a mapping of its parameters with ``name``.

    Raises :class:`~gridpilot.errors.AgentError` where there is none, or it does not take the parameters.
    """
    return presets.build(STORAGE, rule)
