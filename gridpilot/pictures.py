"""What all pictures of results have in common."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_png", "quiet"]


def quiet(axes: Axes) -> None:
    """Leave away what frames the data, and put light lines of the vertical axis behind it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def as_png(figure: Figure) -> bytes:
    """The picture as a file, 100 dots an inch."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    return image.getvalue()
