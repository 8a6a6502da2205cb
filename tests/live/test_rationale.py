"""An agent's own reasons in the journal: asked when the command is out, bounded, without keys, and of no influence on anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot.agents.reasons import MOST, bounded
from gridpilot.agents.seating import AgentSpec
from gridpilot.agents.truthful import Truthful
from gridpilot.insight import live_facts
from gridpilot.live.api import INVENTORIES, KWH_PER_UNIT, Counts
from gridpilot.live.controller import Controller, State
from gridpilot.live.journal import Journal
from gridpilot.live.replay_venue import ReplayVenue
from gridpilot.live.replica import replay
from gridpilot.live.report_facts import read_facts
from gridpilot.live.report_page import render_page
from gridpilot.market.bids import Bid
from gridpilot.market.observation import Observation
from tests.live.loops import run
from tests.live.worlds import facility, risk, walk

EVENTS: list[str] = []
SECRET = "correct-horse-battery-staple"


class Sends(ReplayVenue):
    """Notes when it is commanded."""

    def set_machines(self, site: int, counts: Counts) -> Counts:
        EVENTS.append("sent")
        return super().set_machines(site, counts)


class Explains(Truthful):
    """Says what its parameter says."""

    def __init__(self, says: str = "plain") -> None:
        super().__init__()
        self.says, self.bids = says, 0

    def bid(self, observation: Observation) -> Bid:
        EVENTS.append("bid")
        self.bids += 1
        return super().bid(observation)

    def rationale(self) -> Mapping[str, Any]:
        EVENTS.append("asked")
        match self.says:
            case "endless":
                while True:
                    self.bids += 0
            case "list":
                return ["why"]  # type: ignore[return-value]
            case "error":
                raise RuntimeError(f"the key is {SECRET}")
        return {"rule": "plan", "rung": f"dynamic {SECRET}", "expected_price_dollars_per_kwh": [0.5, 0.75], "bids_count": self.bids}


def journal_of(path: Path, *agents: AgentSpec, rows: int = 6) -> list[Any]:
    EVENTS.clear()
    return run(Sends(walk(rows + 3), INVENTORIES["documented"], 1_000_000), path, rows=rows, agents=agents)[1]


def test_reasons_are_asked_when_the_command_is_out_and_stored_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_API_KEY", SECRET)
    records = journal_of(tmp_path / "live.db", AgentSpec(f"{__name__}.Explains", {}))
    # A replica beside the engine bids as well, and neither it nor a rehearsal is asked why.
    order = [event for i, event in enumerate(EVENTS) if i == 0 or event != EVENTS[i - 1]]
    asked = [i for i, event in enumerate(EVENTS) if event == "asked"]
    assert len(asked) == 6
    assert "sent" in order
    assert not any(order[i : i + 3] == ["bid", "asked", "sent"] for i in range(len(order)))
    said = [record.body for record in records if record.kind == "rationale"]
    decided = [record.body["at"] for record in records if record.kind == "decision"]
    assert [one["at"] for one in said] == decided
    assert [one["sites"][0]["bids_count"] for one in said] == [1, 2, 3, 4, 5, 6]
    assert SECRET not in json.dumps([record.body for record in records])
    with Journal(tmp_path / "live.db", read_only=True) as journal:
        assert replay(journal).different == 0
        facts = live_facts.decision(journal)
        (row,) = read_facts(journal)["said"]
        page = render_page(read_facts(journal))
    assert facts["rationale"][0]["expected_price_api_dollars_per_watt_row"] == [0.5 / KWH_PER_UNIT, 0.75 / KWH_PER_UNIT]
    assert (row["rule"], row["rung"], row["bids_count"]) == ("plan", "dynamic [redacted]", 6)
    assert "plan, dynamic [redacted] (6)" in page


def test_decisions_are_the_same_whether_an_agent_says_why(tmp_path: Path) -> None:
    """And a journal of agents that say nothing, as older ones are, has no such record."""
    with_reasons = journal_of(tmp_path / "a.db", AgentSpec(f"{__name__}.Explains", {}))
    without = journal_of(tmp_path / "b.db", AgentSpec("truthful", {}))
    decisions = [[record.body for record in records if record.kind == "decision"] for records in (with_reasons, without)]
    assert decisions[0] == decisions[1]
    assert "rationale" not in {record.kind for record in without}
    with Journal(tmp_path / "b.db", read_only=True) as journal:
        assert live_facts.decision(journal)["rationale"] == []
        assert read_facts(journal)["said"] == []


@pytest.mark.parametrize(
    ("says", "message"),
    [("list", "rationale() returned list, expected a mapping"), ("error", "RuntimeError"), ("endless", "no answer within 0.02 s")],
)
def test_an_agent_that_fails_at_it_says_so_and_goes_on(says: str, message: str) -> None:
    controller = Controller(
        facility(), [AgentSpec(f"{__name__}.Explains", {"says": says})], risk(), State(facility().off), keep=100, seed=0,
        time_limit=0.2, first_limit=5.0,
    )  # fmt: skip
    for row in walk(2):
        controller.observer.add([row])
        decision = controller.decide("row", row.at)
        (said,) = controller.rationale(decision)
        assert message in said["failed"]
        assert (decision.reason, decision.causes) == ("agent", ())
    assert controller.rationale(controller.decide("no_row", row.at)) == []


def test_what_is_said_is_bounded() -> None:
    words: dict[Any, Any] = {
        "long": "x" * 10_000, "many": np.full(5000, 1 / 3), "deep": {"a": {"b": {"c": {"d": 1}}}}, "nan": [np.nan, np.inf],
        "odd": object, 7: 3, **{f"key {i}": "y" * 150 for i in range(500)},
    }  # fmt: skip
    said = bounded(words)
    assert len(json.dumps(said)) <= MOST
    assert len(said["long"]) == 200
    assert said["many"] == [0.333333] * 288
    assert (said["nan"], said["7"]) == ([None, None], 3)
    assert said["left_out_count"] > 400
    assert bounded({"a": 1.0}) == {"a": 1.0}
