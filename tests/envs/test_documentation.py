"""The page of the environments and what they really give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from gridpilot.envs import MarketEnv, MarketParallelEnv, MarketVectorEnv
from gridpilot.market.encoding import fields, n_fields
from gridpilot.setup import MarketSetup

PAGE = (Path(__file__).resolve().parents[2] / "envs" / "README.md").read_text(encoding="utf-8")


def table(after: str) -> list[tuple[str, str]]:
    """Rows of the first table after a heading."""
    lines = PAGE[PAGE.index(after) :].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| --- "))
    rows = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        name, meaning = line.strip("| ").split(" | ", 1)
        rows.append((name.strip("`"), meaning))
    return rows


def test_the_page_lists_every_entry_of_the_observation() -> None:
    n_classes = 3
    numbers = {"c": range(n_classes), "k": range(2 * n_classes + 3)}
    listed = []
    for name, meaning in table("## Observation"):
        letter = re.search(r"_([ck])$", name)
        if letter is None:
            listed.append((name, meaning))
            continue
        for i in numbers[letter[1]]:
            listed.append((f"{name[:-1]}{i}", re.sub(rf"\b(class|block) {letter[1]}\b", rf"\1 {i}", meaning)))
    assert listed == [tuple(field) for field in fields(n_classes)]
    assert len(listed) == n_fields(n_classes)


def test_the_sizes_on_the_page_are_those_of_the_default_market(setup: MarketSetup) -> None:
    env = MarketEnv(setup)
    assert f"({env.action_space.shape[0]} entries in the default market)" in PAGE
    assert f"({env.observation_space.shape[0]} in the default market)" in PAGE
    for n_classes in (1, 2, 4):
        assert n_fields(n_classes) == 31 + 2 * n_classes + 2 * (2 * n_classes + 3)
    assert [name for name, _ in table("## Action")] == ["a[0]", "a[1]", "a[2 + k]"]


def test_every_key_of_info_is_on_the_page_and_in_the_docstring(setup: MarketSetup) -> None:
    env = MarketEnv(setup)
    keys = set(env.reset(seed=0)[1]) | set(env.step(np.zeros(11, dtype=np.float32))[4])
    part = PAGE[PAGE.index("**Info**") : PAGE.index("**Episodes**")]
    assert keys <= set(re.findall(r"`(\w+)`", part))
    assert MarketEnv.__doc__ is not None
    assert keys <= set(re.findall(r"``(\w+)``", MarketEnv.__doc__[MarketEnv.__doc__.index("**Info**") :]))


def test_the_forms_take_the_same_arguments() -> None:
    def arguments(env: Any) -> set[str]:
        return set(env.__init__.__code__.co_varnames[: env.__init__.__code__.co_argcount + env.__init__.__code__.co_kwonlyargcount])

    scalar, vector, parallel = arguments(MarketEnv), arguments(MarketVectorEnv), arguments(MarketParallelEnv)
    assert vector - scalar == {"num_envs", "autoreset", "seats", "first_episode", "bootstrap"}
    assert parallel ^ scalar == {"seat", "seats"}
    for name in (vector | parallel) - {"self", "num_envs"}:
        assert f"`{name}" in PAGE, f"{name} is not on the page"
