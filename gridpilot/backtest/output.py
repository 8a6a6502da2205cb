"""A backtest's run folder: what is written, and under which name."""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gridpilot.backtest.config import EXECUTION_KEYS
from gridpilot.backtest.report import render_report
from gridpilot.backtest.result import MOST_NOTES, Backtest
from gridpilot.backtest.rolling import observed
from gridpilot.backtest.summary import mean_weights
from gridpilot.errors import ForecastError
from gridpilot.files import run_folder as runs_folder
from gridpilot.files import write_atomically
from gridpilot.forecasting.base import QUANTILE_LEVELS
from gridpilot.provenance import versions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["forecasts_table", "manifest", "results", "results_json", "run_folder", "weights_table", "write_run"]

REPORT: Final = "report.html"
MOST_ORIGINS: Final = 400  # of which forecasts are kept
_PACKAGES: Final = ("gridpilot", "numpy", "numba", "scipy", "pandas", "pyarrow", "arch", "filterpy", "scoringrules")


def run_folder(result: Backtest) -> Path:
    """``out``, or a folder in ``runs`` that equal configurations of equal data share."""
    if result.settings.out is not None:
        return Path(result.settings.out)
    about = manifest(result)
    identity = {key: about[key] for key in ("config", "members", "data", "versions")}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    settings = result.settings
    what = [Path(settings.data).stem] if settings.data else [settings.process or settings.preset, f"seed{settings.seed}"]
    return runs_folder("-".join(["backtest", *what]), digest[:10])


def manifest(result: Backtest) -> dict[str, Any]:
    """What was run, on what, with which versions."""
    config = {
        key: value
        for key, value in result.settings.model_dump(mode="json", by_alias=True).items()
        if key not in EXECUTION_KEYS and not (key in ("prices", "preset") and (result.settings.data or result.settings.process))
    }
    series, origins = result.series, result.origins
    return {
        "format": 1,
        "command": "backtest",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config,
        "members": {name: dict(spec) for name, spec in result.specs.items()},
        "seed": result.settings.seed,
        "data": {"source": series.source, "sha256": series.sha256, "rows": len(series.prices), "step_minutes": series.step_minutes},
        "origins": {"count": len(origins.rows), "every": origins.every, "warm_up_rows": int(origins.rows[0])},
        "versions": versions(_PACKAGES),
        "platform": platform.platform(),
    }


def results(result: Backtest, folder: Path) -> dict[str, Any]:
    """The findings as plain lists, dicts and scalars; ``None`` stands for what cannot be told."""
    weights = mean_weights(result.runs)
    cost = {each.member: each for each in result.costs}
    members = {}
    for run, verdict in zip(result.runs, result.verdicts, strict=True):
        members[run.name] = {
            "earns": verdict.earns,
            "verdict": verdict.text,
            "failed": run.failed or None,
            "missing_extra": run.missing_extra,
            "cost": asdict(cost[run.name]) if run.name in cost else None,
            "mean_weights": weights.get(run.name),
            "notes": [
                f"{text} ({count} of {len(result.origins.rows)} origins)" for text, count in run.notes.most_common(MOST_NOTES)
            ],
        }
    series, origins = result.series, result.origins
    content = {
        "folder": str(folder),
        "source": series.source,
        "channels": list(series.labels),
        "rows": len(series.prices),
        "days": series.days,
        "step_minutes": series.step_minutes,
        "from": series.time(0),
        "to": series.time(len(series.prices) - 1),
        "origins": len(origins.rows),
        "every": origins.every,
        "warm_up_days": int(origins.rows[0]) / series.steps_per_day,
        "crps_from": "scenarios" if result.settings.scenarios else "quantiles",
        "notes": result.notes,
        "members": members,
        "scores": result.scores.to_dict(orient="records"),
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def results_json(result: Backtest, folder: Path) -> str:
    """:func:`results` as JSON text."""
    return json.dumps(results(result, folder), indent=2, ensure_ascii=False, allow_nan=False)


def forecasts_table(result: Backtest) -> pd.DataFrame:
    """Forecasts beside what came: all horizons at up to ``MOST_ORIGINS`` origins, and every step of the days that are drawn."""
    import pandas as pd

    origins, series = result.origins, result.series
    chosen = np.unique(np.linspace(0, len(origins.rows) - 1, min(MOST_ORIGINS, len(origins.rows))).round().astype(np.int64))
    truth = observed(series, origins)
    parts = []
    for run in result.runs:
        if run.failed:
            continue
        for c, label in enumerate(series.labels):
            row = np.repeat(origins.rows[chosen], len(origins.horizons))
            values = (
                truth[chosen, :, c].ravel(),
                run.mean[chosen, :, c].ravel(),
                run.quantiles[chosen, :, :, c].reshape(len(row), -1),
            )
            parts.append(_rows(run.name, label, row, np.tile(origins.horizons, len(chosen)), values, day=""))
            for day, fan in run.fans.items():
                row = np.full(origins.longest, origins.rows[origins.fans[day]])
                steps = np.arange(1, origins.longest + 1)
                values = (series.prices[row + steps, c], fan.mean[:, c], fan.quantiles[:, :, c])
                parts.append(_rows(run.name, label, row, steps, values, day=day))
    table = pd.concat(parts, ignore_index=True)
    if series.start is not None:
        table.insert(3, "origin_time", series.start + table["origin"].to_numpy() * np.timedelta64(60 * series.step_minutes, "s"))
    return table[table["mean"].notna()].reset_index(drop=True)


def _rows(member: str, channel: str, origin: Any, horizon: Any, values: tuple[Any, Any, Any], *, day: str) -> pd.DataFrame:
    import pandas as pd

    quantiles = {f"q{round(100 * level):02d}": values[2][:, q] for q, level in enumerate(QUANTILE_LEVELS)}
    return pd.DataFrame(
        {
            "member": member,
            "channel": channel,
            "origin": origin,
            "horizon": horizon,
            "day": day,
            "observed": values[0],
            "mean": values[1],
            **quantiles,
        }
    )


def weights_table(result: Backtest) -> pd.DataFrame:
    """A row an ensemble, origin and member, with the weight it had there; no rows without an ensemble."""
    import pandas as pd

    rows = [
        (run.name, row, member, weight) for run in result.runs for row, weights in run.weights for member, weight in weights.items()
    ]
    return pd.DataFrame(rows, columns=["ensemble", "origin", "member", "weight"]).astype(
        {"ensemble": "str", "origin": "int64", "member": "str", "weight": "float64"}
    )


def write_run(result: Backtest, folder: Path) -> Path:
    """Write the folder; return the path of the report. Raises :class:`~gridpilot.errors.ForecastError` where it cannot be written."""
    about = manifest(result)
    files = {"manifest.json": (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode()}
    for name, table in (
        ("scores", result.scores),
        ("forecasts", forecasts_table(result)),
        ("weights", weights_table(result)),
    ):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files[f"{name}.parquet"] = buffer.getvalue()
    files["results.json"] = (results_json(result, folder) + "\n").encode()
    files[REPORT] = render_report(result, about).encode()
    for name, content in files.items():
        write_atomically(folder / name, content, ForecastError)
    return folder / REPORT


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.integer, int)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (np.floating, float)):
        return float(value) if math.isfinite(value) else None
    return value
