from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from gridpilot.tournament.comparisons import PairedDifferences, holm, sign_flip_p_value, winner_set

FloatArray = npt.NDArray[np.float64]


def equals(kind: str, rng: np.random.Generator, episodes: int, agents: int) -> FloatArray:
    """Scores (E, A) of agents that are equally good, on days that are good or bad for all of them."""
    days = 5.0 * rng.standard_normal((episodes, 1))
    noise = {
        "normal": rng.standard_normal((episodes, agents)) * np.linspace(0.3, 2.0, agents),
        "t3": rng.standard_t(3, size=(episodes, agents)),
        "skewed": np.exp(rng.standard_normal((episodes, agents))),
    }
    return np.asarray(days + noise[kind])


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [8, 20, 50])
@pytest.mark.parametrize("kind", ["normal", "t3", "skewed"])
def test_all_equals_are_kept_at_the_level(kind: str, episodes: int) -> None:
    rng, kept = np.random.default_rng(episodes), {}
    for agents in (2, 4, 8):
        kept[agents] = np.mean([winner_set(equals(kind, rng, episodes, agents)) == set(range(agents)) for _ in range(200)])
    assert min(kept.values()) >= 0.91  # of .95, in 200 draws
    assert np.mean(list(kept.values())) >= 0.93


@pytest.mark.slow
def test_the_best_two_are_kept_beside_worse_ones() -> None:
    rng, kept, held = np.random.default_rng(5), 0, 0
    worse = np.array([0.0, 0.0, 0.5, 2.0, 9.0])
    for _ in range(400):
        found = winner_set(equals("t3", rng, 20, 5) - worse)
        assert found is not None
        kept += {0, 1} <= found
        held += 4 in found
    assert kept / 400 >= 0.93
    assert held == 0


def test_no_difference_is_not_significant() -> None:
    rng = np.random.default_rng(11)
    x = 100.0 + rng.standard_normal((60, 1)) * 50.0 + rng.standard_normal((60, 4))
    assert winner_set(x) == {0, 1, 2, 3}
    assert min(holm(PairedDifferences(x).p_values)) > 0.05


def test_differences_are_found() -> None:
    x = np.random.default_rng(2).standard_normal((20, 4)) + np.array([0.0, 3.0, 2.9, -3.0])
    assert winner_set(x) == {1, 2}
    assert winner_set(x[:8]) == {1, 2}
    assert winner_set(x[:7]) is None


def test_by_hand() -> None:
    # Of 128 patterns of eight signs, the first kept, those with at most one minus reach six: 8 of them; with none eight: 1.
    lead = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    all_won = np.column_stack([np.zeros(8), lead + 1e-6 * np.arange(8)])
    assert sign_flip_p_value(all_won[:, 1]) == 1 / 128
    assert winner_set(all_won) == {1}
    lead[3] = -1.0
    assert sign_flip_p_value(lead) == 9 / 128
    assert winner_set(np.column_stack([np.zeros(8), lead])) == {0, 1}
    assert winner_set(np.column_stack([np.zeros(8), lead]), size=0.08) == {1}


def test_equal_columns_and_constant_leads() -> None:
    days = 1000.0 * np.random.default_rng(4).standard_normal((8, 1))
    noise = np.random.default_rng(3).standard_normal((8, 1))
    assert winner_set(np.hstack([days, days, days])) == {0, 1, 2}
    assert winner_set(np.hstack([days, days + 1e-3, days - 5.0, days + 1e-3])) == {1, 3}
    assert winner_set(np.hstack([days + noise, days + noise, days - 50.0])) == {0, 1}
    assert winner_set(np.hstack([days])) == {0}
    assert winner_set(np.zeros((8, 3))) == {0, 1, 2}
    many = np.hstack([days + k for k in range(10)])  # 45 pairs, of which none has any noise
    assert winner_set(many) == {9}
    assert PairedDifferences(np.hstack([days, days])).p_values == [1.0]


def test_order_and_repetition_change_nothing() -> None:
    x = np.random.default_rng(8).standard_normal((30, 5)) + np.array([0.0, 0.3, 0.9, 0.8, -1.0])
    found = winner_set(x)
    assert found is not None
    assert winner_set(x) == found
    assert winner_set(x[:, ::-1]) == {4 - a for a in found}
    assert winner_set(1e-7 * x) == winner_set(x + 7.0) == found


def test_p_values_of_pairs_are_those_of_single_differences() -> None:
    x = np.random.default_rng(6).standard_normal((25, 3)) + np.array([0.0, 0.4, 0.1])
    pairs = itertools.combinations(range(3), 2)
    assert PairedDifferences(x).p_values == [sign_flip_p_value(x[:, i] - x[:, j]) for i, j in pairs]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_sign_flips_by_hand() -> None:
    assert sign_flip_p_value(np.array([1.0, 2.0, 3.0])) == 0.25  # only +++ and --- of 8 reach a sum of 6
    assert sign_flip_p_value(np.array([1.0, -1.0, 3.0])) == 0.75  # 2 of 8 patterns sum to 1 or -1 only
    assert sign_flip_p_value(np.zeros(20)) == 1.0
    assert sign_flip_p_value(np.arange(1.0, 15.0)) == 2.0**-13  # the last exact size
    exact = sign_flip_p_value(np.array([3.0, -1.0, 2.0, 2.0, -2.0, 1.0, 4.0, -1.0, 1.0, 2.0]))
    brute = [abs(np.dot(s, [3, -1, 2, 2, -2, 1, 4, -1, 1, 2])) >= 11 for s in itertools.product([-1, 1], repeat=10)]
    assert exact == np.mean(brute)
