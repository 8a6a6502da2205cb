from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridpilot.agents.storage.day_plan import CLIMATOLOGIES, load_climatologies
from gridpilot.setup import MarketSetup, load_preset, load_setup
from gridpilot.tournament import tournament_command
from gridpilot.tournament.outlooks import outlook_notes

AMPLE = {"base": 1.0, "sd": 0.02, "dip": 0.0, "outages_per_day": 0.0}


def notes(setup: MarketSetup, seed: int = 0, *labels: str) -> tuple[str, ...]:
    return outlook_notes(dict.fromkeys(labels or ("mpc",), load_climatologies(CLIMATOLOGIES)), setup, seed)


def market(**changes: Any) -> dict[str, Any]:
    given = load_preset("market", "default")
    return {**given, **changes, "capacity": {**given["capacity"], **changes.get("capacity", {})}}


@pytest.mark.parametrize("prices", CLIMATOLOGIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_market_that_was_learned_from_is_known(prices: str, seed: int) -> None:
    assert notes(load_setup(prices=prices), seed) == ()


def test_a_market_without_scarcity_is_not_what_is_expected() -> None:
    (note,) = notes(load_setup(market(capacity=AMPLE)), 0, "mpc", "cautious")
    assert note.startswith("mpc, cautious: its climatologies (ercot, aemo_nsw, mara_event) expect power to clear 24.")
    assert "above it here; gridpilot climatology" in note


def test_prices_of_another_shape_fit_nothing() -> None:
    prices = load_preset("prices", "ercot")
    prices["energy"]["centre"] *= 8.0
    prices["energy"] |= {"floor": 0.2, "cap": 2.0}
    (note,) = notes(load_setup(prices=prices))
    assert "fits the energy prices of" in note


def test_an_agent_without_a_climatology_needs_none() -> None:
    assert outlook_notes({"threshold": ()}, load_setup(market(capacity=AMPLE)), 0) == ()


def test_it_is_told_before_a_tournament(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "mine.yaml"
    run = ["episodes=1", "ticks=24", "history=288", "lineups=[mixed]", "backend=serial", "market.capacity_kw=3000"]
    assert tournament_command.main([*run, "agents=[mpc]", f"out={tmp_path / 'shipped'}"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "mpc: its climatologies" in told
    from gridpilot.tournament import climatology_command

    learn = ["episodes=200", "history=288", "ticks=288", "market.capacity_kw=3000", f"out={own}"]
    assert climatology_command.main(learn) == 0
    assert tournament_command.main([*run, f"agents=[{{name: mpc, climatologies: ['{own}']}}]", f"out={tmp_path / 'own'}"]) == 0
    assert "climatologies" not in capsys.readouterr().err
