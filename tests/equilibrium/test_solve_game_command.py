"""``gridpilot solve-game``: figures and names of its JSON, arrays, standard input, and one line for bad input."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main as gridpilot

DILEMMA = {"row": [[3, 0], [5, 1]], "column": [[3, 5], [0, 1]]}
GAMES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("zero_sum", {"payoff": [[1, -1], [-1, 1]]}, {"value": 0, "row": [0.5, 0.5], "column": [0.5, 0.5]}),
    ("bimatrix", DILEMMA, {"equilibria": [[[0, 1], [0, 1]]], "nashconv_of_uniform": 1.5}),
    ("nashconv", {"payoff": list(DILEMMA.values()), "profile": [[0.5, 0.5], [1, 0]]}, {"nashconv": 2.5}),
    (
        "replicator",
        {"payoff": [[-1, 4], [0, 2]], "x0": [0.2, 0.8]},
        {"interior_fixed_point": [2 / 3, 1 / 3], "stability": "stable", "x_at_3": [0.60993, 0.39007]},
    ),
    ("moran", {"process": "moran", "relative_fitness": 1.1, "population": 10}, {"fixation": 0.147950}),
    ("moran", {"process": "pairwise", "payoff": [[1, 2], [3, 4]], "beta": 0, "population": 8}, {"fixation": 0.125}),
    (
        "alpha_rank",
        {"population": "single", "payoff": [[0, -1, 1], [1, 0, -1], [-1, 1, 0]], "alpha": 9, "m": 50},
        {"stationary": [1 / 3] * 3},
    ),
    ("alpha_rank", {"population": "multi", "payoff": list(DILEMMA.values()), "alpha": 1000, "m": 50}, {"stationary": [0, 0, 0, 1]}),
    ("demand_function", {"l": [1, 2, 4], "beta": 0.5}, {"slope": [0.516147, 0.355291, 0.211454]}),
    ("deviation_ratings", {"payoff": [[3, 0], [5, 1]]}, {"ratings": [-1, 0]}),
    ("deviation_ratings", DILEMMA, {"row_ratings": [-1, 0], "column_ratings": [-1, 0]}),
]


def flat(value: Any) -> list[Any]:
    return [x for entry in value for x in flat(entry)] if isinstance(value, list) else [value]


def test_known_games_in_an_array(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps([{"kind": kind, "input": given, "name": "mine"} for kind, given, _ in GAMES])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert gridpilot(["solve-game", "-"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert len(results) == len(GAMES)
    for result, (kind, _, expected) in zip(results, GAMES, strict=True):
        assert list(result) == ["kind", *expected]
        assert result["kind"] == kind
        for key, value in expected.items():
            assert flat(result[key]) == pytest.approx(flat(value), abs=5e-6)


def test_one_document_and_no_interior_fixed_point(capsys: Any) -> None:
    Path("game.json").write_text(json.dumps({"kind": "replicator", "input": {"payoff": DILEMMA["row"], "x0": [0.5, 0.5]}}))
    assert gridpilot(["solve-game", "game.json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["interior_fixed_point"] is result["stability"] is None


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ("5", "expected a JSON object"),
        ("[5]", "game.json: game 0: is 5"),
        ('{"input": {}}', "key 'kind' is missing"),
        ('{"kind": "zero_sum"}', "key 'input' is missing"),
        ('{"kind": "zerosum", "input": {}}', "did you mean zero_sum?"),
        ('{"kind": [], "input": {}}', "kind is []"),
        ('{"kind": "zero_sum", "input": []}', "input is []"),
        ('{"kind": "zero_sum", "input": {}}', "key 'payoff' is missing"),
        ('{"kind": "zero_sum", "input": {"payoff": null}}', "key 'payoff' is null"),
        ('{"kind": "zero_sum", "input": {"payoff": [[1]], "x": 2}}', "unknown key 'x'"),
        ('{"kind": "zero_sum", "input": {"payoff": [[1, NaN]]}}', "payoff[0][1] is nan"),
        ('{"kind": "zero_sum", "input": {"payoff": [[1, "2"]]}}', "payoff[0][1] is '2', expected a number"),
        ('{"kind": "zero_sum", "input": {"payoff": [[1, true]]}}', "payoff[0][1] is True, expected a number"),
        ('{"kind": "zero_sum", "input": {"payoff": [[1, 2], [3]]}}', "equally long"),
        ('{"kind": "zero_sum", "input": {"payoff": []}}', "payoff is []"),
        ('{"kind": "zero_sum", "input": {"payoff": 3}}', "payoff is 3, expected a list"),
        ('{"kind": "bimatrix", "input": {"row": [[1]], "column": [[1, 2]]}}', "expected equal shapes"),
        ('{"kind": "moran", "input": {"process": "moran", "relative_fitness": 1, "population": 0}}', "population is 0"),
        ('{"kind": "moran", "input": {"process": "m", "relative_fitness": 1, "population": 9}}', "process is 'm'"),
        ('{"kind": "moran", "input": {"process": "moran", "relative_fitness": "1", "population": 9}}', "relative_fitness is '1'"),
        ('{"kind": "alpha_rank", "input": {"population": "single", "payoff": [[1]], "alpha": -1, "m": 5}}', "alpha is -1"),
        ('{"kind": "alpha_rank", "input": {"population": "two", "payoff": [[1]], "alpha": 1, "m": 5}}', "population is 'two'"),
        ('{"kind": "alpha_rank", "input": {"population": "multi", "payoff": [1], "alpha": 1, "m": 5}}', "payoff[0] is 1.0"),
        ('{"kind": "demand_function", "input": {"l": [], "beta": 1}}', "at least one finite number"),
    ],
)
def test_bad_input_gets_one_line(document: str, part: str, capsys: Any) -> None:
    Path("game.json").write_text(document)
    assert gridpilot(["solve-game", "game.json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gridpilot solve-game: error: game.json: ")
    assert captured.err.count("\n") == 1
    assert part in captured.err
