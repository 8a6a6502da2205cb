"""The global random states, which stable-baselines3 seeds and uses."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np

from gridpilot.training.network import require_torch

__all__ = ["kept_random_state"]


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Give back the states of Python, numpy and torch as they were before the block."""
    torch = require_torch()
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
