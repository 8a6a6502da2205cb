"""Every known result is found, and a fault on either side shows: in the auctioneer, or in what is expected of it."""

from __future__ import annotations

import dataclasses
import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gridpilot.errors import ConfigError
from gridpilot.validation import demand_reduction, misreports, reserve, single_unit, storage, supply_functions
from gridpilot.validation.row import Row, best_of, between, exact, mean_of, variance_of
from gridpilot.validation.rows import RESULTS, WITH_TORCH, chosen
from gridpilot.validation.study import Study
from tests.validation.faults import FAULTS

REDUCED = 0.02
NOTICEABLE = 0.2  # a share of what is expected, or this much where it is small


@functools.cache
def rows_of(name: str, scale: float = REDUCED) -> tuple[Row, ...]:
    return tuple(RESULTS[name].rows(Study(scale=scale)))


def with_bounds(row: Row) -> bool:
    return ": from " in row.what


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_found(name: str) -> None:
    rows = rows_of(name)
    assert rows
    assert [row for row in rows if not row.passed] == []
    assert len({row.what for row in rows}) == len(rows)
    assert all(row.result == name and row.source and 0.0 < row.tolerance < math.inf for row in rows)


@pytest.mark.parametrize("name", RESULTS)
def test_a_wrong_expectation_of_any_row_shows(name: str) -> None:
    for row in rows_of(name):
        off = NOTICEABLE * max(abs(row.expected), 1.0)
        if with_bounds(row):
            off += 2.0 * row.tolerance
        for wrong in (row.expected + off, row.expected - off):
            assert not dataclasses.replace(row, expected=wrong).passed, row


@functools.cache
def missed(fault: str, name: str) -> frozenset[int]:
    """Rows that are red with the auctioneer that has the fault; all of them where it cannot even be asked."""
    rows = RESULTS[name].rows(Study(auctioneer=FAULTS[fault], scale=REDUCED))
    return frozenset(i for i, row in enumerate(rows) if not row.passed)


# Figures of the bids and of the learning alone, which no auctioneer can put wrong.
UNTOUCHED = {"asymmetric_first_price": ("the highest bids differ",), "regret_matching": ("largest regret left",)}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what is cleared wrong need not make sense
def test_a_wrong_auctioneer_shows_in_every_row(name: str) -> None:
    red = frozenset().union(*(missed(fault, name) for fault in FAULTS))
    green = [row.what for i, row in enumerate(rows_of(name)) if i not in red]
    assert [what for what in green if not any(part in what for part in UNTOUCHED.get(name, ()))] == []


FORMULAS: list[tuple[ModuleType, str, str]] = [
    (single_unit, "expected_revenue", "revenue_equivalence"),
    (single_unit, "second_price_variance", "revenue_equivalence"),
    (single_unit, "first_price_variance", "revenue_equivalence"),
    (single_unit, "inverse_bid", "asymmetric_first_price"),
    (single_unit, "equilibrium_bid", "asymmetric_first_price"),
    (reserve, "expected_revenue", "myerson"),
    (reserve, "expected_revenue", "bulow_klemperer"),
    (demand_reduction, "mixed_bids", "scarce_supply"),
    (supply_functions, "symmetric_slope", "demand_functions"),
    (supply_functions, "slopes_of", "demand_functions"),
    (storage, "monopoly_ratio", "strategic_storage"),
    (storage, "oligopoly_ratio", "strategic_storage"),
    (storage, "linear_ratio", "strategic_storage"),
    (misreports, "worth", "misreports"),
]


@pytest.mark.parametrize(("module", "formula", "name"), FORMULAS, ids=[f"{name}-{formula}" for _, formula, name in FORMULAS])
def test_a_wrong_formula_shows(module: ModuleType, formula: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(module, formula)
    monkeypatch.setattr(module, formula, lambda *arguments: 1.1 * right(*arguments))
    assert not all(row.passed for row in RESULTS[name].rows(Study(scale=REDUCED)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_found_in_full(name: str, seed: int) -> None:
    assert [row for row in RESULTS[name].rows(Study(seed=seed)) if not row.passed] == []


@pytest.mark.parametrize("name", ["myerson", "misreports", "regret_matching", "collusion"])
def test_equal_seeds_find_equal_figures(name: str) -> None:
    assert tuple(RESULTS[name].rows(Study(scale=REDUCED))) == rows_of(name)
    assert tuple(RESULTS[name].rows(Study(scale=REDUCED, seed=2))) != rows_of(name)


def test_tolerances_follow_the_number_of_draws() -> None:
    few, many = rows_of("myerson", 0.01)[0], rows_of("myerson", 0.16)[0]
    assert few.tolerance / many.tolerance == pytest.approx(4.0, rel=0.2)


def test_the_registry_is_asked_by_name() -> None:
    assert [result.name for result in chosen([])] == [*RESULTS, *WITH_TORCH]
    assert [result.name for result in chosen([], with_torch=False)] == list(RESULTS)
    assert [result.name for result in chosen(["first_price_by_ppo", "myerson"])] == ["myerson", "first_price_by_ppo"]
    assert [result.name for result in chosen(["myerson", "second_price"])] == ["second_price", "myerson"]
    with pytest.raises(ConfigError, match=r"no result 'myersn', did you mean myerson\?"):
        chosen(["myersn"])


@pytest.mark.parametrize(
    ("figure", "passes"),
    [
        (exact("a", 2.0, 2.0 + 1e-9), True),
        (exact("a", 2.0, 2.0 + 1e-8), False),
        (exact("a", 0.0, math.nan), False),
        (between("a", 1.0, 3.0, 3.0), True),
        (between("a", 1.0, 3.0, 0.99), False),
    ],
)
def test_when_a_figure_passes(figure: Any, passes: bool) -> None:
    row = Row("result", figure.what, figure.expected, figure.found, figure.tolerance, "source")
    assert row.passed is passes


def test_tolerances_of_draws_are_four_standard_errors() -> None:
    draws = np.random.default_rng(1).normal(3.0, 2.0, 40_000)
    mean, variance = mean_of("m", 3.0, draws), variance_of("v", 4.0, draws)
    assert mean.tolerance == pytest.approx(4.0 * 2.0 / 200.0, rel=0.05)
    assert variance.tolerance == pytest.approx(4.0 * 2.0**0.5 * 4.0 / 200.0, rel=0.05)  # a normal's variance: sqrt(2) sigma^2
    assert (mean.what, variance.what) == ("m, 40,000 draws", "v, 40,000 draws")


def test_the_best_of_a_grid_is_as_sure_as_its_draws() -> None:
    grid, noise = np.arange(0.0, 1.01, 0.1), np.random.default_rng(2).normal(0.0, 1.0, (11, 10_000))
    sharp = best_of("b", 0.4, grid, -((grid - 0.4) ** 2)[:, None] + 0.01 * noise)
    blurred = best_of("b", 0.4, grid, -((grid - 0.4) ** 2)[:, None] + 5.0 * noise)
    assert (sharp.found, sharp.tolerance) == (pytest.approx(0.4), pytest.approx(0.1))
    assert blurred.tolerance > 0.3
    assert abs(blurred.found - 0.4) <= blurred.tolerance
