"""Matches on the real core: rows add up, and do not depend on what is played beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridpilot.setup import load_preset
from gridpilot.tournament.config import TournamentSpec
from gridpilot.tournament.play import play_chunk
from gridpilot.tournament.rows import check_rows
from gridpilot.tournament.schedule import schedule

AGENTS = ("truthful", "threshold", "zero_intelligence")


def spec(**changes: object) -> TournamentSpec:
    fields = {
        "market": load_preset("market", "default"),
        "prices": load_preset("prices", "ercot"),
        "agents": {name: {"target": name, "params": {}} for name in AGENTS},
        "seed": 3,
        "ticks": 36,
        "history": 24,
        "deadline": 1.0,
    }
    return TournamentSpec(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def played() -> tuple[list[object], pd.DataFrame]:
    matches = schedule(AGENTS, 10, [0, 5], ["mixed", "self"])
    return matches, play_chunk(spec(), matches)  # type: ignore[return-value]


def test_rows_are_those_of_the_matches(played: tuple[list[object], pd.DataFrame]) -> None:
    matches, rows = played
    check_rows(rows, matches, where="test")  # type: ignore[arg-type]


def test_money_adds_up(played: tuple[list[object], pd.DataFrame]) -> None:
    _, rows = played
    np.testing.assert_allclose(rows["profit"], rows["revenue"] - rows["payment"] - rows["wear"] + rows["stored"], atol=1e-9)
    by_match = rows.groupby(["episode", "lineup", "rotation"])
    first = by_match.first()
    np.testing.assert_allclose(by_match["payment"].sum(), first["market_revenue"], rtol=1e-9)
    np.testing.assert_allclose(by_match["won_kwh"].sum(), first["market_volume_kwh"], rtol=1e-9)
    earned = by_match["revenue"].sum() - by_match["wear"].sum() + by_match["stored"].sum()
    np.testing.assert_allclose(earned - first["market_supply_cost"], first["market_welfare"], rtol=1e-9)
    # VCG at one node never loses money.
    assert (first["market_revenue"] >= first["market_supply_cost"] - 1e-6).all()


def test_only_who_stores_has_something_stored(played: tuple[list[object], pd.DataFrame]) -> None:
    _, rows = played
    assert (rows.loc[rows["agent"] != "threshold", ["stored", "charged_kwh", "wear"]] == 0.0).all(axis=None)
    assert (rows.loc[rows["agent"] == "threshold", "charged_kwh"] > 0.0).any()


def test_rows_do_not_depend_on_the_chunk(played: tuple[list[object], pd.DataFrame]) -> None:
    matches, rows = played
    apart = pd.concat([play_chunk(spec(), [match]) for match in matches[::3]], ignore_index=True)  # type: ignore[list-item]
    together = pd.concat([rows.iloc[10 * i : 10 * i + 10] for i in range(0, len(matches), 3)], ignore_index=True)
    pd.testing.assert_frame_equal(apart, together, check_exact=True)
