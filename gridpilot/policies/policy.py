"""A policy: a small feed-forward network from observation vectors to actions, as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from gridpilot.errors import PolicyError
from gridpilot.market.action import ACTION_VERSION, N_PRICES_OF_TIME
from gridpilot.market.compilation import kernel
from gridpilot.market.encoding import n_fields

__all__ = ["ACTIVATIONS", "BIDDINGS", "OBSERVATION_VERSION", "OUTPUTS", "Bidding", "Layout", "Policy"]

Array32 = npt.NDArray[np.float32]
Bidding = Literal["best_response"]  # a rule of conf/bidding under a policy

OBSERVATION_VERSION: Final = 1  # of gridpilot.market.encoding
ACTIVATIONS: Final = ("tanh", "relu")
OUTPUTS: Final = ("linear", "tanh")
BIDDINGS: Final = get_args(Bidding)
WIDEST: Final = 4096  # units of a layer
DEEPEST: Final = 16  # layers


@dataclass(frozen=True)
class Layout:
    """What a policy takes, gives and was made for; all but its numbers.

    ``sizes``     of the layers, from the observation's D to the action's 2 + K
    ``classes``   machine classes that the observation has room for, which give D
    ``clip``      standardised observations are clipped at this
    ``hold``      ticks that an action is held for
    ``output``    what follows the last layer: nothing, or the tanh of actors whose exploration is squashed
    ``bidding``   the rule of ``conf/bidding`` that makes bids of the values which an action states; ``None``: an action is an order
    """

    sizes: tuple[int, ...]
    classes: int
    activation: str = "tanh"
    clip: float = 5.0
    hold: int = 1
    mechanism: str = "vcg"
    observation_version: int = OBSERVATION_VERSION
    action_version: int = ACTION_VERSION
    output: str = "linear"
    bidding: str | None = None

    def __post_init__(self) -> None:
        for what, found, known in (
            ("observation version", self.observation_version, OBSERVATION_VERSION),
            ("action version", self.action_version, ACTION_VERSION),
        ):
            if found != known:
                raise PolicyError(f"policy: {what} is {found!r:.40}, expected {known}, which this version plays")
        for what, function, names in (("activation", self.activation, ACTIVATIONS), ("output", self.output, OUTPUTS)):
            if function not in names:
                raise PolicyError(f"policy: {what} is {function!r:.40}, expected one of {', '.join(names)}")
        if not 2 <= len(self.sizes) <= DEEPEST + 1 or not all(1 <= size <= WIDEST for size in self.sizes):
            raise PolicyError(f"policy: layers are {list(self.sizes)!r:.80}, expected 1 to {DEEPEST} layers of 1 to {WIDEST} units")
        if self.classes < 1 or self.sizes[0] != n_fields(self.classes):
            raise PolicyError(
                f"policy: takes {self.sizes[0]} entries, expected {n_fields(max(self.classes, 1))}, the observation of "
                f"{self.classes} machine classes"
            )
        if self.sizes[-1] < N_PRICES_OF_TIME:
            raise PolicyError(f"policy: gives {self.sizes[-1]} entries, expected an action of {N_PRICES_OF_TIME} or more")
        if self.bidding is not None and self.bidding not in BIDDINGS:
            raise PolicyError(f"policy: bidding is {self.bidding!r:.40}, expected null or one of {', '.join(BIDDINGS)}")
        if self.bidding is not None and self.shading:
            raise PolicyError(f"policy: gives {self.shading} shading factors, expected none with bidding {self.bidding}")
        if not 0.0 < self.clip < 1e6 or self.hold < 1:
            raise PolicyError(f"policy: clip is {self.clip} and hold {self.hold}, expected a number above 0 and at least 1 tick")

    @property
    def shading(self) -> int:
        """Shading factors K of an action."""
        return self.sizes[-1] - N_PRICES_OF_TIME

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array of the policy, all float32."""
        wanted: dict[str, tuple[int, ...]] = {"mean": (self.sizes[0],), "std": (self.sizes[0],)}
        for i, (inputs, outputs) in enumerate(itertools.pairwise(self.sizes)):
            wanted[f"layers.{i}.weight"], wanted[f"layers.{i}.bias"] = (outputs, inputs), (outputs,)
        return wanted


@dataclass(frozen=True)
class Policy:
    """A layout with its numbers: ``arrays`` by the names and of the shapes of :meth:`Layout.shapes`.

    An observation is standardised by ``mean`` and ``std`` and clipped; each layer is ``weight @ x + bias``; the activation follows all but
    the last, which ``output`` does. ``training`` is what the policy came from, as plain values. Raises
    :class:`~gridpilot.errors.PolicyError` for arrays that do not fit, are not finite, or a ``std`` that is not above 0.
    """

    layout: Layout
    arrays: Mapping[str, Array32]
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = self.layout.shapes()
        for name in sorted(wanted.keys() | self.arrays.keys()):
            if name not in self.arrays:
                raise PolicyError(f"policy: array {name!r} is missing, expected one of shape {wanted[name]}")
            if name not in wanted:
                raise PolicyError(f"policy: there is an array {name!r:.60}, expected {', '.join(wanted)} alone")
            array = self.arrays[name]
            if array.dtype != np.float32 or array.shape != wanted[name]:
                raise PolicyError(
                    f"policy: array {name!r} is {array.dtype} of shape {array.shape}, expected float32 of shape {wanted[name]}"
                )
            if not np.isfinite(array).all():
                raise PolicyError(f"policy: array {name!r} holds {array[~np.isfinite(array)][0]}, expected finite numbers")
        if not (self.arrays["std"] > 0.0).all():
            raise PolicyError(f"policy: std holds {self.arrays['std'].min()}, expected numbers above 0")
        layers = range(len(self.layout.sizes) - 1)
        parts = [part for i in layers for part in (self.arrays[f"layers.{i}.weight"].T, self.arrays[f"layers.{i}.bias"])]
        object.__setattr__(self, "_parameters", np.concatenate([part.ravel() for part in parts]))
        object.__setattr__(self, "_sizes", np.array(self.layout.sizes))

    def act(self, observations: Array32) -> Array32:
        """The actions ``(M, 2 + K)`` of observations ``(M, D)``, float32; an entry that is nan counts as usual.

        A row's action does not depend on the others', to the last bit. Entries may lie beyond [-1, 1], where decoding clips them. Raises
        :class:`~gridpilot.errors.PolicyError` for another shape.
        """
        if observations.ndim != 2 or observations.shape[1] != self.layout.sizes[0]:
            raise PolicyError(f"policy: observations have shape {observations.shape}, expected (M, {self.layout.sizes[0]})")
        rows = np.ascontiguousarray(observations, dtype=np.float32)
        out = np.empty((len(rows), self.layout.sizes[-1]), dtype=np.float32)
        _forward(
            self._sizes, self._parameters, self.arrays["mean"], self.arrays["std"], np.float32(self.layout.clip),  # type: ignore[attr-defined]
            self.layout.activation == "tanh", self.layout.output == "tanh", rows, out,
        )  # fmt: skip
        return out


@kernel
def _forward(
    sizes: Any,  # (L + 1,)
    parameters: Any,  # weights (inputs, outputs) and biases of one layer after the other
    mean: Any,  # (D,)
    std: Any,  # (D,)
    clip: Any,
    tanh: bool,  # or relu
    squashed: bool,  # the last layer's tanh as well
    rows: Any,  # (M, D)
    out: Any,  # (M, sizes[-1])
) -> None:
    now, then = np.empty(sizes.max(), dtype=np.float32), np.empty(sizes.max(), dtype=np.float32)
    layers, zero = len(sizes) - 1, np.float32(0.0)
    for m in range(len(rows)):
        for j in range(sizes[0]):
            x = (rows[m, j] - mean[j]) / std[j]
            now[j] = min(max(x, -clip), clip) if x == x else zero  # x == x: not nan
        at = 0
        for layer in range(layers):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            bias = at + inputs * outputs
            for j in range(outputs):
                then[j] = parameters[bias + j]
            for k in range(inputs):
                x = now[k]
                row = at + k * outputs
                for j in range(outputs):
                    then[j] += x * parameters[row + j]
            if layer < layers - 1:
                for j in range(outputs):
                    then[j] = np.tanh(then[j]) if tanh else max(then[j], zero)
            now, then = then, now
            at = bias + outputs
        for j in range(sizes[layers]):
            out[m, j] = np.tanh(now[j]) if squashed else now[j]
