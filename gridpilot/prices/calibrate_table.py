"""Simulated against real: the statistics of a calibration, their tolerances and the verdict.

Energy is compared by its prices, a product by its log returns (its level is not stationary; in the share of negative returns, those of
exactly zero count half). A row agrees where simulated and real lie
within its tolerance. Kurtosis and autocorrelations of a heavy-tailed series are mostly decided by its few largest values: there a row
also agrees where the real value lies between the 1st and the 99th percentile of simulated paths as long as the data, or where leaving
out a single value of the data would make it agree, and says so.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "Row", "compare", "statistics"]

FloatArray = npt.NDArray[np.float64]

TOLERANCE = 0.25  # relative, of sd, quantiles and share negative
_CORRELATION_TOLERANCE = 0.10  # absolute, of autocorrelations
_NAMES = ("sd", "1 % quantile", "50 % quantile", "99 % quantile", "share negative", "autocorrelation, lag 1", "autocorrelation, lag 12",
          "autocorrelation of squares, lag 1", "kurtosis")  # fmt: skip
_DYNAMIC = _NAMES[5:]


class Row(NamedTuple):
    """One statistic."""

    name: str
    real: float
    simulated: float  # of all paths together, or the median over paths
    low: float  # 1st percentile over simulated paths as long as the data
    high: float  # 99th percentile
    tolerance: float  # greatest difference allowed
    agrees: bool
    reason: str


class Comparison(NamedTuple):
    """The table of a calibration."""

    rows: tuple[Row, ...]
    of: Literal["prices", "log returns"]

    @property
    def good(self) -> bool:
        """Whether every row agrees."""
        return all(row.agrees for row in self.rows)

    @property
    def disagreeing(self) -> tuple[str, ...]:
        """Names of the rows that do not agree."""
        return tuple(row.name for row in self.rows if not row.agrees)


def statistics(x: FloatArray) -> FloatArray:
    """The nine statistics of a series ``(n,)``, in the order of the table."""
    centred = x - x.mean()
    squares = centred**2
    variance = squares.mean()
    if variance <= 0.0:
        return np.array([0.0, *np.quantile(x, [0.01, 0.5, 0.99]), (x < 0.0).mean(), 1.0, 1.0, 1.0, 1.0])
    return np.array(
        [
            np.sqrt(variance),
            *np.quantile(x, [0.01, 0.5, 0.99]),
            (x < 0.0).mean(),
            _autocorrelation(centred, 1),
            _autocorrelation(centred, 12),
            _autocorrelation(squares - variance, 1),
            (squares**2).mean() / variance**2,
        ]
    )


def compare(real: FloatArray, simulated: FloatArray, target: str) -> Comparison:
    """Compare a series ``(n,)`` with simulated paths ``(P, n)`` in the same unit and at the same step."""
    if target != "energy":
        real, simulated = np.diff(np.log(real)), np.diff(np.log(simulated), axis=1)
    of_real = statistics(real)
    if target != "energy":
        of_real[4] += 0.5 * float((real == 0.0).mean())
    by_path = np.array([statistics(path) for path in simulated])
    together = statistics(simulated.ravel())
    trimmed = statistics(_without_extreme(real))
    low, median, high = np.quantile(by_path, [0.01, 0.5, 0.99], axis=0)
    width = float(of_real[3] - of_real[1])
    rows = []
    for i, name in enumerate(_NAMES):
        value = float(median[i] if name in _DYNAMIC else together[i])
        rows.append(_judge(name, float(of_real[i]), value, float(low[i]), float(high[i]), width, float(trimmed[i])))
    return Comparison(tuple(rows), "prices" if target == "energy" else "log returns")


def _judge(name: str, real: float, simulated: float, low: float, high: float, width: float, trimmed: float) -> Row:
    floor = 0.0
    if "quantile" in name:
        floor = 0.02 * width  # a quantile near zero has no relative error
    elif name == "share negative":
        floor = 0.005
    tolerance = max(TOLERANCE * abs(real), floor)
    if name.startswith("autocorrelation"):
        tolerance = _CORRELATION_TOLERANCE
    difference = simulated - real
    if abs(difference) <= tolerance:
        return Row(name, real, simulated, low, high, tolerance, True, "")
    shown = f"{difference / abs(real):+.0%}" if real and not name.startswith("autocorrelation") else f"{difference:+.3g}"
    if name in _DYNAMIC and low <= real <= high:
        return Row(name, real, simulated, low, high, tolerance, True, f"{shown}, real lies within the spread of paths")
    if name in _DYNAMIC and (abs(simulated - trimmed) <= tolerance or low <= trimmed <= high):
        return Row(name, real, simulated, low, high, tolerance, True, f"{shown}, one value decides: {trimmed:.4g} without it")
    return Row(name, real, simulated, low, high, tolerance, False, f"{shown}, allowed {_allowed(name, real, tolerance)}")


def _without_extreme(x: FloatArray) -> FloatArray:
    """``x`` with the value farthest from the mean replaced by the one before it."""
    extreme = int(np.argmax(np.abs(x - x.mean())))
    trimmed = x.copy()
    trimmed[extreme] = x[extreme - 1] if extreme else x[1]
    return trimmed


def _allowed(name: str, real: float, tolerance: float) -> str:
    if name.startswith("autocorrelation") or tolerance > TOLERANCE * abs(real):
        return f"{tolerance:.2g} either way"
    return f"{TOLERANCE:.0%} either way"


def _autocorrelation(centred: FloatArray, lag: int) -> float:
    total = float(np.sum(centred * centred))
    return float(np.sum(centred[lag:] * centred[:-lag])) / total if total > 0.0 and len(centred) > lag else 1.0
