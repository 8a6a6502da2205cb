"""A class that never comes to be."""

from __future__ import annotations

import os

from cheats import Valuing


class Unborn(Valuing):
    def __init__(self) -> None:
        os._exit(0)
