"""Fits in the background: the old model serves until the new one is there, and nothing that goes wrong there stops the stream."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import threading
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from gridpilot.errors import ForecastError
from gridpilot.forecasting.base import Row
from gridpilot.forecasting.fitted import FitResult, FittedForecaster
from gridpilot.forecasting.refit import BackgroundFits

Array = np.ndarray
DAY = 24


class Average(FittedForecaster):
    """Expects the mean of its history, as of its last fit."""

    name = "average"
    gate: ClassVar[threading.Event] = threading.Event()  # a fit waits for it
    broken: ClassVar[bool] = False

    def _data(self) -> Any:
        return (self._history.last(self._history.length).copy(), type(self).broken)

    @staticmethod
    def _model_of(data: Any) -> Any:
        rows, broken = data
        assert Average.gate.wait(60.0)
        if broken:
            raise ValueError("no luck")
        return rows.mean(axis=0)

    def _path(self, model: Any, horizons: Array) -> Array:
        return np.tile(model, (len(horizons), 1))


Average.gate.set()  # in a process of its own, where no test opens it


class Dies(Average):
    """Takes its process with it."""

    name = "dies"

    @staticmethod
    def _model_of(data: Any) -> Any:
        os._exit(3)


@pytest.fixture(autouse=True)
def _open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Average, "gate", threading.Event())
    monkeypatch.setattr(Average, "broken", False)
    Average.gate.set()


def member(kind: type[Average] = Average) -> Average:
    return kind(("energy",), DAY, refit_hours=24.0, minimum_days=1.0, history_days=4.0)


def feed(forecaster: Average, rows: int, price: float = 1.0) -> None:
    for _ in range(rows):
        last = forecaster._stream.last_step
        forecaster.update(Row(0 if last is None else last + 1, np.array([price])))
    forecaster.forecast(1)


def expected(forecaster: Average) -> float:
    return float(forecaster.forecast(1).mean[0, 0])


def test_on_the_spot_a_fit_is_due_by_the_number_of_rows() -> None:
    forecaster = member()
    feed(forecaster, DAY - 1, 2.0)
    assert forecaster.model is None
    feed(forecaster, 1, 4.0)
    assert forecaster.model == pytest.approx([(23 * 2.0 + 4.0) / 24])
    first = forecaster.model
    feed(forecaster, DAY - 1, 9.0)
    assert forecaster.model is first
    feed(forecaster, 1, 9.0)
    assert expected(forecaster) > 5.0


def test_a_fit_that_fails_keeps_the_old_model_and_is_noted_until_one_succeeds() -> None:
    forecaster = member()
    Average.broken = True
    feed(forecaster, DAY)
    assert forecaster.model is None
    assert forecaster.forecast(1).notes == ("average: the fit after step 23 failed, there is no model yet: ValueError: no luck",)
    Average.broken = False
    feed(forecaster, DAY)
    assert forecaster.forecast(1).notes == ()
    Average.broken = True
    feed(forecaster, DAY, 7.0)
    assert expected(forecaster) == 1.0
    (note,) = forecaster.forecast(1).notes
    assert "the last model stays" in note


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_in_the_background_the_model_comes_when_it_is_there(kind: Literal["thread", "process"]) -> None:
    forecaster, on_the_spot = member(), member()
    with BackgroundFits(kind) as fits:
        forecaster.schedule = fits
        if kind == "thread":
            Average.gate.clear()
        feed(forecaster, DAY, 3.0)
        if kind == "thread":
            assert forecaster.model is None
            assert not fits.wait(0.0)
            Average.gate.set()
        assert fits.wait(60.0)
    feed(on_the_spot, DAY, 3.0)
    assert forecaster.model == on_the_spot.model
    assert fits.notes == []


def test_a_fit_that_is_due_while_the_last_one_runs_is_left_out_and_noted() -> None:
    forecaster = member()
    with BackgroundFits() as fits:
        forecaster.schedule = fits
        Average.gate.clear()
        feed(forecaster, 2 * DAY)
        assert fits.notes == ["average: a fit was due while the last one was still running"]
        Average.gate.set()
        assert fits.wait(60.0)
    assert expected(forecaster) == 1.0


def test_a_fit_of_forgotten_rows_is_not_installed() -> None:
    forecaster = member()
    with BackgroundFits() as fits:
        forecaster.schedule = fits
        Average.gate.clear()
        feed(forecaster, DAY)
        forecaster.update(Row(100 * DAY, np.array([5.0])))
        assert expected(forecaster) == 5.0
        Average.gate.set()
        assert fits.wait(60.0)
    assert forecaster.model is None


def test_a_failure_in_the_background_is_among_the_notes() -> None:
    forecaster = member()
    Average.broken = True
    with BackgroundFits() as fits:
        forecaster.schedule = fits
        feed(forecaster, DAY)
        assert fits.wait(60.0)
    (note,) = forecaster.forecast(1).notes
    assert "no luck" in note
    assert forecaster.model is None


def test_a_process_that_dies_is_noted_and_replaced() -> None:
    doomed, forecaster = member(Dies), member()
    with BackgroundFits("process") as fits:
        doomed.schedule = forecaster.schedule = fits
        feed(doomed, DAY)
        assert fits.wait(60.0)
        assert doomed.model is None
        feed(forecaster, DAY)
        assert fits.wait(60.0)
    assert any("dies: the fitting process died" in note for note in fits.notes), fits.notes
    assert forecaster.model is not None


def test_closing_waits_for_what_runs_and_notes_what_comes_after() -> None:
    forecaster = member()
    fits = BackgroundFits()
    forecaster.schedule = fits
    feed(forecaster, DAY)
    fits.close()
    assert forecaster.model is not None
    assert not any(thread.name.startswith("gridpilot-fit") for thread in threading.enumerate())
    feed(forecaster, DAY)
    assert fits.notes == ["average: a fit was due after the background was closed"]
    fits.close()


def test_a_foreign_member_may_fail_in_its_own_way() -> None:
    class Foreign(Average):
        @classmethod
        def _fit(cls, data: Any) -> FitResult:
            raise KeyError("theirs")

    forecaster = member(Foreign)
    with BackgroundFits() as fits:
        forecaster.schedule = fits
        feed(forecaster, DAY)
        assert fits.wait(60.0)
    assert fits.notes == ["average: a fit failed: KeyError: 'theirs'"]


@pytest.mark.parametrize("background", [False, True])
def test_pickling_keeps_the_model_and_leaves_what_runs(background: bool) -> None:
    forecaster = member()
    with BackgroundFits() as fits:
        if background:
            forecaster.schedule = fits
        feed(forecaster, DAY, 2.0)
        assert fits.wait(60.0)
        Average.gate.clear()
        if background:
            feed(forecaster, DAY, 2.0)
        copy = pickle.loads(pickle.dumps(forecaster))
        Average.gate.set()
    assert expected(copy) == 2.0
    feed(copy, DAY, 6.0)
    if background:
        assert isinstance(copy.schedule, BackgroundFits)
        assert copy.schedule.wait(60.0)
        copy.schedule.close()
    assert copy.model is not None
    assert copy.model[0] > 2.0


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ForecastError, match="kind is 'fiber', expected one of thread, process"):
        BackgroundFits("fiber")  # type: ignore[arg-type]


def test_where_there_can_be_no_process_a_thread_fits_and_that_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(multiprocessing.context.SpawnContext, "Lock", refused)
    forecaster, on_the_spot = member(), member()
    with BackgroundFits("process") as fits:
        forecaster.schedule = fits
        feed(forecaster, DAY, 3.0)
        assert fits.wait(60.0)
    feed(on_the_spot, DAY, 3.0)
    assert forecaster.model == on_the_spot.model
    (note,) = fits.notes
    assert note.endswith("(/dev/shm): No space left on device; fitting in a thread of this process")
