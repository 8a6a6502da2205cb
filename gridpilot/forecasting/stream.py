"""Cleaning a stream of rows: what a forecaster learns from is always one finite row a step, whatever arrives."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["GAP_DAYS", "LARGEST", "CleanRow", "Stream"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

GAP_DAYS: Final = 7  # a longer gap is not filled: what was known before it is too old
LARGEST: Final = 1e15  # greatest |price| whose squares and sums stay finite by a wide margin; a greater one is cut to it


class CleanRow(NamedTuple):
    """A row to learn from."""

    step: int
    prices: FloatArray  # (C,) finite
    held: BoolArray  # (C,) True where no price was observed and the last one stands in
    restart: bool  # forget everything before this row


class Stream:
    """Turns rows as they come into one finite row a step, and says in ``notes`` what had to be done for it.

    - A step that is repeated replaces the row before it has been learned from (``flush``), and is ignored after that.
    - An older step is ignored.
    - Steps left out are filled with the last prices, up to ``GAP_DAYS`` days; after a longer gap the row carries ``restart``.
    - A price that is nan, infinite or no number at all is the last price of its channel; one beyond ``LARGEST`` is cut to it.
    - A channel stands at 0 until its first price, which then carries ``restart``: nothing learned from the zeros is kept.
    """

    def __init__(self, channels: tuple[str, ...], steps_per_day: int) -> None:
        self.channels = channels
        self.limit = GAP_DAYS * steps_per_day
        self.last_step: int | None = None
        self.seen: dict[str, int] = {}  # note -> step at which it was last true
        self._steps_per_day = steps_per_day
        self._prices = np.zeros(len(channels))
        self._known = np.zeros(len(channels), dtype=np.bool_)
        self._pending: CleanRow | None = None
        self._before = (self._prices, self._known)  # as they stood before the pending row

    def take(self, row: Any) -> list[CleanRow]:
        """Rows that ``row`` makes final; ``row`` itself is pending until the next one or ``flush``."""
        try:
            step, prices = row
            number = int(step)
            whole = number == step
        except (TypeError, ValueError, OverflowError) as error:
            self.note(f"row refused: expected (step, prices), got {_short(row)} ({type(error).__name__})")
            return []
        if not whole:
            self.note(f"row refused: step is {_short(step)}, expected a whole number")
            return []
        if self.last_step is None:
            self._set_pending(number, prices, restart=True)
            return []
        if number < self.last_step or (number == self.last_step and self._pending is None):
            kind = "older than the newest" if number < self.last_step else "repeated after it was used"
            self.note(f"row refused: its step is {kind}", number)
            return []
        if number == self.last_step:
            self.note("a step was repeated: the last of its rows counts", number)
            restart = self._pending is not None and self._pending.restart
            self._prices, self._known = self._before
            self._set_pending(number, prices, restart=restart)
            return []
        rows = self.flush()
        missing = number - self.last_step - 1
        if missing > self.limit:
            self.note(f"a gap of {missing} steps is longer than {GAP_DAYS} days: everything before it was forgotten", number)
        elif missing:
            self.note(f"a gap of {missing} steps was filled with the last prices", number)
            held = np.ones(len(self.channels), dtype=np.bool_)
            rows += [CleanRow(filled, self._prices, held, False) for filled in range(self.last_step + 1, number)]
        self._set_pending(number, prices, restart=missing > self.limit)
        return rows

    def flush(self) -> list[CleanRow]:
        """The pending row, if there is one: it is about to be used, a later repetition will be refused."""
        if self._pending is None:
            return []
        row, self._pending = self._pending, None
        return [row]

    def note(self, text: str, step: int | None = None) -> None:
        """Remember that ``text`` was true at ``step``."""
        if text not in self.seen and len(self.seen) >= 32:  # enough to see what is going on; memory stays bounded
            self.seen.pop(min(self.seen, key=self.seen.__getitem__))
        self.seen[text] = step if step is not None else self.last_step if self.last_step is not None else 0

    def notes(self) -> tuple[str, ...]:
        """Notes of the last day, each with the last step it is about."""
        now = self.last_step if self.last_step is not None else 0
        return tuple(f"{text} (step {step})" for text, step in self.seen.items() if step > now - self._steps_per_day)

    def _set_pending(self, step: int, prices: Any, *, restart: bool) -> None:
        self._before = (self._prices, self._known)
        self.last_step = step
        values, good = self._read(prices, step)
        first = bool((good & ~self._known).any())
        self._known = self._known | good
        self._prices = np.where(good, values, self._prices)
        self._pending = CleanRow(step, self._prices, ~good, restart or first)

    def _read(self, prices: Any, step: int) -> tuple[FloatArray, BoolArray]:
        count = len(self.channels)
        try:
            values = np.array(prices, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            values = _each(prices)
        if values.shape != (count,):
            self.note(f"a row of {len(values)} prices, expected {count} ({', '.join(self.channels)}): none of them used", step)
            values = np.full(count, np.nan)
        good = np.isfinite(values)
        if not good.all():
            for channel in np.flatnonzero(~good):
                what = "the last one stands in" if self._known[channel] else "there was none before: taken as 0"
                self.note(f"{self.channels[channel]}: price missing or not a number, {what}", step)
            values = np.where(good, values, 0.0)
        if (np.abs(values) > LARGEST).any():
            self.note(f"a price beyond {LARGEST:g} was cut to it", step)
            values = np.clip(values, -LARGEST, LARGEST)
        return values, good


def _each(prices: Any) -> FloatArray:
    """Read prices one by one; what is no number becomes nan."""
    values = []
    for price in prices if isinstance(prices, (list, tuple, np.ndarray)) else [prices]:
        try:
            values.append(float(price))
        except (TypeError, ValueError, OverflowError):
            values.append(math.nan)
    return np.array(values, dtype=np.float64)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
