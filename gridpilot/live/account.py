"""Outcomes and reconciliations as the journal holds them: what runs, what that adds to what is earned, and the state it leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from gridpilot.live.api import Counts, format_time
from gridpilot.live.controller import Controller
from gridpilot.live.execution import Result
from gridpilot.live.journal_json import counts_to_json, result_to_json, state_to_json
from gridpilot.live.ledger import Earned, Ledger

__all__ = ["Account"]

Entry = tuple[str, dict[str, Any]]
"""Kind and body of a record."""


class Account:
    """Books for ``controller``; ``last`` is what was booked before a restart, ``now`` the engine's time."""

    def __init__(self, controller: Controller, last: Earned | None, now: Callable[[], datetime]) -> None:
        self._controller, self._now = controller, now
        self._ledger = Ledger(controller.facility, last)

    def outcome(self, at: datetime, command: str, result: Result, best: float) -> tuple[Earned, Entry]:
        """What became of a command of the tick ``at``; the controller knows already which machines run."""
        row = self._controller.observer.row
        earned = self._ledger.book(at, row, result.counts, result.confirmed, now=self._now())
        self._controller.book(earned)
        body = {"at": format_time(at), "command": command, **result_to_json(result), "best": best, **self._booked(earned)}
        return earned, ("outcome", body)

    def found(self, counts: tuple[Counts, ...], message: str) -> tuple[Earned | None, Entry]:
        """The venue reports that ``counts (N,)`` run, which were in doubt or are others than it had confirmed."""
        self._controller.reconcile(counts)
        earned = self._ledger.rebook(self._controller.observer.row, counts, now=self._now())
        if earned is None:
            return None, self.standing(message)
        self._controller.book(earned)
        kind, body = self.standing(message)
        return earned, (kind, {**body, **self._booked(earned)})

    def standing(self, message: str) -> Entry:
        """What runs as far as is known, with nothing more to book."""
        counts = self._controller.observer.counts
        power_w = self._controller.facility.total_w(counts)
        return "reconciliation", {"counts": counts_to_json(counts), "power_w": power_w, "message": message}

    def _booked(self, earned: Earned) -> dict[str, Any]:
        return {"earned": earned.to_json(), "state": state_to_json(self._controller.state)}
