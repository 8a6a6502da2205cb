"""Whom a strategic agent is to be compared with: the agent in the same tournament that has its storage rule, and bids the truth.

What an agent earns more than ``truthful`` is what its storage earns and what its bids earn. The difference to this one is the bids' alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from gridpilot.agents.bidder import Bidder
from gridpilot.agents.bidding.curve import TrueCurve
from gridpilot.agents.registry import build_agent, is_own
from gridpilot.tournament.config import AgentSpecs
from gridpilot.tournament.schedule import BASELINES, REFERENCE

__all__ = ["storage_bases"]


def storage_bases(agents: AgentSpecs) -> dict[str, str]:
    """The label of its base for every agent that has one here.

    Found by what the agents are made of, never by a label: both are the library's own bidders in two halves, with equal storage rules, and
    the base's bidding rule is the truth. Of several the first; a baseline has none.
    """
    bidders: dict[str, Bidder] = {}
    for label, agent in agents.items():
        if is_own(agent["target"], agent["params"]) and isinstance(built := build_agent(agent["target"], agent["params"]), Bidder):
            bidders[label] = built
    truthful = {label: one for label, one in bidders.items() if type(one.bidding) is TrueCurve and not type(one).clairvoyant}
    found = {}
    for label, one in bidders.items():
        frozen = label in BASELINES and label != REFERENCE
        if type(one.bidding) is not TrueCurve and not frozen:
            base = next((name for name, other in truthful.items() if _alike(one.storage, other.storage)), None)
            if base is not None:
                found[label] = base
    return found


def _alike(a: Any, b: Any) -> bool:
    """Whether two rules, or parts of them, are of one class and have equal parameters."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if hasattr(a, "__dict__") and not isinstance(a, type | FunctionType):
        return _alike(vars(a), vars(b))
    return bool(a == b)
