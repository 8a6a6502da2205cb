"""Charts as ECharts options: plain JSON, without animation, a colour a series; figures are rounded to what a screen can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["ACCENT", "BLUE", "GREEN", "GREY", "RED", "VIOLET", "bars", "bid_curve", "heat", "intervals", "lines", "matrix"]

Option = dict[str, Any]
Points = Sequence[tuple[Any, float | None]]

ACCENT: Final = "#f2a33a"
BLUE: Final = "#5aa2f0"
GREEN: Final = "#4fbf7f"
RED: Final = "#ef6461"
GREY: Final = "#8793a2"
VIOLET: Final = "#b48af2"
SERIES: Final = (ACCENT, BLUE, GREEN, VIOLET, "#e87fb0", "#5fd0d0", GREY, "#c9c16a")
TEXT: Final = "#aab4c0"
FAINT: Final = "#252d38"
SMALL: Final = 11  # px of labels
TOOLTIP: Final[Option] = {
    "confine": True,
    "backgroundColor": "#171d26",
    "borderColor": "#2a323d",
    "textStyle": {"color": "#dfe5ec", "fontSize": 12},
}
_TOP: Final = 30  # px for a legend


def lines(
    series: Mapping[str, Points],
    *,
    unit: str,
    time: bool = False,
    bands: Sequence[tuple[Any, Any, str, str]] = (),
    steps: Sequence[str] = (),
    dashed: Sequence[str] = (),
    fill: Sequence[str] = (),
    mark: Any = None,
    x_name: str = "",
    colours: Mapping[str, str] | None = None,
    fan: Sequence[tuple[Any, Sequence[float]]] = (),
) -> Option:
    """Lines over time or number. ``bands`` are ``(from, to, name, colour)`` behind them, ``mark`` is a place on the x axis.

    ``fan`` holds five rising quantiles a place: the outer and the inner two bound areas, the middle one is a line.
    """
    drawn: list[Option] = []
    for i, (name, points) in enumerate(series.items()):
        colour = (colours or {}).get(name, SERIES[i % len(SERIES)])
        one: Option = {
            "name": name,
            "type": "line",
            "data": [[x, _rounded(y)] for x, y in points],
            "showSymbol": len(points) < 2,
            "lineStyle": {"width": 1.6, "type": "dashed" if name in dashed else "solid"},
            "itemStyle": {"color": colour},
            "color": colour,
            "emphasis": {"disabled": True},
        }
        if name in steps:
            one["step"] = "end"
        if name in fill:
            one["areaStyle"] = {"opacity": 0.18}
        drawn.append(one)
    drawn += _fan(fan) if fan else []
    if bands and drawn:
        drawn[0]["markArea"] = {
            "silent": True,
            "data": [
                [{"xAxis": begin, "name": name, "itemStyle": {"color": colour, "opacity": 0.22}}, {"xAxis": end}]
                for begin, end, name, colour in bands
            ],
            "label": {"show": False},
        }
    if mark is not None and drawn:
        drawn[0]["markLine"] = {
            "silent": True,
            "symbol": "none",
            "label": {"show": False},
            "lineStyle": {"color": "#ffffff", "type": "dotted"},
            "data": [{"xAxis": mark}],
        }
    axis: Option = {"type": "time" if time else "value", "axisLine": {"lineStyle": {"color": FAINT}}, **_axis_text()}
    axis["splitLine"] = {"show": False}
    if not time:
        axis |= {"min": "dataMin", "max": "dataMax"}
        axis["axisLabel"]["showMaxLabel"] = False  # the end of the data, with all its digits
    if x_name:
        axis |= {"name": x_name, "nameLocation": "middle", "nameGap": 22}
    return _base() | {
        "xAxis": axis,
        "yAxis": _value_axis(unit),
        "tooltip": TOOLTIP | {"trigger": "axis"},
        "legend": _legend(list(series)),
        "grid": _grid(top=_TOP if len(series) > 1 or unit else 12),
        "series": drawn,
    }


def _fan(fan: Sequence[tuple[Any, Sequence[float]]]) -> list[Option]:
    """Lines at the quantiles, and areas stacked between them, whose figures are differences and are shown nowhere."""
    drawn: list[Option] = []
    for name, low, high, opacity in (("5 to 95 %", 0, 4, 0.16), ("25 to 75 %", 1, 3, 0.28)):
        for part in (low, high):
            data = [[x, _rounded(levels[low] if part == low else levels[high] - levels[low])] for x, levels in fan]
            area = {"areaStyle": {"opacity": opacity, "color": BLUE}} if part == high else {}
            drawn.append(
                {"name": name, "type": "line", "stack": name, "stackStrategy": "all", "data": data, "showSymbol": False,
                 "silent": True, "color": BLUE, "lineStyle": {"width": 0}, "emphasis": {"disabled": True},
                 "tooltip": {"show": False}, **area}
            )  # fmt: skip
    middle = [[x, _rounded(levels[2])] for x, levels in fan]
    drawn.append(
        {"name": "forecast", "type": "line", "data": middle, "showSymbol": False, "color": BLUE,
         "lineStyle": {"width": 1.2, "type": "dashed"}, "emphasis": {"disabled": True}}
    )  # fmt: skip
    return drawn


def bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    unit: str,
    highlight: str | None = None,
    signed: bool = False,
    horizontal: bool = True,
) -> Option:
    """Bars by name; ``signed`` colours gains green and losses red, ``highlight`` is the name that stands out."""
    drawn = []
    for i, (title, values) in enumerate(series.items()):
        data = []
        for name, value in zip(names, values, strict=True):
            colour = SERIES[i % len(SERIES)]
            if signed and value is not None:
                colour = GREEN if value >= 0.0 else RED
            elif highlight is not None and len(series) == 1:
                colour = ACCENT if name == highlight else GREY
            data.append({"value": _rounded(value), "itemStyle": {"color": colour}})
        drawn.append(
            {"name": title, "type": "bar", "data": data, "barMaxWidth": 18, "itemStyle": {"color": SERIES[i % len(SERIES)]}}
        )
    category: Option = {
        "type": "category",
        "data": list(names),
        "axisLine": {"lineStyle": {"color": FAINT}},
        "axisTick": {"show": False},
        "axisLabel": {"color": TEXT, "fontSize": SMALL, "interval": 0, **({} if horizontal else {"rotate": 30})},
    }
    if horizontal:
        category["inverse"] = True
    values_axis = _value_axis("" if horizontal else unit)
    return _base() | {
        "xAxis": values_axis if horizontal else category,
        "yAxis": category if horizontal else values_axis,
        "tooltip": TOOLTIP | {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        **({"legend": _legend(list(series))} if len(series) > 1 else {"grid": _grid(top=_TOP if unit and not horizontal else 6)}),
        "series": drawn,
    }


def intervals(
    names: Sequence[str], low: Sequence[float | None], value: Sequence[float], high: Sequence[float | None], unit: str
) -> Option:
    """A point and its interval by name, the first on top: a bar that nobody sees, one that is the interval, and the point."""
    shown = [(None if a is None or b is None else (a, b)) for a, b in zip(low, high, strict=True)]
    names = list(names)
    return _base() | {
        "xAxis": _value_axis(unit) | {"scale": True},
        "yAxis": {
            "type": "category",
            "data": names,
            "inverse": True,
            "axisLine": {"lineStyle": {"color": FAINT}},
            "axisTick": {"show": False},
            "axisLabel": {"color": TEXT, "fontSize": SMALL, "interval": 0},
        },
        "grid": _grid(top=24),
        "tooltip": TOOLTIP,
        "series": [
            # An interval is a line of two points: a stack of bars would begin at zero, and could not leave it.
            *(
                {
                    "name": "95 % interval",
                    "type": "line",
                    "data": [[_rounded(pair[0]), name], [_rounded(pair[1]), name]],
                    "symbol": "rect",
                    "symbolSize": [2, 10],
                    "lineStyle": {"width": 3, "color": BLUE},
                    "itemStyle": {"color": BLUE},
                }
                for name, pair in zip(names, shown, strict=True)
                if pair is not None
            ),
            {
                "name": "mean",
                "type": "scatter",
                "data": [[_rounded(v), name] for name, v in zip(names, value, strict=True)],
                "symbolSize": 9,
                "itemStyle": {"color": ACCENT},
                "z": 5,
            },
        ],
    }


def heat(
    columns: Sequence[str], rows: Sequence[str], values: Sequence[Sequence[float | None]], *, unit: str, clickable: bool = False
) -> Option:
    """A strip of ``rows`` x ``columns``; with ``clickable`` a click picks a cell, whose number is ``row * len(columns) + column``."""
    # A cell is picked by its name, which would be its column's; a gap is "-".
    data = [
        {"name": f"{columns[x]}, {rows[y]}", "value": [x, y, "-" if (cell := _rounded(value)) is None else cell]}
        for y, row in enumerate(values)
        for x, value in enumerate(row)
    ]
    found = [value for row in values for value in row if value is not None and math.isfinite(value)]
    return _base() | {
        "xAxis": {
            "type": "category",
            "data": list(columns),
            "axisTick": {"show": False},
            "axisLabel": {"color": TEXT, "fontSize": SMALL, "hideOverlap": True},
        },
        "yAxis": {
            "type": "category",
            "data": list(rows),
            "inverse": True,
            "axisTick": {"show": False},
            "axisLabel": {"color": TEXT, "fontSize": SMALL, "interval": 0},
        },
        "grid": {"left": 8, "right": 8, "top": 6, "bottom": 34, "containLabel": True},
        "visualMap": {
            "min": min(found, default=0.0),
            "max": max(max(found, default=1.0), min(found, default=0.0) + 1e-9),
            "calculable": False,
            "orient": "horizontal",
            "left": "center",
            "bottom": 0,
            "itemHeight": 90,
            "itemWidth": 9,
            "text": [f"high, {unit}", "low"],
            "textStyle": {"color": TEXT, "fontSize": SMALL},
            "inRange": {"color": ["#141b25", "#274a73", "#5aa2f0", "#f2d08a", ACCENT]},
        },
        "tooltip": TOOLTIP,
        "series": [
            {
                "id": "strip",
                "type": "heatmap",
                "data": data,
                "progressive": 0,
                **(
                    {"selectedMode": "single", "select": {"itemStyle": {"borderColor": "#ffffff", "borderWidth": 2}}}
                    if clickable
                    else {}
                ),
            }
        ],
    }


def matrix(names: Sequence[str], values: Sequence[Sequence[float | None]], sure: Sequence[Sequence[bool]], unit: str) -> Option:
    """Differences of row less column, green and red; those that chance explains are faint."""
    data = []
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value is None:
                continue
            colour = GREEN if value > 0.0 else RED
            data.append(
                {
                    "value": [x, y, _rounded(value)],
                    "itemStyle": {"color": f"{colour}{'c0' if sure[y][x] else '2a'}", "borderColor": "#0e1218", "borderWidth": 1},
                    "label": {"show": len(names) <= 12, "color": "#ffffff" if sure[y][x] else TEXT, "fontSize": SMALL},
                }
            )
    axis = {"type": "category", "data": list(names), "axisTick": {"show": False}, "splitArea": {"show": False}}
    label = {"color": TEXT, "fontSize": SMALL, "interval": 0}
    return _base() | {
        "xAxis": axis | {"position": "top", "axisLabel": label | {"rotate": 30}},
        "yAxis": axis | {"inverse": True, "axisLabel": label},
        "grid": {"left": 8, "right": 8, "top": 8, "bottom": 8, "containLabel": True},
        "tooltip": TOOLTIP | {"formatter": f"{{c}} {unit}"},
        "series": [{"type": "heatmap", "data": data, "progressive": 0}],
    }


def bid_curve(
    demand: Sequence[tuple[float, float]],
    supply: Sequence[tuple[float, float]],
    *,
    band: tuple[float | None, float | None],
    unit: str,
    own: Sequence[tuple[float, float, float]] = (),
    own_name: str = "",
) -> Option:
    """Blocks of demand by falling price and steps of supply by rising cost, as ``(kW, price)``; the clearing band between them.

    ``own`` are the stretches ``(from kW, to kW, price)`` of the demand that one seat bids.
    """
    drawn: list[Option] = []
    for name, steps, colour in (("demand", demand, BLUE), ("supply", supply, GREY)):
        points, at = [], 0.0
        for kw, price in steps:
            points += [[_rounded(at), _rounded(price)], [_rounded(at + kw), _rounded(price)]]
            at += kw
        drawn.append(
            {"name": name, "type": "line", "data": points, "showSymbol": False, "color": colour, "lineStyle": {"width": 2},
             "emphasis": {"disabled": True}}
        )  # fmt: skip
    if own:
        points = []
        for begin, end, price in own:
            points += [[_rounded(begin), _rounded(price)], [_rounded(end), _rounded(price)], [_rounded(end), None]]
        drawn.append(
            {"name": own_name or "own", "type": "line", "data": points, "showSymbol": False, "color": ACCENT, "lineStyle": {"width": 5},
             "connectNulls": False, "emphasis": {"disabled": True}}
        )  # fmt: skip
    low, high = band
    if low is not None and high is not None:
        drawn[0]["markArea"] = {
            "silent": True,
            "label": {"show": False},
            "data": [[{"yAxis": _rounded(low), "itemStyle": {"color": GREEN, "opacity": 0.3}}, {"yAxis": _rounded(high)}]],
        }
    if low is not None:
        drawn[0]["markLine"] = {
            "silent": True,
            "symbol": "none",
            "label": {"color": TEXT, "fontSize": SMALL, "position": "insideEndTop", "formatter": "clearing"},
            "lineStyle": {"color": GREEN, "type": "dashed"},
            "data": [{"yAxis": _rounded(low)}],
        }
    return _base() | {
        "xAxis": _value_axis(""),
        "yAxis": _value_axis(unit),
        "tooltip": TOOLTIP | {"trigger": "axis"},
        "legend": _legend([one["name"] for one in drawn]),
        "series": drawn,
    }


def _rounded(value: float | None) -> float | None:
    """Six significant digits, more than a screen shows; None for what is not finite, which JSON has no sign for."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _base() -> Option:
    return {"animation": False, "backgroundColor": "transparent", "textStyle": {"color": TEXT, "fontSize": SMALL}, "grid": _grid()}


def _grid(top: int = _TOP) -> Option:
    return {"left": 8, "right": 16, "top": top, "bottom": 8, "containLabel": True}


def _axis_text() -> Option:
    return {"axisLabel": {"color": TEXT, "fontSize": SMALL, "hideOverlap": True}}


def _value_axis(unit: str) -> Option:
    return {
        "type": "value",
        "name": unit,
        "nameTextStyle": {"color": TEXT, "fontSize": SMALL, "align": "left"},
        "splitLine": {"lineStyle": {"color": FAINT}},
        "splitNumber": 4,
        **_axis_text(),
    }


def _legend(names: Sequence[str]) -> Option:
    return {
        "show": len(names) > 1,
        "data": list(names),
        "top": 0,
        "right": 4,
        "itemWidth": 14,
        "itemHeight": 8,
        "type": "scroll",
        "textStyle": {"color": TEXT, "fontSize": SMALL},
    }
