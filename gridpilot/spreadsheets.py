"""Text in CSV files that a spreadsheet does not run: a cell that begins with ``=`` and the like is a formula to it, whoever wrote it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_text", "csv_text"]

_FORMULAS: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are the wide forms of the first


def as_text(cell: Any) -> Any:
    """A cell as it goes into a CSV file: text that would be run begins with an apostrophe; numbers stay, also as text.

    >>> as_text("=HYPERLINK(1)"), as_text("-1.5"), as_text("+patient"), as_text(-2), as_text("plain")
    ("'=HYPERLINK(1)", '-1.5', "'+patient", -2, 'plain')
    """
    if not isinstance(cell, str) or not cell.startswith(_FORMULAS):
        return cell
    with contextlib.suppress(ValueError):
        float(cell)
        return cell
    return f"'{cell}"


def csv_text(table: pd.DataFrame) -> str:
    """``table`` as a CSV text without its index, every cell and heading as of :func:`as_text`."""
    safe = table.rename(columns=as_text)
    for name in safe.columns:
        if safe[name].dtype.kind not in "biufcmM":
            safe[name] = safe[name].map(as_text)
    return str(safe.to_csv(index=False))
