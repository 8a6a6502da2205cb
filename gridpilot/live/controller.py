"""Decisions: the agent's, or the next best that is safe. The same code decides live, in shadow, in simulation and in replay.

A controller reads no clock and no venue. It is told rows and results and asked for decisions, so that a journal holds all it takes to
make the same decisions again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final

from gridpilot.agents.base import Agent
from gridpilot.agents.deadline import Overdue, deadline
from gridpilot.agents.players import describe
from gridpilot.agents.reasons import bounded
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import AgentError, GridPilotError
from gridpilot.live.api import Counts, format_time
from gridpilot.live.config import RiskLimits
from gridpilot.live.cycle_report import DecisionKind, Reason
from gridpilot.live.facility import Allocation, Facility
from gridpilot.live.gate import check
from gridpilot.live.ledger import Earned
from gridpilot.live.observer import Observer
from gridpilot.market.bids import Bid
from gridpilot.redaction import redacted

__all__ = ["LATE", "Controller", "Decision", "State"]

LATE: Final = "agent_late"
TELLING: Final = 0.1  # of an agent's time limit, which it has for its reasons
OFF_CAUSES: Final = {"halted", "feed_off"}  # nothing but everything off will do


@dataclass(frozen=True)
class Decision:
    """What N sites are to run, and why."""

    at: datetime
    tick: int  # of the newest row
    kind: DecisionKind
    reason: Reason
    causes: tuple[str, ...]  # the first ``given`` of them came with the tick, the others were found while deciding
    given: int
    prices: tuple[float, float, float]  # of the newest row, in the API's units
    bids: tuple[Bid, ...]  # (N,) the agents'; empty where they were not asked or failed
    allocation: Allocation | None  # None where no bids were cleared
    counts: tuple[Counts, ...]  # (N,)
    power_w: int
    revenue: float  # $ expected of the tick
    cost: float
    errors: tuple[str, ...] = field(default=(), compare=False)  # messages behind the causes, for people

    @property
    def profit(self) -> float:
        """Revenue minus cost."""
        return self.revenue - self.cost

    def to_json(self) -> dict[str, Any]:
        """The body of the journal's record; equal decisions give equal bytes."""
        return {
            "at": format_time(self.at),
            "tick": self.tick,
            "kind": self.kind,
            "reason": self.reason,
            "causes": list(self.causes),
            "given": self.given,
            "prices": list(self.prices),
            "bids": [
                {
                    "blocks": bid.blocks.tolist(),
                    "storage_value": bid.storage_value,
                    "commitment_value": None if bid.commitment_value is None else bid.commitment_value.tolist(),
                }
                for bid in self.bids
            ],
            "won_kw": None if self.allocation is None else list(self.allocation.won_kw),
            "payment": None if self.allocation is None else list(self.allocation.payment),
            "counts": [list(each) for each in self.counts],
            "power_w": self.power_w,
            "revenue": self.revenue,
            "cost": self.cost,
        }


@dataclass(frozen=True)
class State:
    """What a controller carries from one session to the next."""

    counts: tuple[Counts, ...]  # (N,) that run
    last_good: tuple[Counts, ...] | None = None  # the agent's last command that held
    day: date | None = None  # UTC day of ``day_profit``
    day_profit: float = 0.0  # $ of the API, as booked by :mod:`gridpilot.live.ledger`


class Controller:
    """Agents at N sites behind one connection, with a fallback for everything that can go wrong.

    ``time_limit`` is what an agent has for a decision, wall s, and ``first_limit`` for the first one after a reset, which may have to look
    through its whole history.
    """

    def __init__(
        self,
        facility: Facility,
        agents: Sequence[AgentSpec],
        limits: RiskLimits,
        state: State,
        *,
        keep: int,
        seed: int,
        time_limit: float = float("inf"),
        first_limit: float = float("inf"),
    ) -> None:
        self.facility, self.limits, self.state = facility, limits, state
        self.observer = Observer(facility, keep)
        self.observer.counts = state.counts
        self._specs, self._seed = agents, seed
        self._agents: list[Agent] = [spec.build() for spec in agents]
        self._time_limit, self._first_limit = time_limit, first_limit
        self._asked: int | None = None  # tick at which the agents were last asked; None where they have to begin anew
        self._bids_refused: tuple[str, ...] = ()

    def rehearse(self) -> None:
        """Let throwaway agents decide once at the newest row, so that compiled code is loaded before it counts."""
        other = Controller(
            self.facility, self._specs, self.limits, State(self.facility.off), keep=self.observer.keep, seed=self._seed
        )
        assert self.observer.row is not None
        other.observer.add([self.observer.row])
        other.decide("row", self.observer.row.at)

    def decide(self, kind: DecisionKind, at: datetime, causes: Sequence[str] = (), *, forced: Collection[str] = ()) -> Decision:
        """Decide at the newest row; the agents are asked where ``kind`` is "row".

        ``causes``  codes of what is wrong with this tick; "halted" and "feed_off" leave nothing but everything off
        ``forced``  failures to be taken as given: a replay passes "agent_late", which it cannot see for itself
        """
        if not self.observer.started:
            self.observer.start()
        found, errors = list(causes), list[str]()
        given = len(found)
        bids = self._ask(found, errors, forced) if kind == "row" else None
        limits_w = self._limits_w()
        prices = self.observer.prices
        self._bids_refused = tuple(errors[:1] * len(self.facility.sites)) if kind == "row" and bids is None else ()
        if not OFF_CAUSES.intersection(found):
            if bids is not None:
                allocation = self.facility.allocate(bids, prices, limits_w)
                if allocation.loss > 0.0:
                    errors.append(f"machines were chosen within a budget: worth at most {allocation.loss:.2g} $ less than the best")
                if self._passes(allocation.counts, found):
                    return self._decision(kind, at, given, "agent", found, errors, allocation.counts, bids, allocation)
            if self.state.last_good is None:
                found.append("last_good_none")
            elif not self._profit(self.state.last_good) > 0.0:
                found.append("last_good_unprofitable")
            elif self._passes(self.state.last_good, found):
                return self._decision(kind, at, given, "last_good", found, errors, self.state.last_good, bids or ())
            truthful = [self.observer.observe(i).truthful_bid() for i in range(len(self.facility.sites))]
            counts = self.facility.allocate(truthful, prices, limits_w).counts
            if self._passes(counts, found):
                return self._decision(kind, at, given, "myopic", found, errors, counts, bids or ())
        return self._decision(kind, at, given, "off", found, errors, self.facility.off, bids or ())

    def rationale(self, decision: Decision) -> list[dict[str, Any]]:
        """What the agents say of the bids of the last decision, a mapping a site, as :func:`~gridpilot.agents.reasons.bounded` has it.

        Empty where no agent says anything. One that fails at it, or takes a tenth of its time limit, says so under ``failed``.
        """
        said = [self._reasons_of(agent) for agent in self._agents] if decision.bids else []
        return said if any(said) else []

    def settle(self, decision: Decision, counts: tuple[Counts, ...]) -> None:
        """Note which machines run after a decision."""
        self.observer.settle(decision.allocation, counts, self.observer.prices, self._bids_refused)
        good = counts if decision.reason == "agent" and counts == decision.counts else self.state.last_good
        self.state = replace(self.state, counts=counts, last_good=good)

    def book(self, earned: Earned) -> None:
        """Count what was earned towards its UTC day, which the loss limit is held against."""
        day, state = earned.at.date(), self.state
        if state.day is None or day >= state.day:  # a day that is over is over
            self.state = replace(state, day=day, day_profit=earned.profit + (state.day_profit if day == state.day else 0.0))

    def reconcile(self, counts: tuple[Counts, ...]) -> None:
        """The venue reports that these machines run."""
        self.observer.counts = counts
        self.state = replace(self.state, counts=counts)

    def _ask(self, causes: list[str], errors: list[str], forced: Collection[str]) -> tuple[Bid, ...] | None:
        """The agents' bids, or None, with what went wrong added to ``causes`` and ``errors``."""
        tick = self.observer.tick
        begin = self._asked is None or tick != self._asked + 1  # an agent that missed a tick begins anew, in the midst of things
        self._asked = tick
        bids = []
        for i, agent in enumerate(self._agents):
            try:
                observation = self.observer.observe(i)
                with deadline((self._first_limit if begin else self._time_limit) / len(self._agents)):
                    if begin:
                        agent.reset(self.facility.sites[i], observation.market, self._seed + i)
                    elif observation.last is not None:
                        agent.learn(observation.last)
                    answer = agent.bid(observation)
                if not isinstance(answer, Bid):
                    raise AgentError(f"bid() returned {type(answer).__name__}, expected a Bid")
                bids.append(self._fitting(i, answer))
            except (Exception, Overdue, SystemExit) as error:  # an agent may fail in any way; the site goes on without it
                code = LATE if isinstance(error, Overdue) else "bid_invalid" if isinstance(error, GridPilotError) else "agent_error"
                return self._failed(code, error, causes, errors)
        if LATE in forced:
            return self._failed(LATE, Overdue("late, as recorded"), causes, errors)
        return tuple(bids)

    def _reasons_of(self, agent: Agent) -> dict[str, Any]:
        try:
            with deadline(TELLING * self._time_limit / len(self._agents)):
                said: Any = agent.rationale()
                if not isinstance(said, Mapping):
                    raise AgentError(f"rationale() returned {type(said).__name__}, expected a mapping")
                return bounded(said)
        except (Exception, Overdue, SystemExit) as error:  # as in its bid
            return {"failed": describe(error)}

    def _failed(self, code: str, error: BaseException, causes: list[str], errors: list[str]) -> tuple[Bid, ...] | None:
        self._asked = None  # it is in no known state: begin anew
        causes.append(code)
        errors.append(redacted(f"{type(error).__name__}: {error}"[:1000])[:300])
        return None

    def _fitting(self, site: int, bid: Bid) -> Bid:
        """The bid, checked as if it had just been made: its arrays may have been changed since."""
        classes = len(self.facility.sites[site].fleet)
        if bid.commitment_value is not None and len(bid.commitment_value) != classes:
            raise AgentError(
                f"bid: commitment_value has {len(bid.commitment_value)} entries, expected {classes}, one a machine class"
            )
        return Bid(bid.blocks, bid.storage_value, bid.commitment_value)

    def _limits_w(self) -> list[int]:
        """The most each site may draw in this tick, W."""
        limits = [round(site.grid_kw * 1000.0) for site in self.facility.sites]
        if self.limits.max_change_kw is not None:
            step = int(self.limits.max_change_kw * 1000.0)
            running = enumerate(self.observer.counts)
            limits = [min(limit, self.facility.power_w(i, n) + step) for limit, (i, n) in zip(limits, running, strict=True)]
        return limits

    def _profit(self, counts: Sequence[Counts]) -> float:
        revenue, cost = self.facility.totals(counts, self.observer.prices)
        return revenue - cost

    def _passes(self, counts: Sequence[Counts], causes: list[str]) -> bool:
        day = self.state.day_profit if self.observer.newest is not None and self.state.day == self.observer.newest.date() else 0.0
        problem = check(self.facility, counts, self.observer.counts, self.limits, profit=self._profit(counts), day_profit=day)
        if problem is not None and problem not in causes:
            causes.append(problem)
        return problem is None

    def _decision(
        self,
        kind: DecisionKind,
        at: datetime,
        given: int,
        reason: Reason,
        causes: Sequence[str],
        errors: Sequence[str],
        counts: tuple[Counts, ...],
        bids: Sequence[Bid],
        allocation: Allocation | None = None,
    ) -> Decision:
        assert self.observer.row is not None
        revenue, cost = self.facility.totals(counts, self.observer.prices)
        return Decision(
            at, self.observer.tick, kind, reason, tuple(causes), given, self.observer.row.raw, tuple(bids), allocation, counts,
            self.facility.total_w(counts), revenue, cost, tuple(errors),
        )  # fmt: skip
