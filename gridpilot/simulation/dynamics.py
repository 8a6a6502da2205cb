"""How strategies spread in a population of sites: births and deaths, imitation, shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PROCESSES", "fermi", "imitate", "moran", "replicate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def fermi(x: float) -> float:
    """``1 / (1 + exp(-x))``: the probability to copy somebody who earns ``x``, in units of the selection, more (Traulsen et al. 2006).

    >>> fermi(0.0), round(fermi(1000.0), 6), round(fermi(-1000.0), 6)
    (0.5, 1.0, 0.0)
    """
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0.0 else math.exp(x) / (1.0 + math.exp(x))


def moran(counts: IntArray, payoffs: FloatArray, intensity: float, mutation: float, rng: np.random.Generator) -> IntArray:
    """A birth and a death of the Moran process: who is born is like somebody drawn by fitness, who dies is drawn evenly.

    ``counts (S,)`` of each strategy; ``payoffs (S,)`` of those that are there; fitness is ``exp(intensity payoff)``. The child is with
    probability ``mutation`` of any strategy. Nowak, Evolutionary Dynamics (2006), chapter 6. Returns the new counts.
    """
    weight = np.where(counts > 0, counts * np.exp(intensity * (payoffs - payoffs[counts > 0].max())), 0.0)
    born = int(rng.choice(len(counts), p=weight / weight.sum()))
    if rng.random() < mutation:
        born = int(rng.integers(len(counts)))
    dead = int(rng.choice(len(counts), p=counts / counts.sum()))
    after = counts.copy()
    after[born] += 1
    after[dead] -= 1
    return after


def imitate(counts: IntArray, payoffs: FloatArray, intensity: float, mutation: float, rng: np.random.Generator) -> IntArray:
    """Pairwise comparison: somebody drawn evenly looks at another, and copies him by the Fermi rule; or mutates."""
    who = int(rng.choice(len(counts), p=counts / counts.sum()))
    others = counts.copy()
    others[who] -= 1
    after = counts.copy()
    if rng.random() < mutation:
        after[who] -= 1
        after[int(rng.integers(len(counts)))] += 1
    elif others.sum() > 0:
        model = int(rng.choice(len(counts), p=others / others.sum()))
        if rng.random() < fermi(intensity * (payoffs[model] - payoffs[who])):
            after[who] -= 1
            after[model] += 1
    return after


def replicate(counts: IntArray, payoffs: FloatArray, intensity: float, mutation: float, rng: np.random.Generator) -> IntArray:
    """A generation of the replicator in discrete time: all are born anew, each like somebody drawn by fitness, or mutates."""
    n = int(counts.sum())
    weight = np.where(counts > 0, counts * np.exp(intensity * (payoffs - payoffs[counts > 0].max())), 0.0)
    share = (1.0 - mutation) * weight / weight.sum() + mutation / len(counts)
    born: IntArray = rng.multinomial(n, share / share.sum())
    return born


Process = Callable[[IntArray, FloatArray, float, float, np.random.Generator], IntArray]

PROCESSES: Final[dict[str, Process]] = {"moran": moran, "imitation": imitate, "replicator": replicate}
