"""``gridpilot inspect``: how a file of prices is read, before anything is done with it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gridpilot.series.options import FLAGS, add_options, options_of
from gridpilot.series.picture import blocks
from gridpilot.series.reader import Reading, read, span
from gridpilot.series.table import listed
from gridpilot.series.units import guess_unit

__all__ = ["main"]

_WIDTH = 80
_LABEL = 13


def main(argv: Sequence[str]) -> int:
    """Run the command. Raises :class:`~gridpilot.errors.PriceError` for a file that does not read in one way only."""
    parser = argparse.ArgumentParser(
        prog="gridpilot inspect",
        description="Show how a CSV or Parquet file of prices is read: "
        "separator, encoding, times, step, gaps, repeats, size and a picture.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a CSV or Parquet file")
    parser.add_argument("--column", metavar="C", help="the column of prices (default: the only one that holds numbers)")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(list(argv))
    columns = None if arguments.column is None else [arguments.column]
    reading = read(arguments.file, columns, options_of(arguments, FLAGS))
    found = facts(reading)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    _print(found, reading)
    return 0


def facts(reading: Reading) -> dict[str, Any]:
    """What was found, ready for JSON. Times are those of the clock of the file."""
    table, values = reading.table, reading.values[:, 0]
    known = values[np.isfinite(values)]
    result: dict[str, Any] = {
        "file": str(table.path),
        "encoding": table.encoding,
        "separator": table.separator or None,
        "decimal": None if table.encoding == "Parquet" else table.decimal,
        "columns": list(table.columns),
        "column": reading.names[0],
        "rows": len(values),
        "empty": len(values) - len(known),
        "unit": guess_unit(values),
        "lowest": float(known.min()),
        "median": float(np.median(known)),
        "highest": float(known.max()),
        "share_negative": float((known < 0.0).mean()),
        "notes": list(reading.notes),
    }
    times = reading.times
    if times is None:
        return {**result, "time": None}
    unique = np.unique(times.instants)
    gaps = np.diff(unique)
    step = int(np.median(gaps)) if len(gaps) else None
    wide = np.flatnonzero(gaps > 1.5 * step) if step else np.zeros(0, dtype=np.int64)
    clock = dict(zip(times.instants.tolist(), times.clock.tolist(), strict=True))
    widest = int(wide[np.argmax(gaps[wide])]) if len(wide) else None
    return {
        **result,
        "time": list(times.columns),
        "format": times.format,
        "label": times.label,
        "zone": times.zone or None,
        "first": reading.time(0),
        "last": reading.time(-1),
        "step_seconds": step,
        "gaps": len(wide),
        "missing": int(np.sum(np.round(gaps[wide] / step) - 1)) if step else 0,
        "widest_gap": None if widest is None else [str(np.datetime64(clock[int(unique[i])], "s")) for i in (widest, widest + 1)],
        "repeats": len(times.instants) - len(unique),
        "unsorted": int((np.diff(times.instants) < 0).sum()),
    }


def _print(found: dict[str, Any], reading: Reading) -> None:
    rows: list[tuple[str, str]] = [("file", f"{found['file']}, {found['rows']:,} rows")]
    written = found["encoding"]
    if found["separator"]:
        written += f", fields separated by a {found['separator']}, decimals by {found['decimal']!r}"
    rows.append(("written in", written))
    rows.append(("columns", listed(found["columns"])))
    if found["time"] is None:
        rows.append(("times", "none: the distance of rows has to be given"))
    else:
        rows.append(("times", f"{' + '.join(found['time'])}: {found['format']}"))
        rows.append(("clock", f"{found['zone'] or 'its own, without an offset'}; rows were labelled by their {found['label']}"))
        rows.append(("rows begin", f"{found['first'].replace('T', ' ')} to {found['last'].replace('T', ' ')}"))
        if found["step_seconds"]:
            rows.append(("step", span(found["step_seconds"] / 60)))
        gaps = f"{found['gaps']}, {found['missing']} rows missing" if found["gaps"] else "none"
        if found["widest_gap"]:
            gaps += f"; widest {' to '.join(found['widest_gap']).replace('T', ' ')}"
        rows.append(("gaps", gaps))
        rows.append(
            ("repeats", f"{found['repeats']} times" + (f"; {found['unsorted']} rows out of order" if found["unsorted"] else ""))
        )
    rows.append(("prices", f"{found['column']}: {found['lowest']:g} to {found['highest']:g}, median {found['median']:g}"))
    rows.append(("unit", f"{found['unit']} by the size of prices" if found["unit"] else "of no usual size for energy"))
    rows.append(
        ("negative", f"{100 * found['share_negative']:.1f} %" + (f"; {found['empty']} fields empty" if found["empty"] else ""))
    )
    rows += [("note", note) for note in found["notes"]]
    encoding = sys.stdout.encoding or "ascii"
    for label, text in rows:
        for i, line in enumerate(_folded(text.encode(encoding, "replace").decode(encoding))):
            print(f"{'' if i else label:<{_LABEL}}{line}".rstrip())
    print()
    for line in blocks(reading.values[:, 0], _WIDTH, 4, encoding):
        print(line)


def _folded(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, _WIDTH - _LABEL) or [""]
