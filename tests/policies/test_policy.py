from __future__ import annotations

import time

import numpy as np
import pytest

from gridpilot.errors import PolicyError
from gridpilot.policies import Layout, Policy

from .made_up import made_up


def by_numpy(policy: Policy, rows: np.ndarray) -> np.ndarray:
    """The same network in double precision, written apart."""
    arrays, layout = policy.arrays, policy.layout
    x = np.clip((rows.astype(np.float64) - arrays["mean"]) / arrays["std"], -layout.clip, layout.clip)
    layers = len(layout.sizes) - 1
    for i in range(layers):
        x = x @ arrays[f"layers.{i}.weight"].astype(np.float64).T + arrays[f"layers.{i}.bias"]
        if i < layers - 1:
            x = np.tanh(x) if layout.activation == "tanh" else np.maximum(x, 0.0)
    return np.tanh(x) if layout.output == "tanh" else x


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(1).uniform(-10.0, 10.0, (200, 55)).astype(np.float32)


@pytest.mark.parametrize(("activation", "output"), [("tanh", "linear"), ("relu", "linear"), ("tanh", "tanh")])
def test_the_forward_pass_is_that_of_the_formula(activation: str, output: str, rows: np.ndarray) -> None:
    policy = made_up(activation=activation, output=output, shading=3)
    np.testing.assert_allclose(policy.act(rows), by_numpy(policy, rows), rtol=0.0, atol=2e-6)


def test_the_forward_pass_is_that_of_torch(rows: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    policy = made_up()
    x = np.clip((rows - policy.arrays["mean"]) / policy.arrays["std"], -5.0, 5.0)
    tensor = torch.from_numpy(x)
    for i in range(3):
        arrays = (torch.from_numpy(policy.arrays[f"layers.{i}.{part}"]) for part in ("weight", "bias"))
        tensor = torch.nn.functional.linear(tensor, *arrays)
        tensor = torch.tanh(tensor) if i < 2 else tensor
    np.testing.assert_allclose(policy.act(rows), tensor.numpy(), rtol=0.0, atol=1e-6)


def test_a_row_does_not_depend_on_the_others(rows: np.ndarray) -> None:
    policy = made_up()
    together = policy.act(rows)
    assert together[7:8].tobytes() == policy.act(rows[7:8]).tobytes()
    assert together[3:90].tobytes() == policy.act(rows[3:90]).tobytes()


def test_what_is_unknown_counts_as_usual(rows: np.ndarray) -> None:
    policy = made_up()
    usual, unknown = rows[:1].copy(), rows[:1].copy()
    usual[0, 4], unknown[0, 4] = policy.arrays["mean"][4], np.nan
    assert policy.act(usual).tobytes() == policy.act(unknown).tobytes()


def test_other_shapes_are_refused(rows: np.ndarray) -> None:
    for wrong in (rows[0], rows[:, :54]):
        with pytest.raises(PolicyError, match=r"observations have shape .*expected \(M, 55\)"):
            made_up().act(wrong)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sizes": (54, 2)}, "takes 54 entries, expected 55"),
        ({"sizes": (55, 1)}, "gives 1 entries"),
        ({"sizes": (55,)}, "expected 1 to 16 layers"),
        ({"sizes": (55, 10**9, 2)}, "expected 1 to 16 layers of 1 to 4096 units"),
        ({"activation": "eval"}, "activation is 'eval', expected one of tanh, relu"),
        ({"output": "softmax"}, "output is 'softmax', expected one of linear, tanh"),
        ({"observation_version": 2}, "observation version is 2, expected 1"),
        ({"action_version": 1}, "action version is 1, expected 2"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"hold": 0}, "hold 0"),
        ({"classes": 0}, "0 machine classes"),
    ],
)
def test_a_layout_that_cannot_be_played_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(PolicyError, match="policy: ") as caught:
        Layout(**({"sizes": (55, 8, 2), "classes": 3} | fields))  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_a_decision_takes_at_most_20_us_a_row(rows: np.ndarray) -> None:
    policy = made_up()
    policy.act(rows)
    best = min(_seconds(policy, rows) for _ in range(5)) / len(rows)
    assert best < 20e-6


def _seconds(policy: Policy, rows: np.ndarray) -> float:
    begin = time.process_time()
    policy.act(rows)
    return time.process_time() - begin
