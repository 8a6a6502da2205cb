"""The pictures of a backtest's report, as inline SVG.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which readers with colour blindness can tell apart; members beyond
their number repeat them with another line.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from gridpilot.backtest.rolling import Fan, MemberRun
from gridpilot.backtest.series import PriceSeries
from gridpilot.backtest.summary import BEST, REFERENCE, horizon_label
from gridpilot.forecasting.base import QUANTILE_LEVELS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coverage_picture", "fan_picture", "reliability_picture", "skill_picture", "weights_picture"]

FloatArray = npt.NDArray[np.float64]

BLUE, INK = "#0072b2", "#16202b"
_COLOURS: Final = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
_ENSEMBLE: Final = "#d55e00"
_DASHES: Final = ("-", "--", ":")
_LEAST_SKILL = -30.0  # %; what is worse lies on the edge
_WIDTH: Final = 10.4  # inches; the page scales it
_HISTORY = 0.5  # of the horizon is drawn before an origin


def skill_picture(scores: pd.DataFrame, names: Sequence[str]) -> Markup:
    """Skill of absolute errors against persistence by horizon, a panel a channel."""
    figure, panels = _panels(scores["channel"].unique(), height=2.3, below=0.55 + _legend_height(names))
    for axes, (channel, of) in zip(panels, scores.groupby("channel", sort=False), strict=True):
        horizons = np.sort(of["minutes"].unique())
        axes.axhline(0.0, color=INK, linewidth=1.0)
        for name in names:
            y = 100.0 * _by_horizon(of, name, "skill", horizons)
            axes.plot(np.maximum(y, _LEAST_SKILL), label=_text(name), **_style(name, names))
        _horizon_axis(axes, horizons)
        axes.set_title(_text(channel), loc="left", fontsize=10.5)
    shown = np.clip(100.0 * scores["skill"].dropna().to_numpy(), _LEAST_SKILL, 100.0)
    panels[0].set_ylim(min(0.0, *shown) - 3.0, max(5.0, *shown) + 4.0)  # of all panels: they share it
    panels[0].set_ylabel("skill, %")
    _legend(figure, panels[0])
    return _svg(figure, "skill by horizon")


def coverage_picture(scores: pd.DataFrame, names: Sequence[str]) -> Markup:
    """Coverage of the 90 % and the 50 % interval by horizon, a panel a channel."""
    figure, panels = _panels(scores["channel"].unique(), height=2.3, below=0.55 + _legend_height(names))
    for axes, (channel, of) in zip(panels, scores.groupby("channel", sort=False), strict=True):
        horizons = np.sort(of["minutes"].unique())
        axes.axhspan(87.0, 93.0, color=BLUE, alpha=0.12, linewidth=0)
        for nominal in (50, 90):
            axes.axhline(nominal, color=INK, linewidth=1.0)
            for name in names:
                y = 100.0 * _by_horizon(of, name, f"coverage_{nominal}", horizons)
                axes.plot(y, label=_text(name) if nominal == 90 else None, **_style(name, names))
        axes.set_ylim(0.0, 100.0)
        _horizon_axis(axes, horizons)
        axes.set_title(_text(channel), loc="left", fontsize=10.5)
    panels[0].set_ylabel("inside the interval, %")
    _legend(figure, panels[0])
    return _svg(figure, "coverage by horizon")


def reliability_picture(scores: pd.DataFrame, names: Sequence[str], channel: str) -> Markup:
    """Share of observations below each quantile against its level, at the shortest, a middle and the longest horizon."""
    of = scores[scores["channel"] == channel]
    horizons = np.sort(of["minutes"].unique())
    chosen = sorted({0, len(horizons) // 2, len(horizons) - 1})
    figure, panels = _panels(chosen, height=2.6, below=0.45 + _legend_height(names))
    for axes, k in zip(panels, chosen, strict=True):
        axes.plot([0.0, 100.0], [0.0, 100.0], color=INK, linewidth=1.0)
        at = of[of["minutes"] == horizons[k]].set_index("member")
        for name in names:
            if name in at.index:
                shares = [100.0 * at.loc[name, f"below_{round(100 * level):02d}"] for level in QUANTILE_LEVELS]
                axes.plot([100.0 * level for level in QUANTILE_LEVELS], shares, label=_text(name), **_style(name, names))
        axes.set(xlim=(0.0, 100.0), ylim=(0.0, 100.0), xticks=[5, 25, 50, 75, 95], yticks=[5, 25, 50, 75, 95])
        axes.set_title(horizon_label(horizons[k]), loc="left", fontsize=10.5)
        axes.set_xlabel("level of the quantile, %")
    panels[0].set_ylabel("observed below it, %")
    _legend(figure, panels[0])
    return _svg(figure, f"reliability, {channel}")


def weights_picture(run: MemberRun, series: PriceSeries, names: Sequence[str]) -> Markup:
    """An ensemble's weights over time, stacked."""
    rows = np.array([row for row, _ in run.weights])
    members = list(dict.fromkeys(name for _, weights in run.weights for name in weights))
    table = np.array([[100.0 * weights.get(name, 0.0) for name in members] for _, weights in run.weights]).T
    figure, (axes,) = _panels([""], height=1.8, below=0.45 + _legend_height(members))
    order = [*names, *(name for name in members if name not in names)]
    axes.stackplot(
        rows / series.steps_per_day,
        table,
        labels=[_text(name) for name in members],
        colors=[_style(name, order)["color"] for name in members],
        linewidth=0,
        alpha=0.8,
    )
    axes.set(
        ylim=(0.0, max(100.0, float(table.sum(axis=0).max()))),
        xlim=(rows[0] / series.steps_per_day, rows[-1] / series.steps_per_day),
    )
    axes.set(xlabel="day of the series", ylabel="weight, %")
    _legend(figure, axes)
    return _svg(figure, f"weights of {run.name}")


def fan_picture(run: MemberRun, series: PriceSeries, origin_rows: dict[str, int], channel: int) -> Markup:
    """A member's whole forecast at the chosen days: 50 % and 90 % bands, median and mean, over what came."""
    days = [day for day in origin_rows if day in run.fans]
    figure, panels = _panels(days, height=2.0, below=0.5, share=False)
    for axes, day in zip(panels, days, strict=True):
        _fan(axes, run.fans[day], series, origin_rows[day], channel)
        axes.set_title(f"{day}: {series.time(origin_rows[day])}", loc="left", fontsize=10.5)
    return _svg(figure, f"forecasts of {run.name}")


def _fan(axes: Any, fan: Fan, series: PriceSeries, row: int, c: int) -> None:
    steps = len(fan.mean)
    hours = series.step_minutes / 60.0
    back = max(0, row - int(_HISTORY * steps))
    came = series.prices[back : row + steps + 1, c]
    axes.plot((np.arange(back, back + len(came)) - row) * hours, came, color=INK, linewidth=0.9, label="observed")
    ahead = np.arange(1, steps + 1) * hours
    marks = {"marker": "."} if steps == 1 else {}
    quantiles = fan.quantiles[:, :, c]
    axes.fill_between(ahead, quantiles[:, 0], quantiles[:, -1], color=BLUE, alpha=0.16, linewidth=0, label="90 %")
    axes.fill_between(ahead, quantiles[:, 1], quantiles[:, -2], color=BLUE, alpha=0.30, linewidth=0, label="50 %")
    axes.plot(ahead, quantiles[:, 2], color=BLUE, linewidth=1.4, label="median", **marks)
    axes.axvline(0.0, color=INK, linewidth=0.7, linestyle=":")
    axes.set_xlim((back - row) * hours, steps * hours)
    axes.set_xlabel("hours from the forecast")
    usual = float(np.nanquantile(np.abs(came - np.nanmedian(came)), 0.75)) or 1.0
    everything = np.concatenate([came[np.isfinite(came)], quantiles.ravel()])
    if np.ptp(everything) > 40.0 * usual:  # one spike would flatten the rest
        axes.set_yscale("asinh", linear_width=4.0 * usual)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")  # not as a power of ten


def _by_horizon(scores: pd.DataFrame, name: str, column: str, horizons: FloatArray) -> FloatArray:
    own = scores[scores["member"] == name].set_index("minutes")[column]
    return np.asarray(own.reindex(horizons), dtype=np.float64)


def _style(name: str, names: Sequence[str]) -> dict[str, Any]:
    if name == REFERENCE:
        return {"color": "#5b6470", "linestyle": "-", "linewidth": 1.2, "marker": "o", "markersize": 2.5}
    if name == BEST:
        return {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.2, "marker": None}
    ensembles = [other for other in names if other.startswith("ensemble")]
    if name in ensembles:
        dash = _DASHES[ensembles.index(name) % len(_DASHES)]
        return {"color": _ENSEMBLE, "linestyle": dash, "linewidth": 2.4, "marker": "o", "markersize": 3.5}
    i = [other for other in names if other not in (REFERENCE, BEST, *ensembles)].index(name)
    dash = _DASHES[i // len(_COLOURS) % len(_DASHES)]
    return {"color": _COLOURS[i % len(_COLOURS)], "linestyle": dash, "linewidth": 1.3, "marker": "o", "markersize": 2.5}


def _horizon_axis(axes: Any, horizons: FloatArray) -> None:
    axes.set_xticks(range(len(horizons)), [horizon_label(minutes) for minutes in horizons], rotation=40, ha="right")
    axes.set_xlim(-0.3, max(len(horizons) - 0.7, 0.3))


def _panels(titles: Sequence[Any], *, height: float, below: float, share: bool = True) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = max(len(titles), 1)
    # Margins by hand: a layout engine draws everything twice to find them.
    height += below
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, count, squeeze=False, sharey=share)
    figure.subplots_adjust(
        left=0.6 / _WIDTH,
        right=1.0 - 0.1 / _WIDTH,
        top=1.0 - 0.28 / height,
        bottom=below / height,
        wspace=0.06 if share else 0.16,
    )
    for axes in grid[0]:
        axes.grid(alpha=0.25, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid[0])


def _columns(names: Sequence[str]) -> int:
    """Columns of a legend that fit the width."""
    return max(1, min(len(names), int(_WIDTH / (0.75 + 0.085 * max(map(len, names), default=1)))))


def _legend_height(names: Sequence[str]) -> float:
    return 0.1 + 0.2 * -(-len(names) // _columns(names))  # inches


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=_columns(labels), frameon=False, fontsize=9, borderaxespad=0.1)


def _text(name: Any) -> str:
    return str(name).replace("$", r"\$")  # matplotlib would read a formula


def _svg(figure: Any, label: str) -> Markup:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):  # text stays text, and equal runs give equal files
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Its size is the page's business; viewBox keeps the shape.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1)
    return Markup(text.replace("<svg", f'<svg class="picture" role="img" aria-label="{Markup.escape(label)}"', 1))
