"""The course of an evolution as a picture."""

from __future__ import annotations

from typing import Final

import numpy as np

from gridpilot.pictures import as_png, quiet
from gridpilot.simulation.evolution import Evolution

__all__ = ["picture"]

# Okabe and Ito's, which readers with colour blindness can tell apart; more strategies than that repeat them with another line.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES: Final = ("-", "--", ":")


def picture(course: Evolution, process: str) -> bytes:
    """PNG: the mean share of each strategy by generation, a band from the lower to the upper quartile of the populations."""
    from matplotlib.figure import Figure

    share = 100.0 * course.counts / course.counts.sum(axis=2, keepdims=True)
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    generation = np.arange(len(share))
    for k, name in enumerate(course.strategies):
        colour, dash = _COLOURS[k % len(_COLOURS)], _DASHES[k // len(_COLOURS) % len(_DASHES)]
        low, high = np.quantile(share[:, :, k], [0.25, 0.75], axis=1)
        axes.fill_between(generation, low, high, color=colour, alpha=0.15, linewidth=0.0)
        axes.plot(
            generation, share[:, :, k].mean(axis=1), color=colour, linestyle=dash, linewidth=1.8, label=name.replace("$", r"\$")
        )
    axes.set(xlim=(0, max(len(share) - 1, 1)), ylim=(0.0, 100.0), xlabel="generation", ylabel="% of the sites")
    axes.set_title(
        f"{process}: mean of {share.shape[1]} populations of {course.counts[0, 0].sum()} sites, and quartiles",
        loc="left",
        fontsize=10.5,
    )
    quiet(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return as_png(figure)
