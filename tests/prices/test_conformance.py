"""What every registered price model must do, and one from a user's own file: a new one is tested because it is in the registry."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpilot.errors import PriceError
from gridpilot.presets import find, names
from gridpilot.prices import PriceModel, World, load_prices
from gridpilot.prices.load import PRICES
from tests.prices.examples import WILD, write_recording

OWN = "own_price_model.Evenings"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PriceModel]]:
    """Every model by name; one that replays is given a file, and the user's own is the example of the interface's description."""
    folder = tmp_path_factory.mktemp("models")
    write_example(folder / "own_price_model.py")
    recording: dict[str, Any] = {"file": str(write_recording(folder / "prices.csv", days=9)), "time": "time"}
    recording["energy"] = {"column": "lmp", "unit": "$/MWh"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        built = {name: load_prices({"name": name, **(recording if name == "replay" else {})}) for name in names("prices")}
        yield {**built, "wild": load_prices(WILD), OWN: load_prices({"name": OWN, "evening": 0.2})}
    sys.modules.pop("own_price_model", None)


EVERY = pytest.mark.parametrize("name", [*names("prices"), "wild", OWN])


def write_example(path: Path) -> None:
    """The class that the description of PriceModel shows, as a file."""
    _, _, after = (PriceModel.__doc__ or "").partition(".. code-block:: python\n")
    lines = []
    for line in after.splitlines():
        if line.strip() and not line.startswith("        "):
            break
        lines.append(line[8:])
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("name", names("prices"))
def test_is_a_price_model_with_a_description(name: str) -> None:
    kind = find(PRICES, name)
    assert kind.__doc__
    assert kind.__name__ in __import__(kind.__module__, fromlist=["__all__"]).__all__


@EVERY
def test_shapes_and_order(name: str, models: dict[str, PriceModel]) -> None:
    prices, start = models[name].simulate(1, [3, 4], 10, history=5)
    assert prices.shape == (15, 2, 3)
    assert prices.dtype == np.float64
    assert prices.flags.c_contiguous
    assert np.isfinite(prices).all()
    assert (prices[:, :, 1:] > 0.0).all()
    assert start.dtype == np.int64
    assert set(start % 288) == {0}
    assert start.max() < 2016


@EVERY
@settings(max_examples=15)
@given(root=st.integers(0, 2**64 - 1), first=st.integers(0, 2**40), size=st.integers(1, 150), ticks=st.integers(0, 40))
def test_an_episode_is_the_same_alone_and_in_a_batch(
    name: str, models: dict[str, PriceModel], root: int, first: int, size: int, ticks: int
) -> None:
    episodes = np.arange(first, first + size)
    batch, start = models[name].simulate(root, episodes, ticks, history=7)
    alone, alone_start = models[name].simulate(root, episodes[-1:], ticks, history=7)
    assert np.array_equal(batch[:, -1:], alone)
    assert np.array_equal(start[-1:], alone_start)
    assert np.array_equal(models[name].simulate(root, episodes[::-1], ticks, history=7)[0], batch[:, ::-1])


@EVERY
def test_a_longer_episode_begins_with_the_shorter_one(name: str, models: dict[str, PriceModel]) -> None:
    longer, _ = models[name].simulate(5, range(70), 53, history=7)
    assert np.array_equal(longer[:47], models[name].simulate(5, range(70), 40, history=7)[0])


@EVERY
def test_other_episodes_and_roots_give_other_paths(name: str, models: dict[str, PriceModel]) -> None:
    prices = models[name].simulate(0, range(8), 50)[0]
    assert any(not np.array_equal(prices[:, 0], prices[:, b]) for b in range(1, 8))
    assert not np.array_equal(prices, models[name].simulate(1, range(8), 50)[0])


@EVERY
def test_a_copy_draws_the_same(name: str, models: dict[str, PriceModel]) -> None:
    model: PriceModel = pickle.loads(pickle.dumps(models[name]))
    assert np.array_equal(model.simulate(2, range(3), 20)[0], models[name].simulate(2, range(3), 20)[0])


@pytest.mark.parametrize("name", names("prices"))
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, [0], 1, 0), "root seed is -1"),
        ((2**64, [0], 1, 0), "root seed"),
        ((0, [-1], 1, 0), "episodes"),
        ((0, [0.5], 1, 0), "episodes"),
        ((0, [[0]], 1, 0), "episodes"),
        ((0, [0], -1, 0), "ticks is -1"),
        ((0, [0], 1, 1.5), "history is 1.5"),
    ],
)
def test_bad_requests_are_refused(name: str, models: dict[str, PriceModel], arguments: Any, words: str) -> None:
    root, episodes, ticks, history = arguments
    with pytest.raises(PriceError, match=words):
        models[name].simulate(root, episodes, ticks, history=history)


class Wrong(PriceModel):
    """Returns what it is told to."""

    def __init__(self, prices: Any, start: Any) -> None:
        self.answer = prices, start

    def simulate(self, root: int, episodes: Any, ticks: int, *, history: int = 0) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("prices", "start", "words"),
    [
        (np.zeros((4, 1, 3)), np.zeros(1, dtype=int), r"prices of shape \(4, 1, 3\), expected \(5, 1, 3\)"),
        (np.full((5, 1, 3), np.nan), np.zeros(1, dtype=int), "energy is nan in row 0 of path 0"),
        (np.zeros((5, 1, 3)), np.array([2016]), "expected 1 ticks of the week from 0 to 2015"),
        (np.zeros((5, 1, 3)), np.zeros(1), "expected 1 ticks of the week"),
        ("dear", np.zeros(1, dtype=int), "no array of numbers"),
    ],
)
def test_what_a_model_returns_is_checked(prices: Any, start: Any, words: str) -> None:
    with pytest.raises(PriceError, match=f"prices Wrong: simulate returned .*{words}"):
        World(Wrong(prices, start)).simulate(0, [0], 3, 2)
