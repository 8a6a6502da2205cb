"""The chain of decisions: the agent's where it is sound, the next best where not, and a reason for each."""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

import numpy as np
import pytest

from gridpilot.agents.base import Agent
from gridpilot.agents.seating import AgentSpec
from gridpilot.live.api import TICK, Counts, PriceRow
from gridpilot.live.controller import Controller, Decision, State
from gridpilot.live.facility import Facility
from gridpilot.live.gate import check
from gridpilot.live.ledger import Ledger
from gridpilot.market.bids import Bid
from gridpilot.market.observation import MarketInfo, Observation, Outcome
from gridpilot.market.site import Site
from tests.live.worlds import facility, risk, walk

FAIR = PriceRow(walk(1)[0].at, 1.0, 3.0, 2.0)  # everything but the oldest machines is worth running
DEAR = PriceRow(FAIR.at, 50.0, 3.0, 2.0)  # nothing is


class Scripted(Agent):
    """Answers what it is told to, and notes what it sees."""

    answer: ClassVar[Any] = None
    seen: ClassVar[list[Any]] = []

    def reset(self, site: Site, market: MarketInfo, seed: int) -> None:
        self.seen.append(("reset", seed))

    def bid(self, observation: Observation) -> Bid:
        self.seen.append(("bid", observation.tick))
        answer: Bid = self.answer(observation)
        return answer

    def learn(self, outcome: Outcome) -> None:
        self.seen.append(("learn", outcome.tick, outcome.profit))


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "seen", [])
    monkeypatch.setattr(Scripted, "answer", staticmethod(lambda observation: observation.truthful_bid()))
    monkeypatch.setattr(AgentSpec, "build", lambda spec: Scripted())


def controller(one: Facility | None = None, state: State | None = None, **changes: Any) -> Controller:
    one = one or facility("documented")
    limits = risk(**changes)
    return Controller(
        one,
        [AgentSpec("scripted", {})] * len(one.sites),
        limits,
        state or State(one.off),
        keep=100,
        seed=5,
        time_limit=0.2,
        first_limit=2.0,
    )


def at(row: PriceRow, ticks: int) -> PriceRow:
    return PriceRow(row.at + ticks * TICK, row.energy, row.hash, row.token)


def settle(mind: Controller, decision: Decision, counts: tuple[Counts, ...]) -> None:
    """The venue has confirmed that these run, for a whole tick."""
    mind.settle(decision, counts)
    row = mind.observer.row
    mind.book(Ledger(mind.facility).book(decision.at, row, counts, (True,) * len(counts), now=decision.at))


def decide(mind: Controller, row: PriceRow, kind: Any = "row", causes: tuple[str, ...] = (), **more: Any) -> Any:
    mind.observer.add([row])
    decision = mind.decide(kind, row.at, causes, **more)
    settle(mind, decision, decision.counts)
    return decision


def answer(value: Any) -> None:
    Scripted.answer = staticmethod(value)


def test_a_sound_bid_is_the_decision() -> None:
    mind = controller()
    decision = decide(mind, FAIR)
    assert (decision.reason, decision.causes, decision.kind) == ("agent", (), "row")
    assert decision.profit == pytest.approx(mind.facility.alternatives(FAIR.prices)["best"])
    assert 0 < decision.power_w <= 1_000_000


def _hang(observation: Observation) -> Bid:
    while True:
        time.sleep(0.01)


def _raise(observation: Observation) -> Bid:
    raise ZeroDivisionError("a defect")


def _quit(observation: Observation) -> Bid:
    raise SystemExit(1)


def _spoil(observation: Observation) -> Bid:
    bid = Bid([(100.0, 5.0)])
    bid.blocks[0, 1] = np.nan
    return bid


BROKEN = [
    (_hang, "agent_late"),
    (_raise, "agent_error"),
    (_quit, "agent_error"),
    (lambda observation: "all of it", "bid_invalid"),
    (_spoil, "bid_invalid"),
    (lambda observation: Bid([(10.0, 1.0)], commitment_value=[1.0]), "bid_invalid"),
    (lambda observation: Bid([(1.0, 1.0), (1.0, 2.0)]), "bid_invalid"),
]


@pytest.mark.parametrize(("broken", "code"), BROKEN)
def test_a_broken_agent_falls_back_to_the_last_good_command(broken: Any, code: str) -> None:
    mind = controller()
    first = decide(mind, FAIR)
    answer(broken)
    second = decide(mind, at(FAIR, 1))
    assert (second.reason, second.causes, second.counts) == ("last_good", (code,), first.counts)
    assert second.errors
    third = decide(mind, at(DEAR, 2))
    assert (third.reason, third.counts) == ("myopic", mind.facility.off)  # the last good command would lose money
    assert "last_good_unprofitable" in third.causes


@pytest.mark.parametrize(("broken", "code"), BROKEN[1:4])
def test_without_a_good_command_the_myopic_optimum_decides(broken: Any, code: str) -> None:
    answer(broken)
    mind = controller()
    decision = decide(mind, FAIR)
    assert (decision.reason, decision.causes) == ("myopic", (code, "last_good_none"))
    assert decision.profit == pytest.approx(mind.facility.alternatives(FAIR.prices)["best"])


def test_an_agent_that_failed_or_missed_a_tick_begins_anew_and_is_told_its_results_otherwise() -> None:
    mind = controller()
    profits = [decide(mind, at(FAIR, n)).profit for n in range(2)]
    answer(_raise)
    decide(mind, at(FAIR, 2))
    answer(lambda observation: observation.truthful_bid())
    decide(mind, at(FAIR, 3))
    decide(mind, at(FAIR, 6))
    assert Scripted.seen == [
        ("reset", 5), ("bid", 0), ("learn", 0, pytest.approx(profits[0])), ("bid", 1), ("learn", 1, pytest.approx(profits[1])), ("bid", 2),
        ("reset", 5), ("bid", 3), ("reset", 5), ("bid", 6),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["bad_row", "no_row"])
def test_without_a_row_of_its_own_the_agent_is_not_asked(kind: str) -> None:
    mind = controller()
    first = decide(mind, FAIR)
    seen = list(Scripted.seen)
    decision = mind.decide(kind, FAIR.at + TICK, ("price_nan",))  # type: ignore[arg-type]
    assert (decision.reason, decision.counts, decision.causes) == ("last_good", first.counts, ("price_nan",))
    assert Scripted.seen == seen


@pytest.mark.parametrize("cause", ["halted", "feed_off"])
def test_a_halt_and_a_dead_feed_leave_nothing_but_everything_off(cause: str) -> None:
    mind = controller()
    decide(mind, FAIR)
    decision = mind.decide("halt" if cause == "halted" else "no_row", FAIR.at + TICK, (cause,))
    assert (decision.reason, decision.counts, decision.causes) == ("off", mind.facility.off, (cause,))


def test_power_changes_by_no_more_than_allowed_except_to_nothing() -> None:
    mind = controller(max_change_kw=200.0)
    powers = [decide(mind, at(FAIR, n)).power_w for n in range(8)]
    steps = np.diff([0, *powers])
    assert (steps <= 200_000).all()
    assert powers[-1] > 900_000
    fall = decide(mind, at(DEAR, 8))
    assert (fall.reason, fall.power_w, fall.causes) == ("agent", 0, ())


def test_a_day_that_has_lost_enough_stays_off_until_the_next() -> None:
    counts: Counts = (0, 0, 10, 0, 0)
    mind = controller(max_loss_per_day=1000.0)
    mind.state = State(mind.facility.off)
    first = decide(mind, FAIR)
    mind.observer.add([at(DEAR, 1)])
    settle(mind, mind.decide("row", DEAR.at + TICK), (counts,))  # the venue reports that these ran, at a loss
    assert mind.state.day_profit < first.profit
    while mind.state.day_profit > -1000.0:
        row = at(DEAR, 1 + mind.observer.tick)
        mind.observer.add([row])
        settle(mind, mind.decide("row", row.at), (counts,))
    later = decide(mind, at(FAIR, mind.observer.tick + 1))
    assert (later.reason, "gate_loss" in later.causes) == ("off", True)
    tomorrow = decide(mind, PriceRow(FAIR.at.replace(hour=0) + 288 * TICK, *FAIR.raw))
    assert tomorrow.reason == "agent"


def test_equal_histories_give_equal_bytes() -> None:
    def record() -> str:
        mind = controller()
        return json.dumps([decide(mind, row).to_json() for row in walk(50)])

    assert record() == record()


def test_several_sites_share_one_limit() -> None:
    shared = facility("live", 800_000, 800_000, cap_w=1_000_000)
    mind = controller(shared)
    for row in walk(30):
        decision = decide(mind, row)
        assert decision.reason == "agent"
        assert decision.power_w <= 1_000_000
    assert len(decision.bids) == 2


GATE = [
    (((0, 0, 0, 0, 0),), {}, None),
    (((0, 200, 0, 0, 0),), {}, None),
    (((0, 201, 0, 0, 0),), {}, "gate_fleet"),
    (((-1, 0, 0, 0, 0),), {}, "gate_fleet"),
    (((1, 200, 0, 0, 0),), {}, "gate_power"),
    (((0, 100, 0, 0, 0),), {"max_change_kw": 400.0}, "gate_change"),
    (((0, 80, 0, 0, 0),), {"max_change_kw": 400.0}, None),
    (((0, 80, 0, 0, 0),), {"max_loss_per_day": 5.0}, "gate_loss"),
]


@pytest.mark.parametrize(("counts", "limits", "code"), GATE)
def test_the_gate(counts: tuple[Counts, ...], limits: dict[str, float], code: str | None) -> None:
    one = facility("documented")
    assert check(one, counts, one.off, risk(**limits), profit=-6.0, day_profit=0.0) == code


def test_the_gate_holds_the_shared_limit() -> None:
    two = facility("live", 600_000, 600_000, cap_w=700_000)
    assert check(two, ((0, 80, 0, 0, 0), (0, 80, 0, 0, 0)), two.off, risk(), profit=1.0, day_profit=0.0) == "gate_power"
    assert check(two, ((0, 80, 0, 0, 0), (0, 60, 0, 0, 0)), two.off, risk(), profit=1.0, day_profit=0.0) is None
