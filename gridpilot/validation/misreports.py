"""No misreport gains under VCG; under the other two some do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from gridpilot.market.clearing import Mechanism
from gridpilot.validation.row import Figure, FloatArray, Result, between
from gridpilot.validation.study import Study, ascending

__all__ = ["MISREPORTS"]

MISREPORTS_DRAWN: Final = 20_000
BIDDERS: Final = 4
BLOCKS: Final = 3
NOTICEABLE: Final = 1e-9  # $/h, of a gain


def markets(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``n`` markets: true blocks ``(n, 4, 3, 2)``, supply ``(n, 3, 2)`` and the misreport of the first bidder ``(n, 3, 2)``.

    Quantities U[0, 1] kW, prices U[0, 1] $/kWh and costs U[0, 0.5]; supply of U[0, 2] kW a step is scarce in about half of them. A
    misreport is, a third each, blocks drawn anew, the true ones with prices times U[0.5, 1.1], or the true ones with quantities times
    U[0, 1.2].
    """
    truth = -ascending(-_drawn(rng, (n, BIDDERS, BLOCKS), 1.0, 1.0))
    supply = ascending(_drawn(rng, (n, BLOCKS), 2.0, 0.5))
    anew = -ascending(-_drawn(rng, (n, BLOCKS), 1.0, 1.0))
    kind = rng.integers(0, 3, n)[:, None]
    own = truth[:, 0]
    price = np.where(kind == 0, anew[..., 1], own[..., 1] * np.where(kind == 1, rng.uniform(0.5, 1.1, (n, 1)), 1.0))
    kw = np.where(kind == 0, anew[..., 0], own[..., 0] * np.where(kind == 2, rng.uniform(0.0, 1.2, (n, BLOCKS)), 1.0))
    return truth, supply, np.stack([kw, price], axis=-1)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], kw: float, price: float) -> FloatArray:
    return rng.random((*shape, 2)) * [kw, price]


def worth(blocks: FloatArray, kw: FloatArray) -> FloatArray:
    """What ``kw (B,)`` are worth to whom the true ``blocks (B, K, 2)`` belong, $/h; what exceeds them is worth nothing."""
    starts = np.cumsum(blocks[..., 0], axis=1) - blocks[..., 0]
    taken = np.clip(kw[:, None] - starts, 0.0, blocks[..., 0])
    value: FloatArray = (taken * blocks[..., 1]).sum(axis=1)
    return value


def gains(study: Study, mechanism: Mechanism) -> FloatArray:
    """What each misreport brings the first bidder more than the truth, $/h, when the others bid the truth; ``(B,)``."""
    truth, supply, misreport = markets(study.rng("misreports"), study.draws(MISREPORTS_DRAWN, least=1000))
    lie = truth.copy()
    lie[:, 0] = misreport
    payoff = []
    for bids in (truth, lie):
        found = study.clear_batch(bids, supply, mechanism)
        payoff.append(worth(truth[:, 0], found.allocation[:, 0]) - found.payment[:, 0])
    gain: FloatArray = payoff[1] - payoff[0]
    return gain


def _misreports(study: Study) -> Iterator[Figure]:
    found = gains(study, "vcg")
    yield Figure(f"vcg: largest gain of {len(found):,} misreports", 0.0, max(float(found.max()), 0.0), 1e-9)
    yield between("vcg: share of the misreports that cost something", 0.6, 0.8, float((found < -NOTICEABLE).mean()))
    for mechanism, least, most in (("uniform", 0.05, 0.25), ("pay_as_bid", 0.3, 0.6)):
        share = float((gains(study, mechanism) > NOTICEABLE).mean())  # type: ignore[arg-type]  # one of the three
        yield between(f"{mechanism}: share of the misreports that gain", least, most, share)


MISREPORTS = Result("misreports", "Vickrey 1961; Clarke 1971; Groves 1973", _misreports)
