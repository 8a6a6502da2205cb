"""A replica of the controller that knows only the journal: what it decides differently is drift, and there should be none.

Beside a running engine it is live against shadow, since it decides for the same rows and sends nothing; over a finished journal it is live
against replay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gridpilot.agents.seating import AgentSpec
from gridpilot.live.api import PriceRow, parse_time
from gridpilot.live.config import RiskLimits
from gridpilot.live.controller import LATE, Controller, Decision
from gridpilot.live.journal import Journal, Record
from gridpilot.live.journal_json import counts_from_json, facility_from_json, row_from_json, state_from_json
from gridpilot.live.ledger import earned_of
from gridpilot.live.recovery import Recovery, keep_newest

__all__ = ["Drift", "Replica", "replay"]


@dataclass
class Drift:
    """How many decisions were made again, and how many came out otherwise."""

    decisions: int = 0
    different: int = 0
    first: str = ""  # time and kind of the first that differs


class Replica:
    """Follows a journal and decides again what is decided there: state machine replication, with nothing sent.

    ``recovery`` is what was known before the first record it reads; without it the journal is read from its beginning.
    """

    def __init__(self, recovery: Recovery | None = None) -> None:
        self.drift = Drift()
        self._rows: dict[datetime, PriceRow] = {} if recovery is None else {row.at: row for row in recovery.rows}
        self._seen = 0 if recovery is None else recovery.head
        self._controller: Controller | None = None
        self._decision: Decision | None = None
        self._keep = 0

    def follow(self, journal: Journal) -> None:
        """Read what was added to the journal since the last call."""
        for record in journal.records(after=self._seen):
            self._seen = record.seq
            self.read(record)

    @property
    def decision(self) -> Decision | None:
        """The decision that was made again last, until its outcome is read."""
        return self._decision

    def rationale(self) -> list[dict[str, Any]]:
        """What the agents say of that decision, see :meth:`~gridpilot.live.controller.Controller.rationale`."""
        return [] if self._controller is None or self._decision is None else self._controller.rationale(self._decision)

    def read(self, record: Record) -> None:
        """Take the next record."""
        body = record.body
        match record.kind:
            case "session":
                self._begin(body)
            case "rows":
                rows = [row_from_json(row) for row in body["rows"]]
                self._rows.update((row.at, row) for row in rows)
                if self._controller is not None:
                    self._controller.observer.add(rows)
                    if len(self._rows) > 2 * self._keep:
                        self._rows = {row.at: row for row in keep_newest(self._rows, self._keep)}
            case "decision":
                self._decide(body)
            case "outcome" if self._controller is not None:
                if self._decision is not None:
                    self._controller.settle(self._decision, counts_from_json(body["counts"]))
                    self._decision = None
                self._book(body)
            case "reconciliation" if self._controller is not None:
                self._controller.reconcile(counts_from_json(body["counts"]))
                self._book(body)
            case "stop":
                self._controller = None

    def _book(self, body: dict[str, Any]) -> None:
        if self._controller is None:
            return
        earned = earned_of(body)
        if earned is not None:
            self._controller.book(earned)
        elif "state" in body:  # of a version that kept the day's account in the state alone
            then = state_from_json(body["state"])
            self._controller.state = replace(self._controller.state, day=then.day, day_profit=then.day_profit)

    def _begin(self, body: dict[str, Any]) -> None:
        config = body["config"]
        self._keep = config["history"]
        agents = [AgentSpec(agent["target"], agent["params"]) for agent in body["agents"]]
        self._controller = Controller(
            facility_from_json(body), agents, RiskLimits.model_validate(config["risk"]), state_from_json(body["state"]),
            keep=self._keep, seed=body["seed"],
        )  # fmt: skip
        self._controller.observer.add(keep_newest(self._rows, self._keep))
        self._decision = None

    def _decide(self, body: dict[str, Any]) -> None:
        if self._controller is None:
            return
        given = body["causes"][: body["given"]]
        forced = {LATE}.intersection(body["causes"])
        decision = self._controller.decide(body["kind"], parse_time(body["at"]), given, forced=forced)
        self._decision = decision
        self.drift.decisions += 1
        again = decision.to_json()
        if _canonical(again) != _canonical({key: body[key] for key in again}):
            self.drift.different += 1
            self.drift.first = self.drift.first or f"{body['at']} {body['kind']}"


def replay(journal: Journal) -> Drift:
    """Make every decision of a journal again, from its rows, its sessions and its outcomes alone."""
    replica = Replica()
    replica.follow(journal)
    return replica.drift


def _canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)
