"""From answers to figures: one row a member, channel and horizon, and a verdict in plain words on every member."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.backtest.rolling import MemberRun, Origins, naive_forecasts, observed
from gridpilot.backtest.scores import coverage, diebold_mariano, pinball, quantile_crps, share_below, skill
from gridpilot.backtest.series import PriceSeries
from gridpilot.errors import MissingExtraError
from gridpilot.forecasting.base import QUANTILE_LEVELS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BEST", "REFERENCE", "Cost", "Verdict", "costs", "horizon_label", "judge", "summarise"]

FloatArray = npt.NDArray[np.float64]

REFERENCE: Final = "persistence"
BEST: Final = "best_possible"
SIGNIFICANCE: Final = 0.05
HARM: Final = -0.01  # a skill below this is a loss to persistence that counts
DUST: Final = 1e-6  # of the size of prices: a smaller gain in loss is the arithmetic's, not the forecaster's
_LEAST_BEST_SKILL = 0.02  # below it a share of the best possible is noise


@dataclass(frozen=True)
class Verdict:
    """Whether a member is worth having, and why."""

    member: str
    earns: bool | None  # None for the reference and the bound
    text: str


@dataclass(frozen=True)
class Cost:
    """CPU of one thread a call, after the warm-up."""

    member: str
    update_us: tuple[float, float]  # median, 99th percentile
    forecast_ms: tuple[float, float]
    cpu_s: float  # all of the run, on all threads


@dataclass
class _Truth:
    observed: FloatArray  # (O, K, C)
    last: FloatArray  # (O, C)
    seasonal: FloatArray  # (O, K, C)
    reference: MemberRun | None
    best: MemberRun | None
    spacing: list[int] = field(default_factory=list)  # (K,) horizons counted in origins


def summarise(series: PriceSeries, origins: Origins, runs: Sequence[MemberRun], notes: list[str]) -> pd.DataFrame:
    """The scores of ``runs``; columns as :func:`_cell` names them. What could not be computed is added to ``notes``.

    Errors are of the median (mae, skill, dm) and of the mean (rmse). ``skill`` and ``skill_seasonal`` are one minus the ratio of mean
    absolute errors to that of the last price and of the last price at that time of day. ``pinball_skill``, ``crps_skill`` and
    ``dm_pinball`` compare with the member ``persistence``, which has quantiles. ``dm`` is positive where the member is better.
    """
    import pandas as pd

    answered = [run for run in runs if not run.failed]
    by_name = {run.name: run for run in answered}
    last, seasonal = naive_forecasts(series, origins)
    truth = _Truth(observed(series, origins), last, seasonal, by_name.get(REFERENCE), by_name.get(BEST))
    truth.spacing = [math.ceil(int(h) / origins.every) for h in origins.horizons]
    if truth.reference is None:
        notes.append(f"the member {REFERENCE} did not answer: no skill by pinball loss or CRPS")
    rows = []
    for run in answered:
        for c, label in enumerate(series.labels):
            for k, horizon in enumerate(origins.horizons):
                cell = {
                    "member": run.name,
                    "channel": label,
                    "horizon": int(horizon),
                    "minutes": int(horizon) * series.step_minutes,
                }
                rows.append({**cell, **_cell(run, truth, k, c, notes)})
    return pd.DataFrame(rows)


def _cell(run: MemberRun, truth: _Truth, k: int, c: int, notes: list[str]) -> dict[str, float | int]:
    mean, quantiles = run.mean[:, k, c], run.quantiles[:, k, :, c]
    naive, seasonal = truth.last[:, c], truth.seasonal[:, k, c]
    answered = np.isfinite(quantiles[:, 2]) & np.isfinite(naive)
    y = np.where(np.isfinite(truth.observed[:, k, c]) & answered, truth.observed[:, k, c], np.nan)
    scored = np.isfinite(y)
    n = int(scored.sum())
    error = np.abs(y - quantiles[:, 2])
    naive_error = np.abs(y - naive)
    loss = pinball(y, quantiles)
    crps = _crps(run, y, quantiles, k, c, notes)
    mae, mae_naive, mae_seasonal = _mean(error), _mean(naive_error), _mean(np.abs(y - seasonal))
    size = _mean(np.abs(y))
    result: dict[str, float | int] = {
        "n": n,
        "mae": mae,
        "rmse": math.sqrt(_mean((y - mean) ** 2)),
        "mae_persistence": mae_naive,
        "mae_seasonal": mae_seasonal,
        "skill": skill(mae, mae_naive),
        "skill_seasonal": skill(mae, mae_seasonal),
        "accuracy": 1.0 - mae / size if size > 0.0 else math.nan,
        "pinball": _mean(loss),
        "pinball_skill": math.nan,
        "crps": _mean(crps),
        "crps_skill": math.nan,
    }
    result["dm"], result["dm_p"] = diebold_mariano(_difference(naive_error, error, size), truth.spacing[k])
    result["dm_pinball"], result["dm_pinball_p"] = math.nan, math.nan
    if truth.reference is not None:
        other = truth.reference.quantiles[:, k, :, c]
        other_loss = pinball(y, other)
        other_crps = _crps(truth.reference, y, other, k, c, notes)
        both = np.isfinite(loss) & np.isfinite(other_loss)  # of the best possible only some origins are known whole
        result["pinball_skill"] = skill(_mean(loss[both]), _mean(other_loss[both]))
        result["crps_skill"] = skill(_mean(crps[both]), _mean(other_crps[both]))
        result["dm_pinball"], result["dm_pinball_p"] = diebold_mariano(_difference(other_loss, loss, size), truth.spacing[k])
    for name, outer in (("90", 0), ("50", 1)):
        result[f"coverage_{name}"], result[f"width_{name}"] = coverage(y, quantiles, outer)
    for level, share in zip(QUANTILE_LEVELS, share_below(y, quantiles), strict=True):
        result[f"below_{round(100 * level):02d}"] = float(share)
    result["best_skill"], result["share_of_best"] = _share_of_best(truth, y, error, naive_error, k, c)
    return result


def _share_of_best(truth: _Truth, y: FloatArray, error: FloatArray, naive_error: FloatArray, k: int, c: int) -> tuple[float, float]:
    """Skill of the best possible forecast, and the member's skill as a share of it, both at the origins where the best is known."""
    if truth.best is None:
        return math.nan, math.nan
    best_error = np.abs(y - truth.best.quantiles[:, k, 2, c])
    at = np.isfinite(best_error)
    if not at.any():
        return math.nan, math.nan
    naive = _mean(naive_error[at])
    best, own = skill(_mean(best_error[at]), naive), skill(_mean(error[at]), naive)
    return best, own / best if best >= _LEAST_BEST_SKILL else math.nan


def _crps(run: MemberRun, y: FloatArray, quantiles: FloatArray, k: int, c: int, notes: list[str]) -> FloatArray:
    if run.crps is not None:
        return np.where(np.isfinite(y), run.crps[:, k, c], np.nan)
    try:
        return quantile_crps(y, quantiles)
    except MissingExtraError as error:
        note = f"{error}; twice the pinball loss, which is the same, instead"
        if note not in notes:
            notes.append(note)
        return 2.0 * pinball(y, quantiles)


def _difference(reference: FloatArray, loss: FloatArray, size: float) -> FloatArray:
    """Gain in loss at each origin; 0 where it is but rounding of losses or of prices of ``size``, which can be significant too."""
    gain = reference - loss
    return np.where(np.abs(gain) <= max(1e-9 * _mean(np.abs(reference)), DUST * size), 0.0, gain)


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def costs(runs: Iterable[MemberRun]) -> list[Cost]:
    """CPU cost of every member that answered."""
    result = []
    for run in runs:
        if not run.failed and len(run.update_us) and len(run.forecast_us):
            update, forecast = (tuple(np.quantile(x, [0.5, 0.99]).tolist()) for x in (run.update_us, run.forecast_us / 1e3))
            result.append(Cost(run.name, (update[0], update[1]), (forecast[0], forecast[1]), run.cpu_s))
    return result


def judge(scores: pd.DataFrame, runs: Sequence[MemberRun]) -> list[Verdict]:
    """A verdict on each run.

    A member earns its place where its pinball loss (without ``persistence``: its absolute error) is below that of persistence beyond
    chance at some channel and horizon: one-sided Diebold-Mariano, p < 0.05 after Holm's correction for the number of its cells.
    """
    weights = mean_weights(runs)
    return [_judge(scores, run, weights) for run in runs]


def _judge(scores: pd.DataFrame, run: MemberRun, weights: Mapping[str, Mapping[str, float]]) -> Verdict:
    if run.failed:
        word = "left out" if run.missing_extra else "failed"
        return Verdict(run.name, False, f"{word}: {run.failed}")
    if run.name == REFERENCE:
        return Verdict(run.name, None, "the reference: its median is compared as the last price, its quantiles as they are")
    if run.name == BEST:
        return Verdict(run.name, None, f"the bound: {next(iter(run.notes), '')}")
    own = scores[scores["member"] == run.name]
    kind = "dm_pinball" if own["dm_pinball"].notna().any() else "dm"
    statistic, p = own[kind].to_numpy(), own[f"{kind}_p"].to_numpy()
    adjusted = _holm(np.where(np.isnan(p), 1.0, np.where(statistic > 0.0, p / 2.0, 1.0 - p / 2.0)))
    better = own[adjusted < SIGNIFICANCE]
    worst = own.loc[own["skill"].idxmin()] if own["skill"].notna().any() else None
    parts = []
    if len(better):
        where = "; ".join(_places(own, better))
        by_pinball = f"pinball loss {_range(100.0 * better['pinball_skill'])} % lower, " if kind == "dm_pinball" else ""
        parts.append(
            f"beats persistence beyond chance ({where}): {by_pinball}error of the median {_range(100.0 * better['skill'])} % lower"
        )
    else:
        parts.append("nowhere better than persistence beyond chance")
    if worst is not None and worst["skill"] < HARM:
        channel = f"{worst['channel']}, " if own["channel"].nunique() > 1 else ""
        parts.append(f"up to {-100.0 * worst['skill']:,.1f} % worse ({channel}{horizon_label(worst['minutes'])})")
    parts.append(f"90 % band covers {_range(100.0 * own['coverage_90'])} %")
    parts += [f"mean weight {100.0 * of[run.name]:.0f} % in {name}" for name, of in weights.items() if run.name in of]
    trouble = sum(1 for note in run.notes if "failed" in note or "instead" in note)
    if trouble:
        parts.append("with failures on the way, see its notes")
    return Verdict(run.name, len(better) > 0, ("earns its place: " if len(better) else "earned nothing: ") + "; ".join(parts))


def mean_weights(runs: Iterable[MemberRun]) -> dict[str, dict[str, float]]:
    """Mean weights over the origins, of each run that reports weights."""
    result = {}
    for run in runs:
        if run.weights:
            names = list(dict.fromkeys(name for _, weights in run.weights for name in weights))
            result[run.name] = {name: float(np.mean([weights.get(name, 0.0) for _, weights in run.weights])) for name in names}
    return result


def horizon_label(minutes: float) -> str:
    """A horizon as people say it.

    >>> horizon_label(5), horizon_label(90), horizon_label(180)
    ('5 min', '1.5 h', '3 h')
    """
    return f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:g} h"


def _places(own: pd.DataFrame, better: pd.DataFrame) -> list[str]:
    """Runs of neighbouring horizons in ``better``, channel by channel where there are several: "energy 30 min to 24 h"."""
    horizons = sorted(own["minutes"].unique())
    texts = []
    for channel in own["channel"].unique():
        hit = set(better.loc[better["channel"] == channel, "minutes"])
        runs: list[list[Any]] = []
        for before, minutes in zip([None, *horizons], horizons, strict=False):
            if minutes in hit:
                if runs and runs[-1][-1] == before:
                    runs[-1].append(minutes)
                else:
                    runs.append([minutes])
        spans = [horizon_label(run[0]) + (f" to {horizon_label(run[-1])}" if len(run) > 1 else "") for run in runs]
        if spans:
            texts.append((f"{channel} " if own["channel"].nunique() > 1 else "") + ", ".join(spans))
    return texts


def _range(values: pd.Series[float]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.0f}" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f}"


def _holm(p: FloatArray) -> FloatArray:
    """p-values adjusted by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979, 65-70)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return adjusted
