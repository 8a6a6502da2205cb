"""A module that ends the process."""

from __future__ import annotations

import os

from cheats import Valuing

os._exit(3)


class Gone(Valuing):
    pass
