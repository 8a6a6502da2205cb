"""Timing code on a machine that is shared and noisy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Measurement", "cpu_seconds"]


@dataclass(frozen=True)
class Measurement:
    """One line of the benchmark."""

    suite: str
    name: str
    median: float  # of the repeats, in what `measure` says
    best: float  # the smallest
    rate: float | None = None  # units of work a CPU second, from the median
    unit: str = ""  # of the rate
    ratio: float | None = None  # of the median to that of `against`
    against: str = ""
    measure: Literal["cpu_us", "wall_us", "mib"] = "cpu_us"  # microseconds of CPU or of wall time a call, or MiB of memory


def cpu_seconds(call: Callable[[], Any], *, repeats: int, at_least: float = 0.02) -> tuple[float, float]:
    """CPU seconds of one ``call``: median and minimum over ``repeats`` batches of ``at_least`` seconds each, after a warm-up."""
    call()
    start = time.process_time()
    call()
    once = max(time.process_time() - start, 1e-9)
    number = max(1, int(at_least / once))
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(number):
            call()
        times.append((time.process_time() - start) / number)
    return float(np.median(times)), min(times)
