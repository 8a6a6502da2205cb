"""A match as a picture: price and scarcity, power by use, charge by seat, and who paid whom."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gridpilot.insight.replay import Played
from gridpilot.market.auction import SUPPLY_COST, VOLUME
from gridpilot.market.physics import CHARGED, COOLING, DISCHARGED, MACHINES, PAYMENT
from gridpilot.market.units import DT, TICKS_PER_HOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["day_picture"]

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#3b6fb6", "#e08a1e", "#3f9b5f", "#c44e52", "#8a8f98"
DPI: Final = 110


def day_picture(played: Played, match: int = 0) -> bytes:
    """The picture of one match as PNG."""
    from matplotlib.figure import Figure

    what = played.trace.matches[match]
    figure = Figure(figsize=(12.0, 9.0), layout="constrained", dpi=DPI)
    axes = figure.subplots(2, 2)
    hours = np.arange(played.ticks) / TICKS_PER_HOUR
    _price(axes[0, 0], played, match, hours)
    _power(axes[0, 1], played, match, hours)
    _charge(axes[1, 0], played, match, hours)
    _money(axes[1, 1], played, match)
    mechanism = played.trace.arena.rules.mechanism
    state = "" if played.exact else "  (what-if)" if played.change else "  (not as recorded)"
    figure.suptitle(f"Episode {what.episode}, {what.lineup} {what.rotation}, {mechanism}{state}", fontsize=13, fontweight="bold")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _price(axes: Axes, played: Played, b: int, hours: Any) -> None:
    price, energy = 1000.0 * played.trace.price[:, b], 1000.0 * played.prices()[:, b, 0]
    rules = played.trace.arena.rules
    dearest = max((adder for _, adder in rules.supply), default=0.0)
    reserve = -np.inf if rules.reserve is None else 1000.0 * rules.reserve
    scarce = price > np.maximum(1000.0 * (played.prices()[:, b, 0] + dearest), reserve)
    low, high = min(price.min(), energy.min(), 0.0), float(np.percentile(price, 99.5)) * 1.3
    axes.fill_between(hours, low, high, where=scarce, step="post", color=_RED, alpha=0.25, linewidth=0, label="scarce")
    axes.step(hours, energy, where="post", color=_GREY, linewidth=1.0, label="energy price")
    axes.step(hours, price, where="post", color=_BLUE, linewidth=1.4, label="clearing price")
    axes.set(title="Price and scarcity", xlabel="hour", ylabel="$/MWh", xlim=(0, _end(hours)), ylim=(low, max(high, low + 1.0)))
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    _tidy(axes)


def _power(axes: Axes, played: Played, b: int, hours: Any) -> None:
    sums = {name: played.trace.outcome[:, b, :, column].sum(axis=1) / 1000.0 for name, column in _USES.items()}
    axes.stackplot(hours, *sums.values(), labels=list(sums), colors=[_BLUE, "#7fb2e5", _GREEN], step="post", linewidth=0)
    given = played.trace.outcome[:, b, :, DISCHARGED].sum(axis=1) / 1000.0
    axes.fill_between(hours, 0.0, -given, step="post", color=_ORANGE, linewidth=0, label="from batteries")
    axes.step(
        hours, played.capacity_kw()[:, b] / 1000.0, where="post", color="black", linewidth=1.0, linestyle="--", label="capacity"
    )
    axes.step(hours, played.trace.totals[:, b, VOLUME] / 1000.0, where="post", color=_RED, linewidth=0.9, label="sold")
    axes.axhline(0.0, color="black", linewidth=0.6)
    top = 1.3 * max(played.capacity_kw()[:, b].max() / 1000.0, sum(sums.values()).max())
    axes.set(title="Power by use", xlabel="hour", ylabel="MW", xlim=(0, _end(hours)), ylim=(-1.15 * max(given.max(), 0.05), top))
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    _tidy(axes)


_USES: Final = {"machines": MACHINES, "cooling": COOLING, "charging": CHARGED}


def _charge(axes: Axes, played: Played, b: int, hours: Any) -> None:
    plant = played.trace.arena.arrays.plant
    room = np.maximum(plant["soc_max"] - plant["soc_min"], 1e-9)
    charge = 100.0 * (played.trace.storage[1:, b, :, 0] - plant["soc_min"]) / room
    image = axes.imshow(
        charge.T, aspect="auto", cmap="viridis", vmin=0.0, vmax=100.0, interpolation="nearest",
        extent=(0.0, _end(hours), len(plant) - 0.5, -0.5),
    )  # fmt: skip
    axes.set(title="Charge by seat", xlabel="hour")
    _every_three_hours(axes)
    axes.set_yticks(range(len(plant)), _names(played, b), fontsize=8)
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, label="% of what the battery may hold", shrink=0.9)


def _money(axes: Axes, played: Played, b: int) -> None:
    paid = played.trace.outcome[:, b, :, PAYMENT].sum(axis=0)
    cost = float(played.trace.totals[:, b, SUPPLY_COST].sum() * DT)
    names = [*_names(played, b), "to suppliers", "kept by auctioneer"]
    values = [*paid, -cost, -(float(paid.sum()) - cost)]
    colours = [_BLUE] * len(paid) + [_ORANGE, _GREY]
    axes.barh(range(len(values)), values, color=colours)
    axes.set_yticks(range(len(values)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0.0, color="black", linewidth=0.6)
    reach = max(abs(value) for value in values) or 1.0
    for i, value in enumerate(values):
        beside = value + (0.02 if value >= 0 else -0.02) * reach
        axes.text(beside, i, f"{abs(value):,.0f}", va="center", ha="left" if value >= 0 else "right", fontsize=8)
    axes.set(title="Who paid whom", xlabel="$ paid to the auctioneer (right) and where it went (left)")
    axes.set_xlim(min(0.0, *values) - 0.2 * reach, max(0.0, *values) + 0.2 * reach)
    _tidy(axes)


def _names(played: Played, b: int) -> list[str]:
    return [f"{n} {agent}" for n, agent in enumerate(played.trace.matches[b].seats)]


def _end(hours: Any) -> float:
    return float(hours[-1]) + 1.0 / TICKS_PER_HOUR


def _every_three_hours(axes: Axes) -> None:
    if axes.get_xlim()[1] > 12.0:
        axes.set_xticks(range(0, int(axes.get_xlim()[1]) + 1, 3))


def _tidy(axes: Axes) -> None:
    if axes.get_xlabel() == "hour":
        _every_three_hours(axes)
    axes.spines[["top", "right"]].set_visible(False)
