"""Models in ONNX become folders that are played; whatever a folder cannot hold is refused, in one line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpilot import cli
from gridpilot.agents.seating import AgentSpec
from gridpilot.errors import MissingExtraError, PolicyError
from gridpilot.policies import load_policy
from gridpilot.setup import load_setup
from gridpilot.tournament.inspection import play_a_tick
from gridpilot.training import onnx_import as module
from gridpilot.training.onnx_import import import_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install -c constraints.txt -e '.[onnx]'")
torch = pytest.importorskip("torch")

D = 55
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w0": RNG.normal(size=(D, 8)) / 5, "b0": RNG.normal(size=8), "w1": RNG.normal(size=(8, 4)) / 3, "b1": RNG.normal(size=4),
    "mean": RNG.normal(size=D), "std": RNG.uniform(0.1, 2.0, D), "low": np.array(-5.0), "high": np.array(5.0), "less": np.array(-0.5),
    "one": np.array(1.0), "minus": np.array(-1.0), "half": np.array(0.5), "two": np.array([2, 2]),
}  # fmt: skip
INDICES = {"from": [0], "to": [3], "axis": [1]}
LAYERS = [("MatMul", "x w0", "h"), ("Add", "h b0", "g"), ("Tanh", "g", "t"), ("Gemm", "t w1 b1", "y")]


def model(nodes: list[tuple[Any, ...]], *, width: int = D, output: str = "y", **more: Any) -> Any:
    """A graph of ``(operator, inputs, outputs, attributes)`` from x to ``output``."""
    helper, numbers = onnx.helper, onnx.numpy_helper
    made = [helper.make_node(name, ins.split(), outs.split(), name=outs, **dict(*rest)) for name, ins, outs, *rest in nodes]
    used = {one for node in made for one in node.input}
    arrays = {name: array.astype(np.float32) for name, array in WEIGHTS.items() if name in used and name != "two"}
    arrays |= {name: np.array(array) for name, array in {**INDICES, "two": [2, 2]}.items() if name in used}
    kinds = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1, width]), (output, ["m", "k"]))]
    graph = helper.make_graph(
        made, "g", kinds[:1], kinds[1:], [numbers.from_array(array, name) for name, array in arrays.items()], **more
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def saved(made: Any, folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


def layers(x: str = "x", output: str = "y") -> list[tuple[Any, ...]]:
    return [("MatMul", f"{x} w0", "h"), *LAYERS[1:3], ("Gemm", "t w1 b1", output)]


STANDARD = [("Sub", "x mean", "c"), ("Div", "c std", "s")]


@pytest.mark.parametrize(
    ("nodes", "clip", "output", "actions"),
    [
        (layers(), 1e5, "linear", 4),
        ([*STANDARD, ("Clip", "s low high", "z"), *layers("z")], 5.0, "linear", 4),
        ([*STANDARD, *layers("s", "a"), ("Clip", "a minus one", "y")], 1e5, "linear", 4),
        ([*layers("x", "a"), ("Tanh", "a", "u"), ("Mul", "u one", "y")], 1e5, "tanh", 4),
        ([*layers("x", "a"), ("Slice", "a from to axis", "y")], 1e5, "linear", 3),
        ([*layers("x", "a"), ("Split", "a two", "y rest", {"axis": -1})], 1e5, "linear", 2),
        ([*layers("x", "a"), ("Sub", "one a", "m"), ("Mul", "half m", "y")], 1e5, "linear", 4),
        ([("Transpose", "w1", "v", {"perm": [1, 0]}), *LAYERS[:3], ("Gemm", "t v b1", "y", {"transB": 1})], 1e5, "linear", 4),
    ],
)
def test_the_policy_decides_as_the_model_does(nodes: Any, clip: float, output: str, actions: int, tmp_path: Path) -> None:
    made = model(nodes)
    policy = import_onnx(saved(made, tmp_path), hold=3, mechanism="uniform")
    assert policy.layout.sizes == (D, 8, actions)
    assert (policy.layout.clip, policy.layout.output, policy.layout.hold, policy.layout.mechanism) == (clip, output, 3, "uniform")
    rows = RNG.uniform(-10.0, 10.0, (40, D)).astype(np.float32)
    expected = onnx.reference.ReferenceEvaluator(made)
    answers = np.concatenate([expected.run(None, {"x": row[None]})[0] for row in rows])
    np.testing.assert_allclose(np.clip(policy.act(rows), -1.0, 1.0), np.clip(answers, -1.0, 1.0), rtol=0.0, atol=2e-6)


def test_what_torch_exports_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.ReLU(), torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    with warnings.catch_warnings(action="ignore"):  # of the exporter about itself
        torch.onnx.export(net.eval(), (torch.zeros(1, D),), "model.onnx", external_data=False, verbose=False)
    assert cli.main(["policy", "import", "model.onnx", "--out", "mine", "--hold", "2"]) == 0
    assert "policy  mine  55 - 8 - 6 - 2" in capsys.readouterr().out
    policy = load_policy("mine")
    assert policy.training["imported"]["file"] == "model.onnx"
    rows = RNG.normal(size=(40, D)).astype(np.float32)
    np.testing.assert_allclose(policy.act(rows), net(torch.from_numpy(rows)).detach().numpy(), rtol=0.0, atol=1e-6)
    assert play_a_tick(load_setup(ticks=4, history=4), AgentSpec("learned", {"policy": "mine"})) == ""


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            lambda: model([*LAYERS[:2], ("Sigmoid", "g", "t"), LAYERS[3]]),
            "its node t \\(Sigmoid\\) is nothing that a policy's folder",
        ),
        (lambda: model([*LAYERS[:3], ("Relu", "t", "r"), ("Gemm", "r w1 b1", "y")]), "\\(Relu\\) does not follow a layer"),
        (lambda: model([*layers("x", "a"), ("Relu", "a", "y")]), "activations are tanh, relu"),
        (lambda: model([*layers("x", "a"), ("Add", "a a", "y")]), "joins two values"),
        (lambda: model([*layers("x", "a"), ("Clip", "a less one", "y")]), "clips to \\[-0.5, 1\\]"),
        (
            lambda: model([*layers("x", "a"), ("Clip", "a minus one", "c"), ("Mul", "c half", "y")]),
            "after the actions were clipped",
        ),
        (lambda: model([("MatMul", "x b0", "y")]), "does not fit what comes before it"),
        (lambda: model([("Exp", "one", "e"), *layers("x", "a"), ("Mul", "a e", "y")]), "\\(Exp\\) works on constants"),
        (lambda: model([("Identity", "w1", "y")]), "does not depend on its input"),
        (lambda: model(LAYERS, width=3), "takes 3 entries, expected the observation of a market, as 55"),
        (
            lambda: model([*layers("x", "a"), ("Slice", "a from axis axis", "y")]),
            "gives 1 entries, expected an action of 2 or more",
        ),
    ],
)
def test_models_that_are_no_policy_are_refused(made: Callable[[], Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=told) as found:
        import_onnx(saved(made(), tmp_path), hold=6)
    assert "\n" not in str(found.value)


def test_damaged_files_and_weights_elsewhere_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        import_onnx(file, hold=6)
    whole = model(LAYERS).SerializeToString()
    for content in (b"", b"dear diary", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(PolicyError, match="is no model in ONNX, or is damaged"):
            import_onnx(file, hold=6)
    elsewhere = model(LAYERS)
    onnx.external_data_helper.convert_model_to_external_data(elsewhere, location="weights", size_threshold=0)
    onnx.save(elsewhere, str(file))
    with pytest.raises(PolicyError, match="weights are in another file"):
        import_onnx(file, hold=6)


def test_a_policy_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = module._applied
    monkeypatch.setattr(
        module,
        "_applied",
        lambda name, *rest: [one.scaled(1.0 + 1e-4, 0.0) if name == "Gemm" else one for one in found(name, *rest)],
    )
    with pytest.raises(PolicyError, match="differ from the model's by"):
        import_onnx(saved(model(LAYERS), tmp_path), hold=6)


def test_a_missing_extra_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"a policy in ONNX needs an optional dependency: .*onnx"):
        import_onnx(tmp_path / "model.onnx", hold=6)
