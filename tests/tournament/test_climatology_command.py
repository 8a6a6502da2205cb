"""Learning a climatology by playing, and reading back what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from gridpilot.cli import main
from gridpilot.forecasting.climatology import Climatology
from gridpilot.market.units import TICKS_PER_DAY
from gridpilot.setup import load_preset, load_setup


def learn(out: Path, *more: str) -> Climatology:
    assert main(["climatology", "episodes=4", "slots=4", "days=3", f"out={out}", *more]) == 0
    return Climatology.from_mapping("learned", yaml.safe_load(out.read_text(encoding="utf-8")))


def test_it_writes_the_means_of_what_was_played(tmp_path: Path) -> None:
    learned = learn(tmp_path / "x.yaml", "agents=[truthful,threshold]")
    setup = load_setup()
    scenario = setup.scenario(0, np.arange(4))
    energy = scenario.prices[scenario.history :, :, 0].reshape(4, TICKS_PER_DAY // 4, 4).mean(axis=1)  # (slot, episode)
    weekend = scenario.start // TICKS_PER_DAY >= 5
    assert not weekend.all()
    assert learned.energy[0] == pytest.approx(energy[:, ~weekend].mean(axis=1), rel=1e-4)
    if not weekend.any():  # then all there is stands for it
        assert learned.energy[1] == pytest.approx(learned.energy[0])
    assert learned.premium[0].max() > 0.02  # scarcity in the evening
    assert learned.days.shape == (3, 4)
    assert (np.diff(learned.days.mean(axis=1)) > 0.0).all()


def test_it_prints_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["climatology", "episodes=1", "slots=2", "days=0"]) == 0
    assert len(yaml.safe_load(capsys.readouterr().out)["energy"]["weekday"]) == 2


def test_slots_that_do_not_divide_the_day_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["climatology", "slots=7"]) == 2
    assert "slots is 7, expected a divisor of 288" in capsys.readouterr().err


def test_less_than_a_day_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["climatology", "ticks=287"]) == 2
    assert "ticks is 287, expected at least 288, a whole day" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ercot", "aemo_nsw", "mara_event"])
def test_the_shipped_ones_are_sound(name: str) -> None:
    shipped = Climatology.from_mapping(name, load_preset("climatology", name))
    assert shipped.energy.shape == (2, 48)
    assert len(shipped.days) == 10
    evening, night = shipped.premium[:, 33:43].mean(), shipped.premium[:, 4:12].mean()
    assert evening > night
