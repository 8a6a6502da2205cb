"""What a league came to, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridpilot.pictures import as_png, quiet
from gridpilot.tournament.intervals import LEVEL

if TYPE_CHECKING:
    from gridpilot.training.league_result import League

__all__ = ["picture"]

_RESPONSE, _KNOWN = "#0072b2", "#d55e00"


def picture(league: League) -> bytes:
    """PNG: what the equilibria of the population could be exploited by, with intervals, against the CPU seconds they took."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    answered = [step for step in league.steps if step.response is not None]
    for steps, name, colour, label in (
        (answered, "gain", _RESPONSE, "by the response trained against it"),
        (league.steps, "best_gain", _KNOWN, "by the best of all that the league has found"),
    ):
        estimates = [getattr(step, name) for step in steps]
        seconds = np.array([step.seconds for step in steps])
        values = np.array([np.nan if one.value is None else one.value for one in estimates])
        low, high = (
            np.array([value if end is None else end for end, value in zip(ends, values, strict=True)])
            for ends in ([one.low for one in estimates], [one.high for one in estimates])
        )
        axes.errorbar(
            seconds, values, yerr=np.abs([values - low, high - values]), color=colour, label=label, marker="o",
            linewidth=1.6, elinewidth=1.0, capsize=3.0, linestyle="-" if name == "gain" else "--",
            markersize=9.0 if name == "gain" else 4.0, fillstyle="none" if name == "gain" else "full",  # both are seen where they are one
        )  # fmt: skip
    axes.axhline(0.0, color="#888888", linewidth=0.8)
    axes.set_xlabel("CPU seconds so far")
    axes.set_ylabel(("gain over the mixture,\n" if league.method == "psro" else "gain over the policy,\n") + r"\$ per site and day")
    axes.set_title(
        f"exploitability found, {league.episodes[1]} episodes of evaluation, {100 * LEVEL:.0f} % intervals",
        loc="left",
        fontsize=10.5,
    )
    quiet(axes)
    axes.legend(frameon=False, fontsize=9)
    return as_png(figure)
