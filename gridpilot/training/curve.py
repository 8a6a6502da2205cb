"""Learning curves: what each seed reached by when, and a band over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.pictures import as_png, quiet
from gridpilot.tournament.intervals import LEVEL
from gridpilot.training.tuning import Look

__all__ = ["described", "interquartile_band", "picture"]

FloatArray = npt.NDArray[np.float64]

DRAWS: Final = 2000  # of the bootstrap
_REWARD: Final = "reward"
_COLOURS: Final = ("#0072b2", "#d55e00")


def interquartile_band(scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Interquartile mean of ``scores (R, T, U)``, of R runs on T tasks, at each of U points, and the ends of its interval: ``(U,)`` each.

    The interval is that of level ``LEVEL`` by percentiles of a stratified bootstrap: runs are drawn anew within each task (Agarwal et al.,
    "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021). Of one run it is the run. Equal scores give equal bands.
    """
    runs, tasks, points = scores.shape
    random = np.random.Generator(np.random.SFC64(0))
    drawn = random.integers(runs, size=(DRAWS, runs, tasks))
    low, high = np.empty(points), np.empty(points)
    for u in range(points):
        resampled = _interquartile_means(scores[drawn, np.arange(tasks), u].reshape(DRAWS, runs * tasks))
        low[u], high[u] = np.quantile(resampled, [0.5 - LEVEL / 2.0, 0.5 + LEVEL / 2.0])
    return _interquartile_means(scores.reshape(runs * tasks, points).T), low, high


def _interquartile_means(x: FloatArray) -> FloatArray:
    """Means of the middle half of each row ``(M, n)``, with fractional weights where n is no multiple of 4."""
    n = x.shape[1]
    weight = np.maximum(np.minimum(np.arange(1, n + 1), 0.75 * n) - np.maximum(np.arange(n), 0.25 * n), 0.0)
    means: FloatArray = np.sort(x, axis=1) @ (weight / weight.sum())
    return means


def described(curves: Mapping[int, Sequence[float]], looks: Mapping[int, Sequence[Look]]) -> dict[str, Any]:
    """The curves as plain values: by seed, and their bands as far as all seeds went.

    ``reward``: mean of an episode in each update, its exploration included; ``looks``: gains on the episodes of tuning.
    """
    seeds = {
        str(seed): {
            _REWARD: list(curve),
            "looks": [
                {"update": look.update, "gains": {name: [g.value, g.low, g.high] for name, g in look.gains.items()}}
                for look in looks.get(seed, ())
            ],
        }
        for seed, curve in curves.items()
    }
    bands = {}
    for name, (updates, scores) in _scores(curves, looks).items():
        middle, low, high = interquartile_band(scores[:, None, :])
        bands[name] = {"update": updates.tolist(), "iqm": middle.tolist(), "low": low.tolist(), "high": high.tolist()}
    return {"seeds": seeds, "bands": bands, "level": LEVEL}


def _scores(curves: Mapping[int, Sequence[float]], looks: Mapping[int, Sequence[Look]]) -> dict[str, tuple[FloatArray, FloatArray]]:
    """By what is on the vertical axis: updates ``(U,)`` and values ``(R, U)``, as far as all seeds went."""
    shortest = min((len(curve) for curve in curves.values()), default=0)
    found = {}
    if shortest:
        rewards = np.array([curve[:shortest] for curve in curves.values()])
        found[_REWARD] = np.arange(1.0, shortest + 1), rewards
    of_each = [{look.update: look for look in looks.get(seed, ())} for seed in curves]
    common = sorted(set.intersection(*map(set, of_each))) if of_each else []
    for name in of_each[0][common[0]].gains if common else ():
        gains = [[np.nan if (value := one[at].gains[name].value) is None else value for at in common] for one in of_each]
        found[f"gain over {name}"] = np.array(common, dtype=np.float64), np.array(gains)
    return found


def picture(curves: Mapping[int, Sequence[float]], looks: Mapping[int, Sequence[Look]]) -> bytes:
    """PNG: the reward of the updates and the last gain of the looks, each seed as a thin line, the interquartile mean with its band."""
    from matplotlib.figure import Figure

    scores = _scores(curves, looks)
    shown = [_REWARD, *list(scores)[1:][-1:]]
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    for name, axes, colour in zip(shown, np.atleast_1d(figure.subplots(1, len(shown))), _COLOURS, strict=False):
        updates, values = scores[name]
        middle, low, high = interquartile_band(values[:, None, :])
        axes.fill_between(updates, low, high, color=colour, alpha=0.2, linewidth=0.0)
        axes.plot(updates, values.T, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(updates, middle, color=colour, linewidth=1.8)
        seeds = "one seed" if len(values) == 1 else f"IQM of {len(values)} seeds, {100 * LEVEL:.0f} % band"
        axes.set_title(
            f"{name}{'' if name == _REWARD else ', $ per site and day'}\n{seeds}".replace("$", r"\$"), loc="left", fontsize=9
        )
        axes.set_xlabel("update")
        quiet(axes)
    return as_png(figure)
