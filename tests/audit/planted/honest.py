"""Agents of different styles that do nothing wrong."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import logging
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numba
import numpy as np

from gridpilot.agents.base import Agent, BatchAgent, generator
from gridpilot.agents.bidder import Bidder
from gridpilot.agents.threshold import Threshold
from gridpilot.agents.truthful import Truthful
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site
from gridpilot.market.step import STATED_BLOCKS

log = logging.getLogger(__name__)


class Plain(Agent):
    """The default storage value."""

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(observation.default_storage_value)


class States(Agent):
    """Its own blocks, from plain numbers."""

    def bid(self, observation: Observation) -> Bid:
        room, price = observation.site.grid_kw, float(observation.prices[0])
        return Bid([(0.5 * room, 2.0 * abs(price) + 0.01), (0.25 * room, 0.01)] if price < 1.0 else [])


class Nothing(Agent):
    def bid(self, observation: Observation) -> Bid:
        return Bid([])


class Learns(Agent):
    """Shades more after a profit, less after a loss."""

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.shade = -0.1

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(shade=self.shade)

    def learn(self, outcome: Outcome) -> None:
        self.shade = min(max(self.shade - 0.01 * math.copysign(1.0, outcome.profit), -0.5), 0.0)


class Bandit(Agent):
    """Draws its arms from its seed."""

    ARMS: ClassVar[tuple[float, ...]] = (0.0, -0.05, -0.1)

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.mean, self.count, self.arm = np.zeros(3), np.zeros(3), 0

    def bid(self, observation: Observation) -> Bid:
        explores = self.random.random() < 0.2
        self.arm = int(self.random.integers(3)) if explores else int(np.argmax(self.mean))
        return observation.truthful_bid(shade=self.ARMS[self.arm])

    def learn(self, outcome: Outcome) -> None:
        self.count[self.arm] += 1
        self.mean[self.arm] += (outcome.profit - self.mean[self.arm]) / self.count[self.arm]


class Generator(Agent):
    """Uses the library's own generator."""

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.random = generator(seed)

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(shade=-float(self.random.uniform(0.0, 0.3)))


class ReadsWeights(Agent):
    """Reads a file in its reset."""

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.weights = np.loadtxt(Path(__file__).with_name("weights.txt"))

    def bid(self, observation: Observation) -> Bid:
        slope, offset = self.weights
        return observation.truthful_bid(slope * observation.default_storage_value + offset)


class ImportsLate(Agent):
    """Imports what it needs when it needs it."""

    def bid(self, observation: Observation) -> Bid:
        from scipy import optimize

        found = optimize.minimize_scalar(lambda x: (x - observation.last_price) ** 2, bounds=(-0.1, 0.3), method="bounded")
        return observation.truthful_bid(float(found.x))


class Reads(Agent):
    """Goes by the observation vector."""

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(0.05 + 0.01 * float(np.tanh(observation.to_vector()[:8].mean())))


class Logs(Agent):
    """Logs, and warns."""

    def bid(self, observation: Observation) -> Bid:
        log.warning("tick %d", observation.tick)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("never mind", stacklevel=2)
        return observation.truthful_bid()

    def learn(self, outcome: Outcome) -> None:
        try:
            raise ValueError("caught")
        except ValueError:
            log.exception("nothing of the kind")


class Caches(Agent):
    """Keeps results of a function of its own."""

    @staticmethod
    @functools.cache
    def worth(hour: int) -> float:
        return 0.05 + 0.02 * math.sin(hour)

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(self.worth(int(observation.hour)))


class Recent(NamedTuple):
    price: float
    tick: int


@dataclasses.dataclass
class Remembers(Agent):
    """A dataclass with a window of named tuples."""

    length: int = 6

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.window: collections.deque[Recent] = collections.deque(maxlen=self.length)

    def bid(self, observation: Observation) -> Bid:
        self.window.append(Recent(observation.last_price, observation.tick))
        kind = collections.namedtuple("kind", "mean")
        return observation.truthful_bid(kind(sum(recent.price for recent in self.window) / len(self.window)).mean)


class UsesATemporaryFile(Agent):
    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        with tempfile.NamedTemporaryFile("w+") as file:
            json.dump({"worth": 0.06}, file)
            file.seek(0)
            self.worth = float(json.load(file)["worth"])

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(self.worth)


class ScribblesOnItsCopies(Agent):
    """Works in place on the arrays it is given, which are its own."""

    def bid(self, observation: Observation) -> Bid:
        bid = observation.truthful_bid(0.05)
        observation.history[:] -= observation.history.mean(axis=0)
        return bid


class WithoutWarnings(Agent):
    """Sets numpy's error state, and puts it back."""

    def bid(self, observation: Observation) -> Bid:
        with np.errstate(all="ignore"):
            value = np.log(np.abs(observation.prices[0]) + 1e-3) / 100.0 + 0.1
        return observation.truthful_bid(float(value))


@numba.njit
def smoothed(prices: Any) -> float:
    value = prices[0]
    for price in prices[1:]:
        value += 0.1 * (price - value)
    return value


class Compiled(Agent):
    """A kernel of its own, compiled in the reset."""

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        smoothed(np.zeros(3))

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(smoothed(np.ascontiguousarray(observation.history[:, 0])))


class Inherits(Truthful):
    """An agent of the library under another name."""


class Patient(Threshold):
    """An agent of the library with parameters of its own."""

    def __init__(self, width: float = 0.3) -> None:
        super().__init__()
        self.width = width


class Composed(Bidder):
    """A rule of storing with one of bidding."""

    def __init__(self) -> None:
        super().__init__(storage="none", bidding="truthful")


class OnArrays(BatchAgent):
    """Battery at the last price, in all seats at once."""

    reads = ("last_price",)
    writes = ("storage_value",)

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(observation.last_price)

    def reset_batch(self, view: Any) -> None:
        pass

    def bid_batch(self, view: Any) -> None:
        view.orders.storage_value[:] = view.last_price[view.market]


class StatesOnArrays(BatchAgent):
    """Stated blocks in all seats at once, drawn from the seats' seeds."""

    reads = ("prices",)
    stated_blocks = 1

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def bid(self, observation: Observation) -> Bid:
        return Bid([(self.random.uniform() * observation.site.grid_kw, float(observation.prices[0]) + 0.02)])

    def reset_batch(self, view: Any) -> None:
        self.randoms = [np.random.default_rng(int(seed)) for seed in view.seed]

    def bid_batch(self, view: Any) -> None:
        view.orders.kind[:] = STATED_BLOCKS
        share = np.array([one.uniform() for one in self.randoms])
        view.orders.blocks[:, 0, 0] = share * view.plants.plant["grid_kw"][view.plant]
        view.orders.blocks[:, 0, 1] = view.prices[view.market, 0] + 0.02


class Parametrised(Agent):
    """Takes parameters of all kinds."""

    def __init__(self, greed: float, hours: list[int] | None = None, note: str = "") -> None:
        self.greed, self.hours, self.note = greed, hours or [], note

    def bid(self, observation: Observation) -> Bid:
        return observation.truthful_bid(shade=-self.greed if int(observation.hour) in self.hours else 0.0)


HONEST = [
    (name, {"greed": 0.1, "hours": [0, 1], "note": "none"} if name == "Parametrised" else {})
    for name, one in list(globals().items())
    if isinstance(one, type) and issubclass(one, Agent) and one.__module__ == __name__
]
