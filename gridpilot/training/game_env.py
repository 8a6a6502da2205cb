"""The environment of :mod:`gridpilot.training.games`: an auction a step. It needs the extra ``[rl]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from gridpilot.market.clearing import Clearing
from gridpilot.training.game import HIGHEST, Game
from gridpilot.training.shared_env import SharedVecEnv

__all__ = ["GameEnv"]

FloatArray = npt.NDArray[np.float64]


MEETINGS: Final = 16


class GameEnv(SharedVecEnv):
    """``markets`` auctions side by side, every bidder a row; a step is an auction, and an episode.

    Observations ``(M, units)``: the bidder's values, from -1 to 1. Actions ``(M, units)``: its bid for each unit as a share of what it is
    worth, from 0 to ``HIGHEST``; what it bids for a unit counts as no more than for the one before. Rewards: its surplus, the mean of
    ``MEETINGS`` auctions with other rivals' bids, which takes luck out.
    """

    def __init__(self, game: Game, clear_batch: Callable[..., Clearing], markets: int, seed: int) -> None:
        rows = markets * game.bidders
        box = spaces.Box(-1.0, 1.0, (game.units,), np.float32)
        super().__init__(rows, box, box)
        self._game, self._clear_batch = game, clear_batch
        self._random = np.random.default_rng(seed)
        self._supply = np.array([[float(game.units), 0.0]])
        self._over = np.ones(rows, dtype=np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(rows)]
        self._values = self.drawn(rows)
        self._bids = np.zeros_like(self._values)

    def drawn(self, rows: int) -> FloatArray:
        """Values ``(rows, units)`` of the units, the highest first."""
        values: FloatArray = -np.sort(-self._random.random((rows, self._game.units)), axis=1)
        return values

    def seen(self, values: FloatArray) -> npt.NDArray[np.float32]:
        """Values as observations."""
        return (2.0 * values - 1.0).astype(np.float32)

    def bids_of(self, actions: npt.NDArray[Any], values: FloatArray) -> FloatArray:
        """Prices ``(M, units)`` that are bid, the last no higher than the first."""
        shares = 0.5 * HIGHEST * (1.0 + np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0))
        prices: FloatArray = np.minimum.accumulate(shares * values, axis=1)
        return prices

    def reset(self) -> npt.NDArray[np.float32]:
        """Draw values."""
        self._values = self.drawn(self.num_envs)
        return self.seen(self._values)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the bids."""
        self._bids = self.bids_of(actions, self._values)

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Clear the auctions; the next ones' values, surpluses, that all are over, and nothing more."""
        bids, values = (array.reshape(-1, self._game.bidders, self._game.units) for array in (self._bids, self._values))
        met = np.concatenate([_rolled(bids, k) for k in range(MEETINGS)])
        cleared = self._clear_batch(np.stack([np.ones_like(met), met], axis=-1), self._supply, mechanism=self._game.mechanism)
        got, paid = (part.reshape(MEETINGS, *bids.shape[:2], 1) for part in (cleared.allocation, cleared.payment))
        surplus = np.zeros(bids.shape[:2])
        for k in range(MEETINGS):
            won = np.clip(_rolled(got[k], -k) - np.arange(self._game.units), 0.0, 1.0)
            surplus += ((won * values).sum(axis=2) - _rolled(paid[k], -k)[..., 0]) / MEETINGS
        return self.reset(), surplus.astype(np.float32).ravel(), self._over, self._infos


def _rolled(markets: FloatArray, k: int) -> FloatArray:
    """``(M, N, ...)`` with bidder j of market m where that of market ``m - j k`` was: who meets others; undone by ``-k``."""
    return np.stack([np.roll(markets[:, j], j * k, axis=0) for j in range(markets.shape[1])], axis=1)
