"""The benchmark runs, and says what it measured; how fast is not a matter for tests."""

from __future__ import annotations

import json

import pytest

from gridpilot.benchmark import planner
from gridpilot.benchmark.benchmark_command import SUITES, main
from gridpilot.benchmark.timing import cpu_seconds
from gridpilot.errors import ConfigError


def test_every_suite_measures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "DECISIONS", 6)
    assert main(["repeats=1", "markets=8", "json=true"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["suite"] for row in rows} == set(SUITES)
    assert all(0.0 < row["best_us"] <= row["cpu_us"] for row in rows)
    compared = [row for row in rows if row["ratio"] is not None]
    assert {"np.argsort", "n + 1 linear programmes"} <= {row["against"] for row in compared}


def test_a_suite_can_be_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulation", "repeats=1", "markets=4"]) == 0
    text = capsys.readouterr().out
    assert "GARCH" in text
    assert "np.argsort" not in text


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(ConfigError, match="no suite 'speed', expected some of clearing"):
        main(["speed"])


def test_cpu_seconds_grow_with_the_work() -> None:
    def work(n: int) -> int:
        return sum(range(n))

    short, _ = cpu_seconds(lambda: work(1_000), repeats=3)
    long, fastest = cpu_seconds(lambda: work(100_000), repeats=3)
    assert 0.0 < short < fastest <= long
