"""Whom a strategic agent is compared with: by what both are made of."""

from __future__ import annotations

from typing import Any

import pytest

from gridpilot.tournament.config import agent_specs
from gridpilot.tournament.storage_bases import storage_bases


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        (["mpc", "best_response", "oracle_response", "foresight"], {"best_response": "mpc", "oracle_response": "mpc"}),
        (["best_response"], {}),  # truthful leaves the battery alone
        ([{"name": "best_response", "storage": "none"}], {"best_response": "truthful"}),
        (
            [
                {"name": "mpc", "label": "a"},
                {"name": "mpc", "horizon": 144, "label": "b"},
                {"name": "nash", "storage": {"name": "mpc", "horizon": 144}},
            ],
            {"nash": "b"},
        ),
        ([{"name": "threshold", "label": "mpc"}, "regret_matching"], {}),  # a label makes no storage rule
        (
            ["threshold", {"name": "gridpilot.agents.bidder.Bidder", "label": "own", "storage": "threshold", "bidding": "demand_function"}],
            {"own": "threshold"},
        ),
        ([{"name": "mpc", "climatologies": ["ercot"]}, "best_response"], {}),
    ],
)  # fmt: skip
def test_bases_are_found_by_storage_rule(agents: list[Any], expected: dict[str, str]) -> None:
    assert storage_bases(agent_specs(agents)) == expected
