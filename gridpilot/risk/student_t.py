"""Value at risk and conditional value at risk of a Student-t loss, with given parameters or those of a GARCH fit.

A loss X = location + scale T with T Student-t of nu degrees of freedom, t_a the a-quantile of T and g its density, has

    VaR_a  = location + scale t_a
    CVaR_a = location + scale g(t_a) / (1 - a) (nu + t_a^2) / (nu - 1),   nu > 1

(McNeil, Frey and Embrechts, *Quantitative Risk Management*, 2nd edition 2015, examples 2.11 and 2.15). ``scale`` is not the standard
deviation, which is scale sqrt(nu / (nu - 2)) and finite for nu > 2 only. Losses are positive.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gridpilot.errors import RiskError
from gridpilot.risk.measures import check_alpha, check_sample

__all__ = ["StudentT", "fit_student_t", "student_t_cvar", "student_t_var"]

LEAST_SAMPLES: Final = 100  # a GARCH fit to fewer says little about four degrees of freedom


class StudentT(NamedTuple):
    """A loss distribution, in the unit of the losses."""

    location: float
    scale: float  # > 0; not the standard deviation
    df: float  # degrees of freedom, > 0


def student_t_var(alpha: float, df: float, location: float = 0.0, scale: float = 1.0) -> float:
    """Value at risk of a Student-t loss, in the unit of ``scale``; ``df = inf`` is the normal distribution.

    Raises :class:`~gridpilot.errors.RiskError` for alpha outside (0, 1), df <= 0, scale < 0 or what is not a number.
    """
    _check(alpha, df, location, scale, least_df=0.0)
    return location + scale * _quantile(alpha, df)


def student_t_cvar(alpha: float, df: float, location: float = 0.0, scale: float = 1.0) -> float:
    """Conditional value at risk of a Student-t loss, in the unit of ``scale``; ``df = inf`` is the normal distribution.

    Errors are those of :func:`student_t_var`, and df <= 1, where the tail has no mean.
    """
    _check(alpha, df, location, scale, least_df=1.0)
    t = _quantile(alpha, df)
    if math.isinf(df):
        density, widening = math.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi), 1.0
    else:
        log_density = (
            math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(math.pi * df)
            - 0.5 * (df + 1.0) * math.log1p(t * t / df)
        )  # fmt: skip
        density, widening = math.exp(log_density), (df + t * t) / (df - 1.0)
    return location + scale * density * widening / (1.0 - alpha)


def fit_student_t(losses: npt.ArrayLike) -> StudentT:
    """The distribution of the *next* loss by a constant-mean GARCH(1,1)-t fit (arch), oldest loss first.

    ``losses``  ``(T,)`` T >= 100, finite and not constant; for changes of a price, in its unit

    Raises :class:`~gridpilot.errors.RiskError` where there is too little to fit or the fit fails.
    """
    sample = check_sample(losses, "losses")
    if len(sample) < LEAST_SAMPLES:
        raise RiskError(f"losses have {len(sample)} samples, expected at least {LEAST_SAMPLES} for a GARCH fit")
    sd = float(sample.std())
    if not (math.isfinite(sd) and sd > 1e-12 * float(np.abs(sample).max())):
        raise RiskError(f"losses have a standard deviation of {sd:g}, expected a series that moves")
    from arch.univariate import GARCH, ConstantMean, StudentsT

    model = ConstantMean(sample / sd, volatility=GARCH(1, 0, 1), distribution=StudentsT(), rescale=False)
    try:
        result = model.fit(disp="off", show_warning=False)
        ahead = result.forecast(horizon=1, reindex=False)
        variance, mean = float(ahead.variance.iloc[-1, 0]), float(ahead.mean.iloc[-1, 0])
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise RiskError(f"GARCH(1,1)-t fit of {len(sample)} losses failed: {error}") from error
    df = float(result.params["nu"])
    if not (math.isfinite(variance) and variance > 0.0 and math.isfinite(mean) and df > 2.0):
        raise RiskError(f"GARCH(1,1)-t fit of {len(sample)} losses gave mean {mean}, variance {variance} and df {df}")
    # arch's Student-t is standardised to variance 1.
    return StudentT(sd * mean, sd * math.sqrt(variance * (df - 2.0) / df), df)


def _quantile(alpha: float, df: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(alpha) if math.isinf(df) else stdtrit(df, alpha))


def _check(alpha: float, df: float, location: float, scale: float, *, least_df: float) -> None:
    if check_alpha(alpha) == 0.0:
        raise RiskError("alpha is 0, expected a confidence level in (0, 1): a Student-t loss has no least value")
    if not df > least_df:
        raise RiskError(f"df is {df}, expected more than {least_df:g} degrees of freedom")
    if not (math.isfinite(location) and math.isfinite(scale) and scale >= 0.0):
        raise RiskError(f"location is {location} and scale {scale}, expected finite numbers, scale >= 0")
