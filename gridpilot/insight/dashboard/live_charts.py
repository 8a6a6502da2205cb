"""The charts of Live: options for the page, from what the journal tells."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import accumulate, groupby
from typing import Any, Final

from gridpilot.insight.dashboard import charts
from gridpilot.insight.dashboard.followed import Followed
from gridpilot.insight.dashboard.parts import scaled
from gridpilot.insight.forecast_facts import HORIZON
from gridpilot.insight.live_facts import Told, in_api_money
from gridpilot.live.api import TICK
from gridpilot.market.units import TICKS_PER_HOUR

__all__ = ["SHOWN", "power_chart", "price_chart", "profit_chart"]

SHOWN: Final = 288  # ticks in charts: a day
BAND_COLOURS: Final = {"last_good": "#f2a33a", "myopic": "#b48af2", "off": "#ef6461"}


def price_chart(seen: Followed) -> dict[str, Any]:
    """The energy price, what is expected of it, and who decided: options of the chart."""
    rows = seen.rows[-SHOWN:]
    points = [(_moment(row.at), row.energy) for row in rows]
    decided = [one for one in seen.decisions[-SHOWN:] if not rows or one.at >= rows[0].at]
    bands = []
    for reason, group in groupby(decided, key=lambda one: str(one.body["reason"])):
        ticks = list(group)
        if reason != "agent":
            bands.append((_time(ticks[0]), _moment(ticks[-1].at + TICK), reason, BAND_COLOURS.get(reason, charts.GREY)))
    foreseen, series = seen.foreseen(), {"price": points}
    fan = [] if foreseen is None else [(_moment(foreseen[1] + (h + 1) * TICK), each.tolist()) for h, each in enumerate(foreseen[2])]
    expected = _expected(seen)
    if expected:
        series["agent expects"] = expected
    return charts.lines(
        series, unit="", time=True, bands=bands, steps=["price", "agent expects"], fan=fan,
        colours={"price": charts.ACCENT, "agent expects": charts.GREEN},
    )  # fmt: skip


def profit_chart(seen: Followed) -> dict[str, Any]:
    """The day's profit beside that of the best choices, both from midnight on."""
    today = seen.today
    best = [one.weight * one.best if one.best is not None else one.profit for one in today]
    scale, letter = scaled([*accumulate(best), *accumulate(one.profit for one in today)])
    times = [_moment(one.at + TICK) for one in today]
    series = {
        "best": list(zip(times, accumulate([value / scale for value in best]), strict=True)),
        "profit": list(zip(times, accumulate([one.profit / scale for one in today]), strict=True)),
    }
    return charts.lines(
        series, unit=letter, time=True, dashed=["best"], fill=["profit"], colours={"best": charts.GREY, "profit": charts.ACCENT}
    )


def power_chart(seen: Followed) -> dict[str, Any]:
    """The power that runs, and its limit."""
    decided = seen.decisions[-SHOWN:]
    power = [(_time(one), one.body["power_w"] / 1000.0) for one in decided]
    cap = [(_time(one), one.session["cap_w"] / 1000.0) for one in decided if "cap_w" in one.session]
    return charts.lines(
        {"limit": cap, "power": power}, unit="", time=True, steps=["power", "limit"], dashed=["limit"], fill=["power"],
        colours={"limit": charts.RED, "power": charts.BLUE},
    )  # fmt: skip


def _expected(seen: Followed) -> list[tuple[str, float]]:
    """What the agent said that it expects of the coming hours, by the newest decision that it was asked about."""
    one = next((one for one in reversed(seen.decisions) if one.rationale), None)
    if one is None:
        return []
    prices = in_api_money(one.rationale[0]).get("expected_price_api_dollars_per_watt_row")
    if not isinstance(prices, list) or not all(isinstance(price, float) for price in prices):
        return []
    return [(_moment(one.at + timedelta(hours=h)), price) for h, price in enumerate(prices[: HORIZON // TICKS_PER_HOUR + 1])]


def _time(one: Told) -> str:
    return _moment(one.at)


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S")
