"""Plots as inline SVG: one horizontal track a table row, on an axis shared by the rows.

Positions are percentages of the track's width, so that a plot fits any screen without shrinking its text. Colours are those of
Okabe and Ito (https://jfly.uni-koeln.de/color/), which readers with colour blindness can tell apart; none carries a meaning alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from gridpilot.tournament.intervals import Estimate

__all__ = ["Axis", "axis_over", "diverging_colour", "dots_track", "interval_track", "response_graph", "scale_track"]

FloatArray = npt.NDArray[np.float64]

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#5b6470"
MAX_DOTS = 200


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` with labelled ``ticks``."""

    low: float
    high: float
    ticks: tuple[float, ...]
    zero: bool  # whether a line marks zero

    def at(self, value: float) -> str:
        """Position of ``value`` in percent of the width, clipped to the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{100.0 * share:.2f}%"


def axis_over(values: Iterable[float | None], *, zero: bool = False) -> Axis:
    """An axis with room for the finite ones of ``values``, and for zero if asked for."""
    finite = [value for value in values if value is not None and math.isfinite(value)] + ([0.0] if zero else [])
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    step = 10.0 ** math.floor(math.log10((high - low) / 3.0))
    step *= next(factor for factor in (1.0, 2.0, 5.0, 10.0) if (high - low) / (step * factor) <= 5.5)
    # Labels within the outer 4 % would stick out of the track.
    first, last = math.ceil((low + 0.04 * (high - low)) / step), math.floor((high - 0.04 * (high - low)) / step)
    return Axis(low, high, tuple(k * step for k in range(first, last + 1)), zero and low <= 0.0 <= high)


def interval_track(axis: Axis, estimate: Estimate, label: str, *, strong: bool = False) -> Markup:
    """A dot at the value with a bar from low to high, or an arrow where the value is off the axis; just the grid for ``None``."""
    marks = ""
    if estimate.value is not None:
        colour = BLUE if strong else GREY
        beyond = estimate.value < axis.low or estimate.value > axis.high
        if estimate.low is not None and estimate.high is not None and not beyond:
            ends = f'x1="{axis.at(estimate.low)}" x2="{axis.at(estimate.high)}" y1="13" y2="13"'
            marks += f'<line {ends} stroke="{colour}" stroke-width="5" stroke-linecap="round" opacity=".45"/>'
        if beyond:
            side, anchor, arrow = ("0%", "start", "◀") if estimate.value < axis.low else ("100%", "end", "▶")
            marks += f'<text x="{side}" y="18" text-anchor="{anchor}" fill="{colour}" font-size="14">{arrow}</text>'
        else:
            marks += f'<circle cx="{axis.at(estimate.value)}" cy="13" r="5" fill="{colour}" stroke="#fff" stroke-width="1.5"/>'
    return _track(axis, marks, label)


def dots_track(axis: Axis, values: FloatArray, label: str) -> Markup:
    """A dot for every value (at most ``MAX_DOTS``, evenly by rank), over a bar for the middle half and a mark at the median."""
    ordered = np.sort(values)
    if len(ordered) > MAX_DOTS:
        ordered = ordered[np.linspace(0, len(ordered) - 1, MAX_DOTS).round().astype(np.int64)]
    lower, median, upper = (axis.at(float(q)) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    marks = f'<line x1="{lower}" x2="{upper}" y1="13" y2="13" stroke="{BLUE}" stroke-width="12" opacity=".22"/>'
    marks += "".join(f'<circle cx="{axis.at(float(value))}" cy="13" r="3" fill="{BLUE}" opacity=".55"/>' for value in ordered)
    marks += f'<line x1="{median}" x2="{median}" y1="4" y2="22" stroke="{ORANGE}" stroke-width="2.5"/>'
    return _track(axis, marks, label)


def scale_track(axis: Axis) -> Markup:
    """The axis's labels, to stand below its tracks."""
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    texts = "".join(f'<text x="{axis.at(tick)}" y="13" text-anchor="middle">{tick:,.{digits}f}</text>' for tick in axis.ticks)
    return Markup(f'<svg class="track scale" width="100%" height="18" aria-hidden="true">{texts}</svg>')


def response_graph(names: Sequence[str], responses: Sequence[int], labels: Sequence[str]) -> Markup:
    """Strategies on a circle, an arrow from each to its best response, a ring around what is its own; ``labels`` beside the names."""
    width, height, n = 640.0, 300.0 if len(names) < 7 else 400.0, len(names)
    radius = 0.5 * height - 46.0
    angle = [2.0 * math.pi * k / n - 0.5 * math.pi for k in range(n)]
    at = [(0.5 * width + radius * math.cos(a), 0.5 * height + radius * math.sin(a)) for a in angle]
    marks = [
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{GREY}"/></marker></defs>'
    ]
    for k, response in enumerate(responses):
        (x, y), (u, v) = at[k], at[response]
        if response != k:
            length = math.hypot(u - x, v - y)
            dx, dy = 16.0 * (u - x) / length, 16.0 * (v - y) / length
            ends = f'x1="{x + dx:.1f}" y1="{y + dy:.1f}" x2="{u - dx:.1f}" y2="{v - dy:.1f}"'
            marks.append(f'<line {ends} stroke="{GREY}" stroke-width="1.5" marker-end="url(#head)"/>')
        else:
            marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="13" fill="none" stroke="{BLUE}" stroke-width="2"/>')
    for (x, y), a, name, label in zip(at, angle, names, labels, strict=True):
        side = math.cos(a)
        anchor = "middle" if abs(side) < 0.3 else "start" if side > 0.0 else "end"
        shift = 0.0 if anchor == "middle" else math.copysign(20.0, side)
        drop = -22.0 if anchor == "middle" and math.sin(a) < 0.0 else 32.0 if anchor == "middle" else 5.0
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{BLUE}"/>')
        text = f'{escape(name)}<tspan fill="{GREY}"> {escape(label)}</tspan>'
        marks.append(f'<text x="{x + shift:.1f}" y="{y + drop:.1f}" text-anchor="{anchor}" font-size="14">{text}</text>')
    title = "; ".join(f"best response to {name}: {names[response]}" for name, response in zip(names, responses, strict=True))
    view = f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px;width:100%;height:auto"'
    return Markup(f'<svg {view} role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>')


def diverging_colour(values: Sequence[float]) -> list[tuple[str, str]]:
    """``(background, text)`` colours: blue above zero, orange below, white at zero, by the square root of the distance."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    colours = []
    for value in values:
        strength = math.sqrt(min(abs(value) / largest, 1.0)) if math.isfinite(value) else 0.0
        end = (0, 114, 178) if value > 0 else (213, 94, 0)
        red, green, blue = (round(255 + (channel - 255) * 0.85 * strength) for channel in end)
        luminance = 0.2126 * (red / 255) ** 2.2 + 0.7152 * (green / 255) ** 2.2 + 0.0722 * (blue / 255) ** 2.2
        colours.append((f"rgb({red},{green},{blue})", "#fff" if luminance < 0.18 else "#111"))
    return colours


def _track(axis: Axis, marks: str, label: str) -> Markup:
    grid = "".join(f'<line x1="{axis.at(tick)}" x2="{axis.at(tick)}" y1="0" y2="26" class="grid"/>' for tick in axis.ticks)
    if axis.zero:
        grid += f'<line x1="{axis.at(0.0)}" x2="{axis.at(0.0)}" y1="0" y2="26" class="zero"/>'
    return Markup(f'<svg class="track" width="100%" height="26" role="img" aria-label="{escape(label)}">{grid}{marks}</svg>')
