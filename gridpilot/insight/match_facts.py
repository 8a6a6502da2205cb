"""Facts of a match, from its ticks as they are played again. JSON's types, a unit in the suffix of every key."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from gridpilot.errors import TournamentError
from gridpilot.insight import forecast_facts
from gridpilot.insight.decomposition import PARTS, lead_by_hour, parts_of
from gridpilot.insight.replay import Change, Played, reclear
from gridpilot.insight.tick_table import BID_KINDS
from gridpilot.market.auction import PRICE_HI, PRICE_LO, VOLUME
from gridpilot.market.clearing import Mechanism
from gridpilot.market.physics import COOLING, DISCHARGED, DRAWN, MACHINES, PAYMENT, PROFIT, REVENUE, WEAR, WON
from gridpilot.market.units import DT, TICKS_PER_DAY, TICKS_PER_HOUR

__all__ = ["clock", "compare", "document", "expected", "forecast", "recleared", "seat", "tick", "what_if", "window"]

Facts = dict[str, Any]

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EPSILON: Final = 1e-9  # kW, what rounding leaves of a block


def tick(played: Played, tick: int) -> Facts:
    """The market in one tick: prices, what was for sale and asked for, and what each seat got.

    Raises :class:`~gridpilot.errors.TournamentError` for a tick that there is not.
    """
    t = _checked("tick", tick, played.ticks)
    trace = played.trace
    energy = float(played.prices()[t, 0, 0])
    return {
        **_about(played),
        "tick_number": t,
        "clock_at": clock(played, t),
        "mechanism": trace.arena.rules.mechanism,
        "energy_price_dollars_per_kwh": energy,
        "clearing_price_dollars_per_kwh": float(trace.price[t, 0]),
        "highest_losing_price_dollars_per_kwh": _finite(trace.totals[t, 0, PRICE_LO]),
        "lowest_winning_price_dollars_per_kwh": _finite(trace.totals[t, 0, PRICE_HI]),
        "capacity_kw": float(played.capacity_kw()[t, 0]),
        "sold_kw": float(trace.totals[t, 0, VOLUME]),
        "asked_kw": float(trace.bids[t, 0, :, :, 0].sum()),
        "scarce": _scarce(played, t),
        "seats": [
            {
                "seat_number": n,
                "agent": agent,
                "asked_kw": float(trace.bids[t, 0, n, :, 0].sum()),
                "won_kw": float(trace.outcome[t, 0, n, WON]),
                "paid_dollars": float(trace.outcome[t, 0, n, PAYMENT]),
                "price_paid_dollars_per_kwh": _price_paid(trace.outcome[t, 0, n, PAYMENT], trace.outcome[t, 0, n, WON] * DT),
            }
            for n, agent in enumerate(trace.matches[0].seats)
        ],
    }


def seat(played: Played, tick: int, seat: int) -> Facts:
    """One seat in one tick: its blocks and what became of each, its state, what bound it as reason codes, and its agent's own reasons.

    Codes of ``bound``: ``no_bid``, ``bid_refused``, ``all_won``, ``priced_out`` (its first lost block bid less than the clearing price),
    ``on_the_margin`` (as much), ``scarce`` (the connection was full), ``gave_back`` (it drew less than it won). Raises
    :class:`~gridpilot.errors.TournamentError` for a seat or tick that there is not.
    """
    trace, n = played.trace, _checked("seat", seat, len(played.trace.matches[0].seats))
    t = _checked("tick", tick, played.ticks)
    outcome, price = trace.outcome[t, 0, n], float(trace.price[t, 0])
    blocks = _blocks(trace.bids[t, 0, n], float(outcome[WON]))
    lost = [block for block in blocks if block["lost_kw"] > EPSILON]
    plant = trace.arena.arrays.plant[n]
    room = float(plant["soc_max"] - plant["soc_min"])
    stored = float(trace.storage[t, 0, n, 0])
    return {
        **_about(played),
        "tick_number": t,
        "clock_at": clock(played, t),
        "seat_number": n,
        "site": trace.arena.sites[n].name,
        "agent": trace.matches[0].seats[n],
        "bid_kind": BID_KINDS[int(trace.kind[t, 0, n])],
        "blocks": blocks,
        "blocks_count": len(blocks),
        "asked_kw": sum(block["asked_kw"] for block in blocks),
        "won_kw": float(outcome[WON]),
        "lost_kw": sum(block["lost_kw"] for block in blocks),
        "drawn_kw": float(outcome[DRAWN]),
        "highest_bid_price_dollars_per_kwh": blocks[0]["bid_price_dollars_per_kwh"] if blocks else None,
        "lowest_bid_price_dollars_per_kwh": blocks[-1]["bid_price_dollars_per_kwh"] if blocks else None,
        "first_lost_bid_price_dollars_per_kwh": lost[0]["bid_price_dollars_per_kwh"] if lost else None,
        "clearing_price_dollars_per_kwh": price,
        "energy_price_dollars_per_kwh": float(played.prices()[t, 0, 0]),
        "paid_dollars": float(outcome[PAYMENT]),
        "price_paid_dollars_per_kwh": _price_paid(outcome[PAYMENT], outcome[WON] * DT),
        "revenue_dollars": float(outcome[REVENUE]),
        "wear_dollars": float(outcome[WEAR]),
        "profit_dollars": float(outcome[PROFIT]),
        "machines_kw": float(outcome[MACHINES]),
        "cooling_kw": float(outcome[COOLING]),
        "battery_delivered_kw": float(outcome[DISCHARGED]),
        "stored_kwh": stored,
        "stored_after_kwh": float(trace.storage[t + 1, 0, n, 0]),
        "stored_percent": 100.0 * (stored - float(plant["soc_min"])) / room if room > 0.0 else None,
        "storage_value_dollars_per_kwh": _finite(trace.storage_value[t, 0, n]),
        **_battery_prices(plant, float(trace.storage_value[t, 0, n])),
        "hall_temperature_c": float(trace.storage[t, 0, n, 1]),
        "forgone_dollars_per_hour": float(trace.gain[t, 0, n]),
        "bound": _bound(played, t, n, blocks, lost, price),
        "rationale": dict(played.reasons.get((0, t, n), {})),
    }


def document(played: Played, tick: int) -> Facts:
    """The market of one tick in the form of ``gridpilot clear``: bids by seat, supply, capacity, reserve."""
    t = _checked("tick", tick, played.ticks)
    reserve = played.trace.arena.rules.reserve
    return {
        "bids": [[[kw, price] for kw, price in bid if kw > 0.0] for bid in played.trace.bids[t, 0].tolist()],
        "supply": played.supply()[t, 0].tolist(),
        "capacity": float(played.capacity_kw()[t, 0]),
        **({} if reserve is None else {"reserve": float(reserve)}),
    }


def window(played: Played, seat: int, first: int = 0, last: int | None = None) -> Facts:
    """A seat over the ticks ``first`` to ``last``, both included, by hour: energy, money, price paid and charge."""
    n = _checked("seat", seat, len(played.trace.matches[0].seats))
    begin = _checked("first", first, played.ticks)
    end = _checked("last", played.ticks - 1 if last is None else last, played.ticks) + 1
    hours = []
    for start in range(begin - begin % TICKS_PER_HOUR, max(end, begin + 1), TICKS_PER_HOUR):
        ticks = slice(max(start, begin), min(start + TICKS_PER_HOUR, end))
        hours.append({"hour_number": start // TICKS_PER_HOUR, **_sums(played, n, ticks)})
    return {
        **_about(played),
        "seat_number": n,
        "agent": played.trace.matches[0].seats[n],
        "first_tick_number": begin,
        "last_tick_number": end - 1,
        "hours": hours,
        "total": _sums(played, n, slice(begin, end)),
    }


def compare(played: Played, seat: int, other: Played, other_seat: int) -> Facts:
    """How far a seat is ahead of another one, of the same match or of another, and where that comes from, by hour too.

    The parts sum to the lead.
    """
    n = _checked("seat", seat, len(played.trace.matches[0].seats))
    m = _checked("seat", other_seat, len(other.trace.matches[0].seats))
    hours = lead_by_hour(parts_of(played.trace)[:, 0, n], parts_of(other.trace)[:, 0, m])
    parts = hours.sum(axis=0)
    by_hour = hours.sum(axis=1)
    own, theirs = (_sums(one, s, slice(0, one.ticks)) for one, s in ((played, n), (other, m)))
    telling = int(np.argmax(np.abs(by_hour)))
    profits = [float(one.trace.rows["profit"].iloc[s]) for one, s in ((played, n), (other, m))]
    return {
        **_about(played),
        "seat_number": n,
        "site": played.trace.arena.sites[n].name,
        "agent": played.trace.matches[0].seats[n],
        "other": other.trace.matches[0].seats[m],
        "other_match": _name(other),
        "other_seat_number": m,
        "profit_dollars": profits[0],
        "other_profit_dollars": profits[1],
        "lead_dollars": float(parts.sum()),
        **{f"lead_by_{name}_dollars": float(value) for name, value in zip(PARTS, parts, strict=True)},
        "main_part": PARTS[int(np.argmin(parts) if parts.sum() < 0 else np.argmax(parts))],
        "telling_hour_number": telling,
        "lead_in_telling_hour_dollars": float(by_hour[telling]),
        "price_paid_dollars_per_kwh": own["price_paid_dollars_per_kwh"],
        "other_price_paid_dollars_per_kwh": theirs["price_paid_dollars_per_kwh"],
        "energy_bought_kwh": own["energy_bought_kwh"],
        "other_energy_bought_kwh": theirs["energy_bought_kwh"],
        "battery_delivered_kwh": own["battery_delivered_kwh"],
        "other_battery_delivered_kwh": theirs["battery_delivered_kwh"],
        "hours": [
            {"hour_number": h, "lead_dollars": float(by_hour[h])}
            | {f"lead_by_{name}_dollars": float(value) for name, value in zip(PARTS, row, strict=True)}
            for h, row in enumerate(hours)
        ],
    }


def expected(played: Played, tick: int, seat: int) -> Facts:
    """What the agent of a seat said that it expected, and the clearing prices that came, by hour from that tick on.

    Beside it what a forecaster, which no seat need have, expects of the energy price by those up to that tick, and what came.
    """
    n, t = _checked("seat", seat, len(played.trace.matches[0].seats)), _checked("tick", tick, played.ticks)
    price = played.trace.price[t:, 0]
    starts = range(0, len(price), TICKS_PER_HOUR)
    return {
        **_about(played),
        "tick_number": t,
        "seat_number": n,
        "agent": played.trace.matches[0].seats[n],
        "rationale": dict(played.reasons.get((0, t, n), {})),
        "price_that_came_dollars_per_kwh": [float(price[h : h + TICKS_PER_HOUR].mean()) for h in starts],
        **forecast(played, t),
    }


def forecast(played: Played, tick: int) -> Facts:
    """Quantiles of the energy price at each hour ahead, by the prices up to ``tick``, and the prices that came."""
    scenario = played.trace.arena.scenario
    energy = scenario.prices[: scenario.history + tick + 1, 0, 0]
    quantiles = played.fans.get(tick)
    if quantiles is None:
        first = int(scenario.start[0]) - scenario.history
        quantiles = played.fans[tick] = forecast_facts.foresee(range(first, first + len(energy)), energy.tolist())
    came = dict(enumerate(scenario.prices[scenario.history + tick : scenario.history + played.ticks, 0, 0].tolist()))
    return {"forecast_by": forecast_facts.FORECASTER, **forecast_facts.ahead(quantiles, came, "dollars_per_kwh")}


def recleared(played: Played, mechanism: Mechanism, tick: int | None = None) -> Facts:
    """The same bids under another mechanism, in one tick or in all of them: who pays what. What everybody wins is the same."""
    then, now = played.trace.outcome[:, 0, :, PAYMENT], reclear(played, mechanism)[:, 0]
    if tick is not None:
        t = _checked("tick", tick, played.ticks)
        then, now = then[t : t + 1], now[t : t + 1]
    paid, otherwise = then.sum(axis=0), now.sum(axis=0)
    change = otherwise - paid
    return {
        **_about(played),
        "same_bids": True,
        "tick_number": tick,
        "mechanism": played.trace.arena.rules.mechanism,
        "other_mechanism": mechanism,
        "paid_dollars": float(paid.sum()),
        "otherwise_paid_dollars": float(otherwise.sum()),
        "payment_change_dollars": float(change.sum()),
        "most_affected_seat_number": int(np.argmax(np.abs(change))),
        "seats": [
            {
                "seat_number": n,
                "agent": agent,
                "paid_dollars": float(paid[n]),
                "otherwise_paid_dollars": float(otherwise[n]),
                "payment_change_dollars": float(change[n]),
            }
            for n, agent in enumerate(played.trace.matches[0].seats)
        ],
    }


def what_if(played: Played, changed: Played) -> Facts:
    """The match with one change, agents responding to what they then see: what every seat earns."""
    before, after = (one.trace.rows["profit"].to_numpy() for one in (played, changed))
    return {
        **_about(played),
        "same_bids": False,
        "change": told(changed.change),
        "profit_dollars": float(before.sum()),
        "otherwise_profit_dollars": float(after.sum()),
        "profit_change_dollars": float((after - before).sum()),
        "seats": [
            {
                "seat_number": n,
                "agent": agent,
                "other": changed.trace.matches[0].seats[n],
                "profit_dollars": float(before[n]),
                "otherwise_profit_dollars": float(after[n]),
                "profit_change_dollars": float(after[n] - before[n]),
            }
            for n, agent in enumerate(played.trace.matches[0].seats)
        ],
    }


def told(change: Change) -> str:
    """A change in words."""
    parts = [] if change.mechanism is None else [f"mechanism {change.mechanism}"]
    if change.agent is not None:
        name = change.agent if isinstance(change.agent, str) else str(change.agent.get("label", change.agent.get("name")))
        parts.append(f"{name} in seat {change.seat}")
    if change.blocks is not None:
        parts.append(f"seat {change.seat} bids {len(change.blocks)} blocks in tick {change.tick}")
    return ", ".join(parts)


def _about(played: Played) -> Facts:
    return {"match": _name(played), "exact": not played.differs, "differs": list(played.differs)}


def _name(played: Played) -> str:
    match = played.trace.matches[0]
    return f"{match.episode}/{match.lineup}/{match.rotation}"


def _checked(what: str, value: int, end: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
        raise TournamentError(f"{what} is {value!r:.40}, expected 0 to {end - 1}")
    return value


def clock(played: Played, t: int) -> str:
    """The weekday and time of a tick."""
    day, rest = divmod(int(played.trace.arena.scenario.start[0]) + t, TICKS_PER_DAY)
    return f"{DAYS[day % 7]} {rest // TICKS_PER_HOUR:02d}:{rest % TICKS_PER_HOUR * 5:02d}"


def _scarce(played: Played, t: int) -> bool:
    rules = played.trace.arena.rules
    dearest = max((adder for _, adder in rules.supply), default=0.0)
    reserve = -math.inf if rules.reserve is None else rules.reserve
    return bool(played.trace.price[t, 0] > max(float(played.prices()[t, 0, 0]) + dearest, reserve))


def _blocks(bid: Any, won: float) -> list[Facts]:
    blocks, left = [], won
    for k, (kw, price) in enumerate(bid.tolist()):
        if kw > 0.0:
            got = min(kw, max(left, 0.0))
            left -= got
            blocks.append(
                {"block_number": k, "asked_kw": kw, "bid_price_dollars_per_kwh": price, "won_kw": got, "lost_kw": kw - got}
            )
    return blocks


def _battery_prices(plant: Any, value: float) -> Facts:
    """Up to which price of power charging pays, and from which delivering does, where a stored kWh is worth ``value``.

    The blocks of the battery in :func:`gridpilot.market.physics.build_curve`; None where it is left alone.
    """
    if math.isnan(value):
        return {"charging_up_to_price_dollars_per_kwh": None, "delivering_from_price_dollars_per_kwh": None}
    worth = max(value, float(plant["lowest_value"]))
    sell = worth * float(plant["per_eta_d"]) + float(plant["wear"])
    buy = min(float(plant["eta_c"]) * worth - float(plant["wear"]), sell)
    return {"charging_up_to_price_dollars_per_kwh": buy, "delivering_from_price_dollars_per_kwh": sell}


def _bound(played: Played, t: int, n: int, blocks: list[Facts], lost: list[Facts], price: float) -> list[str]:
    if played.trace.refused[t, 0, n]:
        return ["bid_refused"]
    if not blocks:
        return ["no_bid"]
    codes = []
    if not lost:
        codes.append("all_won")
    else:
        first = lost[0]["bid_price_dollars_per_kwh"]
        codes.append("priced_out" if first < price else "on_the_margin")
    if _scarce(played, t):
        codes.append("scarce")
    outcome = played.trace.outcome[t, 0, n]
    if outcome[WON] - outcome[DRAWN] > EPSILON:
        codes.append("gave_back")
    return codes


def _sums(played: Played, n: int, ticks: slice) -> Facts:
    outcome = played.trace.outcome[ticks, 0, n]
    total = outcome.sum(axis=0)
    stored = played.trace.storage[:, 0, n, 0]
    return {
        "energy_bought_kwh": float(total[DRAWN] * DT),
        "machine_energy_kwh": float(total[MACHINES] * DT),
        "battery_delivered_kwh": float(total[DISCHARGED] * DT),
        "stored_after_kwh": float(stored[1:][ticks][-1]),
        "revenue_dollars": float(total[REVENUE]),
        "paid_dollars": float(total[PAYMENT]),
        "wear_dollars": float(total[WEAR]),
        "profit_dollars": float(total[PROFIT]),
        "price_paid_dollars_per_kwh": _price_paid(total[PAYMENT], total[DRAWN] * DT),
    }


def _price_paid(payment: float, energy: float) -> float | None:
    return float(payment / energy) if energy > EPSILON else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
