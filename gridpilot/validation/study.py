"""What known results are found with: the auctioneer, how many draws, and the random numbers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.market.auction import MECHANISMS
from gridpilot.market.clearing import Clearing, Mechanism, clear, clear_batch
from gridpilot.market.network import NetworkClearing, clear_network, network_market

__all__ = ["Auctioneer", "Study", "ascending", "one_unit", "uniform_values"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Auctioneer:
    """The project's auctioneer, as it is called; a test puts a wrong one in its place, to see that it shows."""

    clear: Callable[..., Clearing] = clear
    clear_batch: Callable[..., Clearing] = clear_batch
    clear_network: Callable[..., NetworkClearing] = clear_network
    numbers: Mapping[str, int] = field(default_factory=lambda: MECHANISMS)  # of the mechanisms, for kernels that clear


@dataclass(frozen=True)
class Study:
    """An auctioneer, the share ``scale`` of the full number of draws, and the seed of all of them."""

    auctioneer: Auctioneer = field(default_factory=Auctioneer)
    scale: float = 1.0
    seed: int = 1

    def draws(self, full: int, *, least: int = 50) -> int:
        """How many draws to take where a full study takes ``full``."""
        return max(least, round(full * self.scale))

    def rng(self, name: str) -> np.random.Generator:
        """The random numbers called ``name``: the same ones for one seed, whatever else is drawn."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(name.encode()),)))

    def clear(self, bids: Any, supply: Any, mechanism: Mechanism, **more: Any) -> Clearing:
        """Clear one market, as :func:`gridpilot.market.clearing.clear` does."""
        return self.auctioneer.clear(bids, supply, mechanism=mechanism, **more)

    def clear_batch(self, bids: Any, supply: Any, mechanism: Mechanism, **more: Any) -> Clearing:
        """Clear many markets, as :func:`gridpilot.market.clearing.clear_batch` does."""
        return self.auctioneer.clear_batch(bids, supply, mechanism=mechanism, **more)

    def clear_network(self, mechanism: Mechanism = "vcg", **document: Any) -> NetworkClearing:
        """Clear the market with a network or indivisible blocks that the keys describe, without a limit of its capacity."""
        market = network_market({"capacity": float(sum(kw for kw, _ in document["supply"])), **document})
        return self.auctioneer.clear_network(market, mechanism)


def one_unit(bids: FloatArray) -> FloatArray:
    """Blocks ``(B, N, 1, 2)`` of markets in which everybody bids for the one unit there is; ``bids (B, N)`` $/kWh."""
    return np.stack([np.ones_like(bids), bids], axis=-1)[:, :, None, :]


def uniform_values(study: Study, name: str, full: int, n: int) -> FloatArray:
    """Values ``(B, n)``, independent and uniform on [0, 1], of as many markets as the study draws."""
    return study.rng(name).random((study.draws(full), n))


def ascending(blocks: FloatArray) -> FloatArray:
    """Blocks or steps ``(..., K, 2)`` in the order of their prices, the cheapest first, as supply is to be."""
    order = np.argsort(blocks[..., 1], axis=-1, kind="stable")
    return np.take_along_axis(blocks, order[..., None], axis=-2)
