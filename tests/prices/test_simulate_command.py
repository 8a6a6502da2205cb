"""``gridpilot simulate-prices``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridpilot.errors import ConfigError, GridPilotError, PriceError
from gridpilot.presets import load_preset
from gridpilot.prices import load_prices
from gridpilot.prices.simulate_command import main

SMALL = ["episodes=3", "ticks=20", "history=4", "seed=7"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_file_holds_what_the_model_draws(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"paths{suffix}"
    assert main([*SMALL, f"out={out}", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 72
    frame = pd.read_parquet(out) if suffix == ".parquet" else pd.read_csv(out)
    assert list(frame.columns) == ["episode", "tick", "weekday", "hour", "energy", "hash", "token"]
    prices, start = load_prices(load_preset("prices", "ercot")).simulate(7, range(3), 20, history=4)
    second = frame[frame.episode == 1]
    assert second.tick.tolist() == list(range(-4, 20))
    assert np.array_equal(second[["energy", "hash", "token"]].to_numpy(), prices[:, 1])
    assert second.weekday.iloc[4] == start[1] // 288
    assert second.hour.iloc[4:7].tolist() == [0.0, 1 / 12, 2 / 12]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_other_presets(tmp_path: Path) -> None:
    for name in ("aemo_nsw", "mara_event"):
        assert main([*SMALL, f"prices={name}", f"out={tmp_path / name}.csv"]) == 0
    ours, theirs = (pd.read_csv(tmp_path / f"{name}.csv").energy for name in ("aemo_nsw", "mara_event"))
    assert not np.array_equal(ours, theirs)


@pytest.mark.parametrize("out", ["paths.txt", "no/such/folder/paths.parquet", "."])
def test_paths_that_cannot_be_written(tmp_path: Path, out: str) -> None:
    with pytest.raises(PriceError, match=r"out is|cannot write"):
        main([*SMALL, f"out={tmp_path / out}"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "paths.csv"
    out.write_text("old")
    with pytest.raises(ConfigError, match="persistence"):
        main([*SMALL, f"out={out}", "prices.hash.beta=0.999999"])
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("episodes=0", "episodes"),
        ("ticks=many", "ticks"),
        ("seed=-1", "seed"),
        ("prices.hash.level=none", "hash.level"),
        ("prices.name=x", "expected one of aemo_nsw, ercot"),
    ],
)
def test_bad_overrides_are_named(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(GridPilotError, match=words):
        main([*SMALL, f"out={tmp_path / 'paths.csv'}", override])
