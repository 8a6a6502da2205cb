"""Learners that choose among n actions by what each has paid, many independent ones at once.

All but EXP3 are told after every round what *every* action would have paid, ``(..., n)`` with one learner at each place of the leading
axes (a seat, a price level); EXP3 only what the action paid that it took. ``policy`` is what a learner plays next, ``average`` the
average of what it has played.

What holds for them: where the average payoff of the best fixed action is never beaten by more than a vanishing amount (no regret), the
averages of two learners in a zero-sum game go to a Nash equilibrium, and the joint play of any number in any game goes to the set of
coarse correlated equilibria. The policies themselves need not settle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gridpilot.equilibrium.game_input import FloatArray, check_count, check_number
from gridpilot.errors import GameError

__all__ = ["Exp3", "FictitiousPlay", "Hedge", "RegretMatching"]

IntArray = npt.NDArray[np.int64]


class _Learner:
    """What all have in common: how many actions, how many rounds, and the average policy.

    ``shape``  ``(..., n)``: independent learners, each with n actions
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(check_count(size, "shape", least=1) for size in shape)
        if not self.shape:
            raise GameError("shape is (), expected (..., n) with n actions")
        self.actions = self.shape[-1]
        self.rounds = 0
        self.policy: FloatArray = np.full(self.shape, 1.0 / self.actions)
        self.average_sum: FloatArray = np.zeros(self.shape)  # of policies, weighted

    @property
    def average(self) -> FloatArray:
        """The average policy ``(..., n)``; before the first round that of the first."""
        if self.rounds == 0:
            return self.policy.copy()
        return np.asarray(self.average_sum / self.average_sum.sum(axis=-1, keepdims=True))

    def _payoffs(self, payoffs: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        table = np.asarray(payoffs, dtype=np.float64)
        if table.shape != shape:
            raise GameError(f"payoffs have shape {table.shape}, expected {shape}")
        if not np.isfinite(table).all():
            raise GameError(f"payoffs have {int((~np.isfinite(table)).sum())} entries that are not finite, expected finite numbers")
        return table

    def _record(self, weight: float) -> None:
        self.rounds += 1
        self.average_sum += weight * self.policy


class RegretMatching(_Learner):
    """Plays each action in proportion to its positive regret: what it would have paid over what was paid, summed over rounds.

    With ``plus`` (RM+; Tammelin, arXiv 1407.5042, 2014) a sum never falls below 0, and the average weighs round t with t, which usually
    converges faster; without (Hart and Mas-Colell, Econometrica 68, 2000) the average is plain. Regret after T rounds is at most
    range sqrt(n T) in both. No step size, and no knowledge of the range of payoffs.
    """

    def __init__(self, shape: Sequence[int], *, plus: bool = True) -> None:
        super().__init__(shape)
        self.plus = plus
        self.regret: FloatArray = np.zeros(self.shape)

    def learn(self, payoffs: npt.ArrayLike) -> None:
        """Take ``(..., n)``, what every action would have paid in the round played by ``policy``."""
        table = self._payoffs(payoffs, self.shape)
        self._record(self.rounds + 1.0 if self.plus else 1.0)
        self.regret += table - (self.policy * table).sum(axis=-1, keepdims=True)
        if self.plus:
            np.maximum(self.regret, 0.0, out=self.regret)
        positive = np.maximum(self.regret, 0.0)
        total = positive.sum(axis=-1, keepdims=True)
        self.policy = np.where(total > 0.0, positive / np.where(total > 0.0, total, 1.0), 1.0 / self.actions)


class Hedge(_Learner):
    """Plays action a in proportion to exp(eta times the sum of its payoffs): multiplicative weights.

    ``spread``   the range payoffs lie within in any one round, > 0
    ``horizon``  rounds to come, where it is known: eta = sqrt(8 ln n / T) / spread, and regret is at most spread sqrt(T ln(n) / 2);
                 else eta = sqrt(8 ln n / t) / spread in round t, and regret is at most spread (2 sqrt(T ln(n) / 2) + sqrt(ln(n) / 8))

    Freund and Schapire, Journal of Computer and System Sciences 55, 1997; Cesa-Bianchi and Lugosi, *Prediction, Learning, and Games*,
    2006, theorems 2.2 and 2.3.
    """

    def __init__(self, shape: Sequence[int], *, spread: float, horizon: int | None = None) -> None:
        super().__init__(shape)
        self.spread = check_number(spread, "spread", least=0.0)
        if self.spread == 0.0:
            raise GameError("spread is 0, expected the range of payoffs, above 0")
        self.horizon = None if horizon is None else check_count(horizon, "horizon")
        self.total: FloatArray = np.zeros(self.shape)

    def learn(self, payoffs: npt.ArrayLike) -> None:
        """Take ``(..., n)``, what every action would have paid in the round played by ``policy``."""
        table = self._payoffs(payoffs, self.shape)
        self._record(1.0)
        self.total += table
        eta = math.sqrt(8.0 * math.log(self.actions) / (self.horizon or self.rounds + 1)) / self.spread
        self.policy = _softmax(eta * self.total)


class Exp3(_Learner):
    """Hedge for one who sees only what it was paid: payoffs are estimated as payoff over probability, and a part gamma of play explores.

    ``gamma``  0 < gamma <= 1; after T rounds of payoffs in [0, 1] the expected regret is at most (e - 1) gamma G + n ln(n) / gamma, G <= T
               the sum of the best action's payoffs

    Auer, Cesa-Bianchi, Freund and Schapire, "The nonstochastic multiarmed bandit problem", SIAM Journal on Computing 32, 2002.
    """

    def __init__(self, shape: Sequence[int], *, gamma: float) -> None:
        super().__init__(shape)
        self.gamma = check_number(gamma, "gamma", least=0.0)
        if not 0.0 < self.gamma <= 1.0:
            raise GameError(f"gamma is {gamma!r}, expected more than 0 and at most 1")
        self.log_weight: FloatArray = np.zeros(self.shape)

    def draw(self, generator: np.random.Generator) -> IntArray:
        """An action for every learner, ``(...)``, drawn by ``policy``: one uniform number each."""
        uniform = generator.random(self.shape[:-1])
        cumulated = np.cumsum(self.policy, axis=-1)
        return np.asarray((uniform[..., None] * cumulated[..., -1:] >= cumulated).sum(axis=-1), dtype=np.int64)

    def learn(self, actions: npt.ArrayLike, payoffs: npt.ArrayLike) -> None:
        """Take what was played, ``(...)``, and what it paid, ``(...)`` in [0, 1]."""
        paid = self._payoffs(payoffs, self.shape[:-1])
        if ((paid < 0.0) | (paid > 1.0)).any():
            raise GameError(f"payoffs lie between {paid.min():g} and {paid.max():g}, expected within [0, 1]")
        taken = np.asarray(actions)[..., None]
        if taken.shape[:-1] != self.shape[:-1] or not np.issubdtype(taken.dtype, np.integer):
            raise GameError(
                f"actions have shape {taken.shape[:-1]} and type {taken.dtype}, expected {self.shape[:-1]} whole numbers"
            )
        if ((taken < 0) | (taken >= self.actions)).any():
            raise GameError(f"actions lie between {taken.min()} and {taken.max()}, expected 0 to {self.actions - 1}")
        self._record(1.0)
        estimate = paid[..., None] / np.take_along_axis(self.policy, taken, axis=-1)
        weight = np.take_along_axis(self.log_weight, taken, axis=-1) + self.gamma / self.actions * estimate
        np.put_along_axis(self.log_weight, taken, weight, axis=-1)
        self.policy = (1.0 - self.gamma) * _softmax(self.log_weight) + self.gamma / self.actions


class FictitiousPlay(_Learner):
    """Plays what has paid best so far, the first of equals: the best response to the average of what the others have played.

    Averages go to a Nash equilibrium in zero-sum games (Brown 1951; Robinson, Annals of Mathematics 54, 1951), slowly, and in potential
    games (Monderer and Shapley 1996); elsewhere they may cycle. It is not without regret: an adversary that knows it beats it.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.total: FloatArray = np.zeros(self.shape)
        self.policy = np.zeros(self.shape)
        self.policy[..., 0] = 1.0

    def learn(self, payoffs: npt.ArrayLike) -> None:
        """Take ``(..., n)``, what every action would have paid in the round played by ``policy``."""
        table = self._payoffs(payoffs, self.shape)
        self._record(1.0)
        self.total += table
        self.policy = np.zeros(self.shape)
        np.put_along_axis(self.policy, self.total.argmax(axis=-1)[..., None], 1.0, axis=-1)


def _softmax(scores: FloatArray) -> FloatArray:
    weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))
