"""Small forecasters whose every answer can be worked out by hand."""

from __future__ import annotations

import numpy as np

from gridpilot.errors import MissingExtraError
from gridpilot.forecasting.base import CHANNELS, QUANTILE_LEVELS, Forecast, Forecaster, Row
from gridpilot.forecasting.stream import CleanRow  # noqa: F401  (what the base class hands on)

WIDTH = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


class Last(Forecaster):
    """The last price, with bands of fixed half-widths 1 and 2 times ``width``."""

    name = "last"

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288, width: float = 1.0) -> None:
        super().__init__(channels, steps_per_day)
        self.width = width

    def _start(self) -> None:
        self.price = np.zeros(len(self.channels))

    def _learn(self, step: int, prices: np.ndarray) -> None:
        self.price = prices.copy()

    def point(self, horizon: int) -> np.ndarray:
        return np.repeat(self.price[None, :], horizon, axis=0)

    def _predict(self, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        mean = self.point(horizon)
        return mean, mean[:, None, :] + self.width * WIDTH[None, :, None]


class Yesterday(Last):
    """The price of a day before."""

    name = "yesterday"

    def _start(self) -> None:
        self.past: list[np.ndarray] = []

    def _learn(self, step: int, prices: np.ndarray) -> None:
        self.past = [*self.past, prices.copy()][-self.steps_per_day :]

    def point(self, horizon: int) -> np.ndarray:
        if len(self.past) < self.steps_per_day:
            return np.repeat(self.past[-1][None, :], horizon, axis=0)
        return np.array([self.past[h % self.steps_per_day] for h in range(horizon)])


class Awful(Last):
    """The last price and 100 more."""

    name = "awful"

    def point(self, horizon: int) -> np.ndarray:
        return super().point(horizon) + 100.0


class Weighted(Last):
    """An ensemble in name: it reports weights and a note."""

    name = "weighted"

    def _weights(self) -> dict[str, float]:
        return {"persistence": 0.75, "yesterday": 0.25}

    def _notes(self) -> tuple[str, ...]:
        return ("a note of its own",)


class Raising(Forecaster):
    """Breaks off after ``after`` rows."""

    name = "raising"

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288, after: int = 10) -> None:
        super().__init__(channels, steps_per_day)
        self.after = after

    def update(self, row: Row) -> None:
        self.after -= 1
        if self.after < 0:
            raise RuntimeError("the sky\nis falling")

    def _start(self) -> None: ...

    def _learn(self, step: int, prices: np.ndarray) -> None: ...

    def _predict(self, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError


class Wrong(Last):
    """Answers in a form that is ``wrong``."""

    name = "wrong"

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288, wrong: str = "") -> None:
        super().__init__(channels, steps_per_day)
        self.wrong = wrong

    def forecast(self, horizon: int, *, scenarios: int = 0) -> Forecast:
        good = super().forecast(horizon, scenarios=scenarios)
        match self.wrong:
            case "step":
                return Forecast(good.step - 1, good.channels, good.mean, good.quantiles, good.scenarios)
            case "shape":
                return Forecast(good.step, good.channels, good.mean[:-1], good.quantiles, good.scenarios)
            case "nan":
                return Forecast(good.step, good.channels, good.mean * np.nan, good.quantiles, good.scenarios)
            case _:
                return Forecast(good.step, good.channels, good.mean, good.quantiles[:, ::-1], good.scenarios)


class NeedsExtra(Last):
    """Wants a package that is not there."""

    name = "needs_extra"

    def __init__(self, channels: tuple[str, ...] = CHANNELS, steps_per_day: int = 288) -> None:
        raise MissingExtraError("needs_extra (nosuchpackage)", "forecast")


assert len(WIDTH) == len(QUANTILE_LEVELS)
