"""The table of features: one entry for each (name, formula, window, unit), in the order in which the pipeline computes them.

``python -m gridpilot.forecasting.features_table`` prints docs/features.md. A feature is described once, with ``{c}`` for the channel or
``{a}`` and ``{b}`` for the two channels of a pair; :func:`table` writes it out for a stream's channels.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, NamedTuple

__all__ = [
    "AHEAD_HOURS",
    "LAG_HOURS",
    "PAIR_HOURS",
    "RANGE_HOURS",
    "STEPS",
    "VOLATILITY_HOURS",
    "WAVELET",
    "WAVELET_LEVELS",
    "WAVELET_STEPS",
    "Feature",
    "as_page",
    "table",
]

STEPS: Final = (1, 2, 3)
LAG_HOURS: Final = (0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 48.0, 168.0)
RANGE_HOURS: Final = (1.0, 3.0, 6.0, 24.0, 168.0)
VOLATILITY_HOURS: Final = (1.0, 3.0, 6.0, 24.0, 168.0)
AHEAD_HOURS: Final = (1.0, 3.0, 6.0, 12.0)
PAIR_HOURS: Final = (24.0, 168.0)
WAVELET: Final = "db2"
WAVELET_LEVELS: Final = 5
WAVELET_STEPS: Final = 128


class Feature(NamedTuple):
    """One feature. ``u`` is the price over the level, ``d`` the change of u in a step, ``u[k]`` and ``d[k]`` those k ago."""

    name: str
    formula: str
    window: str
    unit: str


def _span(hours: float) -> str:
    if hours < 1.0:
        return f"{hours * 60:.0f}min"
    return f"{hours:.0f}h" if hours < 168.0 else f"{hours / 24:.0f}d"


def _calendar() -> list[Feature]:
    found = []
    for k, word in ((1, "24 h"), (2, "12 h"), (3, "8 h"), (4, "6 h")):
        for wave in ("sin", "cos"):
            found.append(Feature(f"day_{wave}_{k}", f"{wave}(2 pi {k} t / 24 h), t the time of day", word, "1"))
    for k, word in ((1, "7 d"), (2, "3.5 d"), (3, "2.33 d")):
        for wave in ("sin", "cos"):
            found.append(Feature(f"week_{wave}_{k}", f"{wave}(2 pi {k} t / 7 d), t the time since Monday 00:00", word, "1"))
    found.append(Feature("hour", "time of day", "-", "h"))
    found.append(Feature("weekend", "1 on Saturday and Sunday", "-", "0 or 1"))
    return found


def _levels_and_returns() -> list[Feature]:
    found = [
        Feature("{c}_price", "u = p / level, level the mean |p| of 7 d", "7 d", "level"),
        Feature("{c}_level_order", "log10(level), at least -9", "7 d", "decades of $"),
    ]
    names = [(f"{k}", f"{k} steps") for k in STEPS] + [(_span(h), _span(h)) for h in LAG_HOURS]
    found += [Feature(f"{{c}}_lag_{name}", f"u[{span}]", span, "level") for name, span in names]
    found += [
        Feature(f"{{c}}_return_{name}", f"(p - p[{span}]) / mean |p| between the two", span, "mean |p| of the window")
        for name, span in names
    ]
    found += [
        Feature(f"{{c}}_asinh_return_{name}", f"asinh(4 u) - asinh(4 u[{span}])", span, "1")
        for name, span in (("1", "1 steps"), ("1h", "1h"), ("24h", "24h"))
    ]
    found += [Feature(f"{{c}}_above_mean_{_span(h)}", "u - mean u", _span(h), "level") for h in RANGE_HOURS]
    found += [
        Feature(f"{{c}}_score_{_span(h)}", "(u - mean u) / sd u; 0 where sd u = 0", _span(h), "sd of the window")
        for h in (24.0, 168.0)
    ]
    return found


def _volatility() -> list[Feature]:
    found = [Feature(f"{{c}}_volatility_{_span(h)}", "sqrt(mean d^2)", _span(h), "level per step") for h in VOLATILITY_HOURS]
    found += [
        Feature(f"{{c}}_volatility_ratio_{_span(a)}_{_span(b)}", "volatility of the first window over the second's", _span(b), "1")
        for a, b in ((1.0, 24.0), (6.0, 168.0), (24.0, 168.0))
    ]
    found += [
        Feature("{c}_turbulent", "1 where volatility of 1 h > 2 x that of 7 d", "7 d", "0 or 1"),
        Feature("{c}_calm", "1 where volatility of 6 h < 0.5 x that of 7 d", "7 d", "0 or 1"),
        Feature("{c}_jump_share", "1 - (pi/2) mean |d d[1]| / mean d^2, within 0 and 1 (bipower variation)", "24h", "1"),
        Feature("{c}_upside_share", "sum d^2 of rises / sum d^2; 1/2 where there is none", "24h", "1"),
        Feature("{c}_change_skewness", "mean d^3 / (mean d^2)^1.5", "24h", "1"),
        Feature("{c}_change_kurtosis", "mean d^4 / (mean d^2)^2", "24h", "1"),
        Feature("{c}_change_autocorrelation", "sum d d[1] / sum d^2", "24h", "1"),
        Feature("{c}_square_autocorrelation", "correlation of d^2 with d[1]^2", "24h", "1"),
        Feature("{c}_variance_ratio", "mean (u - u[1h])^2 / (steps of 1 h x mean d^2); 1 for a random walk", "24h", "1"),
        Feature("{c}_seasonality", "correlation of u with u[24h]", "7 d", "1"),
    ]
    return found


def _ranges() -> list[Feature]:
    found = [Feature(f"{{c}}_range_{_span(h)}", "max u - min u", _span(h), "level") for h in RANGE_HOURS]
    found += [
        Feature(
            f"{{c}}_position_{_span(h)}", "(u - min u) / (max u - min u); 1/2 where they are equal (stochastic %K)", _span(h), "1"
        )
        for h in RANGE_HOURS
    ]
    found += [
        Feature(f"{{c}}_spread_order_{_span(h)}", "log10(max u - min u), at least -6", _span(h), "decades of level")
        for h in RANGE_HOURS
    ]
    found += [
        Feature(f"{{c}}_rank_{_span(h)}", "share of prices below p, plus half of those equal to it", _span(h), "1")
        for h in (6.0, 24.0, 168.0)
    ]
    found += [
        Feature("{c}_rank_same_time", "rank among the prices at this time of day, today and 7 days back", "7 d", "1"),
        Feature("{c}_efficiency_6h", "|u - u[6h]| / sum |d| (Kaufman)", "6h", "1"),
        Feature("{c}_efficiency_24h", "|u - u[24h]| / sum |d| (Kaufman)", "24h", "1"),
        Feature("{c}_slope_3h", "least-squares slope of u", "3h", "level per h"),
        Feature("{c}_slope_24h", "least-squares slope of u", "24h", "level per h"),
    ]
    return found


def _regimes() -> list[Feature]:
    return [
        Feature("{c}_spike", "1 where |u - mean u| > 3 sd u", "7 d", "0 or 1"),
        Feature("{c}_spike_share", "share of such steps in 24 h", "7 d", "1"),
        Feature("{c}_since_spike", "ln(1 + time since the last of them), that of 7 d where there is none", "7 d", "ln h"),
        Feature("{c}_negative", "1 where p < 0", "-", "0 or 1"),
        Feature("{c}_negative_share_24h", "share of steps with p < 0", "24h", "1"),
        Feature("{c}_negative_share_7d", "share of steps with p < 0", "7 d", "1"),
        Feature("{c}_since_negative", "ln(1 + time since p < 0), that of 7 d where there is none", "7 d", "ln h"),
        Feature("{c}_unchanged_share", "share of steps with d = 0", "24h", "1"),
        Feature("{c}_run", "steps the price has been rising (+) or falling (-) without a break", "24h", "steps"),
    ]


def _seasons() -> list[Feature]:
    found = [
        Feature(f"{{c}}_yesterday_{_span(h)}", f"u[24h - {_span(h)}] - u[24h]: what came next yesterday", "24h", "level")
        for h in AHEAD_HOURS
    ]
    found += [
        Feature(f"{{c}}_last_week_{_span(h)}", f"u[7d - {_span(h)}] - u[7d]: what came next a week ago", "7 d", "level")
        for h in AHEAD_HOURS
    ]
    found.append(Feature("{c}_profile", "mean of u[24h], u[48h], ..., u[168h], minus u", "7 d", "level"))
    found += [
        Feature(f"{{c}}_profile_{_span(h)}", f"mean over 7 days of u {_span(h)} after this time of day, minus u", "7 d", "level")
        for h in AHEAD_HOURS
    ]
    return found


def _indicators() -> list[Feature]:
    found = [
        Feature("{c}_rsi_14", "TA-Lib RSI(14) of the window; 50 where nothing moves", "64 steps", "0 to 100"),
        Feature("{c}_rsi_42", "TA-Lib RSI(42) of the window; 50 where nothing moves", "128 steps", "0 to 100"),
        Feature("{c}_macd", "TA-Lib MACD(12, 26, 9) of u", "128 steps", "level"),
        Feature("{c}_macd_signal", "its signal line", "128 steps", "level"),
        Feature("{c}_macd_histogram", "MACD minus signal", "128 steps", "level"),
    ]
    for n in (20, 60):
        found.append(
            Feature(f"{{c}}_bollinger_position_{n}", f"(u - lower) / (upper - lower), TA-Lib BBANDS({n}, 2, 2)", f"{n} steps", "1")
        )
        found.append(Feature(f"{{c}}_bollinger_width_{n}", f"upper - lower, TA-Lib BBANDS({n}, 2, 2)", f"{n} steps", "level"))
    for k in range(1, WAVELET_LEVELS + 1):
        found.append(
            Feature(
                f"{{c}}_wavelet_energy_{k}",
                f"share of detail {k} ({2**k} steps) in the squared {WAVELET} detail coefficients of u (PyWavelets)",
                f"{WAVELET_STEPS} steps",
                "1",
            )
        )
    found.append(Feature("{c}_wavelet_entropy", "-sum s ln s of these shares s", f"{WAVELET_STEPS} steps", "nat"))
    found.append(Feature("{c}_wavelet_detail", "root mean square of the detail coefficients", f"{WAVELET_STEPS} steps", "level"))
    return found


def _pairs() -> list[Feature]:
    found = [
        Feature("{a}_over_{b}", "u of a / (|u of a| + |u of b|); 1/2 where both are 0", "7 d", "1"),
        Feature("{a}_{b}_ratio_change", "the above minus its value 24 h ago", "7 d", "1"),
        Feature("{a}_{b}_spread", "u of a - u of b", "7 d", "levels"),
        Feature("{a}_{b}_spread_score", "(spread - mean) / sd; 0 where sd = 0", "24h", "sd of the window"),
        Feature("{a}_{b}_spread_order", "log10 |spread|, at least -6", "7 d", "decades of level"),
    ]
    for h in PAIR_HOURS:
        found.append(Feature(f"{{a}}_{{b}}_correlation_{_span(h)}", "correlation of d of a with d of b", _span(h), "1"))
    found.append(Feature("{a}_{b}_lead", "correlation of d of a with d[1] of b", "24h", "1"))
    found.append(Feature("{a}_{b}_lag", "correlation of d[1] of a with d of b", "24h", "1"))
    return found


CALENDAR: Final = tuple(_calendar())
CHANNEL: Final = (*_levels_and_returns(), *_volatility(), *_ranges(), *_regimes(), *_seasons(), *_indicators())
PAIR: Final = tuple(_pairs())


def table(channels: tuple[str, ...]) -> tuple[Feature, ...]:
    """Every feature of a stream of ``channels``: the calendar's, then each channel's, then those of each pair of channels."""
    found = list(CALENDAR)
    for c in channels:
        found += [feature._replace(name=feature.name.format(c=c)) for feature in CHANNEL]
    for a, b in combinations(channels, 2):
        found += [feature._replace(name=feature.name.format(a=a, b=b)) for feature in PAIR]
    return tuple(found)


def as_page() -> str:
    """The text of docs/features.md."""
    one, three = len(CALENDAR) + len(CHANNEL), len(CALENDAR) + 3 * len(CHANNEL) + 3 * len(PAIR)
    lines = [
        "# Features",
        "",
        "Written by `python -m gridpilot.forecasting.features_table`; a test holds this page to the code. A stream of one channel has",
        f"{one} features, one of three (energy, hash, token) {three}: {len(CALENDAR)} of the calendar, {len(CHANNEL)} for each channel",
        f"`{{c}}` and {len(PAIR)} for each pair of channels `{{a}}`, `{{b}}`.",
        "",
        "`p` is the price, `level` its mean absolute value over 7 days, `u = p / level`, `d` the change of u in a step; `[k]` is the",
        "value k ago. Before the first row the first price is held to have stood for ever, so that every feature is finite from the",
        "first row on. Each value is computed anew from the last 7 days alone: it does not depend on when the stream began, nor on",
        "anything that comes after.",
        "",
        "| name | formula | window | unit |",
        "| --- | --- | --- | --- |",
    ]
    for feature in (*CALENDAR, *CHANNEL, *PAIR):
        formula = feature.formula.replace("|", "\\|")
        lines.append(f"| `{feature.name}` | {formula} | {feature.window} | {feature.unit.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_page(), end="")
