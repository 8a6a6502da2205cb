"""``gridpilot backtest``: how well forecasters forecast a series, told as a table, a folder of figures and a report.

The folder holds ``scores.parquet`` (a row a member, channel and horizon), ``forecasts.parquet``, ``weights.parquet``, ``results.json``
(what ``json=true`` prints), ``manifest.json`` and ``report.html``.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.console import Console

from gridpilot import configuration
from gridpilot.backtest.config import BacktestConfig, build_series, member_builders, member_specs, validate_backtest, warm_up_days
from gridpilot.backtest.output import results_json, run_folder, write_run
from gridpilot.backtest.result import Backtest
from gridpilot.backtest.rolling import MemberRun, plan_origins, run_best, run_member
from gridpilot.backtest.summary import costs, judge, summarise
from gridpilot.backtest.table import render_table
from gridpilot.errors import ForecastError, MissingExtraError
from gridpilot.forecasting.base import Forecaster
from gridpilot.progress import Progress

__all__ = ["main", "run_backtest"]

Builders = Mapping[str, Callable[[], Forecaster]]


def main(argv: list[str]) -> int:
    """Run the command with Hydra overrides. Raises what :func:`run_backtest` raises."""
    return configuration.run("backtest", argv, _run)


def _run(config: dict[str, Any]) -> int:
    settings = validate_backtest(config)
    from gridpilot.presets import registered

    specs = member_specs(settings.members, registered("forecaster"))
    started = time.monotonic()
    result = run_backtest(settings, specs)
    folder = run_folder(result)
    report = write_run(result, folder)
    if settings.as_json:
        print(results_json(result, folder))
        return 0
    width = Console().width
    console = Console(highlight=False, soft_wrap=True, width=None if Console().is_terminal else max(width, 150))
    console.print(render_table(result))
    print(
        f"scores  {folder / 'scores.parquet'}\nreport  {report}\n{len(result.runs)} members in {time.monotonic() - started:.1f} s"
    )
    return 0


def run_backtest(
    settings: BacktestConfig,
    specs: Mapping[str, Mapping[str, Any]],
    *,
    builders: Builders | None = None,
    console: Console | None = None,
) -> Backtest:
    """Take every member through the series of a validated configuration and score it.

    ``specs``     members by label, see :func:`~gridpilot.backtest.config.member_specs`; persistence should be among them.
    ``builders``  what makes the forecasters instead, by label.
    ``console``   is told the progress, by default stderr.

    A member that raises or lacks an optional package is recorded as failed. Raises :class:`~gridpilot.errors.ForecastError` when none
    answered or the series is too short, and the errors of reading or simulating it.
    """
    if settings.scenarios and not _installed("scoringrules"):
        raise MissingExtraError(f"scenarios={settings.scenarios} (the CRPS by scoringrules)", "forecast")
    series = build_series(settings)
    origins = plan_origins(series, settings.horizons, warm_up_days=warm_up_days(settings, series), every=settings.every)
    made = builders if builders is not None else member_builders(specs, series)
    notes = list(series.notes)
    runs: list[MemberRun] = []
    rows = int(origins.rows[-1]) + 1
    best_work = min(len(origins.rows), (series.best.origins or len(origins.rows)) if series.best else 0)
    with Progress("backtest", console).of(rows * len(made) + best_work, what="rows") as advance:
        for name, build in made.items():
            advance(0, name)
            runs.append(
                run_member(name, build, series, origins, scenarios=settings.scenarios, advance=partial(advance, whose=name))
            )
        best = run_best(series, origins, advance=partial(advance, whose="best possible"))
    if all(run.failed for run in runs):
        raise ForecastError(f"no member answered; {'; '.join(f'{run.name}: {run.failed}' for run in runs)}")
    if best is not None:
        runs.append(best)
    scores = summarise(series, origins, runs, notes)
    return Backtest(settings, dict(specs), series, origins, runs, scores, judge(scores, runs), costs(runs), notes)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it was imported, and marked as not there
        return False
