"""``gridpilot calibrate``: fit a price model to a file, and say whether it may be trusted."""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, get_args

from gridpilot.errors import CalibrationError, PriceError
from gridpilot.files import write_atomically
from gridpilot.presets import find, load_preset, names
from gridpilot.prices.calibrate import Calibration, Target, calibrate
from gridpilot.prices.calibrate_file import rounded, yaml_text
from gridpilot.prices.calibrate_picture import draw
from gridpilot.prices.calibrate_series import RecordedSeries, read_series
from gridpilot.prices.calibrate_table import Comparison
from gridpilot.prices.garch import Dynamics, GarchPrices
from gridpilot.prices.load import PRICES
from gridpilot.series.options import add_options, options_of
from gridpilot.series.units import UNITS, check_magnitude

__all__ = ["main"]

_NOT_GOOD = 1
_RAW = "raw"
_DEFAULT_UNIT = {"energy": "$/MWh", "hash": "$/PH/s/day", "token": _RAW}


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
    parser.add_argument("--unit", choices=(*UNITS, _RAW), help=unit)
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
    target: Target = "energy" if arguments.kind == "energy" else arguments.product
    unit = arguments.unit or _DEFAULT_UNIT[target]
    _check(arguments, target, unit)
    if arguments.others not in names("prices") or find(PRICES, arguments.others) is not GarchPrices:
        raise CalibrationError(f"--others is {arguments.others}, expected a file of conf/prices that names {GarchPrices.__name__}")
    others = load_preset("prices", arguments.others)
    series = read_series(arguments.file, arguments.column, options=options_of(arguments, "--"), step_minutes=arguments.step)
    factor = arguments.factor
    if unit != _RAW:
        check_magnitude(series.values * factor, unit, series.source)
        factor *= UNITS[unit][1]
    with _progress(f"calibrating on {len(series.values)} rows, {series.step * 5} minutes apart"):
        result = calibrate(
            series,
            target,
            arguments.dynamics,
            others,
            factor=factor,
            level=arguments.level,
            half_life_days=arguments.half_life,
            sampling=arguments.sampling,
        )
    picture = arguments.out.with_suffix(".png")
    _write(result, series, others, unit, picture, arguments, argv)
    if arguments.json:
        print(json.dumps(_as_json(result, series, arguments.out, picture), indent=2))
    else:
        _print_table(result, series, unit, arguments.out, picture)
    return 0 if result.good else _NOT_GOOD


def _progress(what: str) -> AbstractContextManager[Any]:
    """Something that moves on a terminal while a fit runs; nothing elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(what) if console.is_terminal else nullcontext()


def _check(arguments: argparse.Namespace, target: Target, unit: str) -> None:
    if arguments.out.suffix not in (".yaml", ".yml"):
        raise CalibrationError(f"--out is {str(arguments.out)!r}, expected a name that ends in .yaml")
    if not arguments.out.absolute().parent.is_dir():
        raise CalibrationError(f"--out is {str(arguments.out)!r}, but there is no folder {str(arguments.out.absolute().parent)!r}")
    for name in ("factor", "level", "half_life", "step"):
        value = getattr(arguments, name)
        if value is not None and not 0.0 < value < float("inf"):
            raise CalibrationError(f"--{name.replace('_', '-')} is {value}, expected a number above 0")
    if unit != _RAW and UNITS[unit][0] != target:
        fitting = ", ".join([*(name for name, (of, _) in UNITS.items() if of == target), _RAW])
        raise CalibrationError(f"--unit is {unit}, expected one of {fitting} for the {target} price")
    if target == "energy" and arguments.level is not None:
        raise CalibrationError("--level is for products; an energy price has the level of its data (--factor scales it)")


def _write(
    result: Calibration,
    series: RecordedSeries,
    others: dict[str, Any],
    unit: str,
    picture: Path,
    arguments: argparse.Namespace,
    argv: Sequence[str],
) -> None:
    about = {
        "source": series.source,
        "period": series.period,
        "rows": len(series.values),
        "step_minutes": series.step * 5,
        "unit": unit,
        "factor": arguments.factor,
        "command": f"gridpilot calibrate {shlex.join(_without_folders(argv))}",
        "others": arguments.others,
        "sampling": result.sampling,
        "good": result.good,
        "repaired": list(series.notes),
        "persistence_estimated": rounded(result.fit.persistence, 5),
    }
    write_atomically(arguments.out, yaml_text(result, others, about).encode(), PriceError)
    drawn = io.BytesIO()
    draw(result, series, unit if unit != _RAW else "unit of the file", drawn)
    write_atomically(picture, drawn.getvalue(), PriceError)


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


def _print_table(result: Calibration, series: RecordedSeries, unit: str, out: Path, picture: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 150)
    shown_unit = "log returns" if result.comparison.of == "log returns" else ("unit of the file" if unit == _RAW else unit)
    table = Table(
        title=escape(f"{series.source}, {result.fit.parameters['dynamics']} ({shown_unit})"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    for name, justify in (
        ("statistic", "left"),
        ("real", "right"),
        ("simulated", "right"),
        ("98 % of paths", "right"),
        ("verdict", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    if result.held_out is not None:
        table.add_column("last third", justify="right")
        table.add_column("fit without it", justify="right")
    for i, row in enumerate(result.comparison.rows):
        verdict = "[green]agrees[/]" if row.agrees else "[bold red]DISAGREES[/]"
        cells = [
            row.name,
            f"{row.real:.4g}",
            f"{row.simulated:.4g}",
            f"{row.low:.3g} to {row.high:.3g}",
            f"{verdict} {escape(row.reason)}",
        ]
        if result.held_out is not None:
            held = result.held_out.rows[i]
            cells += [f"{held.real:.4g}", f"{held.simulated:.4g}" + ("" if held.agrees else " *")]
        table.add_row(*cells)
    console.print(table)
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
