"""Charts are JSON that a browser takes: no figure that JSON has not, and every point where it belongs."""

from __future__ import annotations

import json
import math

from gridpilot.insight.dashboard import charts


def test_figures_that_json_has_no_sign_for_become_gaps() -> None:
    option = charts.lines(
        {"a": [(0, 1.0), (1, math.nan), (2, math.inf)], "b": []}, unit="kW", bands=[(0, 1, "off", "#fff")], mark=1
    )
    json.dumps(option, allow_nan=False)
    assert [point[1] for point in option["series"][0]["data"]] == [1.0, None, None]
    for other in (
        charts.bars(["a", "b"], {"x": [math.nan, -2.0]}, unit="$", signed=True),
        charts.heat(["t0", "t1"], ["s"], [[None, math.nan]], unit="kW", clickable=True),
        charts.heat([], [], [], unit="kW"),
        charts.intervals(["a"], [None], [1.0], [None], "$"),
        charts.bid_curve([], [], band=(None, None), unit="$"),
    ):
        json.dumps(other, allow_nan=False)


def test_a_click_on_a_cell_names_its_row_and_column() -> None:
    option = charts.heat(["t0", "t1", "t2"], ["s0", "s1"], [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], unit="kW", clickable=True)
    data = option["series"][0]["data"]
    assert [divmod(i, 3) for i, _ in enumerate(data)] == [(y, x) for x, y, _ in (cell["value"] for cell in data)]
    assert data[5]["value"][2] == 5.0
    assert len({cell["name"] for cell in data}) == 6  # a click picks by the name


def test_gains_and_losses_have_their_colours() -> None:
    data = charts.bars(["a", "b"], {"x": [1.0, -1.0]}, unit="$", signed=True)["series"][0]["data"]
    assert [one["itemStyle"]["color"] for one in data] == [charts.GREEN, charts.RED]


def test_the_bid_curve_steps_by_block_and_shows_whose_is_whose() -> None:
    option = charts.bid_curve(
        [(10.0, 9.0), (5.0, 4.0)], [(12.0, 3.0)], band=(3.0, 4.0), unit="$", own=[(10.0, 15.0, 4.0)], own_name="seat 1"
    )
    demand, supply, own = option["series"]
    assert demand["data"] == [[0.0, 9.0], [10.0, 9.0], [10.0, 4.0], [15.0, 4.0]]
    assert supply["data"] == [[0.0, 3.0], [12.0, 3.0]]
    assert own["data"][:2] == [[10.0, 4.0], [15.0, 4.0]]


def test_a_fan_is_stacked_to_its_quantiles() -> None:
    """Areas end where the quantiles are; only lines whose figures are prices are told on hovering."""
    fan = [(h, [1.0, 2.0, 3.0, 5.0, 9.0]) for h in (5, 6)]
    option = charts.lines({"price": [(0, 1.0), (4, 2.0)]}, unit="", fan=fan)
    by_stack: dict[str, list[float]] = {}
    for one in option["series"]:
        if "stack" in one:
            by_stack.setdefault(one["stack"], []).append(one["data"][0][1])
            assert one["tooltip"] == {"show": False}
    assert {name: sum(parts) for name, parts in by_stack.items()} == {"5 to 95 %": 9.0, "25 to 75 %": 5.0}
    assert next(one for one in option["series"] if one["name"] == "forecast")["data"] == [[5, 3.0], [6, 3.0]]
