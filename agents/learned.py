"""A policy that was learned, asked for all its seats at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.agents.base import BatchAgent
from gridpilot.agents.bidding.base import build_bidding_rule
from gridpilot.agents.encoding import READS, decode, encode, encode_observation
from gridpilot.agents.storage.base import Worth
from gridpilot.agents.view import View
from gridpilot.errors import AgentError
from gridpilot.market.action import decode_rows
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation
from gridpilot.market.site import Site, pack_sites
from gridpilot.policies.folder import load_policy

__all__ = ["Learned"]

Array32 = npt.NDArray[np.float32]


class Learned(BatchAgent):
    """Plays a policy from a folder of plain data, as ``gridpilot train`` writes it; neither torch nor anything else is needed.

    A seat's observation vector goes through the network, and what comes out is decoded to an order (:mod:`gridpilot.market.action`), or,
    where the policy was trained with a bidding rule, to the values of which that rule makes bids.

    ``policy``  the folder, or ``library:NAME``, a policy that comes with the library
    ``hold``    ticks that an action is held for; ``None``: as many as in training
    """

    reads: Sequence[str] = READS
    writes: Sequence[str] = ("storage_value", "commitment")

    def __init__(self, policy: str = "library:vcg", hold: int | None = None) -> None:
        if hold is not None and (isinstance(hold, bool) or not isinstance(hold, int) or hold < 1):
            raise AgentError(f"learned: hold is {hold!r}, expected a whole number of at least 1, or None")
        self.policy = load_policy(policy)
        self.hold = self.policy.layout.hold if hold is None else hold
        if self.policy.layout.shading:
            self.writes = ("storage_value", "commitment", "shade")
        self.rule = None if self.policy.layout.bidding is None else build_bidding_rule(self.policy.layout.bidding)
        if self.rule is not None:
            self.reads = (*READS, *(name for name in self.rule.reads if name not in READS))
            self.writes = ("storage_value", "commitment", *self.rule.writes)
            self.stated_blocks = self.rule.stated_blocks
        self._decided: int | None = None  # tick of the actions in force
        self._actions: Array32

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        """Forget the last episode."""
        self._arrays = pack_sites([site], market.n_classes)
        self._decided = None
        if self.rule is not None:
            self.rule.reset(site, market, seed)

    def bid(self, observation: Observation) -> Bid:
        """The site's curve at the storage and commitment values of the action, shaded by its factors."""
        if self._is_due(observation.tick):
            self._actions = self.policy.act(encode_observation(observation, self.policy.layout.classes)[None])
        arrays, zero = self._arrays, np.zeros(1, dtype=np.int64)
        kind, value = np.zeros(1, dtype=np.int8), np.empty(1)
        commitment, shade = np.empty((1, arrays.n_classes)), np.zeros((1, arrays.n_blocks))
        decode_rows(
            self._actions.astype(np.float64), zero, zero, zero, arrays.plant, arrays.output, arrays.product, observation.prices[None],
            observation.levels[None], kind, value, commitment, shade,
        )  # fmt: skip
        worth = Worth(None if np.isnan(value[0]) else float(value[0]), commitment[0, : len(observation.site.fleet)])
        if self.rule is not None:
            return self.rule.bid(observation, worth)
        return observation.truthful_bid(*worth, shade[0] if self.policy.layout.shading else None)

    def rationale(self) -> Mapping[str, Any]:
        """What the bidding rule says, where there is one."""
        return self.rationale_at(0)

    def rationale_at(self, row: int) -> Mapping[str, Any]:
        """What the bidding rule says of a seat, where there is one."""
        return {} if self.rule is None else self.rule.rationale(row)

    def reset_batch(self, view: View) -> None:
        """Forget the last episode."""
        self._decided = None
        if self.rule is None:
            decode(np.zeros((len(view.plant), self.policy.layout.sizes[-1])), view)  # for the kind of order, which then stays
        else:
            self.rule.reset_batch(view)

    def bid_batch(self, view: View) -> None:
        """Encode, ask, decode, in all seats."""
        if self._is_due(view.tick):
            self._actions = self.policy.act(encode(view, self.policy.layout.classes))
        decode(self._actions, view, bidding=self.rule)

    def _is_due(self, tick: int) -> bool:
        due = self._decided is None or tick - self._decided >= self.hold or tick < self._decided
        if due:
            self._decided = tick
        return due
