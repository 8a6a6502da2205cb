"""``gridpilot backtest``: how well forecasters forecast a series, told as a table, a folder of figures and a report.

The folder holds ``scores.parquet`` (a row a member, channel and horizon), ``forecasts.parquet``, ``weights.parquet``, ``results.json``
(what ``json=true`` prints), ``manifest.json`` and ``report.html``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gridpilot import configuration
from gridpilot.backtest.config import member_specs, validate_backtest
from gridpilot.backtest.output import results_json, run_folder, write_run
from gridpilot.backtest.result import Backtest
from gridpilot.backtest.run import backtest
from gridpilot.backtest.summary import REFERENCE
from gridpilot.backtest.table import percent, render_table
from gridpilot.columns import console_for
from gridpilot.errors import ForecastError
from gridpilot.files import RUNS, check_output
from gridpilot.stdout import results_only
from gridpilot.sweep import Found

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Run the command with Hydra overrides. Raises what :func:`~gridpilot.backtest.run.backtest` raises."""
    return configuration.run("backtest", argv, _run)


def _run(config: dict[str, Any]) -> Found:
    settings = validate_backtest(config)
    check_output(Path(settings.out or RUNS), ForecastError, folder=True)
    from gridpilot.presets import registered

    specs = member_specs(settings.members, registered("forecaster"))
    started = time.monotonic()
    with results_only() as out:
        result = backtest(settings, specs)
        folder = run_folder(result)
        report = write_run(result, folder)
        if settings.as_json:
            print(results_json(result, folder), file=out)
            return _found(result, folder)
        console = console_for(out, otherwise=150)
        console.print(render_table(result, console.width), soft_wrap=True)
        done = f"{len(result.runs)} members in {time.monotonic() - started:.1f} s"
        print(f"scores  {folder / 'scores.parquet'}\nreport  {report}\n{done}", file=out)
    return _found(result, folder)


def _found(result: Backtest, folder: Path) -> Found:
    """What the table of a sweep says: each member's skill, over channels and horizons, the best first, and where the run lies."""
    skills = result.scores.groupby("member")["skill"].mean().drop(REFERENCE, errors="ignore").sort_values(ascending=False)
    return Found({**{f"{name}, skill %": percent(skill) for name, skill in skills.items()}, "folder": str(folder)})
