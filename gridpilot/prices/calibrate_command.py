"""``gridpilot calibrate``: fit a price model to a file, and say whether it may be trusted."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, get_args

from rich.table import Table
from rich.text import Text

from gridpilot.columns import Column, Form, SafeConsole, console_for, fitted
from gridpilot.errors import CalibrationError
from gridpilot.files import check_output
from gridpilot.prices.calibrate import Calibration
from gridpilot.prices.calibrate_series import RecordedSeries
from gridpilot.prices.calibrate_table import Comparison
from gridpilot.prices.calibrated import RAW, Settings, fit_prices
from gridpilot.prices.garch import Dynamics
from gridpilot.series.options import FLAGS, add_options, options_of
from gridpilot.series.units import UNITS

__all__ = ["main"]

_NOT_GOOD = 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gridpilot calibrate",
        description="Fit a GARCH price model with Student-t innovations to a recorded series, simulate it, and compare simulated with "
        "real. Writes a conf/prices file and a picture beside it. Exit code 0: the fit is good; 1: written, but NOT GOOD; 2: an error.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a CSV or Parquet file")
    parser.add_argument("--column", required=True, metavar="C", help="the column of prices")
    add_options(parser)
    parser.add_argument("--step", type=float, metavar="MINUTES", help="distance of rows, for a file without times")
    parser.add_argument(
        "--kind", choices=("energy", "product"), default="energy", help="mean-reverting with a daily profile, or log returns"
    )
    parser.add_argument(
        "--product", choices=("hash", "token"), default="token", help="which product, with --kind product (default: token)"
    )
    unit = "unit of the column (default: $/MWh, $/PH/s/day or raw); raw is not checked, and --level then gives a product's level"
    parser.add_argument("--unit", choices=(*UNITS, RAW), help=unit)
    parser.add_argument("--factor", type=float, default=1.0, help="multiplies the column, for another currency (default: 1)")
    parser.add_argument(
        "--level", type=float, help="level of a product's price, $ per PH/s h or $ per million tokens (default: its last tenth)"
    )
    parser.add_argument(
        "--half-life", type=float, default=30.0, metavar="DAYS", help="of a product's return to its level (default: 30)"
    )
    sampling = "a row is the price at its time, or the average since the row above (default: what the returns look like)"
    parser.add_argument("--sampling", choices=("point", "average"), help=sampling)
    parser.add_argument(
        "--model",
        "--dynamics",
        dest="dynamics",
        choices=get_args(Dynamics),
        default="garch_t",
        help="of the variance (default: garch_t)",
    )
    parser.add_argument(
        "--others", default="ercot", metavar="PRESET", help="preset the other two prices are taken from (default: ercot)"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="NAME.yaml", help="the file to write; the picture is NAME.png")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; 0 is a good fit, 1 one that is not. Raises :class:`~gridpilot.errors.PriceError` for bad input."""
    arguments = _parser().parse_args(list(argv))
    _check_out(arguments.out)
    with _progress(f"calibrating on {arguments.file}"):
        result = fit_prices(
            arguments.file,
            arguments.column,
            options_of(arguments, FLAGS),
            Settings(
                target="energy" if arguments.kind == "energy" else arguments.product,
                unit=arguments.unit,
                factor=arguments.factor,
                level=arguments.level,
                half_life=arguments.half_life,
                sampling=arguments.sampling,
                dynamics=arguments.dynamics,
                others=arguments.others,
                step=arguments.step,
            ),
            command=f"gridpilot calibrate {shlex.join(_without_folders(argv))}",
        )
    picture = result.save(arguments.out)
    if arguments.json:
        print(json.dumps(_as_json(result.fitted, result.series, arguments.out, picture), indent=2))
    else:
        _print_table(result.fitted, result.series, result.unit, arguments.out, picture)
    return 0 if result.good else _NOT_GOOD


def _progress(what: str) -> AbstractContextManager[Any]:
    """Something that moves on a terminal while a fit runs; nothing elsewhere."""
    console = SafeConsole(stderr=True)
    return console.status(what) if console.is_terminal else nullcontext()


def _check_out(out: Path) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise CalibrationError(f"--out is {str(out)!r}, expected a name that ends in .yaml")
    for path in (out, out.with_suffix(".png")):
        check_output(path, CalibrationError)


def _without_folders(argv: Sequence[str]) -> list[str]:
    """The command line as it is kept in the file: paths shortened to their names."""
    return [Path(word).name if "/" in word and word not in UNITS else word for word in argv]


def _as_json(result: Calibration, series: RecordedSeries, out: Path, picture: Path) -> dict[str, Any]:
    def table(comparison: Comparison | None) -> list[dict[str, Any]] | None:
        return None if comparison is None else [row._asdict() for row in comparison.rows]

    return {
        "good": result.good,
        "disagreeing": list(result.comparison.disagreeing),
        "sampling": result.sampling,
        "compared": result.comparison.of,
        "rows": table(result.comparison),
        "held_out": table(result.held_out),
        "parameters": result.part,
        "persistence_estimated": result.fit.persistence,
        "notes": [*series.notes, *result.fit.notes],
        "file": str(out),
        "picture": str(picture),
    }


def _table(result: Calibration, series: RecordedSeries, unit: str, width: int) -> Table:
    """Real and simulated figures, as many of them as ``width`` characters hold."""
    shown_unit = "log returns" if result.comparison.of == "log returns" else ("unit of the file" if unit == RAW else unit)
    rows = result.comparison.rows
    verdicts = [Text("agrees", "green") if row.agrees else Text("DISAGREES", "bold red") for row in rows]
    told = [Text.assemble(verdict, f" {row.reason}") for verdict, row in zip(verdicts, rows, strict=True)]
    names = [row.name for row in rows]
    columns = [
        Column(
            "statistic",
            (Form("statistic", names), Form("statistic", names, 24), Form("statistic", names, 14)),
            left=True,
            stays=True,
        ),
        Column("real", (Form("real", [f"{row.real:.4g}" for row in rows]),)),
        Column("simulated", (Form("simulated", [f"{row.simulated:.4g}" for row in rows]),)),
        Column("paths", (Form("98 % of paths", [f"{row.low:.3g} to {row.high:.3g}" for row in rows]),)),
        Column("verdict", (Form("verdict", told), Form("verdict", verdicts)), left=True, stays=True),
    ]
    if result.held_out is not None:
        held = result.held_out.rows
        marked = [f"{row.simulated:.4g}" + ("" if row.agrees else " *") for row in held]
        columns.append(Column("last", (Form("last third", [f"{row.real:.4g}" for row in held]),)))
        columns.append(Column("without", (Form("fit without it", marked),)))
    spare = ("verdict", "statistic", "without", "last", "paths", "statistic")
    return fitted(f"{series.source}, {result.fit.parameters['dynamics']} ({shown_unit})", columns, spare, width)


def _print_table(result: Calibration, series: RecordedSeries, unit: str, out: Path, picture: Path) -> None:
    from rich.markup import escape

    console = console_for(sys.stdout, otherwise=150)
    console.print(_table(result, series, unit, console.width), soft_wrap=True)
    if result.held_out is not None and result.held_out.disagreeing:
        console.print(
            "  * beyond the tolerance of the row: out of sample, where the market itself may have changed; not part of the verdict"
        )
    if result.sampling == "average":
        console.print("note: rows are taken as averages since the row above")
    for note in (*series.notes, *result.fit.notes):
        console.print(f"note: {escape(note)}")
    if result.good:
        console.print("[green]GOOD: simulated and real agree in every row[/]")
    else:
        for row in result.comparison.rows:
            if not row.agrees:
                console.print(
                    f"[bold red]NOT GOOD: {escape(row.name)}: real {row.real:.4g}, simulated {row.simulated:.4g} ({escape(row.reason)})[/]"
                )
    console.print(f"wrote {escape(str(out))} and {escape(str(picture))}")
