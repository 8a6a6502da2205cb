"""``gridpilot clear``: figures to 1e-9, the form of its JSON, batches, extensions, bad input, and what it imports."""

from __future__ import annotations

import io
import json
import math
import os
import random
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gridpilot.cli import main as gridpilot
from gridpilot.market.clear_command import main
from gridpilot.market.clearing import clear

from .markets import KINDS, TEXTBOOK, Market, random_market
from .oracle import exact_vcg

KEYS = ["mechanism", "allocation", "payment", "value", "surplus", "welfare", "supply_cost", "volume", "price_lo", "price_hi"]
SMALL = '{"bids": [[[2, 5]], [[1, 3]]], "supply": [[2, 1]], "capacity": 2}'


def run(document: Any, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    Path("market.json").write_text(document if isinstance(document, str) else json.dumps(document))
    assert main(["market.json", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == "" or "compiling" in captured.err
    return json.loads(captured.out)


@pytest.mark.parametrize(
    ("name", "market", "mechanism", "allocation", "payment", "welfare"), TEXTBOOK, ids=[case[0] for case in TEXTBOOK]
)
def test_textbook_cases(
    name: str, market: Market, mechanism: str, allocation: list[float], payment: list[float], welfare: float, capsys: Any
) -> None:
    result = run(market, capsys, "--mechanism", mechanism)
    assert list(result) == KEYS
    assert result["mechanism"] == mechanism
    assert result["allocation"] == pytest.approx(allocation, abs=1e-9)
    assert result["payment"] == pytest.approx(payment, abs=1e-9)
    assert result["welfare"] == pytest.approx(welfare, abs=1e-9)
    assert result["surplus"] == pytest.approx([v - p for v, p in zip(result["value"], payment, strict=True)], abs=1e-9)


@pytest.mark.parametrize(
    ("extension", "allocation", "payment"),
    [
        pytest.param({"nodes": [{"parent": -1, "limit": 1}], "site_node": [0, 0]}, [1, 0], [3], id="feeder"),
        pytest.param({"indivisible": [[True], [True]]}, [2, 0], [4], id="indivisible"),
        pytest.param(
            {"n_buses": 2, "lines": [{"from": 0, "to": 1, "x": 1.0, "limit": 1}], "site_bus": [1, 1], "supply_bus": 0},
            [1, 0],
            [3],
            id="DC",
        ),
    ],
)
def test_extensions_in_the_same_file(extension: dict[str, Any], allocation: list[float], payment: list[float], capsys: Any) -> None:
    plain = json.loads(SMALL)
    results = run([plain, plain | extension], capsys)
    assert [list(result) for result in results] == [KEYS, KEYS]
    assert results[0]["price_lo"] == 3.0
    assert results[1]["allocation"] == pytest.approx(allocation, abs=1e-9)
    assert results[1]["payment"][:1] == pytest.approx(payment, abs=1e-9)
    assert results[1]["price_lo"] is None
    del plain["capacity"]  # then as much as there is supply
    assert run(plain | extension, capsys)["allocation"] == pytest.approx(allocation, abs=1e-9)


@pytest.mark.parametrize("mechanism", ["vcg", "uniform", "pay_as_bid"])
def test_an_array_of_220_random_markets_is_exact(mechanism: str, capsys: Any) -> None:
    markets = [random_market(seed, list(KINDS)[seed % len(KINDS)], sites=(1, 10)) for seed in range(220)]
    for market in markets:
        market["capacity"] = None if math.isinf(market["capacity"]) else market["capacity"]
    results = run(markets, capsys, "--mechanism", mechanism)
    assert len(results) == 220
    for market, result in zip(markets, results, strict=True):
        capacity = math.inf if market["capacity"] is None else market["capacity"]
        exact = exact_vcg(market["bids"], market["supply"], capacity, market["caps"], market["reserve"])
        for got, x in zip(result["allocation"], exact.allocation, strict=True):
            assert abs(Fraction(got) - x) <= Fraction(1e-9) * max(x, 1)
        for got, p in zip(result["payment"], exact.payment(mechanism), strict=True):
            assert abs(Fraction(got) - p) <= Fraction(1e-9) * max(abs(p), 1)
        money = max(Fraction(1), *map(abs, exact.value), abs(exact.supply_cost))
        assert abs(Fraction(result["welfare"]) - exact.welfare) <= Fraction(1e-9) * money
        for key in ("price_lo", "price_hi"):
            assert (None if result[key] is None else Fraction(result[key])) == getattr(exact, key)


def test_an_array_gives_what_each_market_gives_alone(capsys: Any) -> None:
    markets = [random_market(seed, "plain") for seed in range(30)]
    for market in markets:
        market["capacity"] = min(market["capacity"], 1e12)
    assert run(markets, capsys) == [run(market, capsys) for market in markets]


def test_figures_keep_full_precision(capsys: Any) -> None:
    market = random_market(3, "plain", limits=False)
    result, direct = run(market, capsys), clear(**market)
    assert result["payment"] == direct.payment.tolist()
    assert result["welfare"] == direct.welfare


def test_what_may_be_left_out(capsys: Any) -> None:
    assert run([], capsys) == []
    assert run({"bids": [], "supply": []}, capsys)["allocation"] == []
    unlimited = run({"bids": [[[5, 9]]], "supply": [[4, 1], [4, 2]]}, capsys)
    assert unlimited["allocation"] == [5]
    nulls = {"bids": [[[5, 9]]], "supply": [[4, 1], [4, 2]], "capacity": None, "caps": None, "reserve": None}
    assert run(nulls, capsys) == unlimited
    assert run({"bids": [[]], "supply": []}, capsys) | {"allocation": 0} == {
        "mechanism": "vcg", "allocation": 0, "payment": [0], "value": [0], "surplus": [0], "welfare": 0, "supply_cost": 0, "volume": 0,
        "price_lo": None, "price_hi": None,
    }  # fmt: skip


def test_standard_input(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + SMALL.encode())))  # with a byte order mark
    assert main(["-"]) == 0
    assert json.loads(capsys.readouterr().out)["allocation"] == [2, 0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["is empty"]),
        ("  \n", ["is empty"]),
        ("bids", ["is not JSON", "line 1"]),
        ('{"bids": [[[2, 5]]', ["is not JSON"]),
        ("[" * 100_000, ["is not JSON"]),
        ("7", ["is 7", "expected"]),
        ('"x"', ["is 'x'", "expected"]),
        ("[7]", ["market 0", "is 7", "expected"]),
        ("{}", ["key 'bids' is missing", "expected"]),
        ('{"bids": []}', ["key 'supply' is missing", "expected"]),
        ('{"bids": [], "supply": null}', ["key 'supply' is null"]),
        ('{"bids": [], "supply": [], "supplies": 1}', ["unknown key 'supplies'", "is 1", "expected some of", "supply"]),
        ('{"bids": [], "bids": [], "supply": []}', ["'bids' appears twice"]),
        ('{"bids": {}, "supply": []}', ["bids is {}", "expected a list"]),
        ('{"bids": [5], "supply": []}', ["bids[0] is 5", "expected a list"]),
        ('{"bids": [[5]], "supply": []}', ["bids[0][0] is 5", "expected a pair"]),
        ('{"bids": [[[5]]], "supply": []}', ["bids[0][0] is [5]", "expected a pair"]),
        ('{"bids": [[["5", 1]]], "supply": []}', ["bids[0][0] is ['5', 1]", "expected a pair of numbers"]),
        ('{"bids": [[[true, 1]]], "supply": []}', ["bids[0][0] is [True, 1]", "expected a pair of numbers"]),
        ('{"bids": [[[null, 1]]], "supply": []}', ["bids[0][0] is [None, 1]", "expected a pair of numbers"]),
        ('{"bids": [[[NaN, 1]]], "supply": []}', ["bids[0][0][0] is nan", "expected a finite number"]),
        ('{"bids": [[[1, -Infinity]]], "supply": []}', ["bids[0][0][1] is -inf", "expected a finite number"]),
        ('{"bids": [[[1, 1e999]]], "supply": []}', ["bids[0][0][1] is inf", "expected a finite number"]),
        ('{"bids": [[[1, 1' + "0" * 400 + "]]]," + '"supply": []}', ["bids[0][0][1] is 1000", "expected a finite number"]),
        ('{"bids": [[[1, 1' + "0" * 9000 + "]]]," + '"supply": []}', ["is not JSON"]),
        ('{"bids": [[[1, 1], [1, 2]]], "supply": []}', ["bids[0]: block 1 has price 2.0", "above"]),
        ('{"bids": [[[-1, 1]]], "supply": []}', ["bids[0]: block 0 has quantity -1.0 kW", "expected"]),
        ('{"bids": [], "supply": [[1, 2], [1, 1]]}', ["supply: step 1 costs 1.0", "non-decreasing"]),
        ('{"bids": [], "supply": [[1, 2, 3]]}', ["supply[0] is [1, 2, 3]", "expected a pair"]),
        ('{"bids": [], "supply": [], "capacity": -5}', ["capacity: -5.0 kW", "expected"]),
        ('{"bids": [], "supply": [], "capacity": "5"}', ["capacity: '5'", "expected a number"]),
        ('{"bids": [], "supply": [], "capacity": Infinity}', ["capacity is inf", "expected a finite number"]),
        ('{"bids": [[]], "supply": [], "caps": [-1]}', ["caps[0]: -1.0 kW", "expected"]),
        ('{"bids": [[]], "supply": [], "caps": []}', ["caps: expected a list of 1", "[]"]),
        ('{"bids": [[]], "supply": [], "caps": {"0": 5}}', ["caps: expected a list", "{'0': 5}"]),
        ('{"bids": [[]], "supply": [], "reserve": "high"}', ["reserve: 'high'", "expected"]),
        ('{"bids": [[]], "supply": [], "reserve": NaN}', ["reserve is nan", "expected"]),
        ('{"bids": [[[1e200, 1e200]]], "supply": [[1e200, 0]]}', ["value is [inf]", "expected"]),
        ('{"bids": [[]], "supply": [], "indivisible": [[true]]}', ["indivisible[0]", "expected"]),
        (
            '{"bids": [[]], "supply": [], "nodes": [{"parent": -1, "limit": NaN}], "site_node": [0]}',
            ["nodes[0].limit is nan", "expected"],
        ),
        ('{"bids": [[]], "supply": [], "nodes": []}', ["'site_node' is missing", "expected"]),
    ],
)
def test_bad_input_gets_one_line(text: str, parts: list[str], capsys: Any) -> None:
    Path("market.json").write_text(text)
    assert gridpilot(["clear", "market.json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err
    assert line.startswith("gridpilot clear: error: market.json: ")
    assert line.count("\n") == 1
    assert len(line) < 500
    for part in parts:
        assert part in line
    if text.startswith("{") and "is not JSON" not in parts and "'bids' appears twice" not in parts:
        Path("market.json").write_text(f"[{SMALL}, {text}]")  # in an array the market's number is told
        assert gridpilot(["clear", "market.json"]) == 2
        assert "market.json: market 1: " in capsys.readouterr().err


def test_files_that_cannot_be_read_get_one_line(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("binary").write_bytes(bytes(range(256)))
    Path("folder").mkdir()
    for name, part in (("nowhere.json", "No such file"), ("binary", "not UTF-8"), ("folder", "directory"), ("a\0b", "null")):
        assert gridpilot(["clear", name]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert part in line
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert gridpilot(["clear", "-"]) == 2
    assert "standard input: is empty" in capsys.readouterr().err


def test_uniform_prices_do_not_exist_in_a_network(capsys: Any) -> None:
    Path("market.json").write_text(json.dumps(json.loads(SMALL) | {"indivisible": [[True], [True]]}))
    assert gridpilot(["clear", "market.json", "--mechanism", "uniform"]) == 2
    assert "no single price" in capsys.readouterr().err


def test_options_are_explained(capsys: Any) -> None:
    with pytest.raises(SystemExit) as exit_code:
        main(["--help"])
    assert exit_code.value.code == 0
    assert "pay_as_bid" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_code:
        main(["market.json", "--mechanism", "first_price"])
    assert exit_code.value.code == 2


def test_clearing_imports_nothing_heavy() -> None:
    # The cold start is numba's; nothing else may add to it.
    Path("market.json").write_text(SMALL)
    code = (
        "import sys; from gridpilot.cli import main; assert main(['clear', 'market.json']) == 0; "
        "heavy = {'pandas', 'pydantic', 'hydra', 'omegaconf', 'highspy', 'pyarrow', 'matplotlib', 'gymnasium', 'scipy.optimize'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_ten_thousand_markets_take_seconds(capsys: Any) -> None:
    r = random.Random(0)
    markets = [
        {
            "bids": [
                [[r.uniform(0, 300), p] for p in sorted((r.uniform(0, 0.3) for _ in range(5)), reverse=True)] for _ in range(8)
            ],
            "supply": [[900, 0.02], [900, 0.05]],
            "capacity": 1500,
        }
        for _ in range(2000)
    ]
    Path("market.json").write_text(json.dumps(markets))
    run(SMALL, capsys)  # compiled, if it was not
    Path("market.json").write_text(json.dumps(markets))
    before = time.process_time()
    assert main(["market.json"]) == 0
    assert time.process_time() - before < 6.0  # 30 s for 10,000 on the slowest machine; about 4 s on an ordinary one
    assert len(json.loads(capsys.readouterr().out)) == 2000


@pytest.mark.slow
def test_cold_start_with_a_warm_cache_is_quick() -> None:
    Path("market.json").write_text(SMALL)
    clear = [sys.executable, "-m", "gridpilot", "clear", "market.json"]
    imports = [
        sys.executable,
        "-c",
        "import numba, numpy, scipy.linalg",
    ]  # the yardstick: no more than these need for themselves again
    subprocess.run(clear, check=True, capture_output=True)
    assert _cpu(clear) < 4.0 * _cpu(imports)


def _cpu(command: list[str]) -> float:
    """CPU seconds of a command, the least of three runs."""
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent)
