"""Streams are numpy's, bit for bit, and their variables have the moments they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gridpilot.market.compilation import kernel
from gridpilot.market.random import chi_square, gamma, next_uint64, normal, seed_stream, uniform

Array = np.ndarray


@kernel
def _draw(state, kind, parameter, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        if kind == 0:
            out[i] = uniform(state)
        elif kind == 1:
            out[i] = normal(state)
        elif kind == 2:
            out[i] = gamma(state, parameter)
        else:
            out[i] = chi_square(state, parameter)


def _stream(root: int, episode: int, stream: int) -> Array:
    state = np.empty(4, dtype=np.uint64)
    seed_stream(np.uint64(root), episode, stream, state)
    return state


def _numpy(root: int, episode: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(root, spawn_key=(episode, stream))))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_streams_are_numpys_bit_for_bit(root: int, episode: int, stream: int) -> None:
    state, generator = _stream(root, episode, stream), _numpy(root, episode, stream)
    assert [int(next_uint64(state)) for _ in range(5)] == generator.bit_generator.random_raw(5).tolist()
    assert [uniform(state) for _ in range(5)] == generator.random(5).tolist()


@pytest.mark.parametrize("root", [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
@pytest.mark.parametrize("episode", [0, 2**32 - 1, 2**32])
def test_edges_of_the_seed_words(root: int, episode: int) -> None:
    state = _stream(root, episode, 3)
    assert state.tolist() == _numpy(root, episode, 3).bit_generator.state["state"]["state"].tolist()


def test_normals_are_numpys_ziggurat() -> None:
    ours = np.empty(200_000)
    _draw(_stream(5, 6, 7), 1, 0.0, ours)
    np.testing.assert_allclose(ours, _numpy(5, 6, 7).standard_normal(200_000), rtol=0.0, atol=1e-13)


def test_normals_are_normal_far_into_the_tail() -> None:
    x = np.empty(2_000_000)
    _draw(_stream(1, 2, 3), 1, 0.0, x)
    assert stats.kstest(x, "norm").pvalue > 0.01
    for bound in (3.0, 3.6541528853610088, 4.0, 4.5):
        expected = 2.0 * stats.norm.sf(bound) * len(x)
        assert abs((np.abs(x) > bound).sum() - expected) < 4.0 * np.sqrt(expected)


@pytest.mark.parametrize("shape", [1.0, 1.5, 4.0, 50.0])
def test_gamma(shape: float) -> None:
    x = np.empty(200_000)
    _draw(_stream(1, 0, 0), 2, shape, x)
    assert stats.kstest(x, "gamma", args=(shape,)).pvalue > 0.001


def test_chi_square() -> None:
    x = np.empty(200_000)
    _draw(_stream(2, 0, 0), 3, 5.0, x)
    assert stats.kstest(x, "chi2", args=(5.0,)).pvalue > 0.001


def test_streams_are_independent() -> None:
    draws = np.empty((12, 20_000))
    for i, row in enumerate(draws):
        _draw(_stream(9, i // 4, i % 4), 1, 0.0, row)
    off_diagonal = np.corrcoef(draws)[~np.eye(12, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(20_000)
