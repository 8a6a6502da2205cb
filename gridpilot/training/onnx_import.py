"""Policies in ONNX, in which any library of networks writes its own, as folders of plain data. Nothing in the file is executed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError, PolicyError
from gridpilot.policies.policy import Layout, Policy
from gridpilot.training.sb3_import import classes_for

__all__ = ["PARITY", "import_onnx"]

Array = npt.NDArray[np.float64]

PARITY: Final = 1e-6
"""How far an action of the folder's may be from the model's."""
_LARGEST: Final = 1 << 28  # bytes of a file
_UNBOUNDED: Final = 1e5  # of observations in [-10, 10], which nothing clips
_ROWS: Final = 200  # observations that the two are compared on
_ACTIVATIONS: Final = {"Tanh": "tanh", "Relu": "relu"}
_AS_IT_IS: Final = ("Identity", "Cast", "Flatten", "Reshape", "Dropout")  # of a row of numbers
_KNOWN: Final = ", ".join((*_ACTIVATIONS, *_AS_IT_IS, "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Clip", "Slice", "Split"))


class _NotOurs(Exception):
    """Why a node is nothing that a policy's folder can hold."""


@dataclass(frozen=True)
class _Chain:
    """A value of the graph as what was done to the observation: layers ``(weight, bias, activation)``, then ``weight @ x + bias``."""

    weight: Array  # (n, m)
    bias: Array  # (n,)
    standard: tuple[Array, Array, float] | None = None  # mean, std, clip
    layers: tuple[tuple[Array, Array, str], ...] = ()
    clipped: bool = False  # to [-1, 1] or beyond, where decoding clips as well

    @property
    def blank(self) -> bool:
        """Whether nothing came after the last activation."""
        n, m = self.weight.shape
        return n == m and np.array_equal(self.weight, np.eye(n)) and not self.bias.any()

    def scaled(self, factor: Array, shift: Array) -> _Chain:
        if self.clipped:
            raise _NotOurs("comes after the actions were clipped")
        return dataclasses.replace(self, weight=self.weight * np.reshape(factor, (-1, 1)), bias=self.bias * factor + shift)

    def through(self, weight: Array, bias: Array) -> _Chain:
        """A layer ``weight (n, m)``; what only scales an observation before the first one is its standardisation."""
        if self.clipped:
            raise _NotOurs("comes after the actions were clipped")
        before = self
        if not self.layers and self.standard is None and self._scales():
            before = self.standardised(_UNBOUNDED)
        return dataclasses.replace(before, weight=weight @ before.weight, bias=weight @ before.bias + bias)

    def activated(self, name: str) -> _Chain:
        if self.blank or self.clipped:
            raise _NotOurs("does not follow a layer")
        return dataclasses.replace(self._fresh(len(self.bias)), layers=(*self.layers, (self.weight, self.bias, name)))

    def between(self, low: float, high: float) -> _Chain:
        if not self.layers and self.standard is None and self._scales() and 0.0 < high == -low:
            return self.standardised(high)
        if low <= -1.0 and high >= 1.0:
            return dataclasses.replace(self, clipped=True)
        raise _NotOurs(f"clips to [{low:g}, {high:g}], expected a standardised observation, or actions to [-1, 1]")

    def standardised(self, clip: float) -> _Chain:
        scale = np.diagonal(self.weight)
        return dataclasses.replace(self._fresh(len(scale)), standard=(-self.bias / scale, 1.0 / scale, clip))

    def rows(self, first: int, last: int) -> _Chain:
        return dataclasses.replace(self, weight=self.weight[first:last], bias=self.bias[first:last])

    def _scales(self) -> bool:
        n, m = self.weight.shape
        scale = np.diagonal(self.weight)
        return n == m and bool((scale > 0.0).all()) and np.array_equal(self.weight, np.diag(scale))

    def _fresh(self, n: int) -> _Chain:
        return dataclasses.replace(self, weight=np.eye(n), bias=np.zeros(n))


def import_onnx(file: Path, *, hold: int, mechanism: str = "vcg") -> Policy:
    """The policy of a model in ONNX that takes an observation ``(1, D)`` or ``(M, D)`` and gives actions ``(M, 2 + K)`` of version 2.

    It is a chain of linear layers with one activation, tanh or ReLU, between them, and nothing or tanh after the last; before the first the
    observation may be standardised and clipped, and after the last actions may be clipped to [-1, 1]. ``hold`` and ``mechanism`` are those
    of :func:`~gridpilot.training.sb3_import.import_policy`. What was read is compared with the model, run by ONNX's reference evaluator.

    Raises :class:`~gridpilot.errors.MissingExtraError` without ``onnx``, and :class:`~gridpilot.errors.PolicyError` in one line for a file
    that is no model, a model that is no such chain, or one from which the policy differs by more than 1e-6 of the largest action.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError("a policy in ONNX", "onnx") from error
    content = _read(file)
    try:
        model = onnx.load_model_from_string(content)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):  # which nobody shall open
            raise PolicyError(
                f"{file}: its weights are in another file, expected them inside: external_data=False of torch.onnx.export"
            )
        onnx.checker.check_model(model)
    except (DecodeError, ValueError, TypeError, RuntimeError, onnx.checker.ValidationError) as error:
        raise PolicyError(f"{file} is no model in ONNX, or is damaged") from error
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in given]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise PolicyError(
            f"{file} has {len(inputs)} inputs and {len(model.graph.output)} outputs, expected observations and actions"
        )
    dims = inputs[0].type.tensor_type.shape.dim
    width = dims[-1].dim_value if dims else 0
    classes = classes_for(width, file)
    chain = _followed(file, model, inputs[0].name, width)
    if not chain.blank or not chain.layers:
        chain = dataclasses.replace(chain, layers=(*chain.layers, (chain.weight, chain.bias, "")))
    policy = _policy(file, chain, classes, hold, mechanism, hashlib.sha256(content).hexdigest())
    _check_parity(file, model, inputs[0].name, policy)
    return policy


def _read(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise PolicyError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise PolicyError(f"{file} has more than {_LARGEST:,} bytes, expected a small network")
    return content


def _followed(file: Path, model: Any, start: str, width: int) -> _Chain:
    """What the graph does to the observation, from its input to its output."""
    from onnx import numpy_helper

    constants: dict[str, Array] = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    chains = {start: _Chain(np.eye(width), np.zeros(width))}
    for node in model.graph.node:
        attributes = {one.name: _value(one) for one in node.attribute}
        names = [name for name in node.input if name]
        try:
            if node.domain not in ("", "ai.onnx"):
                raise _NotOurs(f"is of the domain {node.domain:.40}")
            if all(name in constants for name in names):
                constants[node.output[0]] = _folded(node.op_type, [constants[name] for name in names], attributes)
                continue
            found = _applied(node.op_type, names, chains, constants, attributes, len(node.output))
        except (_NotOurs, ValueError, IndexError, KeyError) as error:  # shapes that do not fit, constants that are not there
            reason = str(error) if isinstance(error, _NotOurs) else "does not fit what comes before it"
            raise PolicyError(f"{file}: its node {node.name or node.output[0]!s:.60} ({node.op_type:.40}) {reason}") from error
        chains.update(zip(node.output, found, strict=False))
    output = model.graph.output[0].name
    if output not in chains:
        raise PolicyError(f"{file}: its output {output!r:.60} does not depend on its input, expected actions")
    return chains[output]


def _value(attribute: Any) -> Any:
    from onnx import helper, numpy_helper

    found = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(found) if attribute.name == "value" else found


def _folded(name: str, inputs: list[Array], attributes: Mapping[str, Any]) -> Array:
    """A node that depends on constants alone."""
    if name == "Constant":
        return np.asarray(next(iter(attributes.values())))
    if name in ("Identity", "Cast"):
        return inputs[0]
    if name == "Transpose":
        return inputs[0].transpose(attributes.get("perm"))
    raise _NotOurs(f"works on constants, expected one of Constant, Identity, Cast, Transpose; or observations and {_KNOWN}")


def _applied(
    name: str, names: list[str], chains: Mapping[str, _Chain], constants: Mapping[str, Array], told: Mapping[str, Any], outputs: int
) -> list[_Chain]:
    """The outputs of a node that depends on the observation."""
    own = [i for i, one in enumerate(names) if one in chains]
    if len(own) != 1:
        raise _NotOurs("joins two values, expected a chain of layers")
    at, chain = own[0], chains[names[own[0]]]
    rest = [np.asarray(constants[one], dtype=np.float64) for one in names if one not in chains]
    if name in _ACTIVATIONS:
        return [chain.activated(_ACTIVATIONS[name])]
    if name in _AS_IT_IS:
        return [chain]
    if name in ("Gemm", "MatMul") and at == 0:
        weight = rest[0] if told.get("transB") else rest[0].T
        bias = rest[1].reshape(-1) * told.get("beta", 1.0) if len(rest) > 1 else 0.0
        return [chain.through(told.get("alpha", 1.0) * weight, np.broadcast_to(bias, len(weight)))]
    n = len(chain.bias)
    if name in ("Add", "Sub", "Mul", "Div"):
        other = np.broadcast_to(rest[0].reshape(-1), n)
        sign = -1.0 if name == "Sub" else 1.0
        if name in ("Add", "Sub"):
            return [chain.scaled(np.full(n, 1.0 if at == 0 else sign), other * (sign if at == 0 else 1.0))]
        if name == "Mul" or at == 0:
            return [chain.scaled(other if name == "Mul" else 1.0 / other, np.zeros(n))]
    if name == "Clip" and len(rest) == 2:
        return [chain.between(float(rest[0].reshape(())), float(rest[1].reshape(())))]
    if (
        name == "Slice"
        and len(rest) >= 3
        and int(rest[2].reshape(-1)[0]) in (1, -1)
        and (len(rest) < 4 or rest[3].reshape(-1)[0] == 1)
    ):
        first, last, _ = slice(int(rest[0].reshape(-1)[0]), int(min(rest[1].reshape(-1)[0], n))).indices(n)
        return [chain.rows(first, last)]
    if name == "Split" and told.get("axis", 0) in (1, -1):
        sizes = rest[0].astype(int).tolist() if rest else [-(-n // outputs)] * outputs
        ends = [0, *itertools.accumulate(sizes)]
        return [chain.rows(first, last) for first, last in itertools.pairwise(ends)]
    raise _NotOurs(f"is nothing that a policy's folder holds, expected one of {_KNOWN}")


def _policy(file: Path, chain: _Chain, classes: int, hold: int, mechanism: str, digest: str) -> Policy:
    *hidden, last = (activation for _, _, activation in chain.layers)
    if len(set(hidden)) > 1 or last == "relu":
        raise PolicyError(
            f"{file}: its activations are {', '.join((*hidden, last))}, expected one, and after the last layer none or tanh"
        )
    width = chain.layers[0][0].shape[1]
    mean, std, clip = chain.standard or (np.zeros(width), np.ones(width), _UNBOUNDED)
    arrays = {"mean": mean, "std": std}
    for i, (weight, bias, _) in enumerate(chain.layers):
        arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"] = weight, bias
    try:
        layout = Layout(
            (width, *(len(bias) for _, bias, _ in chain.layers)), classes, activation=hidden[0] if hidden else "tanh", clip=clip,
            hold=hold, mechanism=mechanism, output=last or "linear",
        )  # fmt: skip
        origin = {"imported": {"file": file.name, "sha256": digest}}
        return Policy(layout, {name: array.astype(np.float32) for name, array in arrays.items()}, origin)
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from error


def _check_parity(file: Path, model: Any, name: str, policy: Policy) -> None:
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    arrays = policy.arrays
    evaluator: Any = ReferenceEvaluator(model)
    spread = np.minimum(arrays["std"], 10.0) * rng.uniform(-3.0, 3.0, (_ROWS, policy.layout.sizes[0]))
    rows = np.clip(arrays["mean"] + spread, -10.0, 10.0).astype(np.float32)
    expected = np.concatenate([np.reshape(evaluator.run(None, {name: row[None]})[0], (1, -1)) for row in rows])
    found = policy.act(rows)
    if found.shape != expected.shape:
        raise PolicyError(f"{file}: it gives {expected.shape[1]} entries, {found.shape[1]} as it was read")
    off = float(np.abs(np.clip(found, -1.0, 1.0) - np.clip(expected, -1.0, 1.0)).max())
    if not off <= PARITY * max(1.0, float(np.abs(found).max())):
        raise PolicyError(
            f"{file}: what was read gives actions that differ from the model's by {off:.1g}, expected at most {PARITY:g}"
        )
