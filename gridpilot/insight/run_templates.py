"""What is answered of a run: a lead, a bid, a loss, another mechanism, and whether something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gridpilot.insight.statements import Facts, Place, Question, Statement, say, tells
from gridpilot.insight.tools import Toolbox

__all__ = ["RUN_KINDS"]


def _lead(question: Question, box: Toolbox) -> list[Statement]:
    """Why one agent is ahead of another."""
    c, pair = box.call("pair", agent=question.agent, other=question.other)
    o, _ = box.call("overview")
    told = [
        say(
            "Over {n} days {a} earned {p} at each site and {b} earned {q}, so that the difference in profit is {lead}.",
            n=f"{o}/episodes_count", a=f"{c}/agent", b=f"{c}/other", p=f"{c}/profit_dollars_per_day",
            q=f"{c}/other_profit_dollars_per_day", lead=("signed", f"{c}/lead_dollars_per_day"),
        ),
        say(
            "Of that lead, {r} comes from revenue, {p} from what was paid for power, {w} from battery wear and {s} from energy left "
            "in the battery at the end; these parts add up to the whole difference.",
            r=("signed", f"{c}/lead_by_revenue_dollars_per_day"), p=("signed", f"{c}/lead_by_payment_dollars_per_day"),
            w=("signed", f"{c}/lead_by_wear_dollars_per_day"), s=("signed", f"{c}/lead_by_stored_dollars_per_day"),
        ),
    ]  # fmt: skip
    if pair["price_paid_dollars_per_kwh"] is not None and pair["other_price_paid_dollars_per_kwh"] is not None:
        told.append(
            say(
                "{a} paid a mean price of {p} for energy from the grid, {cmp} the {q} that {b} paid; it bought {e} against {f}.",
                a=f"{c}/agent", b=f"{c}/other", p=f"{c}/price_paid_dollars_per_kwh", q=f"{c}/other_price_paid_dollars_per_kwh",
                cmp=("compare", f"{c}/price_paid_dollars_per_kwh", f"{c}/other_price_paid_dollars_per_kwh"),
                e=f"{c}/energy_bought_kwh_per_day", f=f"{c}/other_energy_bought_kwh_per_day",
            )
        )  # fmt: skip
    told.append(
        say(
            "Its battery delivered {d} while the other battery delivered {e}.",
            d=f"{c}/battery_delivered_kwh_per_day", e=f"{c}/other_battery_delivered_kwh_per_day",
        )
    )  # fmt: skip
    if pair["lead_low_dollars_per_day"] is not None:
        sure = pair["chance_p_value"] < 0.05
        told.append(
            say(
                "With a certainty of {l} the lead lies within {r}; the probability that chance alone would show such a "
                f"lead is {{p}}, {'so the order of these agents is sure' if sure else 'so the order of these agents is not sure'}.",
                r=("range", f"{c}/lead_low_dollars_per_day", f"{c}/lead_high_dollars_per_day"), p=f"{c}/chance_p_value",
                l=f"{c}/certainty_percent",
            )
        )  # fmt: skip
    else:
        told.append(say("Too few days were played to be sure of it: {n} episodes.", n=f"{o}/episodes_count"))
    return told


def _bid(question: Question, box: Toolbox) -> list[Statement]:
    """Why a seat bid what it bid in a tick."""
    c, seat = box.call("seat", match=question.match, tick=question.tick, seat=question.seat)
    told = [_when(c)]
    if seat["blocks"]:
        told.append(
            say(
                "It asked for {q} from the grid in {n} blocks, bid at prices from {r}.",
                q=f"{c}/asked_kw", n=f"{c}/blocks_count",
                r=("range", f"{c}/lowest_bid_price_dollars_per_kwh", f"{c}/highest_bid_price_dollars_per_kwh"),
            )
        )  # fmt: skip
        told.append(_of_kind(c, seat))
    told += _of_battery(c, seat)
    told += _of_rationale(c, seat)
    told += _of_forecast(question, box)
    told += _of_result(c, seat)
    return told


def _lost(question: Question, box: Toolbox) -> list[Statement]:
    """Why a seat earned less than another agent did there; in a tick, why it won less than it asked for."""
    if question.tick is not None:
        c, seat = box.call("seat", match=question.match, tick=question.tick, seat=question.seat)
        return [_when(c), *_of_result(c, seat), *_of_battery(c, seat)]
    c, found = box.call("compare", match=question.match, seat=question.seat, other_agent=question.other)
    told = [
        say(
            "In match {m} the agent {a} in seat {s}, site {site}, earned {p}; on that day {b} in that seat earned {q}, so that {a} is "
            "{cmp} {b} in profit, with a difference of {d}.",
            m=f"{c}/match", a=f"{c}/agent", s=f"{c}/seat_number", site=f"{c}/site", p=f"{c}/profit_dollars", b=f"{c}/other",
            q=f"{c}/other_profit_dollars", cmp=("compare", f"{c}/profit_dollars", f"{c}/other_profit_dollars"),
            d=("size", f"{c}/lead_dollars"),
        ),
        say(
            "Of this difference, {r} is from revenue, {p} from what was paid for power, {w} from battery wear and {s} from energy left "
            "at the end; the parts add up.",
            r=("signed", f"{c}/lead_by_revenue_dollars"), p=("signed", f"{c}/lead_by_payment_dollars"),
            w=("signed", f"{c}/lead_by_wear_dollars"), s=("signed", f"{c}/lead_by_stored_dollars"),
        ),
        say(
            "The hour that counts for much of it is hour {h} of the match, with a difference of {d}.",
            h=f"{c}/telling_hour_number", d=("signed", f"{c}/lead_in_telling_hour_dollars"),
        ),
    ]  # fmt: skip
    if found["price_paid_dollars_per_kwh"] is not None and found["other_price_paid_dollars_per_kwh"] is not None:
        told.append(
            say(
                "It bought {e} of energy at a mean price of {p}, {cmp} the {q} paid by {b}, which bought {f}.",
                e=f"{c}/energy_bought_kwh", p=f"{c}/price_paid_dollars_per_kwh", q=f"{c}/other_price_paid_dollars_per_kwh",
                cmp=("compare", f"{c}/price_paid_dollars_per_kwh", f"{c}/other_price_paid_dollars_per_kwh"), b=f"{c}/other",
                f=f"{c}/other_energy_bought_kwh",
            )
        )  # fmt: skip
    told.append(
        say(
            "Its battery delivered {d}, that of the other agent {e}.",
            d=f"{c}/battery_delivered_kwh", e=f"{c}/other_battery_delivered_kwh",
        )
    )  # fmt: skip
    return [*told, *_exactness(c, found)]


def _mechanism(question: Question, box: Toolbox) -> list[Statement]:
    """What another mechanism would have changed: with the same bids, and with agents that respond."""
    c, same = box.call("recleared", match=question.match, mechanism=question.mechanism, tick=question.tick)
    seat = question.seat if question.seat is not None else same["most_affected_seat_number"]
    scope = "In the tick asked about of match {m}" if question.tick is not None else "In match {m}"
    told = [
        say(
            f"{scope} the sites paid {{p}} in all under the mechanism {{a}}. Had those very bids been cleared under {{b}}, they would have "
            "paid {q}: a change in payment of {d}.",
            m=f"{c}/match", p=f"{c}/paid_dollars", a=f"{c}/mechanism", b=f"{c}/other_mechanism", q=f"{c}/otherwise_paid_dollars",
            d=("signed", f"{c}/payment_change_dollars"),
        ),
        say(
            "Who wins how much power would have stayed as it was, since {a} and {b} differ in what winners pay alone.",
            a=f"{c}/mechanism", b=f"{c}/other_mechanism",
        ),
        say(
            "For seat {s}, agent {a}, the bill would have gone from {p} to {q}.",
            s=f"{c}/seats/{seat}/seat_number", a=f"{c}/seats/{seat}/agent", p=f"{c}/seats/{seat}/paid_dollars",
            q=f"{c}/seats/{seat}/otherwise_paid_dollars",
        ),
    ]  # fmt: skip
    if question.tick is None:
        w, _ = box.call("what_if", match=question.match, mechanism=question.mechanism)
        told.append(
            say(
                "Played again under {b}, with agents free to bid otherwise in response, all sites would have earned a profit of {q} "
                "where they earned {p}, a change of {d}.",
                b=f"{c}/other_mechanism", q=f"{w}/otherwise_profit_dollars", p=f"{w}/profit_dollars",
                d=("signed", f"{w}/profit_change_dollars"),
            )
        )  # fmt: skip
    return [*told, *_exactness(c, same)]


def _run_wrong(question: Question, box: Toolbox) -> list[Statement]:
    """Whether something is wrong with a run."""
    c, run = box.call("overview")
    told = [
        say(
            "The run {n} holds {m} matches over {e} episodes.",
            n=f"{c}/name", m=f"{c}/matches_count", e=f"{c}/episodes_count",
        ),
        say("Decisions that failed, as they came late, raised an error or were invalid: {f}.", f=f"{c}/failed_decisions_count"),
    ]  # fmt: skip
    if run["changed_since"]:
        told.append(
            say(
                "It cannot be vouched that its matches come out as they were played: {w}.",
                w=f"{c}/changed_since/0",
            )
        )  # fmt: skip
    else:
        told.append(say("Can its matches be played again as they were, bit for bit: {y}.", y=f"{c}/playable_as_it_was"))
    return told


def _when(c: str) -> Statement:
    return say(
        "This is {a} in seat {s}, site {site}, at tick {t} ({at}) of match {m}.",
        a=f"{c}/agent", s=f"{c}/seat_number", site=f"{c}/site", t=f"{c}/tick_number", at=f"{c}/clock_at", m=f"{c}/match",
    )  # fmt: skip


def _of_kind(c: str, seat: Facts) -> Statement:
    """What kind of a bid it was."""
    texts = {
        "own curve": "The bid is its {k}: each block at what that power is worth to the site, by its machines, cooling and battery.",
        "shaded curve": "The bid is a {k}: what the power would be worth to the site, with prices moved away from that.",
        "stated blocks": "The bid is made of {k}: prices and amounts that its agent chose, which need not be what power is worth to it.",
    }
    return say(texts[seat["bid_kind"]], k=f"{c}/bid_kind")


def _of_battery(c: str, seat: Facts) -> list[Statement]:
    """What stored energy was worth to it, and what its battery did."""
    if seat["stored_percent"] is None:
        return []
    told = [say("Its battery held {s}, which is {p} of what it may hold.", s=f"{c}/stored_kwh", p=f"{c}/stored_percent")]
    if seat["storage_value_dollars_per_kwh"] is None:
        return [*told, say("The agent {a} left the battery alone.", a=f"{c}/agent")]
    did = "the battery stood still"
    if seat["battery_delivered_kw"] > 1e-9:
        did = "the battery delivered {d}"
    elif seat["stored_after_kwh"] - seat["stored_kwh"] > 1e-9:
        did = "the battery charged to {e}"
    places: dict[str, Place] = {
        "v": f"{c}/storage_value_dollars_per_kwh",
        "a": f"{c}/charging_up_to_price_dollars_per_kwh",
        "b": f"{c}/delivering_from_price_dollars_per_kwh",
        "p": f"{c}/clearing_price_dollars_per_kwh",
    }
    if "{d}" in did:
        places["d"] = f"{c}/battery_delivered_kw"
    if "{e}" in did:
        places["e"] = f"{c}/stored_after_kwh"
    told.append(
        say(
            "The agent took stored energy to be worth {v}; with losses and wear, charging then pays up to a price of {a} and delivering "
            f"from a price of {{b}}. The market cleared at {{p}}, and {did}.",
            **places,
        )
    )
    return told


def _of_rationale(c: str, seat: Facts) -> list[Statement]:
    """What the agent itself says."""
    said, told = seat["rationale"], list[Statement]()
    if tells(said, "expected_price_dollars_per_kwh", list):
        told.append(
            say(
                "By its own account, its plan expects prices of {r} over the coming hours.",
                r=("range", f"{c}/rationale/expected_price_dollars_per_kwh"),
            )
        )
    if all(tells(said, f"{end}_battery_value_dollars_per_kwh", float) for end in ("empty", "full")):
        told.append(
            say(
                "By its rule, energy in the battery is worth {e} when it is empty and {f} when it is full, and between these as it fills.",
                e=f"{c}/rationale/empty_battery_value_dollars_per_kwh", f=f"{c}/rationale/full_battery_value_dollars_per_kwh",
            )
        )  # fmt: skip
    if tells(said, "predicted_gain_dollars_per_hour", float):
        told.append(
            say(
                "Against the bids of its rivals that were made public last, it expects to gain {g} by this bid against bidding the truth.",
                g=f"{c}/rationale/predicted_gain_dollars_per_hour",
            )
        )
    if tells(said, "failed", str):
        told.append(say("Asked for its own reasons, the agent failed: {f}.", f=f"{c}/rationale/failed"))
    return told


def _of_forecast(question: Question, box: Toolbox) -> list[Statement]:
    """What a forecaster expects of the energy price an hour later, and what came."""
    c, found = box.call("expected", match=question.match, tick=question.tick, seat=question.seat)
    text = "By a forecast of the prices known then ({b}), the energy price an hour later was expected to be {r}"
    hour = f"{c}/forecast/0"
    places: dict[str, Place] = {
        "b": f"{c}/forecast_by",
        "r": (
            "range",
            f"{hour}/lowest_expected_energy_price_dollars_per_kwh",
            f"{hour}/highest_expected_energy_price_dollars_per_kwh",
        ),
    }
    if found["known_hours_count"]:
        return [say(f"{text}; it came to {{w}}.", **places, w=f"{hour}/energy_price_that_came_dollars_per_kwh")]
    return [say(f"{text}.", **places)]


def _of_result(c: str, seat: Facts) -> list[Statement]:
    """What came of the bid, and what bound it."""
    bound = seat["bound"]
    if "bid_refused" in bound:
        return [say("Its bid was refused, as it could not be carried out, and counted as none: it won {w}.", w=f"{c}/won_kw")]
    if "no_bid" in bound:
        return [say("It made no bid, or had no use for power: it asked for {q} and won {w}.", q=f"{c}/asked_kw", w=f"{c}/won_kw")]
    told = [
        say(
            "The clearing price was {p}. Of the {q} that it asked for it won {w} and paid {m}.",
            p=f"{c}/clearing_price_dollars_per_kwh", q=f"{c}/asked_kw", w=f"{c}/won_kw", m=f"{c}/paid_dollars",
        )
    ]  # fmt: skip
    if "all_won" in bound:
        told.append(say("It lost nothing: every block was bid at a price that the market met ({x} lost).", x=f"{c}/lost_kw"))
    else:
        told.append(
            say(
                "It lost {x}: the block where it began to lose was bid at {b}, {cmp} the clearing price of {p}.",
                x=f"{c}/lost_kw", b=f"{c}/first_lost_bid_price_dollars_per_kwh", p=f"{c}/clearing_price_dollars_per_kwh",
                cmp=("compare", f"{c}/first_lost_bid_price_dollars_per_kwh", f"{c}/clearing_price_dollars_per_kwh"),
            )
        )  # fmt: skip
    if "scarce" in bound:
        told.append(
            say(
                "Power was scarce: the connection was sold out, and the clearing price of {p} stood {cmp} the energy price of {e}.",
                p=f"{c}/clearing_price_dollars_per_kwh", e=f"{c}/energy_price_dollars_per_kwh",
                cmp=("compare", f"{c}/clearing_price_dollars_per_kwh", f"{c}/energy_price_dollars_per_kwh"),
            )
        )  # fmt: skip
    return [*told, *_exactness(c, seat)]


def _exactness(c: str, facts: Facts) -> list[Statement]:
    """That a match is not what was recorded, where it is not."""
    if facts["exact"]:
        return []
    return [say("Mind that this match, played again, is not what was recorded: {d}.", d=f"{c}/differs/0")]


RUN_KINDS: Final[dict[str, Callable[[Question, Toolbox], list[Statement]]]] = {
    "lead": _lead,
    "bid": _bid,
    "lost": _lost,
    "mechanism": _mechanism,
    "run_wrong": _run_wrong,
}
"""What can be asked of a run."""
