"""The command: what it prints, for people and for programs, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from gridpilot.cli import main as cli
from gridpilot.columns import console_for, printed
from gridpilot.errors import ConfigError
from gridpilot.validation import textbook
from gridpilot.validation.row import Figure, Row
from gridpilot.validation.rows import RESULTS
from gridpilot.validation.study import Study
from gridpilot.validation.table import render, to_json
from gridpilot.validation.validate_command import NOT_AS_EXPECTED, main

QUICK = "only=[second_price,supply_steps,lonely_vickrey]"
KEYS = {"result", "what", "expected", "found", "tolerance", "source", "passed"}


@pytest.fixture
def wrong_textbook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry in which the second-price auction is expected to cost what the winner bid."""
    right = textbook.SECOND_PRICE

    def figures(study: Study) -> list[Figure]:
        return [dataclasses.replace(figure, expected=figure.expected + 2.0) for figure in right.figures(study)]

    monkeypatch.setitem(RESULTS, right.name, dataclasses.replace(right, figures=figures))


def test_programs_get_rows_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([QUICK, "json=true"]) == 0
    out = capsys.readouterr().out
    document = json.loads(out)
    assert set(document) == {"rows"}
    assert {row["result"] for row in document["rows"]} == {"second_price", "supply_steps", "lonely_vickrey"}
    for row in document["rows"]:
        assert set(row) == KEYS
        assert row["passed"] is True
        assert abs(row["found"] - row["expected"]) <= row["tolerance"]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["second_price"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "second_price: Vickrey 1961" in out
    assert "6 of 6 figures as expected" in out


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_number_is_cut(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["asymmetric_first_price", "multi_unit", "scale=0.01"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for number in ("0.371706", "0.286458", "225"):
        assert number in out
    assert "…" not in out


def test_the_exit_code_tells_a_wrong_figure(wrong_textbook: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["only=[second_price,supply_steps]"]) == NOT_AS_EXPECTED
    assert "6 of 12 figures as expected" in capsys.readouterr().out
    assert main(["second_price", "json=true"]) == NOT_AS_EXPECTED
    assert not any(row["passed"] for row in json.loads(capsys.readouterr().out)["rows"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("only=[myersn]", "no result 'myersn', did you mean myerson?"),
        ("nothing_like_it", "no result 'nothing_like_it', expected one of second_price, "),
        ("scal=0.5", "did you mean scale?"),
        ("scale=0", "scale=0"),
        ("scale=nan", "scale=nan"),
        ("seed=-1", "seed=-1"),
        ("json=perhaps", "json="),
    ],
)
def test_bad_input_is_told_in_one_line(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        main([argument])
    assert message in str(caught.value)
    assert cli(["validate", argument]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_a_number_that_is_none_is_null_and_not_as_expected(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("result", "what", 1.0, math.nan, 0.1, "source")
    assert json.loads(to_json([row]))["rows"][0]["found"] is None
    import sys

    printed(console_for(sys.stdout), render([row], width=80))
    assert "0 of 1 figures as expected" in capsys.readouterr().out
