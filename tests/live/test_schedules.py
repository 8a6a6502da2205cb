"""Whatever happens in whatever order: never above the limit, a halt in time, and nothing is sent for a row that is too old."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridpilot import redaction
from gridpilot.live import engine
from gridpilot.live.agenda import Agenda
from gridpilot.live.journal import HaltState, Journal
from tests.live.schedules import Plant, played

FEW, MANY = 25, 10_000


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_of_environment", tuple)  # reading it is a third of the time, and no key is in play


def keep_the_laws(first: int, last: int, folder: Path) -> None:
    sent = 0
    for seed in range(first, last):
        plant = played(seed, folder)
        assert not plant.wrong, "\n".join([f"seed {seed}", *plant.wrong, *plant.told])
        sent += plant.sent
        for file in folder.iterdir():
            file.unlink()
    assert sent > 10 * (last - first)


def test_some_schedules_keep_the_laws(tmp_path: Path) -> None:
    keep_the_laws(0, FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_thousand_schedules_keep_the_laws(tmp_path: Path) -> None:
    keep_the_laws(FEW, FEW + MANY, tmp_path)


def first_wrong(folder: Path, most: int = 60) -> Plant:
    for seed in range(most):
        plant = played(seed, folder)
        if plant.wrong:
            return plant
    raise AssertionError("the fault was not found")


def test_a_halt_that_is_not_seen_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "halt", property(lambda journal: HaltState(False, "", None)))
    assert "a halt could be carried out since" in first_wrong(tmp_path).wrong[0]


def test_a_row_that_is_acted_on_late_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LONG_AGO", 1e9)
    monkeypatch.setattr(Agenda, "may_be_sent", lambda *_: True)
    assert "ticks after its row" in first_wrong(tmp_path, 200).wrong[0]


def test_power_above_the_limit_is_found(tmp_path: Path) -> None:
    plant = Plant(0, tmp_path / "j.db", 2)
    plant.apply(0, (0, 200, 0, 0, 0))
    assert not plant.wrong
    plant.apply(1, (0, 1, 0, 0, 0))
    assert "1005000 W are drawn" in plant.wrong[0]
