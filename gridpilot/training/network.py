"""The network while it is trained, in torch; what comes of it is a policy of plain arrays."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gridpilot.errors import MissingExtraError
from gridpilot.market.action import AT_ZERO, N_PRICES_OF_TIME, SPAN
from gridpilot.policies.policy import Layout, Policy

__all__ = ["Network", "one_thread", "require_torch"]

Array32 = npt.NDArray[np.float32]

LEAST_STD = 1e-3  # an entry that moves less in the first round is taken as it is


def require_torch() -> Any:
    """The module ``torch``. Raises :class:`~gridpilot.errors.MissingExtraError` where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("training a policy", "rl") from error
    return torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread in the block: networks are small, and sums come out in one order."""
    torch = require_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Network:
    """A feed-forward network of ``layout``, its weights drawn by ``seed``, for standardised observations.

    Actions other than the storage value start, and by :meth:`fit` stay, at exactly zero: what runs is held for its boot loss, and nothing
    is shaded.
    """

    def __init__(self, layout: Layout, observations: Array32, seed: int) -> None:
        torch = require_torch()
        self.layout = layout
        self.mean = observations.mean(axis=0, dtype=np.float64).astype(np.float32)
        std = observations.std(axis=0, dtype=np.float64).astype(np.float32)
        self.std = np.where(std > LEAST_STD, std, np.float32(1.0))
        self._generator = torch.Generator().manual_seed(seed)
        activation = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[layout.activation]
        parts: list[Any] = []
        for inputs, outputs in itertools.pairwise(layout.sizes):
            linear = torch.nn.utils.skip_init(torch.nn.Linear, inputs, outputs)
            with torch.no_grad():  # torch's own default, from a generator of our own
                for parameter in (linear.weight, linear.bias):
                    parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=self._generator)
            parts += [linear, activation()]
        self.module = torch.nn.Sequential(*parts[:-1])
        with torch.no_grad():
            for parameter in (self.module[-1].weight, self.module[-1].bias):
                parameter[1:] = 0.0
        self._optimiser = torch.optim.Adam(self.module.parameters())

    @classmethod
    def of(cls, policy: Policy) -> Network:
        """The network of a policy, for training that goes on."""
        torch = require_torch()
        arrays = policy.arrays
        network = cls(policy.layout, arrays["mean"][None], 0)
        network.std = arrays["std"].copy()
        with torch.no_grad():
            for i, linear in enumerate(network.module[::2]):
                linear.weight.copy_(torch.from_numpy(arrays[f"layers.{i}.weight"].copy()))
                linear.bias.copy_(torch.from_numpy(arrays[f"layers.{i}.bias"].copy()))
        return network

    def standardised(self, observations: Array32) -> Array32:
        """Observations as the network takes them, ``(M, D)``."""
        clip = np.float32(self.layout.clip)
        inputs: Array32 = np.clip((observations - self.mean) / self.std, -clip, clip)
        return inputs

    def fit(self, inputs: Array32, entries: Array32, rates: Sequence[float], batch: int, *, worth: bool = False) -> float:
        """Fit the storage value's entry, ``(M,)``, on standardised observations; one pass over them for each of ``rates``.

        By least squares of the entry; or with ``worth`` so that the mean of the values in money is imitated, as what a stored kWh is worth
        to who cannot know the day is its expected worth. Least squares of money would heed the few days of scarcity alone; the matching
        loss of the sinh between the two (a Bregman divergence: Helmbold, Kivinen and Warmuth 1999) has the same minimum, and errors count
        linearly.

        Within a pass the learning rate goes linearly from the pass's to the next one's; after the last it is 0 or stays, as ``rates`` ends
        in zero or not. Returns the mean loss of the last pass.
        """
        torch = require_torch()
        x, y = torch.from_numpy(inputs), torch.from_numpy(entries)
        loss_sum = torch.zeros(())
        steps = -(-len(x) // batch)
        for rate, following in itertools.pairwise(rates):
            order = torch.randperm(len(x), generator=self._generator)
            loss_sum = torch.zeros(())
            for i in range(steps):
                rows = order[i * batch : (i + 1) * batch]
                for group in self._optimiser.param_groups:
                    group["lr"] = rate + (following - rate) * i / steps
                found, wanted = self.module(x[rows])[:, 0], y[rows]
                if worth:
                    u, w = AT_ZERO + SPAN * found, AT_ZERO + SPAN * wanted
                    loss = (torch.cosh(u) - torch.cosh(w) - torch.sinh(w) * (u - w)).mean()
                else:
                    loss = torch.nn.functional.mse_loss(found, wanted)
                self._optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self._optimiser.step()
                loss_sum += loss.detach()
        return float(loss_sum) / steps

    def arrays(self) -> dict[str, Array32]:
        """The arrays of the policy, by the names of :meth:`~gridpilot.policies.policy.Layout.shapes`."""
        found = {"mean": self.mean.copy(), "std": self.std.copy()}
        for i, linear in enumerate(self.module[::2]):
            found[f"layers.{i}.weight"] = linear.weight.detach().numpy().copy()
            found[f"layers.{i}.bias"] = linear.bias.detach().numpy().copy()
        return found

    def shading_starts_at(self, factor: float) -> None:
        """Let shading factors whose weights are zero, which were never searched for, be ``factor``."""
        last = self.module[-1]
        with require_torch().no_grad():
            new = (last.weight == 0.0).all(dim=1)
            new[:N_PRICES_OF_TIME] = False
            last.bias[new] = factor
