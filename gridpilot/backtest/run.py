"""Running a backtest: forecasters taken through a series and scored, for the command and from Python."""

from __future__ import annotations

import html
import importlib.util
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gridpilot.backtest.config import BacktestConfig, build_series, member_builders, member_specs, validate_backtest, warm_up_days
from gridpilot.backtest.output import forecasts_table, run_folder, write_run
from gridpilot.backtest.result import Backtest
from gridpilot.backtest.rolling import MemberRun, plan_origins, run_best, run_member
from gridpilot.backtest.series import PriceSeries, read_series
from gridpilot.backtest.summary import costs, judge, summarise
from gridpilot.backtest.table import render_table
from gridpilot.columns import SafeConsole
from gridpilot.configuration import composed
from gridpilot.errors import ConfigError, ForecastError, MissingExtraError
from gridpilot.forecasting.base import Forecaster
from gridpilot.presets import registered
from gridpilot.prices.load import price_parameters
from gridpilot.progress import Progress
from gridpilot.series.options import options_of
from gridpilot.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BacktestResult", "backtest", "run_backtest"]

Builders = Mapping[str, Callable[[], Forecaster]]

_NO_SETTING = ("prices", "preset", "members", "data", "json")
_FRAME = "data frame"


def run_backtest(
    data: str | Path | pd.DataFrame | None = None,
    column: str | list[str] | None = None,
    *,
    members: Iterable[str | Mapping[str, Any]] | None = None,
    prices: str | Path | Mapping[str, Any] = "ercot",
    quiet: bool = False,
    **settings: Any,
) -> BacktestResult:
    """Let forecasters predict a series row by row and score what they said: the figures of ``gridpilot backtest``.

    ``data``      a CSV or Parquet file or a data frame, and its price ``column`` or columns; without it a series is simulated.
    ``members``   names, dotted paths of :class:`gridpilot.forecasting.Forecaster` classes, or ``{name: ..., label: ..., parameters}``; by
                  default those of the command.
    ``prices``    what a series is simulated from, as :func:`gridpilot.load_setup` takes it.
    ``quiet``     no progress on stderr.
    ``settings``  every other key of ``conf/backtest.yaml``: ``process``, ``horizons``, ``days``, ``zone``, ``seed``, ...

    Nothing is written unless ``out`` is given or :meth:`BacktestResult.save` is called. Raises
    :class:`~gridpilot.errors.GridPilotError` with one line for whatever cannot be read or run.

    >>> result = run_backtest(process="seasonal", members=["rls"], days=4, horizons=[5, 60], quiet=True)
    >>> sorted(result.scores["member"].unique())
    ['best_possible', 'persistence', 'rls']
    """
    config = composed("backtest", ["preset=''"])
    known = sorted(set(config) - set(_NO_SETTING))
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"run_backtest: unknown setting {key!r}; {did_you_mean(key, known) or 'known are ' + ', '.join(known)}"
            )
    framed = data is not None and not isinstance(data, str | Path)
    config |= settings | {
        "data": _FRAME if framed else None if data is None else str(data),
        "column": column,
        "prices": price_parameters(prices),
        "preset": str(prices) if isinstance(prices, str | Path) else "prices",
        "out": None if settings.get("out") is None else str(settings["out"]),
    }
    if members is not None:
        if isinstance(members, str):
            raise ConfigError(f"run_backtest: members is {members!r}, expected a list of forecasters")
        config["members"] = [member if isinstance(member, str) else dict(member) for member in members]
    checked = validate_backtest(config)
    series = None
    if framed:
        series = read_series(data, checked.column, options=options_of(checked), step_minutes=checked.step_minutes)
    specs = member_specs(checked.members, registered("forecaster"))
    result = BacktestResult(backtest(checked, specs, series=series, console=SafeConsole(stderr=True, quiet=quiet)))
    if checked.out is not None:
        result.save(checked.out)
    return result


class BacktestResult:
    """What a backtest found.

    ``scores``    a row a member, channel and horizon, see :func:`gridpilot.backtest.summary.summarise`
    ``verdicts``  a row a member: whether it earns its place, and why in words
    ``notes``     what was repaired in the series or could not be computed
    ``details``   everything else, a :class:`~gridpilot.backtest.result.Backtest`
    """

    def __init__(self, details: Backtest) -> None:
        import pandas as pd

        self.details = details
        self.scores = details.scores
        self.verdicts = pd.DataFrame([asdict(verdict) for verdict in details.verdicts])
        self.notes = list(details.notes)

    @property
    def forecasts(self) -> pd.DataFrame:
        """Forecasts beside what came, at up to 400 origins."""
        return forecasts_table(self.details)

    def save(self, folder: str | Path | None = None) -> Path:
        """Write scores, forecasts, weights, manifest and report into ``folder``, by default one below ``runs``; return the report's path.

        Raises :class:`~gridpilot.errors.ForecastError` where it cannot be written.
        """
        return write_run(self.details, Path(folder) if folder is not None else run_folder(self.details))

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.details.runs)
        return f"<BacktestResult of {self.details.series.source}: {names}>"

    def __str__(self) -> str:
        return self._shown(100)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self._shown(120))}</pre>"

    def _shown(self, width: int) -> str:
        text = io.StringIO()
        SafeConsole(width=width, file=text, color_system=None).print(render_table(self.details, width))
        return text.getvalue()


def backtest(
    settings: BacktestConfig,
    specs: Mapping[str, Mapping[str, Any]],
    *,
    builders: Builders | None = None,
    series: PriceSeries | None = None,
    console: Console | None = None,
) -> Backtest:
    """Take every member through the series of a validated configuration and score it.

    ``specs``     members by label, see :func:`~gridpilot.backtest.config.member_specs`; persistence should be among them.
    ``builders``  what makes the forecasters instead, by label.
    ``series``    what they are taken through, by default the one that is configured.
    ``console``   is told the progress, by default stderr.

    A member that raises or lacks an optional package is recorded as failed. Raises :class:`~gridpilot.errors.ForecastError` when none
    answered or the series is too short, and the errors of reading or simulating it.
    """
    if settings.scenarios and not _installed("scoringrules"):
        raise MissingExtraError(f"scenarios={settings.scenarios} (the CRPS by scoringrules)", "forecast")
    series = series or build_series(settings)
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
