"""A policy of made-up numbers, for tests."""

from __future__ import annotations

import numpy as np

from gridpilot.market.encoding import n_fields
from gridpilot.policies import Layout, Policy

__all__ = ["made_up"]


def made_up(seed: int = 0, *, classes: int = 3, shading: int = 0, scale: float = 0.2, **fields: object) -> Policy:
    random = np.random.default_rng(seed)
    layout = Layout((n_fields(classes), 16, 8, 2 + shading), classes, **fields)  # type: ignore[arg-type]
    arrays = {name: (scale * random.normal(size=shape)).astype(np.float32) for name, shape in layout.shapes().items()}
    return Policy(layout, arrays | {"std": np.abs(arrays["std"]) + np.float32(0.5)}, {"command": "made up"})
